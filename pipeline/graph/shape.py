"""Shapes: sizes that may be unknown, and what is known of the shapes in a graph. `shapes` infers them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from pipeline.graph import nodes as n

Shape = tuple[int | None, ...]


class Contradiction(Exception):
    """A node whose inputs do not fit together."""


def known(shape: Sequence[int | None]) -> tuple[int, ...] | None:
    """The sizes when every one of them is known, else None."""
    sizes = tuple(size for size in shape if size is not None)
    return sizes if len(sizes) == len(shape) else None


def broadcast(*shapes: Shape | None) -> Shape | None:
    """The shape of an elementwise result; None when an operand's rank is unknown."""
    if None in shapes:
        return None
    if len(set(shapes)) == 1:
        return shapes[0]
    rank = max(len(shape) for shape in shapes if shape is not None)
    result: list[int | None] = []
    for axis in range(rank):
        sizes = {
            shape[axis - rank + len(shape)] for shape in shapes if shape is not None and axis >= rank - len(shape)
        } - {1}
        given = {size for size in sizes if size is not None}
        if len(given) > 1:
            raise Contradiction(f"sizes {sorted(given)} do not broadcast")
        result.append(given.pop() if given else (None if sizes else 1))
    return tuple(result)


def product(sizes: Sequence[int | None]) -> int | None:
    """The product of sizes; None when one is unknown."""
    sizes_known = known(sizes)
    return None if sizes_known is None else math.prod(sizes_known)


@dataclass
class Shapes:
    """What is known: by tensor name, shapes (None for an unknown size) and the values of small integer tensors."""

    known: dict[str, Shape] = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(node name, what does not fit): places where the graph contradicts itself at this input size."""

    def of(self, tensor: gs.Tensor | None) -> Shape | None:
        """The tensor's shape, or None when not even its rank is known."""
        if tensor is None:
            return None
        if isinstance(tensor, gs.Constant):
            return tuple(int(size) for size in tensor.shape)
        return self.known.get(tensor.name)

    def rank(self, tensor: gs.Tensor | None) -> int | None:
        shape = self.of(tensor)
        return None if shape is None else len(shape)

    def channels(self, tensor: gs.Tensor | None) -> int | None:
        """The size of axis 1."""
        shape = self.of(tensor)
        return shape[1] if shape is not None and len(shape) > 1 else None

    def static(self, tensor: gs.Tensor | None) -> tuple[int, ...] | None:
        """The shape when every size in it is known."""
        shape = self.of(tensor)
        return None if shape is None else known(shape)

    def value(self, tensor: gs.Tensor | None) -> np.ndarray | None:
        """Constant values, or values computed from known shapes."""
        if tensor is None:
            return None
        constant = n.value(tensor)
        return self.values.get(tensor.name) if constant is None else constant
