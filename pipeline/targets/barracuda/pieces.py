"""Helpers of the emulations: removing inputs, resizing with other scales, keeping integers as floats.

They take nodes in the form that the file has and write forms that are valid from opset 13 on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pipeline.graph import nodes as n
from pipeline.graph.forms import scales_of, slice_spec

if TYPE_CHECKING:
    from pipeline.graph import Shapes

STEM = "emulated"
"""Part of the names of nodes that the emulation adds."""
# fmt: off
_FLAT = {
    "Add", "Sub", "Mul", "Div", "Pow", "Neg", "Abs", "Max", "Min", "Sum", "Mean", "Clip", "Relu",
    "Identity", "Reshape", "Transpose", "Concat", "Slice", "Squeeze", "Unsqueeze", "Pad", "Expand",
    "Tile", "Gather", "Where", "Flatten", "Sign", "Floor", "Ceil", "Round",
}
# fmt: on
"""Operators that compute on integers as on floats: after a Cast that does nothing they compute on floats."""
_COMPARISONS = frozenset(["Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"])


def leave_out(node: gs.Node, index: int) -> None:
    """Remove an optional input."""
    if index < len(node.inputs):
        node.inputs[index] = gs.Variable.empty()
        while node.inputs and node.inputs[-1].is_empty():
            node.inputs = node.inputs[:-1]


def set_pads(graph: gs.Graph, node: gs.Node, pads: Any) -> None:
    """Set the pads of a Pad for all axes, as inputs."""
    make = n.Builder(graph, node, STEM)
    value = node.attrs.pop("value", None)
    node.attrs.pop("pads", None)
    fill = make.const(value, "value") if value is not None else n.given(node, 2)
    node.inputs = [node.inputs[0], make.const(list(pads), "pads", np.int64)]
    if fill is not None and n.text(node, "mode", "constant") == "constant":
        node.inputs.append(fill)


# ------------------------------------------------------------------------------------------------ resizing
def scales_input(node: gs.Node) -> gs.Tensor | None:
    """The scales input: the second of Upsample and Resize-10, the third of Resize-11."""
    return n.given(node, 1 if node.op == "Upsample" or len(node.inputs) == 2 else 2)


def set_scales(graph: gs.Graph, node: gs.Node, scales: np.ndarray) -> None:
    """Turn a node into a Resize with these constant scales."""
    make = n.Builder(graph, node, STEM)
    for name in ("scales", "height_scale", "width_scale"):
        node.attrs.pop(name, None)
    was_old = node.op == "Upsample" or len(node.inputs) <= 2
    node.op, node.inputs = "Resize", [node.inputs[0], gs.Variable.empty(), make.const(scales, "scales")]
    if was_old:
        _old_coordinates(node)


def to_resize(graph: gs.Graph, node: gs.Node, shapes: Shapes) -> None:
    """Upsample and Resize-10 become Resize-11, whose attributes say asymmetric and rounded down."""
    if node.op == "Resize" and len(node.inputs) > 2:
        sizes = n.given(node, 3)
        scales = n.given(node, 2)
        node.inputs[1] = gs.Variable.empty()
        if sizes is not None and scales is not None:  # an empty placeholder beside the sizes
            node.inputs[2] = gs.Variable.empty()
        return
    scales = scales_of(node, shapes)
    if scales is not None:
        set_scales(graph, node, scales)
    elif len(node.inputs) == 2:
        node.op, node.inputs = "Resize", [node.inputs[0], gs.Variable.empty(), node.inputs[1]]
        _old_coordinates(node)


def _old_coordinates(node: gs.Node) -> None:
    mode = n.text(node, "mode", "nearest")
    node.attrs = {
        "mode": "linear" if mode == "bilinear" else mode,
        "coordinate_transformation_mode": "asymmetric",
    }
    if mode == "nearest":
        node.attrs["nearest_mode"] = "floor"


# ------------------------------------------------------------------------------------------------ others
def flat_softmax(graph: gs.Graph, node: gs.Node, axis: int) -> None:
    """Normalise over all axes from `axis` on: Flatten, the operator on the last axis, and back."""
    make = n.Builder(graph, node, STEM)
    shape = make.op("Shape", node.inputs[0])
    flat = make.op("Flatten", node.inputs[0], axis=axis)
    normalised = make.op(node.op, flat, axis=-1)
    make.op("Reshape", normalised, shape, out=node.outputs[0])


def shorten(graph: gs.Graph, node: gs.Node, shapes: Shapes) -> None:
    """Drop from a Slice the rest that does not fill a step, and reduce a backward one to its first element."""
    spec, shape = slice_spec(node, shapes), shapes.of(node.inputs[0])
    if spec is None or shape is None:
        return
    bounds = []
    for start, end, axis, step in zip(*spec, strict=True):
        size = shape[axis]
        if size is None:
            return
        begin = min(max(start + size if start < 0 else start, 0), size - 1 if step < 0 else size)
        if step < 0:
            bounds.append((begin, begin + 1, axis, 1))
            continue
        stop = min(max(end + size if end < 0 else end, 0), size)
        bounds.append((begin, begin + (stop - begin) // step * step, axis, step))
    make = n.Builder(graph, node, STEM)
    for name in ("starts", "ends", "axes"):
        node.attrs.pop(name, None)
    columns = zip(*bounds, strict=True)
    node.inputs = [node.inputs[0], *(make.const(list(column), "bound", np.int64) for column in columns)]


def keep_floats(graph: gs.Graph, seeds: list[gs.Node], type_of: Callable[[str], int | None]) -> None:
    """Make `seeds` (Casts to integers, Divs of integers) and everything computed from them floats.

    Where an operator needs integers (indices, shapes) they are converted there.
    """
    if not seeds:
        return
    graph.toposort()
    chosen = {id(node) for node in seeds}
    floats: set[str] = set()
    for node in list(graph.nodes):
        seed = id(node) in chosen
        if seed and node.op == "Cast":
            node.attrs["to"] = onnx.TensorProto.FLOAT
            _mark(node, floats)
            continue
        touched = [tensor for tensor in node.inputs if tensor.name in floats]
        if not seed and (not touched or node.op == "Cast"):
            continue
        make = n.Builder(graph, node, STEM)
        if seed or (node.op in _FLAT | _COMPARISONS and node.inputs[0].name in floats) or node.op in _COMPARISONS:
            data = len(node.inputs) if _all_data(node.op) else 1
            for place in range(data):
                tensor = node.inputs[place]
                if tensor.name not in floats and not tensor.is_empty():
                    node.inputs[place] = make.op("Cast", tensor, to=onnx.TensorProto.FLOAT)
            if node.op not in _COMPARISONS:
                _mark(node, floats)
            continue
        for place, tensor in enumerate(node.inputs):
            if tensor.name in floats:
                kind = type_of(tensor.name) or onnx.TensorProto.INT64
                node.inputs[place] = make.op("Cast", tensor, to=kind)


def _all_data(operator: str) -> bool:
    return operator in _COMPARISONS or operator in (
        "Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "Concat", "Clip",
    )  # fmt: skip


def _mark(node: gs.Node, floats: set[str]) -> None:
    for tensor in node.outputs:
        tensor.dtype = np.float32
        floats.add(tensor.name)
