"""Nodes of newer opsets (19 and later) in the forms of opset 18.

Most versions after 18 only add element types. Operators that are newer are taken apart, by hand where that gives
a form that the rewrites know, else by the definition that ONNX itself gives (`expand`). Quantising in more types
than 8 bit becomes the operator of the same name in com.microsoft, which has them in any opset.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pipeline.graph import nodes as n
from pipeline.graph.forms import pads_of, scales_of
from pipeline.graph.older import STEM, swish
from pipeline.graph.onnx_inference import inferred_by_onnx
from pipeline.graph.sampling import Kernel
from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    from pipeline.graph.shapes import LazyShapes

_OPSET = 18
_BY_HAND = frozenset(["Gelu", "GroupNormalization", "RMSNormalization", "Swish"])
_BYTES = (int(onnx.TensorProto.INT8), int(onnx.TensorProto.UINT8))


def expand(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with operators that opset 18 lacks replaced by their ONNX function bodies."""
    newer = {
        node.op_type
        for node in model.graph.node
        if node.domain in ("", "ai.onnx") and _schema(node.op_type) is None and node.op_type not in _BY_HAND
    }
    defined = sorted(name for name in newer if _is_defined(name))
    if not defined:
        return model
    from onnx import inliner

    pairs = [("", name) for name in defined]
    try:
        typed = inferred_by_onnx(model)
        return inliner.inline_selected_functions(typed, pairs, inline_schema_functions=True)
    except (RuntimeError, onnx.shape_inference.InferenceError):
        return model  # types are not known: the operators stay, and validation reports them


def _schema(operator: str) -> onnx.defs.OpSchema | None:
    try:
        schema = onnx.defs.get_schema(operator, _OPSET)
    except onnx.defs.SchemaError:
        return None
    return schema if not schema.deprecated else None


def _is_defined(operator: str) -> bool:
    try:
        schema = onnx.defs.get_schema(operator)
    except onnx.defs.SchemaError:
        return False
    return bool(schema.has_function or schema.has_context_dependent_function)  # type: ignore[attr-defined]


def lower_node(graph: gs.Graph, node: gs.Node, opset: int, shapes: LazyShapes) -> None:
    """Bring one node of the standard domain, in a form of `opset` (above 18), to that of opset 18.

    Raises PipelineError `opset-too-new` where opset 18 cannot say it.
    """
    convert = _CHANGED.get(node.op)
    if convert is not None:
        convert(graph, node, opset, shapes)
        if not node.outputs or node.domain not in (None, "", "ai.onnx"):
            return
    schema = _schema(node.op)
    if schema is None:
        return
    for name in set(node.attrs) - set(schema.attributes):
        if not _is_default(node, name):
            raise _too_new(node, f"its attribute {name}")
        del node.attrs[name]


def _is_default(node: gs.Node, name: str) -> bool:
    attribute = onnx.defs.get_schema(node.op).attributes.get(name)
    if attribute is None or not attribute.default_value.type:
        return name == "dilations" and set(n.ints(node, name, ())) <= {1}
    default = onnx.helper.get_attribute_value(attribute.default_value)
    value = node.attrs[name]
    return value == (default.decode() if isinstance(default, bytes) else default)


def _too_new(node: gs.Node, what: str) -> PipelineError:
    return PipelineError(
        "opset-too-new",
        f"{node.op} {node.name}: {what} does not exist in opset {_OPSET}",
        remedy=f"Export the network with opset {_OPSET} or lower.",
    )


def _cast(graph: gs.Graph, node: gs.Node, opset: int, shapes: LazyShapes) -> None:
    """Saturating and rounding concern float8 only."""
    for name in ("saturate", "round_mode"):
        node.attrs.pop(name, None)


def _quantise(graph: gs.Graph, node: gs.Node, opset: int, shapes: LazyShapes) -> None:
    zero = n.given(node, 2)
    kind = None if zero is None or zero.dtype is None else n.type_number(zero.dtype)
    if kind is None:
        dtype = node.inputs[0].dtype if node.op == "DequantizeLinear" else node.attrs.get("output_dtype")
        kind = n.type_number(dtype) if dtype else _BYTES[1]
    blocks = int(node.attrs.get("block_size", 0))
    floats = node.op == "QuantizeLinear" or int(node.attrs.get("output_dtype", 0)) in (0, onnx.TensorProto.FLOAT)
    if (kind in _BYTES or (kind == onnx.TensorProto.INT32 and node.op[0] == "D")) and not blocks and floats:
        for name in ("saturate", "precision", "output_dtype", "block_size"):
            node.attrs.pop(name, None)
        return
    node.domain = "com.microsoft"


def _resize(graph: gs.Graph, node: gs.Node, opset: int, shapes: LazyShapes) -> None:
    """half_pixel_symmetric is half_pixel wherever the output's size is the exact multiple of the input's."""
    if n.text(node, "coordinate_transformation_mode") != "half_pixel_symmetric":
        return
    scales, shape = scales_of(node, shapes.here), shapes.here.of(node.inputs[0])
    exact, axes = (
        n.given(node, 3) is not None,
        n.ints(node, "axes", range(len(scales) if scales is not None else 0)),
    )
    if scales is not None:
        sizes = [None if shape is None else shape[axis] for axis in axes]
        exact = all(
            float(scale).is_integer() or (size is not None and (size * float(scale)).is_integer())
            for scale, size in zip(scales, sizes, strict=True)
        )
    if exact:
        node.attrs["coordinate_transformation_mode"] = "half_pixel"
        return
    static = shapes.here.static(node.inputs[0])
    if static is None or scales is None or node.attrs.get("antialias") or node.attrs.get("exclude_outside"):
        raise _too_new(node, "half_pixel_symmetric to a size that is not an exact multiple")
    _sampled(graph, node, static, dict(zip(axes, scales.tolist(), strict=True)))


def _sampled(graph: gs.Graph, node: gs.Node, shape: tuple[int, ...], scales: dict[int, float]) -> None:
    """The resize of a declared size written out: per axis the sum over taps of picked rows times weights."""
    mode, rounding = n.text(node, "mode", "nearest"), n.text(node, "nearest_mode", "round_prefer_floor")
    kernel = Kernel(mode, "half_pixel_symmetric", rounding, float(node.attrs.get("cubic_coeff_a", -0.75)))
    make, tensor = n.Builder(graph, node, STEM), node.inputs[0]
    for axis, scale in scales.items():
        if scale == 1:
            continue
        index, weight = kernel.taps(shape[axis], math.floor(shape[axis] * scale), scale)
        index = np.clip(index, 0, shape[axis] - 1)
        along = [-1 if other == axis else 1 for other in range(len(shape))]
        terms = []
        for tap in range(index.shape[1]):
            rows = make.op("Gather", tensor, make.const(index[:, tap], "indices", np.int64), axis=axis)
            terms.append(make.op("Mul", rows, make.const(weight[:, tap].reshape(along), "weights")))
        tensor = terms[0]
        for term in terms[1:]:
            tensor = make.op("Add", tensor, term)
    n.replace_output(tensor, node.outputs[0])
    make.drop()


def _pad(graph: gs.Graph, node: gs.Node, opset: int, shapes: LazyShapes) -> None:
    """Circular padding (19): the last rows, all of them, the first rows, axis by axis."""
    if n.text(node, "mode") != "wrap":
        return
    pads = pads_of(node, shapes.here.rank(node.inputs[0]), shapes.here)
    if pads is None or min(pads) < 0:
        raise _too_new(node, "its mode wrap with computed or negative pads")
    make, tensor, rank = n.Builder(graph, node, STEM), node.inputs[0], len(pads) // 2
    for axis in range(rank):
        parts = [tensor]
        if pads[axis]:
            part = make.op("Slice", tensor, starts=[-pads[axis]], ends=[2**31 - 1], axes=[axis])
            parts.insert(0, part)
        if pads[axis + rank]:
            parts.append(make.op("Slice", tensor, starts=[0], ends=[pads[axis + rank]], axes=[axis]))
        tensor = make.op("Concat", *parts, axis=axis) if len(parts) > 1 else tensor
    if tensor is node.inputs[0]:
        tensor = make.op("Identity", tensor)
    n.replace_output(tensor, node.outputs[0])
    make.drop()


def _average_pool(graph: gs.Graph, node: gs.Node, opset: int, shapes: LazyShapes) -> None:
    """Dilations (19): a depthwise convolution whose kernel is dilated, over how many pixels it met."""
    dilations = n.ints(node, "dilations")
    if dilations is None or set(dilations) == {1}:
        return
    kernel = n.ints(node, "kernel_shape", ())
    channels = shapes.here.channels(node.inputs[0])
    rank = len(kernel)
    pads, shape = list(n.ints(node, "pads", (0,) * 2 * rank)), shapes.here.of(node.inputs[0])
    up = bool(node.attrs.get("ceil_mode")) and not node.attrs.get("count_include_pad")
    plain = n.text(node, "auto_pad", "NOTSET") in ("", "NOTSET") and (up or not node.attrs.get("ceil_mode"))
    if channels is None or not plain or (up and (shape is None or None in shape[2:])):
        raise _too_new(node, "an average over dilated pixels in this form")
    if up:  # the last window may reach beyond the end: pixels that do not count
        strides = n.ints(node, "strides", (1,) * rank)
        for axis, size in enumerate(shape[2:]):  # type: ignore[index]
            reach = (kernel[axis] - 1) * dilations[axis] + 1
            span = size + pads[axis] + pads[axis + rank] - reach  # type: ignore[operator]
            count = math.ceil(span / strides[axis]) + 1
            if (count - 1) * strides[axis] >= size + pads[axis]:  # type: ignore[operator]
                count -= 1
            pads[axis + rank] = max(0, (count - 1) * strides[axis] + reach - size - pads[axis])  # type: ignore[operator]
    make, source = n.Builder(graph, node, STEM), node.inputs[0]
    attrs: dict[str, Any] = {
        "kernel_shape": list(kernel),
        "dilations": list(dilations),
        "strides": list(n.ints(node, "strides", (1,) * rank)),
        "pads": pads,
        "group": channels,
    }
    share = 1 / math.prod(kernel)
    n.room(channels, *kernel, item=8)
    weights = make.const(np.full((channels, 1, *kernel), share), "weights")
    total = make.op("Conv", source, weights, **attrs)
    if any(pads) and not node.attrs.get("count_include_pad"):
        ones = make.op("Add", make.op("Mul", source, 0.0), 1.0)
        total = make.op("Div", total, make.op("Conv", ones, weights, **attrs))
    n.replace_output(total, node.outputs[0])
    make.drop()


def _grid_sample(graph: gs.Graph, node: gs.Node, opset: int, shapes: LazyShapes) -> None:
    names = {"linear": "bilinear", "cubic": "bicubic"}
    mode = n.text(node, "mode", "linear")
    node.attrs["mode"] = names.get(mode, mode)


def _space_to_depth(graph: gs.Graph, node: gs.Node, opset: int, shapes: LazyShapes) -> None:
    """CRD (28) is the same with the channels in another order."""
    mode, block = n.text(node, "mode", "DCR"), int(node.attrs["blocksize"])
    channels = shapes.here.channels(node.inputs[0])
    node.attrs.pop("mode", None)
    if mode == "DCR":
        return
    if channels is None:
        raise _too_new(node, "mode CRD of an unknown number of channels")
    make, output = n.Builder(graph, node, STEM), node.outputs[0]
    order = np.arange(channels * block * block).reshape(block * block, channels).T.reshape(-1)
    deep = make.op("SpaceToDepth", node.inputs[0], blocksize=block)
    make.op("Gather", deep, make.const(order, "channels", np.int64), axis=1, out=output)
    make.drop()


def _gelu(graph: gs.Graph, node: gs.Node, opset: int, shapes: LazyShapes) -> None:
    make = n.Builder(graph, node, STEM)
    approximate = n.text(node, "approximate", "none") == "tanh"
    n.replace_output(gelu(make, node.inputs[0], approximate), node.outputs[0])
    make.drop()


def gelu(make: n.Builder, x: gs.Tensor, approximate: bool) -> gs.Tensor:
    """x / 2 * (1 + erf(x / sqrt 2)), or the tanh form that is approximately that."""
    half = make.op("Mul", x, 0.5)
    if approximate:
        cube = make.op("Mul", make.op("Mul", x, x), x)
        inner = make.op("Mul", make.op("Add", x, make.op("Mul", cube, 0.044715)), math.sqrt(2 / math.pi))
        curve = make.op("Tanh", inner)
    else:
        curve = make.op("Erf", make.op("Mul", x, math.sqrt(0.5)))
    return make.op("Mul", half, make.op("Add", curve, 1.0))


def _rms_norm(graph: gs.Graph, node: gs.Node, opset: int, shapes: LazyShapes) -> None:
    """x / sqrt(mean of squares + epsilon) * scale, over the axes from `axis` on."""
    source, rank = node.inputs[0], shapes.here.rank(node.inputs[0])
    axis = int(node.attrs.get("axis", -1))
    if rank is None and axis != -1:
        raise _too_new(node, "RMSNormalization of a tensor of unknown rank")
    axes = [-1] if rank is None else list(range(axis % rank, rank))
    make = n.Builder(graph, node, STEM)
    mean = make.op("ReduceMean", make.op("Mul", source, source), axes=axes, keepdims=1)
    root = make.op("Sqrt", make.op("Add", mean, float(node.attrs.get("epsilon", 1e-5))))
    make.op("Mul", make.op("Div", source, root), node.inputs[1], out=node.outputs[0])
    make.drop()


_CHANGED: dict[str, Callable[[gs.Graph, gs.Node, int, LazyShapes], None]] = {
    "AveragePool": _average_pool,
    "Cast": _cast,
    "CastLike": _cast,
    "DequantizeLinear": _quantise,
    "Gelu": _gelu,
    "GridSample": _grid_sample,
    "Pad": _pad,
    "QuantizeLinear": _quantise,
    "RMSNormalization": _rms_norm,
    "Resize": _resize,
    "SpaceToDepth": _space_to_depth,
    "Swish": swish,
}
