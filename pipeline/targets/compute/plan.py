"""A plan: which kernels run in which order on which buffers, as data.

Sizes are not in it: every value says how its size follows from another's, so that a plan runs at any size of the
picture. Tables of dispatches are for people; `file` writes the same data for the C# engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from pipeline.support.size import Size

PICTURE = 0
"""The number of the value that is the camera's picture."""


def blocks(channels: int) -> int:
    """How many elements of four channels hold these channels."""
    return -(-channels // 4)


@dataclass(frozen=True)
class Extent:
    """How a length follows from another: floor((length * mul + add) / div)."""

    mul: int = 1
    add: int = 0
    div: int = 1

    def of(self, length: int) -> int:
        return (length * self.mul + self.add) // self.div


@dataclass
class Value:
    """A picture of `channels` channels that some kernel writes. Its size follows from that of value `source`.

    It lies in the buffer of value `root` from block `first_block` on (its own, unless it is a part of a joined
    value). `stored` is False for values of which only the statistics are wanted.
    """

    number: int
    channels: int
    source: int
    height: Extent
    width: Extent
    name: str
    root: int = -1
    first_block: int = 0
    stored: bool = True
    slot: int = -1

    def __post_init__(self) -> None:
        if self.root < 0:
            self.root = self.number

    @property
    def blocks(self) -> int:
        return blocks(self.channels)


@dataclass
class Weight:
    """Constants in the buffer of weights, from element `at` on, and how they are laid out there (`layout`).

    kind "conv": data (O, I, KY, KX) with O output channels of all phases; `form` has slices, step_blocks, lanes,
    blocks, phase_blocks, phases. kind "rows": data (rows, channels of all `phases`), for each block of channels
    all rows, `length` blocks in all. kind "depthwise": data (C, KY, KX).
    """

    kind: str
    data: np.ndarray
    form: Mapping[str, int]
    at: int = 0


@dataclass
class Dispatch:
    """One kernel run. `macros` specialise the kernel file, `fixed` and `real` are constants by name.

    `first` and `second` are the values read, `output` the one written, `kept` the one that is written on the way
    of reading. `of` is the dispatch whose statistics a merge reads. `grid` says how many thread groups there are:
    tiles and slices; pixels and blocks; flat (pixels); blocks; threads (one for each block). `align_corners` is
    how a resize computes positions (see `constants`).
    """

    kernel: str
    macros: dict[str, int]
    grid: str
    first: int = -1
    second: int = -1
    output: int = -1
    kept: int = -1
    of: Dispatch | None = None
    fixed: dict[str, int] = field(default_factory=dict)
    real: dict[str, tuple[float, ...]] = field(default_factory=dict)
    align_corners: bool = False
    nodes: tuple[str, ...] = ()
    title: str = ""

    def macro(self, name: str, default: int = 0) -> int:
        return self.macros.get(name, default)


@dataclass
class Plan:
    """A compiled network. `size` is the nominal one; `channels` are those of picture and result."""

    dispatches: list[Dispatch]
    values: list[Value]
    weights: list[Weight]
    table_elements: int
    size: Size
    channels: tuple[int, int]
    result: int
    half: bool = False
    slots: int = 0
    names: tuple[str, str] = ("input", "output")
    """What the graph called its input and its output."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    styles: Mapping[int, np.ndarray] = field(default_factory=dict)
    """By the number of a weight, its data for each of several styles: (styles, *shape of the weight)."""
    style_count: int = 1

    def sizes(self, size: Size) -> list[Size]:
        """The size of every value for a picture of this size.

        ValueError where one would be empty, or parts of a joined value would not fit together: some sizes in the
        graph are constants.
        """
        found: list[Size] = []
        for value in self.values:
            if value.number == PICTURE:
                found.append(size)
                continue
            above = found[value.source]
            made = Size(value.width.of(above.width), value.height.of(above.height))
            if min(made.hw) < 1:
                raise ValueError(f"a picture of {size} is too small for this network")
            found.append(made)
        for value in self.values:
            if found[value.number] != found[value.root]:
                raise ValueError(f"parts of the network do not fit together for a picture of {size}")
        return found

    def slot_elements(self, size: Size) -> list[int]:
        """Elements of four channels that each buffer needs for a picture of this size."""
        sizes = self.sizes(size)
        elements = [0] * self.slots
        for value in self.values:
            if value.slot >= 0 and value.root == value.number:
                needed = value.blocks * sizes[value.number].pixels
                elements[value.slot] = max(elements[value.slot], needed)
        return elements
