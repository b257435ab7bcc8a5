"""Kinds of rule that only this family's data files name: what its importer does not support of one node.

This importer lets the opset that the file declares decide whether attributes or inputs are read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import onnx

from pipeline.validation.findings import Severity
from pipeline.validation.harmless import HARMLESS
from pipeline.validation.kinds import Hit, cosmetic, plain
from pipeline.validation.view import View, attribute, given, label

if TYPE_CHECKING:
    from pipeline.targets import Rule
    from pipeline.validation.kinds import Kind

_FLOATS = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.BFLOAT16,
)
_FALSE_OR_TRUE = frozenset(
    [
        "And",
        "Or",
        "Not",
        "Xor",
        "Equal",
        "Less",
        "LessOrEqual",
        "Greater",
        "GreaterOrEqual",
        "IsNaN",
        "IsInf",
        "Sign",
    ]
)
"""Operators whose results a cut of the fraction leaves as they are."""


def importer_opset(view: View) -> int:
    """The opset as which the importer reads the file: the last entry with an empty domain, 15 without one.

    The domain spelled `ai.onnx` is not recognised (ONNXModelConverter.cs:1517@2.4.0).
    """
    found = [entry.version for entry in view.model.opset_import if not entry.domain]
    return int(found[-1]) if found else 15


def attribute_form(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """Attributes that the importer ignores at the opset as which it reads the file."""
    opset, since = importer_opset(view), rule.options["since_opset"]
    if opset < since:
        return
    for name in rule.options["attributes"]:
        value = attribute(node, name)
        if value is None or (rule.options.get("unless") == "all" and _all_axes(view, node, value)):
            continue
        yield Hit(
            f"the attribute {name}={plain(value)} is ignored: the file is read as opset {opset}, and from opset "
            f"{since} on this is an input",
            name,
        )


def input_form(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """Inputs that the importer ignores at the opset as which it reads the file."""
    opset, since = importer_opset(view), rule.options["since_opset"]
    if opset >= since:
        return
    for index in rule.options["inputs"]:
        name = given(node, index)
        if not name:
            continue
        if rule.options.get("unless") == "all" and _all_axes(view, node, view.value(name)):
            continue
        yield Hit(
            f"the input {name} is ignored: the file is read as opset {opset}, and before opset {since} this is an "
            "attribute",
            f"input {index}",
        )


def _all_axes(view: View, node: onnx.NodeProto, axes: object) -> bool:
    """Whether axes name every axis of the data, or (Squeeze) every axis of size 1."""
    shape = view.shape(given(node, 0))
    if shape is None or axes is None:
        return False
    named = {int(axis) % max(len(shape), 1) for axis in axes}  # type: ignore[attr-defined]
    size_one = {axis for axis, size in enumerate(shape) if size in (1, None)}
    return named == (size_one if node.op_type == "Squeeze" else set(range(len(shape))))


def softmax_axis(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """Softmax over one axis, by default the last; before opset 13 ONNX normalises over all axes from `axis` on."""
    if view.opset >= 13:
        return
    shape = view.shape(given(node, 0))
    if shape is None:
        return
    rank = len(shape)
    start = attribute(node, "axis", 1)
    start = start + rank if start < 0 else start
    here = attribute(node, "axis", -1)
    here = here + rank if here < 0 else here
    wide = {axis for axis, size in enumerate(shape) if size != 1}
    if wide & set(range(start, rank)) != wide & {here}:
        yield Hit(
            f"opset {view.opset} normalises over all axes from {start} on, the target over axis {here} only",
            "axis",
        )


def layer_norm_axis(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """LayerNormalization over other axes than the last (operators.json, LayerNormalization)."""
    axis, rank = attribute(node, "axis", -1), view.rank(given(node, 0))
    if axis == -1:
        return
    if rank is not None and axis in (rank - 1, -1):
        yield cosmetic(
            f"the console warns of axis={axis}; the result is correct, because it is the last axis", "axis"
        )
        return
    yield Hit(f"axis={axis}: the target normalises over the last axis only", "axis")


def prelu_broadcast(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """A slope that cannot be broadcast along the last axes; before opset 7 ONNX defined one per channel."""
    shape, slope = view.shape(given(node, 0)), view.shape(given(node, 1))
    if shape is None or slope is None or math.prod(size or 2 for size in slope) == 1:
        return
    aligned = shape[len(shape) - len(slope) :] if len(slope) <= len(shape) else None
    if aligned is None or any(
        mine not in (1, None, data) and data is not None for mine, data in zip(slope, aligned, strict=True)
    ):
        reason = f"a slope of shape {plain(list(slope))} does not match the last axes of {plain(list(shape))}"
        yield Hit(reason, "slope")


def float_indices(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    name = given(node, rule.options["input"])
    if view.dtype(name) in _FLOATS:
        yield Hit(f"{name} has floats; the layer takes only integers", name)


def integer_data(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """Operators that run on floats only."""
    name = given(node, rule.options["input"])
    dtype = view.dtype(name)
    if dtype is not None and dtype not in _FLOATS and dtype != onnx.TensorProto.UNDEFINED:
        yield Hit(
            f"{name} has {onnx.TensorProto.DataType.Name(dtype).lower()} values; the layer takes only floats", name
        )


def unnamed_outputs(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """Missing outputs that the importer reads by position, used or not."""
    missing = [place for place in rule.options["outputs"] if place >= len(node.output) or not node.output[place]]
    if missing:
        yield Hit(f"output {missing[0]} has no name, but the importer needs one")


def cast_to_bool(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """A Cast of floats to BOOL, which truncates the fraction: 0.5 becomes false."""
    if attribute(node, "to") != onnx.TensorProto.BOOL or view.dtype(given(node, 0)) not in _FLOATS:
        return
    values, maker = view.value(given(node, 0)), view.maker(given(node, 0))
    if values is not None and not ((values != 0) & (abs(values) < 1)).any():
        return
    whole = maker is not None and (maker.op_type in _FALSE_OR_TRUE or _from_whole_numbers(view, maker))
    if not whole:
        yield Hit("values between -1 and 1 become false, because the fraction is truncated", "to")


def _from_whole_numbers(view: View, maker: onnx.NodeProto) -> bool:
    if maker.op_type in ("Floor", "Ceil", "Round"):
        return True
    return maker.op_type == "Cast" and view.dtype(given(maker, 0)) not in (*_FLOATS, None)


def cast_type(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    target_type = attribute(node, "to")
    try:
        name = onnx.TensorProto.DataType.Name(target_type)
    except (TypeError, ValueError):
        name = str(target_type)
    if name in ("STRING", "UNDEFINED") or name.startswith(
        ("COMPLEX", "FLOAT8", "FLOAT4", "FLOAT6", "INT4", "UINT4")
    ):
        yield Hit(f"Cast to {name} is reported as an error, and the values stay floats", "to")


def same_padding(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """SAME padding with dilations, or with a stride larger than the kernel.

    The pads of such a stride are negative and not raised to 0: with SAME_LOWER the first row or column is cut off,
    with SAME_UPPER from two on (ShapeInferenceHelper.cs:126@2.1.3; measured, right in 2.2.2 and later).
    """
    pad, dilations = str(attribute(node, "auto_pad", "NOTSET")), attribute(node, "dilations", [])
    if not pad.startswith("SAME"):
        return
    if any(step > 1 for step in dilations):
        yield Hit(f"auto_pad={pad} with dilations={plain(dilations)}: the output has the wrong size", "auto_pad")
        return
    kernel, strides = view.shape(given(node, 1)), attribute(node, "strides", [])
    gaps = [stride - (size or 1) for stride, size in zip(strides, (kernel or ())[2:], strict=False)]
    if any(gap >= (1 if pad == "SAME_LOWER" else 2) for gap in gaps):
        yield Hit(f"auto_pad={pad} with strides={plain(strides)}: the first rows and columns are lost", "auto_pad")


def output_shape(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """A ConvTranspose's output_shape, which is ignored without a warning: the size follows from the pads."""
    value = attribute(node, "output_shape")
    if value is None:
        return
    if HARMLESS["natural-output-shape"](view, node):
        reason = f"output_shape={plain(value)} is ignored; at this size the pads give the same shape"
        yield Hit(reason, "output_shape", Severity.NOTE)
    else:
        yield Hit(f"output_shape={plain(value)} is ignored: the size follows from the pads", "output_shape")


def fourier(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """DFT: the axis as an attribute (before opset 20) throws; inverse with onesided is wrong (measured)."""
    if view.opset < 20:
        yield Hit("before opset 20 the axis of a DFT is an attribute, which throws when the model runs", "axis")
    elif attribute(node, "inverse", 0) and attribute(node, "onesided", 0):
        yield Hit("inverse=1 with onesided=1 gives wrong values", "onesided", Severity.WRONG)


def one_operand(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    if len([name for name in node.input if name]) == 1:
        yield Hit(f"a {node.op_type} of one operand: {rule.options['what']}", label(node))


def whole_rank(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """Operators that some workers support only up to a rank."""
    rank = view.rank(given(node, rule.options.get("input", 0)))
    if rank is not None and rank > rule.options["max"]:
        yield Hit(f"the data has rank {rank}; these workers support at most {rule.options['max']}")


KINDS: dict[str, Kind] = {
    "attribute-form": attribute_form,
    "input-form": input_form,
    "softmax-one-axis": softmax_axis,
    "layer-norm-axis": layer_norm_axis,
    "prelu-broadcast": prelu_broadcast,
    "float-indices": float_indices,
    "integer-data": integer_data,
    "unnamed-outputs": unnamed_outputs,
    "cast-to-bool": cast_to_bool,
    "cast-type": cast_type,
    "same-padding": same_padding,
    "output-shape": output_shape,
    "fourier": fourier,
    "one-operand": one_operand,
    "whole-rank": whole_rank,
}
