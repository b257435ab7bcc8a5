"""Between which values a tensor lies, as far as the operators before it tell."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pipeline.graph import nodes as n
from pipeline.graph.forms import filler, parameter

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

Bounds = tuple[float, float]

UNKNOWN: Bounds = (-math.inf, math.inf)
_DEPTH = 64
"""Nodes looked back at most; further back is unknown, which is always safe."""
_KEEP = frozenset(
    [
        "Identity",
        "Dropout",
        "Reshape",
        "Transpose",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Slice",
        "Split",
        "Gather",
        "Expand",
        "Tile",
        "MaxPool",
        "GlobalMaxPool",
        "GlobalAveragePool",
        "DepthToSpace",
        "SpaceToDepth",
        "Concat",
        "Max",
        "Min",
        "ReduceMean",
        "ReduceMax",
        "ReduceMin",
        "QuantizeLinear",
        "DequantizeLinear",
    ]
)
"""Operators whose results lie between the smallest and the largest of their data."""
_FIXED: dict[str, Bounds] = {
    "Sigmoid": (0.0, 1.0),
    "HardSigmoid": (0.0, 1.0),
    "Softmax": (0.0, 1.0),
    "Tanh": (-1.0, 1.0),
    "Softsign": (-1.0, 1.0),
    "Erf": (-1.0, 1.0),
    "Sin": (-1.0, 1.0),
    "Cos": (-1.0, 1.0),
    "Abs": (0.0, math.inf),
    "Exp": (0.0, math.inf),
    "Sqrt": (0.0, math.inf),
    "Softplus": (0.0, math.inf),
}
_DATA_INPUTS = {"Reshape": 1, "Slice": 1, "Split": 1, "Gather": 1, "Expand": 1, "Tile": 1}
"""How many of the first inputs are data (all, where not listed)."""


def bounds(tensor: gs.Tensor | None) -> Bounds:
    """(lowest, highest) that a tensor can hold; infinite where nothing is known. Never too narrow."""
    return _bounds(tensor, {}, _DEPTH)


def _bounds(tensor: gs.Tensor | None, known: dict[int, Bounds], depth: int) -> Bounds:
    values = n.value(tensor)
    if values is not None:
        return (
            (float(values.min()), float(values.max())) if values.size and values.dtype.kind in "fiub" else UNKNOWN
        )
    node = n.producer(tensor)
    if node is None or depth == 0:
        return UNKNOWN
    if id(node) not in known:
        known[id(node)] = UNKNOWN
        known[id(node)] = _of(node, known, depth)
    return known[id(node)]


def _of(node: gs.Node, known: dict[int, Bounds], depth: int) -> Bounds:
    if node.op in _FIXED:
        return _FIXED[node.op]
    count = _DATA_INPUTS.get(node.op, len(node.inputs))
    if node.op in ("Squeeze", "Unsqueeze", "QuantizeLinear", "DequantizeLinear", "Pad", "Resize", "Clip") or (
        node.op.startswith("Reduce")
    ):
        count = 1
    operands = [_bounds(tensor, known, depth - 1) for tensor in node.inputs[:count] if not tensor.is_empty()]
    if not operands:
        return UNKNOWN
    low, high = operands[0]
    match node.op:
        case op if op in _KEEP:
            return min(operand[0] for operand in operands), max(operand[1] for operand in operands)
        case "Relu":
            return max(low, 0.0), max(high, 0.0)
        case "Clip":
            least, most = (_bound(node, name) for name in ("min", "max"))
            return max(low, least), min(max(high, least), most)
        case "LeakyRelu" if float(node.attrs.get("alpha", 0.01)) >= 0:
            return min(low, 0.0), high
        case "Resize" if n.text(node, "mode", "nearest") in ("nearest", "linear"):
            return low, high
        case "AveragePool":
            return min(low, 0.0), max(high, 0.0)
        case "Pad":
            if n.text(node, "mode", "constant") != "constant":
                return low, high
            fill = filler(node)
            return UNKNOWN if fill is None else (min(low, fill), max(high, fill))
        case "Add" | "Sum":
            return sum(operand[0] for operand in operands), sum(operand[1] for operand in operands)
        case "Mul" if len(operands) == 2 and min(operands[0][0], operands[1][0]) >= 0:
            return 0.0, math.inf
    return UNKNOWN


def _bound(node: gs.Node, name: str) -> float:
    value = parameter(node, name)
    return float(value.reshape(())) if value is not None else -math.inf if name == "min" else math.inf
