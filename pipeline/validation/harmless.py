"""Conditions, by name, under which an attribute that the importer ignores makes no difference."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from pipeline.validation.view import View, attribute, given, layer_output


def _last_axis(view: View, node: onnx.NodeProto) -> str:
    rank = view.rank(layer_output(node))
    axis = attribute(node, "axis", -1)
    return "it is the last axis" if rank is not None and axis in (-1, rank - 1) else ""


def _no_pads(view: View, node: onnx.NodeProto) -> str:
    pads = attribute(node, "pads", [])
    same = str(attribute(node, "auto_pad", "NOTSET")).startswith("SAME")
    return "" if any(pads) or same else "without pads it makes no difference"


def _same_size(view: View, node: onnx.NodeProto) -> str:
    """Whether rounding up and rounding down give the same number of windows."""
    shape = view.shape(given(node, 0))
    kernel = attribute(node, "kernel_shape")
    if shape is None or kernel is None or len(shape) != len(kernel) + 2:
        return ""
    if str(attribute(node, "auto_pad", "NOTSET")).startswith("SAME"):
        return "with auto_pad the size does not depend on it"
    count = len(kernel)
    strides = attribute(node, "strides", [1] * count)
    pads = attribute(node, "pads", [0] * 2 * count)
    dilations = attribute(node, "dilations", [1] * count)
    if min(len(strides), len(dilations)) < count or len(pads) < 2 * count or min(strides) < 1:
        return ""
    reason = "the size is the same here"
    for axis, size in enumerate(shape[2:]):
        if strides[axis] == 1:
            continue
        where = "the size is the same here"
        if size is None:
            size, where = 48 * strides[axis], "where the sizes divide by the strides it makes no difference"
        span = size + pads[axis] + pads[axis + count] - (kernel[axis] - 1) * dilations[axis] - 1
        extra = -(-span // strides[axis])
        if span % strides[axis] and extra * strides[axis] < size + pads[axis]:
            return ""
        reason = where if reason == "the size is the same here" else reason
    return reason


def _natural_output_shape(view: View, node: onnx.NodeProto) -> str:
    """Whether a ConvTranspose's output_shape is what its pads give anyway."""
    shape, weight = view.shape(given(node, 0)), view.shape(given(node, 1))
    declared = attribute(node, "output_shape")
    if shape is None or weight is None or attribute(node, "auto_pad", "NOTSET") != "NOTSET":
        return ""
    spatial = [size for size in shape[2:] if size is not None]
    if len(spatial) != len(weight) - 2:
        return ""
    count = len(weight) - 2
    strides = attribute(node, "strides", [1] * count)
    pads = attribute(node, "pads", [0] * 2 * count)
    extra = attribute(node, "output_padding", [0] * count)
    try:
        natural = [
            (spatial[axis] - 1) * strides[axis] + weight[axis + 2] + extra[axis] - pads[axis] - pads[axis + count]
            for axis in range(count)
        ]
    except (IndexError, TypeError):
        return ""
    return "it is what the pads give" if natural == declared[-count:] else ""


def _flatten_same_shape(view: View, node: onnx.NodeProto) -> str:
    shape = view.shape(given(node, 0))
    axis = attribute(node, "axis", 1)
    if shape is None or not shape:
        return ""
    axis = axis + len(shape) if axis < 0 else axis
    between = shape[1:axis] if axis > 1 else shape[axis:1]
    return "the result is the same" if all(size == 1 for size in between) else ""


def _zero(view: View, node: onnx.NodeProto) -> str:
    return "" if attribute(node, "select_last_index", 0) else "0 is what is computed"


def _average_mode(view: View, node: onnx.NodeProto) -> str:
    return "avg is what is computed" if attribute(node, "mode", "avg") == "avg" else ""


def _no_zero_in_shape(view: View, node: onnx.NodeProto) -> str:
    target = view.value(given(node, 1))
    return "the shape holds no 0" if target is not None and 0 not in target else ""


def _end_is_rank(view: View, node: onnx.NodeProto) -> str:
    rank = view.rank(given(node, 0))
    return "it is the end" if rank is not None and attribute(node, "end") >= rank else ""


def _trailing_axis(view: View, node: onnx.NodeProto) -> str:
    """Whether an operand placed at `axis` (opset 6 and before) lies on the last axes anyway."""
    first, second = view.shape(given(node, 0)), view.shape(given(node, 1))
    if first is None or second is None:
        return "" if view.opset < 7 else "this opset has no such attribute"
    axis = attribute(node, "axis")
    axis = axis + len(first) if axis < 0 else axis
    return "it is where the last axes are" if axis + len(second) == len(first) or len(second) == 0 else ""


def _zero_bias(view: View, node: onnx.NodeProto) -> str:
    """Whether a Gemm has nothing that beta could scale."""
    bias = view.value(given(node, 2)) if given(node, 2) else None
    return "C is zero" if not given(node, 2) or (bias is not None and not bias.any()) else ""


HARMLESS: dict[str, Callable[[View, onnx.NodeProto], str]] = {
    "last-axis": _last_axis,
    "no-pads": _no_pads,
    "same-size": _same_size,
    "natural-output-shape": _natural_output_shape,
    "flatten-same-shape": _flatten_same_shape,
    "zero": _zero,
    "average-mode": _average_mode,
    "no-zero-in-shape": _no_zero_in_shape,
    "end-is-rank": _end_is_rank,
    "trailing-axis": _trailing_axis,
    "zero-bias": _zero_bias,
}
"""Each gives the reason why it makes no difference, or an empty string where it does."""
