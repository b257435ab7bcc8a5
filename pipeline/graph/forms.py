"""Reading what a node asks for, whichever opset's form it is written in: attributes or inputs.

Values that are inputs count as known when they are constant or follow from known shapes (`Shapes.value`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from pipeline.graph import nodes as n

if TYPE_CHECKING:
    from pipeline.graph.shapes import Shape, Shapes


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


def pads_of(node: gs.Node, rank: int, shapes: Shapes) -> tuple[int, ...] | None:
    """A Pad's pads (begins then ends, one per axis), from its attribute or inputs; None when not constant."""
    held = n.ints(node, "pads") or n.ints(node, "paddings")
    if held is None:
        values = shapes.value(n.given(node, 1))
        if values is None:
            return None
        held = tuple(int(v) for v in values)
    axes_tensor = n.given(node, 3)
    if axes_tensor is None:
        return held if len(held) == 2 * rank else None
    axes = shapes.value(axes_tensor)
    if axes is None:
        return None
    full = [0] * (2 * rank)
    for index, axis in enumerate(int(a) % rank for a in axes):
        full[axis], full[axis + rank] = held[index], held[index + len(axes)]
    return tuple(full)


def slice_spec(node: gs.Node, shapes: Shapes) -> tuple[list[int], list[int], list[int], list[int]] | None:
    """A Slice's (starts, ends, axes, steps) from its attributes or inputs; None when they are not constant."""
    if "starts" in node.attrs:
        first, last = n.ints(node, "starts", ()), n.ints(node, "ends", ())
        along = n.ints(node, "axes", range(len(first)))
        return list(first), list(last), list(along), [1] * len(first)
    held: list[list[int] | None] = []
    for index in (1, 2, 3, 4):
        values = shapes.value(n.given(node, index))
        if values is None and (index < 3 or n.given(node, index) is not None):
            return None
        held.append(None if values is None else [int(v) for v in values.reshape(-1)])
    starts, ends, axes, steps = held
    if starts is None or ends is None:
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
    held = n.ints(node, "split")
    if held is None and n.given(node, 1) is not None:
        values = shapes.value(n.given(node, 1))
        held = None if values is None else tuple(int(v) for v in values)
        if held is None:
            return None
    if held is not None:
        return list(held)
    if x is None:
        return None
    size = x[int(node.attrs.get("axis", 0)) % len(x)]
    if size is None:
        return None
    count = int(node.attrs.get("num_outputs", len(node.outputs)))
    each = math.ceil(size / count)
    return [each] * (count - 1) + [size - each * (count - 1)]


def axes_of(node: gs.Node, shapes: Shapes) -> list[int] | None:
    """The `axes` of a Squeeze, Unsqueeze or Reduce*, from attribute or input; [] when none are given."""
    held = n.ints(node, "axes")
    if held is not None:
        return list(held)
    if n.given(node, 1) is None:
        return []
    values = shapes.value(n.given(node, 1))
    return None if values is None else [int(v) for v in values.reshape(-1)]
