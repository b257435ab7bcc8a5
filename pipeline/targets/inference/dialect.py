"""The file format: strictly valid ONNX of the lowest opset from 15 on that has every operator of the graph.

This family's importer lets the declared opset decide how a node is read, so nothing may be in the form of another
one (importer.md, section 1). 15 is what the package's documentation recommends; LayerNormalization needs 17 and
Mish 18. All values are raw data inside the file, free sizes keep their names, and nothing is written that the
console would only report as ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx

from pipeline.graph import assemble
from pipeline.graph import nodes as n
from pipeline.graph.shapes import LazyShapes

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.graph import Shapes
    from pipeline.targets import Target

OPSET = 15
HIGHEST = 18
IR_VERSION = 8
"""What onnx 1.10 to 1.12 wrote with opsets 15 to 17."""
_STEM = "opset15"
_REPORTED = {"cubic_coeff_a": "cubic", "exclude_outside": "cubic", "extrapolation_value": "tf_crop_and_resize"}
"""Attributes of a Resize that cause a warning, and the mode or transformation in which they have an effect."""
_DEFAULTS = {"antialias": 0, "keep_aspect_ratio_policy": "stretch"}
"""Attributes of a Resize that are new in opset 18, and their defaults."""


def write(graph: gs.Graph, target: Target, metadata: Mapping[str, str] | None = None) -> bytes:
    """The model file of a graph in the valid form. The graph is not changed.

    What the target cannot compute is written too; validation reports it.
    """
    copy = graph.copy()
    shapes = LazyShapes(graph).here
    for node in list(copy.nodes):
        if node.domain not in (None, "", "ai.onnx"):
            continue
        change = _OLDER.get("Reduce" if node.op.startswith("Reduce") else node.op)
        if change is not None:
            change(copy, node, shapes)
    opset = max([OPSET, *(_lowest(node) for node in copy.nodes if node.domain in (None, "", "ai.onnx"))])
    if opset == HIGHEST:
        copy, opset = graph.copy(), HIGHEST
        for node in n.nodes_of(copy, *_ANY_OPSET):
            _OLDER[node.op](copy, node, shapes)
    copy.cleanup(remove_unused_graph_inputs=False)
    model = assemble(copy, opset, IR_VERSION, metadata, shapes)
    return model.SerializeToString(deterministic=True)


def _lowest(node: gs.Node) -> int:
    """The lowest opset from 15 on for which the node is valid."""
    given = [index for index in range(len(node.inputs)) if n.given(node, index) is not None]
    for opset in range(OPSET, HIGHEST):
        try:
            schema = onnx.defs.get_schema(node.op, opset)
        except onnx.defs.SchemaError:
            continue
        fits = set(node.attrs) <= set(schema.attributes) and max(given, default=-1) < schema.max_input
        if fits and not schema.deprecated and _values_fit(node, opset):
            return opset
    return HIGHEST


def _values_fit(node: gs.Node, opset: int) -> bool:
    """Whether an opset has the values of attributes, which schemas describe only in words."""
    if node.op in ("ScatterElements", "ScatterND") and "reduction" in node.attrs:
        return opset >= 18 or n.text(node, "reduction", "none") in ("none", "add", "mul")
    return True


def _number(graph: gs.Graph, node: gs.Node, shapes: Shapes) -> None:
    """Give constants of one element rank 1: up to 2.3, only those of rank 0 and 1 are merged into layers."""
    constants = [shapes.value(tensor) for tensor in node.inputs]
    for place, value in enumerate(constants):
        rank = shapes.rank(node.inputs[1 - place]) if len(constants) == 2 else None
        if value is not None and value.size == 1 and value.ndim > 1 and rank is not None and rank >= value.ndim:
            node.inputs[place] = n.Builder(graph, node, _STEM).const(value.reshape(1), "number", value.dtype)


def _reduce(graph: gs.Graph, node: gs.Node, shapes: Shapes) -> None:
    """Write the axes as an attribute, except for ReduceSum, which has had them as an input since opset 13."""
    if node.op == "ReduceSum":
        return
    axes = shapes.value(n.given(node, 1))
    if axes is None:
        if n.given(node, 1) is None and not node.attrs.get("noop_with_empty_axes"):
            node.attrs.pop("noop_with_empty_axes", None)
        return
    if node.attrs.pop("noop_with_empty_axes", 0) and not axes.size:
        node.op, node.inputs, node.attrs = "Identity", node.inputs[:1], {}
        return
    node.inputs = node.inputs[:1]
    if axes.size:
        node.attrs["axes"] = [int(axis) for axis in axes.reshape(-1)]


def _pad(graph: gs.Graph, node: gs.Node, shapes: Shapes) -> None:
    """Write pads for all axes instead of the named ones."""
    named, pads = shapes.value(n.given(node, 3)), shapes.value(n.given(node, 1))
    rank = shapes.rank(node.inputs[0])
    if named is None or pads is None or rank is None:
        return
    every = np.zeros((2, rank), np.int64)
    for place, axis in enumerate(named.reshape(-1)):
        every[:, int(axis) % rank] = pads.reshape(2, -1)[:, place]
    make = n.Builder(graph, node, _STEM)
    node.inputs = [node.inputs[0], make.const(every.reshape(-1), "pads", np.int64), *node.inputs[2:3]]
    _trim(node)


def _resize(graph: gs.Graph, node: gs.Node, shapes: Shapes) -> None:
    """Write one scale or size per axis, without attributes that only cause warnings."""
    mode, transform = n.text(node, "mode", "nearest"), n.text(node, "coordinate_transformation_mode")
    for name, applies_to in _REPORTED.items():
        if applies_to not in (mode, transform):
            node.attrs.pop(name, None)
    for name, value in _DEFAULTS.items():
        if node.attrs.get(name) == value:
            del node.attrs[name]
    if mode != "nearest":
        node.attrs.pop("nearest_mode", None)
    axes, rank = n.ints(node, "axes"), shapes.rank(node.inputs[0])
    if axes is None or rank is None:
        return
    place = 3 if n.given(node, 3) is not None else 2
    values = shapes.value(n.given(node, place))
    if values is None:
        return
    shape = shapes.of(node.inputs[0])
    if place == 3 and (shape is None or any(shape[axis] is None for axis in set(range(rank)) - set(axes))):
        return
    every = np.ones(rank, np.float32) if place == 2 else np.asarray([size or 1 for size in shape or ()], np.int64)
    for value, axis in zip(values.reshape(-1), axes, strict=True):
        every[axis % rank] = value
    del node.attrs["axes"]
    node.inputs[place] = n.Builder(graph, node, _STEM).const(
        every, "scales" if place == 2 else "sizes", every.dtype
    )


def _split(graph: gs.Graph, node: gs.Node, shapes: Shapes) -> None:
    """Write the sizes as an input if they are not equal."""
    count = node.attrs.get("num_outputs")
    if count is None:
        return
    shape = shapes.of(node.inputs[0])
    axis = int(node.attrs.get("axis", 0))
    size = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
    if size is None and len(node.outputs) != count:
        return
    del node.attrs["num_outputs"]
    if size is not None and size % count:
        part = -(-size // count)
        sizes = [min(part, size - part * index) for index in range(count)]
        node.inputs = [node.inputs[0], n.Builder(graph, node, _STEM).const(sizes, "split", np.int64)]


def _pool(graph: gs.Graph, node: gs.Node, shapes: Shapes) -> None:
    """Remove attributes without effect, because 2.4 warns of each (ONNXNodeWrapper.cs:53@2.4.0)."""
    if not node.attrs.get("ceil_mode") or _divides(node, shapes.of(node.inputs[0])):
        node.attrs.pop("ceil_mode", None)
    if not node.attrs.get("count_include_pad") or not any(n.ints(node, "pads", ())):
        node.attrs.pop("count_include_pad", None)
    if not node.attrs.get("storage_order"):
        node.attrs.pop("storage_order", None)
    if set(n.ints(node, "dilations", ())) <= {1}:
        node.attrs.pop("dilations", None)


def _divides(node: gs.Node, shape: Sequence[int | None] | None) -> bool:
    """Whether a pool's windows end at the border, so that rounding the size up or down is the same."""
    kernel = n.ints(node, "kernel_shape", ())
    axes = len(kernel)
    if shape is None or n.text(node, "auto_pad", "NOTSET") != "NOTSET" or len(shape) != axes + 2:
        return False
    strides, pads = n.ints(node, "strides", (1,) * axes), n.ints(node, "pads", (0,) * (2 * axes))
    dilations = n.ints(node, "dilations", (1,) * axes)
    for axis, size in enumerate(shape[2:]):
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        if size is None and strides[axis] != 1:
            return False
        if size is not None and (size + pads[axis] + pads[axis + axes] - reach) % strides[axis]:
            return False
    return True


def _layer_norm(graph: gs.Graph, node: gs.Node, shapes: Shapes) -> None:
    """Remove an axis attribute that names the last axis, because 2.4 warns of it."""
    rank, axis = shapes.rank(node.inputs[0]), node.attrs.get("axis")
    if axis == -1 or (rank is not None and axis == rank - 1):
        del node.attrs["axis"]


def _trim(node: gs.Node) -> None:
    while node.inputs and node.inputs[-1].is_empty():
        node.inputs = node.inputs[:-1]


_OLDER: dict[str, Callable[[gs.Graph, gs.Node, Shapes], None]] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _number),
    **dict.fromkeys(("AveragePool", "MaxPool"), _pool),
    "LayerNormalization": _layer_norm,
    "Reduce": _reduce,
    "Pad": _pad,
    "Resize": _resize,
    "Split": _split,
}
"""Functions that turn an operator's form of opset 18 into that of opset 15 to 17 and into what the package merges
best. Other operators need no change."""
_ANY_OPSET = ("Add", "AveragePool", "Div", "LayerNormalization", "MaxPool", "Mul", "Resize", "Sub")
"""Operators whose function is valid at every opset."""
