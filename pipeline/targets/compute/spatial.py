"""Reads operators that combine or move pixels and channels: convolutions, pools, padding, resizing, reshapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.shape import Shapes
from pipeline.targets.compute.reading import constant, number, picture_shape, required, step
from pipeline.targets.compute.steps import ELSEWHERE, LOWERED, Step, Unsupported

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs


def _pads(
    node: gs.Node, shapes: Shapes, kernel: tuple[int, ...], strides: tuple[int, ...], dilations: Any
) -> tuple:
    """Pads (top, left, bottom, right) of a convolution or pool; raises Unsupported if they depend on the size."""
    auto = n.text(node, "auto_pad", "NOTSET")
    if auto == "VALID":
        return (0, 0, 0, 0)
    if auto == "NOTSET":
        return n.ints(node, "pads", (0, 0, 0, 0))
    shape = shapes.static(node.inputs[0])
    sides = []
    for axis in (0, 1):
        size = shape[2 + axis] if shape else None
        if size is None or (strides[axis] > 1 and size % strides[axis]):
            raise Unsupported(
                f"auto_pad={auto} depends on the size of the picture", "Export it with explicit pads."
            )
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        total = max(0, (-(-size // strides[axis]) - 1) * strides[axis] + reach - size)
        small, large = total // 2, total - total // 2
        sides.append((small, large) if auto == "SAME_UPPER" else (large, small))
    return (sides[0][0], sides[1][0], sides[0][1], sides[1][1])


def convolution(node: gs.Node, shapes: Shapes) -> list[Step]:
    weight = required(node, 1, "weight")
    if weight.ndim != 4:
        raise Unsupported(
            f"a convolution over {weight.ndim - 2} dimensions is not supported; pictures have two", ELSEWHERE
        )
    transposed = node.op == "ConvTranspose"
    group = int(node.attrs.get("group", 1))
    channels = weight.shape[1] * group if transposed else weight.shape[0]
    bias = constant(node, 2)
    bias = np.zeros(channels) if bias is None else bias.astype(np.float64).reshape(-1)
    strides, dilations = n.ints(node, "strides", (1, 1)), n.ints(node, "dilations", (1, 1))
    kernel = (weight.shape[2], weight.shape[3])
    if transposed:
        output_padding = n.ints(node, "output_padding", (0, 0))
        pads = _transposed_pads(node, kernel, strides, dilations, output_padding)
        return [
            step(
                "transposed",
                node,
                weight=weight,
                bias=bias,
                group=group,
                strides=strides,
                dilations=dilations,
                pads=pads,
                more=output_padding,
            )
        ]
    pads = _pads(node, shapes, kernel, strides, dilations)
    return [
        step("conv", node, weight=weight, bias=bias, group=group, strides=strides, dilations=dilations, pads=pads)
    ]


def _transposed_pads(
    node: gs.Node, kernel: tuple[int, int], strides: Any, dilations: Any, output_padding: Any
) -> tuple[int, int, int, int]:
    """Rows and columns (top, left, bottom, right) that a transposed convolution crops; SAME_*: stride x size."""
    auto = n.text(node, "auto_pad", "NOTSET")
    if "output_shape" in node.attrs:
        raise Unsupported(
            "output_shape of a transposed convolution fixes the size",
            "`pipeline convert` and `build-unity` turn it into pads.",
        )
    if auto in ("NOTSET", "VALID"):
        top, left, bottom, right = n.ints(node, "pads", (0, 0, 0, 0))
        return (top, left, bottom, right) if auto == "NOTSET" else (0, 0, 0, 0)
    sides = []
    for axis in (0, 1):
        total = max(0, (kernel[axis] - 1) * dilations[axis] + 1 - strides[axis] + output_padding[axis])
        small, large = total // 2, total - total // 2
        sides.append((small, large) if auto == "SAME_UPPER" else (large, small))
    return sides[0][0], sides[1][0], sides[0][1], sides[1][1]


def pad(node: gs.Node, shapes: Shapes) -> list[Step]:
    pads = [int(v) for v in np.asarray(constant(node, 1, "pads")).reshape(-1)]
    axes = constant(node, 3)
    if axes is not None:
        spread = [0] * 8
        for place, axis in enumerate(int(a) % 4 for a in axes.reshape(-1)):
            spread[axis], spread[axis + 4] = pads[place], pads[len(pads) // 2 + place]
        pads = spread
    if len(pads) != 8 or pads[0] or pads[1] or pads[4] or pads[5]:
        raise Unsupported("padding of channels is not supported", ELSEWHERE)
    mode = n.text(node, "mode", "constant")
    if mode not in ("constant", "reflect", "edge"):
        raise Unsupported(f"padding with mode={mode} is not supported", ELSEWHERE)
    value = number(node, 2, "value", 0.0) if mode == "constant" else 0.0
    return [step("pad", node, pads=(pads[2], pads[3], pads[6], pads[7]), mode=mode, value=value)]


def slice_(node: gs.Node, shapes: Shapes) -> list[Step]:
    shape = shapes.static(node.inputs[0])
    if shape is None or len(shape) != 4:
        raise Unsupported("only slices of pictures are supported", ELSEWHERE)
    starts, ends = constant(node, 1, "starts"), constant(node, 2, "ends")
    if starts is None or ends is None:
        raise Unsupported("its starts or ends are missing")
    axes, steps = constant(node, 3, "axes"), constant(node, 4, "steps")
    ranges = [(0, size) for size in shape]
    for place, (start, end) in enumerate(zip(starts.reshape(-1), ends.reshape(-1), strict=True)):
        axis = int(axes.reshape(-1)[place]) % 4 if axes is not None else place
        if steps is not None and int(steps.reshape(-1)[place]) != 1:
            raise Unsupported("slices with steps are not supported", ELSEWHERE)
        ranges[axis] = slice(int(start), int(end)).indices(shape[axis])[:2]
    if ranges[0] != (0, shape[0]):
        raise Unsupported("a slice of the batch axis is not supported", ELSEWHERE)
    slices = []
    cropped = [(ranges[axis][0], shape[axis] - ranges[axis][1]) for axis in (2, 3)]
    spatial = any(side for pair in cropped for side in pair)
    if ranges[1] != (0, shape[1]):
        channels = step("channels", node, first=ranges[1][0], count=ranges[1][1] - ranges[1][0])
        if spatial:
            raise Unsupported("slicing channels and pixels in one node is not supported", "Split it in two.")
        slices.append(channels)
    elif spatial:
        pads = (-cropped[0][0], -cropped[1][0], -cropped[0][1], -cropped[1][1])
        slices.append(step("pad", node, pads=pads, mode="constant", value=0.0))
    else:
        slices.append(step("same", node))
    return slices


def split(node: gs.Node, shapes: Shapes) -> list[Step]:
    shape = shapes.static(node.inputs[0])
    axis = int(node.attrs.get("axis", 0))
    if shape is None or len(shape) != 4 or axis % 4 != 1:
        raise Unsupported("only a Split along the channels is supported", ELSEWHERE)
    parts, first = [], 0
    for tensor in node.outputs:
        part = shapes.static(tensor)
        if part is None:
            raise Unsupported("the number of channels is not known")
        count = part[1]
        parts.append(
            Step(
                "channels",
                node.name,
                node.op,
                (node.inputs[0].name,),
                tensor.name,
                {"first": first, "count": count},
            )
        )
        first += count
    return parts


def gather(node: gs.Node, shapes: Shapes) -> list[Step]:
    """Channels in another order: a slice, a channel shuffle, or else a 1x1 convolution of zeros and ones."""
    shape, indices = shapes.static(node.inputs[0]), constant(node, 1)
    axis = int(node.attrs.get("axis", 0))
    if shape is None or len(shape) != 4 or axis % 4 != 1 or indices is None or indices.ndim != 1:
        raise Unsupported("only a list of channels of a picture is gathered here", ELSEWHERE)
    total, count = shape[1], indices.size
    if not count or indices.min() < -total or indices.max() >= total:
        raise Unsupported(f"its indices are not channels of its input, which has {total}")
    picks = indices.astype(np.int64) % total
    if np.array_equal(picks, np.arange(total)):
        return [step("same", node)]
    if np.array_equal(picks, picks[0] + np.arange(count)):
        return [step("channels", node, first=int(picks[0]), count=count)]
    for groups in range(2, total):
        if total % groups == 0 and np.array_equal(picks, np.arange(total).reshape(groups, -1).T.reshape(-1)):
            return [step("mixed", node, groups=groups)]
    weight = np.zeros((count, total))
    weight[np.arange(count), picks] = 1.0
    return [_pointwise(node, weight, np.zeros(count))]


def concat(node: gs.Node, shapes: Shapes) -> list[Step]:
    if int(node.attrs.get("axis", 1)) % 4 != 1:
        raise Unsupported("only a Concat along the channels is supported", ELSEWHERE)
    if any(n.value(tensor) is not None for tensor in node.inputs):
        raise Unsupported("a Concat with a constant is not supported", ELSEWHERE)
    return [step("concat", node, list(node.inputs))]


def resize(node: gs.Node, shapes: Shapes) -> list[Step]:
    before, after = shapes.static(node.inputs[0]), shapes.static(node.outputs[0])
    mode = n.text(node, "mode", "nearest")
    if before is None or after is None or len(before) != 4 or before[:2] != after[:2]:
        raise Unsupported("only height and width of pictures can be resized", ELSEWHERE)
    if mode not in ("nearest", "linear", "bilinear") or int(node.attrs.get("antialias", 0)):
        raise Unsupported(f"resizing with mode={mode} and antialias or cubic weights is not supported", ELSEWHERE)
    scales = [_scale_of(node, axis, before[axis], after[axis]) for axis in (2, 3)]
    old = node.op == "Upsample" or (node.op == "Resize" and len(node.inputs) == 2)
    transform = n.text(node, "coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    rounding = n.text(node, "nearest_mode", "floor" if old else "round_prefer_floor")
    if transform not in ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"):
        raise Unsupported(f"coordinate_transformation_mode={transform} is not supported", ELSEWHERE)
    return [
        step(
            "resize",
            node,
            linear=mode != "nearest",
            scales=tuple(scales),
            transform=transform,
            rounding=rounding,
        )
    ]


def _scale_of(node: gs.Node, axis: int, before: int, after: int) -> float:
    """The scale along an axis: the declared one, or the ratio of the declared sizes."""
    place = 1 if node.op == "Upsample" or len(node.inputs) == 2 else 2
    scales = constant(node, place, "scales")
    if scales is not None and scales.size == 4:
        return float(scales.reshape(-1)[axis])
    if scales is not None and scales.size == 2:
        return float(scales.reshape(-1)[axis - 2])
    return after / before


def shuffle(node: gs.Node, shapes: Shapes) -> list[Step]:
    size = int(node.attrs["blocksize"])
    mode = n.text(node, "mode", "DCR")
    return [step("unshuffle" if node.op == "SpaceToDepth" else "shuffle", node, size=size, mode=mode)]


def pool(node: gs.Node, shapes: Shapes) -> list[Step]:
    kernel, strides = n.ints(node, "kernel_shape"), n.ints(node, "strides", (1, 1))
    if kernel is None or len(kernel) != 2:
        raise Unsupported("only pooling over two dimensions is supported", ELSEWHERE)
    if set(n.ints(node, "dilations", (1, 1))) != {1}:
        raise Unsupported("dilated pooling is not supported", ELSEWHERE)
    if len(node.outputs) > 1:
        raise Unsupported("the indices output of pooling is not supported", ELSEWHERE)
    pads = _pads(node, shapes, kernel, strides, (1, 1))
    counted = bool(node.attrs.get("count_include_pad", 0))
    mode = 0 if node.op == "MaxPool" else 2 if counted and any(pads) else 1
    ceil = bool(node.attrs.get("ceil_mode", 0))
    return [step("pool", node, kernel=kernel, strides=strides, pads=pads, mode=mode, ceil=ceil)]


def mean(node: gs.Node, shapes: Shapes) -> list[Step]:
    if node.op == "ReduceMean":
        axes = constant(node, 1, "axes")
        shape = shapes.static(node.inputs[0])
        over = [] if axes is None or shape is None else sorted(int(a) % 4 for a in axes.reshape(-1))
        if over == [1] and len(shape or ()) == 4 and node.attrs.get("keepdims", 1):
            return [step("pixel_mean", node)]
        if over != [2, 3] or len(shape or ()) != 4:
            reason = "only the mean over all pixels of a channel, or over all channels of a pixel, is supported"
            raise Unsupported(reason, ELSEWHERE)
    return [step("mean", node)]


def dense(node: gs.Node, shapes: Shapes) -> list[Step]:
    """A dense layer after global pooling, as a 1x1 convolution of one pixel."""
    weight = required(node, 1, "weight")
    shape = shapes.static(node.inputs[0])
    if shape is None or len(shape) != 2 or shape[0] != 1 or weight.ndim != 2:
        raise Unsupported("a dense layer is supported only after global pooling", ELSEWHERE)
    if node.op == "Gemm":
        if node.attrs.get("transA", 0) or float(node.attrs.get("beta", 1)) != 1:
            raise Unsupported("this form of Gemm is not supported", ELSEWHERE)
        weight = (weight if node.attrs.get("transB", 0) else weight.T) * float(node.attrs.get("alpha", 1))
        bias = constant(node, 2)
    else:
        weight, bias = weight.T, None
    bias = np.zeros(weight.shape[0]) if bias is None else np.broadcast_to(bias.reshape(-1), weight.shape[0])
    return [_pointwise(node, weight, bias.astype(np.float64))]


def _pointwise(node: gs.Node, weight: np.ndarray, bias: np.ndarray) -> Step:
    """A 1x1 convolution with weights (channels out, channels in)."""
    return step(
        "conv",
        node,
        weight=weight[:, :, None, None],
        bias=bias,
        group=1,
        strides=(1, 1),
        dilations=(1, 1),
        pads=(0, 0, 0, 0),
    )


def reshape(node: gs.Node, shapes: Shapes) -> list[Step]:
    before, after = shapes.static(node.inputs[0]), shapes.static(node.outputs[0])
    if before is not None and after is not None:
        if tuple(before) == tuple(after):
            return [step("same", node)]
        one, other = picture_shape(tuple(before)), picture_shape(tuple(after))
        if one is not None and one == other:
            return [step("same", node)]
    raise Unsupported("it moves data between channels and pixels in a way that is not supported", LOWERED)


def transpose(node: gs.Node, shapes: Shapes) -> list[Step]:
    before = shapes.static(node.inputs[0])
    after = shapes.static(node.outputs[0])
    moved = [size for size in (after or ()) if size != 1] == [size for size in (before or ()) if size != 1]
    if before is not None and moved and picture_shape(tuple(before)) == picture_shape(tuple(after or ())):
        return [step("same", node)]
    raise Unsupported("only a Transpose that keeps the order of the data is supported", LOWERED)


def identity(node: gs.Node, shapes: Shapes) -> list[Step]:
    return [step("same", node)]
