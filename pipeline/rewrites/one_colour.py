"""What tensors hold for a picture of one colour: one number per channel, where all borders repeat the picture.

A network without zeros at its borders makes planes of one number of such a picture, and behind the first norm
these no longer depend on the colour: a norm of a plane gives its bias.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.forms import pads_of, parameter
from pipeline.graph.surgeon import sorted_nodes

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

Planes = dict[str, "np.ndarray | None"]
"""By tensor name: float64 [C] or [1]; None for a number per channel that depends on the colour."""
REPEATING = ("reflect", "edge", "wrap")
"""Ways of padding that add no values of their own."""
_SAME = frozenset(["Dropout", "GlobalAveragePool", "GlobalMaxPool", "Identity", "Resize", "Upsample"])
_UNARY: dict[str, Callable[[np.ndarray, gs.Node], np.ndarray]] = {
    "Clip": lambda x, node: np.minimum(np.maximum(x, _bound(node, "min")), _bound(node, "max")),
    "LeakyRelu": lambda x, node: np.where(x < 0, float(node.attrs.get("alpha", 0.01)) * x, x),
    "Neg": lambda x, node: -x,
    "Relu": lambda x, node: np.maximum(x, 0),
    "Sigmoid": lambda x, node: 1 / (1 + np.exp(-np.clip(x, -500, 500))),
    "Tanh": lambda x, node: np.tanh(x),
}
_BINARY: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "Add": np.add,
    "Div": np.divide,
    "Mul": np.multiply,
    "Sub": np.subtract,
}


def planes(graph: gs.Graph) -> Planes:
    """The tensors that are planes of one number for each picture of one colour; others are left out.

    Of the graph's inputs, and of operators that are not known, nothing is assumed but their rank of 4.
    """
    found: Planes = {tensor.name: None for tensor in graph.inputs}
    for node in sorted_nodes(graph):
        if node.domain in (None, "", "ai.onnx") and len(node.outputs) >= 1:
            with np.errstate(all="ignore"):
                plane = _of(node, found)
            if not isinstance(plane, str):
                usable = plane is None or bool(np.isfinite(plane).all())
                if usable:
                    found[node.outputs[0].name] = plane
    return found


_NOT = "not a plane"


def _of(node: gs.Node, found: Planes) -> np.ndarray | str | None:
    if not node.inputs or (node.inputs[0].name not in found and node.op not in _BINARY):
        return _NOT
    if node.op in _BINARY:
        return _binary(node, found)
    plane = found[node.inputs[0].name]
    if node.op in _SAME:
        return plane
    if node.op in _UNARY:
        return None if plane is None else _UNARY[node.op](plane, node)
    if node.op == "Pad":
        pads = pads_of(node, 4)
        whole = pads is not None and not any((*pads[:2], *pads[4:6]))
        return plane if whole and n.text(node, "mode", "constant") in REPEATING else _NOT
    if node.op == "InstanceNormalization":
        bias = n.value(n.given(node, 2))
        return None if bias is None else bias.reshape(-1).astype(np.float64)
    if node.op == "Conv":
        return _convolved(node, plane)
    return _NOT


def _binary(node: gs.Node, found: Planes) -> np.ndarray | str | None:
    second = n.producer(node.inputs[1])
    averaged = second is not None and second.op == "GlobalAveragePool" and second.inputs[0] is node.inputs[0]
    if node.op == "Sub" and averaged and node.inputs[0].name in found:
        return np.zeros(1)
    sides: list[np.ndarray | None] = []
    for tensor in node.inputs:
        constant = n.value(tensor)
        if constant is None:
            if tensor.name not in found:
                return _NOT
            sides.append(found[tensor.name])
        elif constant.size == 1 or (constant.ndim in (3, 4) and constant.shape[-3] == constant.size):
            sides.append(constant.reshape(-1).astype(np.float64))
        else:
            return _NOT
    if sides[0] is None or sides[1] is None:
        return None
    return _BINARY[node.op](sides[0], sides[1]) if len({1, sides[0].size, sides[1].size}) <= 2 else _NOT


def _convolved(conv: gs.Node, plane: np.ndarray | None) -> np.ndarray | str | None:
    weights, bias = n.value(n.given(conv, 1)), n.value(n.given(conv, 2))
    padded = any(n.ints(conv, "pads", ())) or n.text(conv, "auto_pad", "NOTSET").startswith("SAME")
    if padded or weights is None or weights.ndim != 4 or (bias is None and n.given(conv, 2) is not None):
        return _NOT
    if plane is None:
        return None
    group = int(conv.attrs.get("group", 1))
    inputs = np.broadcast_to(plane, weights.shape[1] * group).reshape(group, 1, -1)
    taps = weights.astype(np.float64).sum(axis=(2, 3)).reshape(group, -1, weights.shape[1])
    sums = (taps * inputs).sum(axis=2).reshape(-1)
    return sums if bias is None else sums + bias.reshape(-1)


def _bound(node: gs.Node, name: str) -> float:
    value = parameter(node, name)
    return {"min": -np.inf, "max": np.inf}[name] if value is None else float(value.reshape(()))
