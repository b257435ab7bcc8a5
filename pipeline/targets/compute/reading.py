"""Reads what nodes hold: constants, in whichever opset's form, and shapes as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.graph import nodes as n
from pipeline.targets.compute.steps import ELSEWHERE, Step, Unsupported

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs


def constant(node: gs.Node, index: int, attribute: str | None = None) -> np.ndarray | None:
    """An attribute, or else the constant at an input; None where it is not given."""
    if attribute is not None and attribute in node.attrs:
        return np.asarray(node.attrs[attribute])
    tensor = n.given(node, index)
    if tensor is None:
        return None
    held = n.value(tensor)
    if held is None:
        raise Unsupported(f"its input {tensor.name} is computed, not constant", ELSEWHERE)
    return held


def required(node: gs.Node, index: int, what: str) -> np.ndarray:
    held = constant(node, index)
    if held is None:
        raise Unsupported(f"its {what} is missing")
    return held.astype(np.float64)


def number(node: gs.Node, index: int, attribute: str, default: float) -> float:
    held = constant(node, index, attribute)
    return default if held is None else float(held.reshape(-1)[0])


def picture_shape(shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """(channels, height, width); a vector or matrix of one picture's channels is a picture of one pixel."""
    if len(shape) == 4:
        return (shape[1], shape[2], shape[3]) if shape[0] == 1 else None
    if len(shape) == 2 and shape[0] == 1:
        return shape[1], 1, 1
    if len(shape) == 3 and shape[0] == 1:
        return (shape[1], 1, 1) if shape[2] == 1 else (shape[2], 1, 1) if shape[1] == 1 else None
    return None


def step(kind: str, node: gs.Node, inputs: list[gs.Tensor] | None = None, **held: Any) -> Step:
    """A step for a node. It reads the node's first input unless others are given; `held` are its constants."""
    names = tuple(tensor.name for tensor in (inputs if inputs is not None else node.inputs[:1]))
    return Step(kind, node.name, node.op, names, node.outputs[0].name, held)
