"""Nodes of older opsets in the forms of opset 18: what was an attribute is an input, what was implied is said.

One function per operator, of one node at a time: names of nodes and tensors stay, subgraphs are entered, and a
graph that mixes forms of several opsets (Barracuda's dialect) can be read with them too. onnx.version_converter
does the same for files that are valid in one opset, without the names; a test holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pipeline.graph import nodes as n
from pipeline.graph.forms import scales_of

if TYPE_CHECKING:
    from pipeline.graph.shapes import LazyShapes

STEM = "opset18"
"""In the names of constants that were attributes, and of nodes that a node was taken apart into."""
_ARITHMETIC = frozenset(["Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less"])
_ENDED = ("broadcast", "consumed_inputs", "is_test")
"""Attributes that ended with opset 6."""


def raise_node(graph: gs.Graph, node: gs.Node, opset: int, shapes: LazyShapes) -> None:
    """Bring one node of the standard domain, written in a form of `opset` (at most 18), to that of opset 18.

    Forms that are opset 18's already stay. What has no form there stays as it is, for the checker to name.
    """
    convert = _CHANGED.get(node.op)
    if opset < 7:
        _legacy(graph, node, shapes)
    if node.op in n.PARAMETERS:
        _parameters(graph, node)
    if convert is not None:
        convert(graph, node, opset, shapes)
    for name in _ENDED:
        node.attrs.pop(name, None)


def _parameters(graph: gs.Graph, node: gs.Node) -> None:
    """Attributes become the inputs after the first."""
    if "paddings" in node.attrs:
        node.attrs["pads"] = node.attrs.pop("paddings")
    parameters = {name: node.attrs.pop(name) for name in n.PARAMETERS[node.op] if name in node.attrs}
    if node.op == "Pad" and n.text(node, "mode", "constant") != "constant":
        parameters.pop("value", None)
    if parameters:
        n.Builder(graph, node, STEM).set(node, **parameters)


def _legacy(graph: gs.Graph, node: gs.Node, shapes: LazyShapes) -> None:
    """Broadcasting along a named axis, slopes per channel, and names of types, as before opset 7."""
    if node.op in _ARITHMETIC and "axis" in node.attrs:
        axis, rank = int(node.attrs.pop("axis")), shapes.here.rank(node.inputs[0])
        operand_rank = shapes.here.rank(node.inputs[1])
        if rank is not None and operand_rank is not None:
            _trailing(graph, node, rank - axis % rank - operand_rank)
    if node.op == "PRelu":
        rank, slope = shapes.here.rank(node.inputs[0]), shapes.here.of(node.inputs[1])
        if slope is not None and len(slope) == 1 and slope[0] != 1:
            _trailing(graph, node, (rank or 4) - 2)
    if node.op == "Cast" and isinstance(node.attrs.get("to"), str):
        node.attrs["to"] = onnx.TensorProto.DataType.Value(node.attrs["to"].upper())
    if node.op == "Concat":
        node.attrs.setdefault("axis", 1)


def _trailing(graph: gs.Graph, node: gs.Node, count: int) -> None:
    """Give the second operand `count` axes of size 1 behind its own."""
    if count <= 0:
        return
    make, constant = n.Builder(graph, node, STEM), n.value(node.inputs[1])
    if constant is not None:
        node.inputs[1] = make.const(constant.reshape(*constant.shape, *(1,) * count), "aligned", constant.dtype)
    else:
        node.inputs[1] = make.op("Unsqueeze", node.inputs[1], axes=[-1 - axis for axis in range(count)])


def _resize(graph: gs.Graph, node: gs.Node, opset: int, shapes: LazyShapes) -> None:
    """Upsample and Resize-10 are asymmetric and round down; later forms say so. Empty inputs are left out."""
    if node.op == "Resize" and len(node.inputs) != 2:
        crop = "crop" in n.text(node, "coordinate_transformation_mode")
        for position in range(1, len(node.inputs)):
            constant = n.value(n.given(node, position))
            if (position == 1 and not crop) or (constant is not None and constant.size == 0):
                node.inputs[position] = n.empty()
        if n.given(node, 3) is not None:
            node.inputs[2] = n.empty()
        _tensorflow_coordinates(node)
    else:
        make, mode = n.Builder(graph, node, STEM), n.text(node, "mode", "nearest")
        scales = n.given(node, 1)
        if scales is None and scales_of(node) is None:
            return
        scales = scales or make.const(scales_of(node), "scales")
        node.op, node.inputs = "Resize", [node.inputs[0], n.empty(), scales]
        node.attrs = {
            "mode": "linear" if mode == "bilinear" else mode,
            "coordinate_transformation_mode": "asymmetric",
        }
        if mode == "nearest":
            node.attrs["nearest_mode"] = "floor"
    while node.inputs[-1].is_empty():
        node.inputs = node.inputs[:-1]


def _tensorflow_coordinates(node: gs.Node) -> None:
    """tf_half_pixel_for_nn (opset 11 only) lies half a pixel behind half_pixel, rounded to the same pixels."""
    if n.text(node, "coordinate_transformation_mode") != "tf_half_pixel_for_nn":
        return
    same = {"floor": "round_prefer_ceil", "round_prefer_floor": "ceil"}
    rounding = same.get(n.text(node, "nearest_mode", "round_prefer_floor"))
    if n.text(node, "mode", "nearest") == "nearest" and rounding:
        node.attrs |= {"coordinate_transformation_mode": "half_pixel", "nearest_mode": rounding}


def _split(graph: gs.Graph, node: gs.Node, opset: int, shapes: LazyShapes) -> None:
    if n.given(node, 1) is None:
        node.attrs.setdefault("num_outputs", len(node.outputs))


def _reshape(graph: gs.Graph, node: gs.Node, opset: int, shapes: LazyShapes) -> None:
    if "shape" in node.attrs:
        shape = n.Builder(graph, node, STEM).const(node.attrs.pop("shape"), "shape", np.int64)
        node.inputs = [node.inputs[0], shape]


def _dropout(graph: gs.Graph, node: gs.Node, opset: int, shapes: LazyShapes) -> None:
    node.attrs.pop("ratio", None)


def _batch_norm(graph: gs.Graph, node: gs.Node, opset: int, shapes: LazyShapes) -> None:
    """Below opset 14 further outputs say that it trains (ONNX Runtime computes it so: measured)."""
    further = [output for output in node.outputs[1:] if output.name]
    if opset < 14 and further and not node.attrs.get("is_test"):
        node.attrs["training_mode"] = 1
    if opset < 14:
        while len(node.outputs) > 3 or (len(node.outputs) > 1 and not node.outputs[-1].name):
            node.outputs = node.outputs[:-1]
        if not node.attrs.get("training_mode"):
            node.outputs = node.outputs[:1]
    if int(node.attrs.pop("spatial", 1)) == 1:
        return
    # one mean and variance per value of the map (opset 7 and 8)
    parameters = [n.value(tensor) for tensor in node.inputs[1:5]]
    if any(value is None for value in parameters):
        return
    gamma, beta, mean, variance = (np.asarray(value, np.float64) for value in parameters)
    factor = gamma / np.sqrt(variance + float(node.attrs.get("epsilon", 1e-5)))
    make = n.Builder(graph, node, STEM)
    scaled = make.op("Mul", node.inputs[0], make.const(factor, "factor"))
    make.op("Add", scaled, make.const(beta - mean * factor, "shift"), out=node.outputs[0])
    make.drop()


def _softmax(graph: gs.Graph, node: gs.Node, opset: int, shapes: LazyShapes) -> None:
    """Below opset 13 it is over all axes from `axis` on; from then on over that one."""
    if opset >= 13:
        node.attrs.setdefault("axis", -1)
        return
    axis, shape = int(node.attrs.get("axis", 1)), shapes.here.of(node.inputs[0])
    rank = None if shape is None else len(shape)
    axis = axis if rank is None else axis % rank
    node.attrs["axis"] = axis
    if axis == -1 or (shape is not None and all(size == 1 for size in shape[axis + 1 :])):
        return
    make = n.Builder(graph, node, STEM)
    sizes = make.op("Shape", node.inputs[0])
    sizes.dtype = np.dtype(np.int64)
    flat = make.op("Flatten", node.inputs[0], axis=axis)
    softmax = make.op(node.op, flat, axis=-1)
    make.op("Reshape", softmax, sizes, out=node.outputs[0])
    make.drop()


def _scatter(graph: gs.Graph, node: gs.Node, opset: int, shapes: LazyShapes) -> None:
    node.op = "ScatterElements"


def _regions(graph: gs.Graph, node: gs.Node, opset: int, shapes: LazyShapes) -> None:
    if opset < 16:
        node.attrs.setdefault("coordinate_transformation_mode", "output_half_pixel")


def _group_norm(graph: gs.Graph, node: gs.Node, opset: int, shapes: LazyShapes) -> None:
    """Instance normalisation of the groups as rows, since opset 18's own form is deprecated.

    Scale and bias are per group up to opset 20, per channel from 21 on.
    """
    groups, shape = int(node.attrs.get("num_groups", 1)), shapes.here.of(node.inputs[0])
    if shape is None or len(shape) < 3:
        return
    make, source, output = n.Builder(graph, node, STEM), node.inputs[0], node.outputs[0]
    sizes = make.op("Shape", source)
    sizes.dtype = np.dtype(np.int64)
    kind = source.dtype if source.dtype is not None else np.float32
    rows = make.op("Reshape", source, make.const([0, groups, -1], "rows", np.int64))
    ones, zeros = make.const(np.ones(groups), "ones", kind), make.const(np.zeros(groups), "zeros", kind)
    scale, bias = n.value(node.inputs[1]), n.value(node.inputs[2])
    per_group = opset < 21 or shape[1] == groups
    epsilon = float(node.attrs.get("epsilon", 1e-5))
    if per_group and scale is not None and bias is not None:
        ones, zeros = node.inputs[1], node.inputs[2]
        normal = make.op("InstanceNormalization", rows, ones, zeros, epsilon=epsilon)
        make.op("Reshape", normal, sizes, out=output)
        make.drop()
        return
    normal = make.op("InstanceNormalization", rows, ones, zeros, epsilon=epsilon)
    whole = normal if per_group else make.op("Reshape", normal, sizes)
    behind = list(range(1, 2 if per_group else len(shape) - 1))
    parts = [_along(make, tensor, behind) for tensor in node.inputs[1:3]]
    result = make.op("Add", make.op("Mul", whole, parts[0]), parts[1], out=None if per_group else output)
    if per_group:
        make.op("Reshape", result, sizes, out=output)
    make.drop()


def _along(make: n.Builder, tensor: gs.Tensor, axes: list[int]) -> gs.Tensor:
    """A vector with axes of size 1 behind it."""
    constant = n.value(tensor)
    if constant is None:
        return make.op("Unsqueeze", tensor, axes=axes)
    return make.const(constant.reshape(-1, *(1,) * len(axes)), "along", constant.dtype)


def swish(graph: gs.Graph, node: gs.Node, opset: int, shapes: LazyShapes) -> None:
    """x * sigmoid(alpha * x); ONNX has it from opset 24 on, Barracuda and keras2onnx had it before."""
    alpha, make, x = float(node.attrs.get("alpha", 1.0)), n.Builder(graph, node, STEM), node.inputs[0]
    gate = make.op("Sigmoid", x if alpha == 1 else make.op("Mul", x, alpha))
    make.op("Mul", x, gate, out=node.outputs[0])
    make.drop()


def _image_scaler(graph: gs.Graph, node: gs.Node, opset: int, shapes: LazyShapes) -> None:
    """Experimental until opset 9, and known to Barracuda: x * scale + bias per channel."""
    make = n.Builder(graph, node, STEM)
    bias = np.reshape(node.attrs.get("bias", [0.0]), (1, -1, 1, 1))
    scaled = make.op("Mul", node.inputs[0], float(node.attrs.get("scale", 1.0)))
    make.op("Add", scaled, make.const(bias, "bias"), out=node.outputs[0])
    make.drop()


_CHANGED: dict[str, Callable[[gs.Graph, gs.Node, int, LazyShapes], None]] = {
    "BatchNormalization": _batch_norm,
    "Dropout": _dropout,
    "GroupNormalization": _group_norm,
    "ImageScaler": _image_scaler,
    "LogSoftmax": _softmax,
    "Hardmax": _softmax,
    "Reshape": _reshape,
    "Resize": _resize,
    "RoiAlign": _regions,
    "Scatter": _scatter,
    "Softmax": _softmax,
    "Split": _split,
    "Swish": swish,
    "Upsample": _resize,
}
