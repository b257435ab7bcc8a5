"""ONNX's own shape inference, kept from computing values of any size.

With `data_prop` it follows the values of tensors of one axis too, and allocates whatever a Range, a Tile or a row
of Concats asks for (measured with onnx 1.20: a Range of 4 * 10^9 takes 32 GB, in a file of 200 bytes).
"""

from __future__ import annotations

import math

import onnx

from pipeline.graph.onnx_inference import Sizes, inferred_by_onnx, sizes_in
from pipeline.graph.structure import MOST_NODES

_LARGEST = 4096
"""Elements up to which values are followed."""
_SAFE = frozenset(
    [
        *("Abs", "Add", "And", "Cast", "Ceil", "Constant", "Div", "Equal", "Floor", "Greater", "Identity", "Less"),
        *("Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum"),
        *("Reshape", "Shape", "Size", "Slice", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where"),
    ]
)
"""Operators whose results have no more numbers than what they read."""


def infer_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with inferred shapes, from values too where these are few. Raises whatever onnx raises.

    The model must hold no large constants with their values (see `estimate.light`), and is not changed.
    """
    inferred = inferred_by_onnx(model)
    sizes = sizes_in(inferred.graph)
    unknown, open_ = [], False
    for node in model.graph.node:
        shapes = [sizes.get(name) for name in node.output if name]
        if None in shapes:
            unknown.append(node)
        open_ = open_ or any([shape is not None and None in shape for shape in shapes])
    if (unknown or open_) and _is_safe(model, sizes, unknown):
        return inferred_by_onnx(model, data_prop=True)
    return inferred


def _is_safe(model: onnx.ModelProto, sizes: Sizes, unknown: list[onnx.NodeProto]) -> bool:
    """Whether no tensor whose values ONNX would follow has more than `_LARGEST` elements."""
    nodes = model.graph.node
    if len(nodes) > MOST_NODES or any(
        attribute.HasField("g") or attribute.graphs for node in nodes for attribute in node.attribute
    ):
        return False
    if not all(_is_few(shape) for shape in sizes.values() if len(shape) <= 1):
        return False
    suspects = [node for node in unknown if node.op_type not in _SAFE]
    suspects += [
        node
        for node in nodes
        if node.op_type not in _SAFE and any(sizes.get(name) == (None,) for name in node.output)
    ]
    if not suspects:
        return True
    own = _own(model)
    outputs = [name for node in suspects for name in node.output if name]
    return all(name in own and (len(own[name]) > 1 or _is_few(own[name])) for name in outputs)


def _is_few(shape: tuple[int | None, ...]) -> bool:
    return math.prod(size or 0 for size in shape) <= _LARGEST


def _own(model: onnx.ModelProto) -> Sizes:
    from pipeline.graph.model import from_model
    from pipeline.graph.shapes import infer

    try:
        known = infer(from_model(model)).known
    except Exception:  # a graph that is too odd for graphsurgeon: nothing is known, so no values are followed
        return {}
    return {name: tuple(shape) for name, shape in known.items() if len(shape) > 1 or None not in shape}
