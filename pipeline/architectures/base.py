"""What an architecture is: tensor names and shapes as a function of a few parameters, and the torch module.

Recognition needs only names and shapes, so it works without torch; `module` is the one place that imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.contract import ImageContract

if TYPE_CHECKING:
    import onnx
    from torch import nn

Tensors = dict[str, np.ndarray]
Shapes = dict[str, tuple[int, ...]]
Parameters = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """One graph of a family: several variants share the same tensors and differ in what is done with them."""

    name: str
    summary: str
    """What distinguishes this variant, in a sentence for someone who has to choose."""
    holds_sizes: bool = False
    """Whether torch writes sizes of the traced picture into its graph in old opsets, as for a pixel shuffle."""


@dataclass(frozen=True)
class Choice:
    """Which variants a state dict can be, and why. One name: it is decided."""

    names: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Family:
    """Networks with one tensor layout.

    `clean` returns the tensors under the family's own names, without those that it does not use, and notes on
    what it changed. `infer` reads the parameters from shapes, with defaults for missing tensors. `shapes` are the
    tensors that a network with these parameters has, in order. `choose` decides which variants fit, given the
    parameters, the names as they were in the file, and the class names of a whole-module pickle. `module`
    builds the torch module of a variant. `contract` gives the image contract. `graph`, where there is one, gives
    the same network as an ONNX model with these tensors, for machines without torch. `factors`, where layers can
    be factored (pipeline.shrink.factor), gives for the name of a layer's weights the names of its vertical and its
    horizontal weights, and the names of its bias before and after. `style` names the second
    input of the graph of a network that takes a style; such a family has no torch module.
    """

    variants: tuple[Variant, ...]
    clean: Callable[[Tensors], tuple[Tensors, list[str]]]
    infer: Callable[[Shapes], Parameters]
    shapes: Callable[[Parameters], Shapes]
    choose: Callable[[Parameters, Shapes, Mapping[str, str]], Choice]
    module: Callable[[str, Parameters], nn.Module] | None
    contract: Callable[[Parameters], ImageContract]
    graph: Callable[[Parameters, Tensors], onnx.ModelProto] | None = None
    factors: Callable[[str], tuple[tuple[str, str], tuple[str, str]]] | None = None
    style: str = ""


@dataclass(frozen=True)
class Recognised:
    """A state dict as a known network: `build(name, params)` and `load(module, tensors)` give the module."""

    name: str
    params: Parameters
    contract: ImageContract
    reason: str
    notes: tuple[str, ...] = ()
    tensors: Tensors = field(default_factory=dict, repr=False)
    weights: int = 0
    """Trained values; batch-norm statistics are not counted."""


def restore_prefix(tensors: Tensors, known_name: str) -> Tensors:
    """The tensors with a prefix of their names restored that the reader removed.

    Readers remove a prefix that all names of a file share, such as `model.`, because wrappers add one; in some
    networks it is part of the names. `known_name` is the full name of a tensor that the network has.
    """
    if known_name in tensors:
        return dict(tensors)
    parts = known_name.split(".")
    for cut in range(1, len(parts) - 1):
        front, rest = ".".join(parts[:cut]), ".".join(parts[cut:])
        if rest in tensors:
            return {f"{front}.{name}": value for name, value in tensors.items()}
    return dict(tensors)


def dimension(shapes: Mapping[str, tuple[int, ...]], name: str, axis: int, default: int) -> int:
    """One dimension of a tensor, or the default where the tensor or the axis is missing."""
    shape = shapes.get(name, ())
    return shape[axis] if len(shape) > axis else default
