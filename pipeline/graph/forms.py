"""Reading what a node asks for, whichever opset's form it is written in: attributes or inputs.

Values that are inputs count as known when they are constant or follow from known shapes (`Shapes.value`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

from pipeline.graph import nodes as n
from pipeline.graph.shape import Shape, Shapes

TO_THE_END = 2**31 - 1
"""A Slice end that means "to the end"; INT64_MAX is not right in every target."""


def explicit_pads(node: gs.Node, spatial: Sequence[int | None], kernel: Sequence[int]) -> tuple[int, ...] | None:
    """The pads of a convolution or pool (begins, then ends), auto_pad resolved; None if it needs the size."""
    rank = len(kernel)
    mode = n.text(node, "auto_pad", "NOTSET")
    if mode == "VALID":
        return (0,) * (2 * rank)
    if mode in ("", "NOTSET"):
        return n.ints(node, "pads", (0,) * (2 * rank))
    strides = n.ints(node, "strides", (1,) * rank)
    dilations = n.ints(node, "dilations", (1,) * rank)
    begins, ends = [], []
    for size, k, stride, dilation in zip(spatial, kernel, strides, dilations, strict=True):
        reach = (k - 1) * dilation + 1
        if stride == 1:
            total = reach - 1
        elif size is None:
            return None
        else:
            total = max(0, (math.ceil(size / stride) - 1) * stride + reach - size)
        small, large = total // 2, total - total // 2
        begins.append(small if mode == "SAME_UPPER" else large)
        ends.append(large if mode == "SAME_UPPER" else small)
    return (*begins, *ends)


def parameter(node: gs.Node, name: str, shapes: Shapes | None = None) -> np.ndarray | None:
    """A parameter of one of `nodes.PARAMETERS`, from its attribute or its input; None when absent or not known.

    With `shapes` a value that follows from known shapes is known, too.
    """
    if name in node.attrs:
        return np.asarray(node.attrs[name])
    position = n.PARAMETERS[node.op].index(name) + 1
    if node.op == "Resize" and len(node.inputs) == 2:  # opset 10
        position = 1 if name == "scales" else 9
    tensor = n.given(node, position)
    return n.value(tensor) if shapes is None else shapes.value(tensor)


def integers(node: gs.Node, name: str, shapes: Shapes | None = None) -> list[int] | None:
    """A parameter that is a list of integers; None when absent or not known."""
    values = parameter(node, name, shapes)
    return None if values is None else [int(value) for value in values.reshape(-1)]


def has(node: gs.Node, name: str) -> bool:
    """Whether a parameter is given, known or not."""
    return name in node.attrs or n.given(node, n.PARAMETERS[node.op].index(name) + 1) is not None


def pads_of(node: gs.Node, rank: int | None = None, shapes: Shapes | None = None) -> tuple[int, ...] | None:
    """A Pad's pads (begins then ends, one per axis), from its attribute or inputs; None when not constant.

    Without a `rank` the pads must name every axis.
    """
    pads = n.ints(node, "paddings") or integers(node, "pads", shapes)
    if pads is None:
        return None
    if not has(node, "axes"):
        return tuple(pads) if rank is None or len(pads) == 2 * rank else None
    axes = integers(node, "axes", shapes)
    if axes is None or rank is None:
        return None
    full = [0] * (2 * rank)
    for index, axis in enumerate(axis % rank for axis in axes):
        full[axis], full[axis + rank] = pads[index], pads[index + len(axes)]
    return tuple(full)


def filler(node: gs.Node) -> float | None:
    """What a Pad of mode constant fills with; None when that is computed."""
    if not has(node, "value"):
        return 0.0
    values = parameter(node, "value")
    return None if values is None else float(values.reshape(-1)[0])


def slice_spec(
    node: gs.Node, shapes: Shapes | None = None
) -> tuple[list[int], list[int], list[int], list[int]] | None:
    """A Slice's (starts, ends, axes, steps) from its attributes or inputs; None when they are not constant."""
    starts, ends = integers(node, "starts", shapes), integers(node, "ends", shapes)
    if starts is None or ends is None:
        return None
    axes, steps = integers(node, "axes", shapes), integers(node, "steps", shapes)
    if (axes is None and has(node, "axes")) or (steps is None and has(node, "steps")):
        return None
    count = len(starts)
    return starts, ends, list(range(count)) if axes is None else axes, [1] * count if steps is None else steps


def slices(node: gs.Node, shape: Sequence[int], shapes: Shapes) -> tuple[slice, ...]:
    """The Slice as numpy slices of an array of this shape."""
    spec = slice_spec(node, shapes)
    if spec is None:
        raise ValueError("the bounds are not constant")
    result = [slice(None)] * len(shape)
    for start, end, axis, step in zip(*spec, strict=True):
        size = shape[axis]
        low, high = (0, size) if step > 0 else (-1, size - 1)
        begin = min(max(start + size if start < 0 else start, 0), high)
        stop = min(max(end + size if end < 0 else end, low), size)
        result[axis] = slice(begin, None if stop < 0 else stop, step)
    return tuple(result)


def split_sizes(node: gs.Node, x: Shape | None, shapes: Shapes) -> list[int] | None:
    """The sizes of a Split's parts from its attribute, input, or even division; None when unknown."""
    if has(node, "split"):
        return integers(node, "split", shapes)
    if x is None:
        return None
    size = x[int(node.attrs.get("axis", 0)) % len(x)]
    if size is None:
        return None
    count = int(node.attrs.get("num_outputs", len(node.outputs)))
    each = math.ceil(size / count)
    return [each] * (count - 1) + [size - each * (count - 1)]


def axes_of(node: gs.Node, shapes: Shapes | None = None) -> list[int] | None:
    """The `axes` of a Squeeze, Unsqueeze or Reduce*, from attribute or input; [] when none are given."""
    return integers(node, "axes", shapes) if has(node, "axes") else []


def scales_of(node: gs.Node, shapes: Shapes | None = None) -> np.ndarray | None:
    """The scales of a Resize or Upsample of any opset, from attribute or input; None when absent or not known."""
    if "height_scale" in node.attrs:
        return np.array([1, 1, node.attrs["height_scale"], node.attrs["width_scale"]], np.float32)
    if node.op == "Upsample" and "scales" not in node.attrs:
        values = n.value(n.given(node, 1)) if shapes is None else shapes.value(n.given(node, 1))
    else:
        values = np.asarray(node.attrs["scales"]) if "scales" in node.attrs else parameter(node, "scales", shapes)
    return values.astype(np.float32).reshape(-1) if values is not None and values.size else None


_REPEATING = frozenset(
    (coordinates, rounding)
    for coordinates, roundings in (
        ("asymmetric", ("floor",)),
        ("half_pixel", ("round_prefer_floor", "round_prefer_ceil")),
        ("pytorch_half_pixel", ("round_prefer_floor", "round_prefer_ceil")),
    )
    for rounding in roundings
)
"""What a nearest resize by whole numbers says when it repeats each pixel."""


def is_nearest_enlarging(node: gs.Node) -> bool:
    """Whether a Resize repeats each pixel of a picture a whole number of times along height and width."""
    if node.op != "Resize" or n.text(node, "mode", "nearest") != "nearest" or "axes" in node.attrs:
        return False
    coordinates = n.text(node, "coordinate_transformation_mode", "half_pixel")
    if (coordinates, n.text(node, "nearest_mode", "round_prefer_floor")) not in _REPEATING:
        return False
    scales = scales_of(node)
    if scales is None or scales.size != 4:
        return False
    return bool((scales >= 1).all() and (scales % 1 == 0).all() and (scales[:2] == 1).all())
