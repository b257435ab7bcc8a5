"""A plan: which kernels run in which order on which buffers, as data.

It contains no sizes: the size of each value is a function of the size of another, so that a plan runs at any size
of the picture. `described` prints it as a table; `file` writes it for the C# engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from pipeline.support.size import Size

PICTURE = 0
"""The number of the value that is the input picture."""
MOST_GUIDE_CHANNELS = 4
"""Channels of a texture, which is the most that an input for guides has."""


def blocks(channels: int) -> int:
    """The number of four-channel elements that store this many channels."""
    return -(-channels // 4)


@dataclass(frozen=True)
class Extent:
    """A side length as a function of another: floor((length * mul + add) / div)."""

    mul: int = 1
    add: int = 0
    div: int = 1

    def of(self, length: int) -> int:
        return (length * self.mul + self.add) // self.div


@dataclass
class Value:
    """A feature map of `channels` channels that a kernel writes; its size is computed from that of value `source`.

    It is stored in the buffer of value `root`, starting at block `first_block`; `root` is the value itself unless
    it is a part of a concatenation. `slot` is the buffer it is assigned to (-1: none). `stored` is False if only
    its statistics are needed.
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


class StyleTerm(NamedTuple):
    """Adds coefficients * vector[indices] to a weight, for a style vector; both have the weight's shape."""

    coefficients: np.ndarray
    indices: np.ndarray


@dataclass
class Weight:
    """Constants in the weight buffer, starting at element `offset`, and their layout there (module `layout`).

    kind "conv": data (O, I, KY, KX) with O output channels of all phases; `form` has slices, step_blocks, lanes,
    blocks, phase_blocks, phases. kind "rows": data (rows, channels of all `phases`), for each block of channels
    all rows, `length` blocks in all. kind "depthwise": data (C, KY, KX).
    """

    kind: str
    data: np.ndarray
    form: Mapping[str, int]
    offset: int = 0
    style: tuple[StyleTerm, ...] = ()
    """How the weight depends on the style vector; empty if it does not."""

    def at(self, vector: np.ndarray) -> np.ndarray:
        """The data for a style vector of shape (K,), float32."""
        data = self.data.copy()
        for term in self.style:
            data += term.coefficients * vector[term.indices]
        return data


@dataclass
class Dispatch:
    """The execution of one kernel.

    `macros` specialise the kernel's file; `int_constants` and `float_constants` are uniforms by name. `first` and
    `second` are the numbers of the values read, `output` that of the value written, `kept` that of a fused sum
    which the kernel also stores because later dispatches read it (-1: none). `statistics_of` is the dispatch whose
    statistics a merge combines. `grid` selects the number of thread groups: "tiles" (tiles x slices), "pixels"
    (tiles x blocks of channels), "flat" (tiles), "blocks" (one per block of channels), "threads" (one thread per
    block). `align_corners`: how a resize maps positions (see `constants`).
    """

    kernel: str
    macros: dict[str, int]
    grid: str
    first: int = -1
    second: int = -1
    output: int = -1
    kept: int = -1
    statistics_of: Dispatch | None = None
    int_constants: dict[str, int] = field(default_factory=dict)
    float_constants: dict[str, tuple[float, ...]] = field(default_factory=dict)
    align_corners: bool = False
    nodes: tuple[str, ...] = ()
    title: str = ""

    def macro(self, name: str, default: int = 0) -> int:
        return self.macros.get(name, default)


@dataclass
class Plan:
    """A compiled network. `size`: nominal size of the input; `channels`: those of the input and the output."""

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
    """Names of the graph's input and output."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    styles: Mapping[int, np.ndarray] = field(default_factory=dict)
    """For each weight that differs between styles, by its number: an array (styles, *shape of the weight)."""
    style_count: int = 1
    style_input: str = ""
    """The name of the input for style vectors, of a network with `--style-input`; "" for others."""
    style_length: int = 0
    """K, the length of a style vector; 0 for other networks."""
    numbers_in: int = -1
    """The value that a vector of numbers is uploaded to, of a predictor that has no input picture; else -1."""
    numbers_out: bool = False
    """Whether the result is a vector of numbers, in its buffer, instead of an output picture."""
    guides: tuple[str, ...] = ()
    """The names of the inputs for guides. They are textures too: values 1, 2 ..., which the first dispatches copy
    into buffers."""

    def is_texture(self, number: int) -> bool:
        """Whether a value is an input texture: the picture, or one of guides."""
        return PICTURE <= number <= len(self.guides)

    @property
    def input_widths(self) -> list[int]:
        """The channels of each input texture: of the picture, and of those of guides."""
        return [self.channels[0], *(value.channels for value in self.values[1 : len(self.guides) + 1])]

    def sizes(self, size: Size) -> list[Size]:
        """The size of every value for a picture of this size, by the value's number.

        Raises ValueError if a value would be empty, or if the parts of a concatenation would differ in size, which
        happens when the graph contains constant sizes.
        """
        sizes: list[Size] = []
        for value in self.values:
            if value.number == PICTURE:
                sizes.append(size)
                continue
            source = sizes[value.source]
            computed = Size(value.width.of(source.width), value.height.of(source.height))
            if min(computed.hw) < 1:
                raise ValueError(f"a picture of {size} is too small for this network")
            sizes.append(computed)
        for value in self.values:
            if sizes[value.number] != sizes[value.root]:
                raise ValueError(f"parts of the network do not fit together for a picture of {size}")
        return sizes

    def slot_elements(self, size: Size) -> list[int]:
        """The number of four-channel elements each buffer must have for a picture of this size."""
        sizes = self.sizes(size)
        elements = [0] * self.slots
        for value in self.values:
            if value.slot >= 0 and value.root == value.number:
                needed = value.blocks * sizes[value.number].pixels
                elements[value.slot] = max(elements[value.slot], needed)
        return elements
