"""Reads constants of nodes, which are attributes or inputs depending on the opset, and shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.graph import nodes as n
from pipeline.targets.compute.steps import ELSEWHERE, Step, Unsupported

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs


def constant(node: gs.Node, index: int, attribute: str | None = None) -> np.ndarray | None:
    """The attribute `attribute`, or else the constant at input `index`; None if neither is given.

    Raises Unsupported if the input is computed.
    """
    if attribute is not None and attribute in node.attrs:
        return np.asarray(node.attrs[attribute])
    tensor = n.given(node, index)
    if tensor is None:
        return None
    value = n.value(tensor)
    if value is None:
        raise Unsupported(f"its input {tensor.name} is computed, not constant", ELSEWHERE)
    return value


def required(node: gs.Node, index: int, what: str) -> np.ndarray:
    value = constant(node, index)
    if value is None:
        raise Unsupported(f"its {what} is missing")
    return value.astype(np.float64)


def number(node: gs.Node, index: int, attribute: str, default: float) -> float:
    value = constant(node, index, attribute)
    return default if value is None else float(value.reshape(-1)[0])


def picture_shape(shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """A shape of batch 1 as (channels, height, width), or None; a vector of channels is a picture of one pixel."""
    if len(shape) == 4:
        return (shape[1], shape[2], shape[3]) if shape[0] == 1 else None
    if len(shape) == 2 and shape[0] == 1:
        return shape[1], 1, 1
    if len(shape) == 3 and shape[0] == 1:
        return (shape[1], 1, 1) if shape[2] == 1 else (shape[2], 1, 1) if shape[1] == 1 else None
    return None


def step(kind: str, node: gs.Node, inputs: list[gs.Tensor] | None = None, **attrs: Any) -> Step:
    """A step for a node, which reads the node's first input by default; `attrs`: attributes and constants."""
    names = tuple(tensor.name for tensor in (inputs if inputs is not None else node.inputs[:1]))
    return Step(kind, node.name, node.op, names, node.outputs[0].name, attrs)
