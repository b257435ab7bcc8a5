"""What shape each operator gives, in every opset's form; `shapes.infer` walks the graph with these.

`x` is the shape of the first input. A size is None when it is not known; a result is None when not even the
rank is known. A node whose inputs do not fit together raises `Contradiction`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

from pipeline.graph import nodes as n
from pipeline.graph.forms import axes_of, explicit_pads, pads_of, slice_spec, split_sizes
from pipeline.graph.shape import Contradiction, Shape, Shapes, broadcast, known, product


def _windows(node: gs.Node, spatial: Sequence[int | None], kernel: Sequence[int]) -> list[int | None]:
    rank = len(kernel)
    strides = n.ints(node, "strides", (1,) * rank)
    dilations = n.ints(node, "dilations", (1,) * rank)
    if n.text(node, "auto_pad", "NOTSET").startswith("SAME"):
        return [None if s is None else math.ceil(s / stride) for s, stride in zip(spatial, strides, strict=True)]
    pads = explicit_pads(node, spatial, kernel) or (0,) * (2 * rank)
    up = bool(node.attrs.get("ceil_mode", 0)) and node.op != "Conv"
    result: list[int | None] = []
    for axis, size in enumerate(spatial):
        if size is None:
            result.append(None)
            continue
        span = size + pads[axis] + pads[axis + rank] - (kernel[axis] - 1) * dilations[axis] - 1
        if span < 0:
            raise Contradiction(f"size {size} is smaller than the kernel {kernel[axis]}")
        count = (math.ceil(span / strides[axis]) if up else span // strides[axis]) + 1
        if up and (count - 1) * strides[axis] >= size + pads[axis]:
            count -= 1
        result.append(count)
    return result


def conv(node: gs.Node, x: Shape | None, w: Shape | None) -> Sequence[int | None] | None:
    if w is None:
        return None
    if x is None:
        return (None, w[0], *(None for _ in w[2:]))
    expected = None if w[1] is None else w[1] * int(node.attrs.get("group", 1))
    if expected is not None and x[1] is not None and x[1] != expected:
        raise Contradiction(f"it needs {expected} channels but gets {x[1]}")
    kernel = _kernel(node, w)
    return (x[0], w[0], *((None,) * len(x[2:]) if kernel is None else _windows(node, x[2:], kernel)))


def _kernel(node: gs.Node, w: Shape) -> Sequence[int] | None:
    """The kernel's sizes, as declared or as the weights have them; None where they are not known."""
    return known(n.ints(node, "kernel_shape") or w[2:])


def conv_transpose(node: gs.Node, x: Shape | None, w: Shape | None) -> Sequence[int | None] | None:
    if x is None or w is None:
        return None
    rank = len(x[2:])
    channels = None if w[1] is None else w[1] * int(node.attrs.get("group", 1))
    shape = n.ints(node, "output_shape")
    if shape is not None:
        return (x[0], channels, *shape[-rank:])
    strides = n.ints(node, "strides", (1,) * rank)
    if n.text(node, "auto_pad", "NOTSET").startswith("SAME"):
        return (x[0], channels, *(None if s is None else s * f for s, f in zip(x[2:], strides, strict=True)))
    kernel = _kernel(node, w)
    if kernel is None:
        return (x[0], channels, *(None,) * rank)
    pads = n.ints(node, "pads", (0,) * (2 * rank))
    dilations = n.ints(node, "dilations", (1,) * rank)
    extra = n.ints(node, "output_padding", (0,) * rank)
    spatial = [
        None
        if size is None
        else (size - 1) * strides[a] + (kernel[a] - 1) * dilations[a] + 1 + extra[a] - pads[a] - pads[a + rank]
        for a, size in enumerate(x[2:])
    ]
    return (x[0], channels, *spatial)


def pool(node: gs.Node, x: Shape | None) -> Sequence[int | None] | None:
    return None if x is None else (*x[:2], *_windows(node, x[2:], n.ints(node, "kernel_shape", ())))


def pad(node: gs.Node, x: Shape | None, shapes: Shapes) -> Sequence[int | None] | None:
    if x is None:
        return None
    pads = pads_of(node, len(x), shapes)
    if pads is None:
        return [None] * len(x)
    return [None if size is None else size + pads[axis] + pads[axis + len(x)] for axis, size in enumerate(x)]


def resize(
    node: gs.Node, x: Shape | None, shapes: Shapes, inputs: list[gs.Tensor | None]
) -> Sequence[int | None] | None:
    if x is None:
        return None
    two = node.op == "Upsample" or len(inputs) == 2
    scales = shapes.value(n.given(node, 1 if two else 2))
    if scales is None and "scales" in node.attrs:
        scales = np.asarray(node.attrs["scales"], dtype=np.float32)
    axes = [a % len(x) for a in n.ints(node, "axes", range(len(x)))]
    result: list[int | None] = list(x)
    sizes = shapes.value(n.given(node, 3))
    if sizes is not None and sizes.size:
        for axis, size in zip(axes, sizes, strict=True):
            result[axis] = int(size)
        return result
    if scales is None or not scales.size:
        return [*x[:2], *(None for _ in x[2:])]
    for axis, scale in zip(axes, scales, strict=True):
        size = result[axis]
        result[axis] = None if size is None else math.floor(size * float(scale) + 1e-4)
    return result


def concat(node: gs.Node, shapes: list[Shape | None]) -> Sequence[int | None] | None:
    if any(shape is None for shape in shapes):
        return None
    parts = [shape for shape in shapes if shape is not None]
    axis = int(node.attrs["axis"]) % len(parts[0])
    result: list[int | None] = []
    for index in range(len(parts[0])):
        sizes = [part[index] for part in parts]
        if index == axis:
            result.append(_sum(sizes))
            continue
        known = {size for size in sizes if size is not None}
        if len(known) > 1:
            raise Contradiction(
                f"sizes {sorted(known)} on axis {index} do not match, so they cannot be concatenated"
            )
        result.append(known.pop() if known else None)
    return result


def _sum(sizes: Sequence[int | None]) -> int | None:
    return None if any(size is None for size in sizes) else sum(size for size in sizes if size is not None)


def slice_(node: gs.Node, x: Shape | None, shapes: Shapes) -> Sequence[int | None] | None:
    if x is None:
        return None
    spec = slice_spec(node, shapes)
    if spec is None:
        return [None] * len(x)
    result = list(x)
    for start, end, axis, step in zip(*spec, strict=True):
        size = x[axis]
        if size is None:
            result[axis] = end - start if step == 1 and 0 <= start < end < 2**31 - 1 else None
            continue
        low, high = (0, size) if step > 0 else (-1, size - 1)
        begin = min(max(start + size if start < 0 else start, 0), high)
        stop = min(max(end + size if end < 0 else end, low), size)
        result[axis] = max(0, math.ceil((stop - begin) / step))
    return result


def split(node: gs.Node, x: Shape | None, shapes: Shapes) -> list[Sequence[int | None]]:
    parts = split_sizes(node, x, shapes)
    if x is None or parts is None:
        return []
    axis = int(node.attrs.get("axis", 0)) % len(x)
    return [(*x[:axis], part, *x[axis + 1 :]) for part in parts]


def reshape(node: gs.Node, x: Shape | None, shapes: Shapes) -> Sequence[int | None] | None:
    target = n.ints(node, "shape")
    if target is None:
        values = shapes.value(n.given(node, 1))
        if values is None:
            shape = shapes.of(n.given(node, 1))
            return None if shape is None or len(shape) != 1 or shape[0] is None else [None] * shape[0]
        target = tuple(int(v) for v in values)
    keep = not node.attrs.get("allowzero", 0)
    result: list[int | None] = [
        (x[axis] if x is not None and axis < len(x) else None) if size == 0 and keep else size
        for axis, size in enumerate(target)
    ]
    total = None if x is None else product(x)
    if -1 in result:
        rest = product([size for size in result if size != -1])
        position = result.index(-1)
        result[position] = None if total is None or not rest else total // rest
        if total is not None and rest and total % rest:
            raise Contradiction(f"{total} values do not fill the shape {list(target)}")
    elif total is not None and product(result) not in (None, total):
        raise Contradiction(f"{total} values do not fill the shape {list(target)}")
    return result


def squeeze(node: gs.Node, x: Shape | None, shapes: Shapes) -> Sequence[int | None] | None:
    axes = axes_of(node, shapes)
    if x is None or axes is None:
        return None
    if node.op == "Squeeze":
        removed = {axis % len(x) for axis in axes} if axes else {axis for axis, size in enumerate(x) if size == 1}
        if not axes and None in x:
            return None
        return [size for axis, size in enumerate(x) if axis not in removed]
    rank = len(x) + len(axes)
    new = {axis % rank for axis in axes}
    rest = iter(x)
    return [1 if axis in new else next(rest) for axis in range(rank)]


def blocks(node: gs.Node, x: Shape | None) -> Sequence[int | None] | None:
    if x is None:
        return None
    block = int(node.attrs["blocksize"])
    grow = node.op == "DepthToSpace"
    depth = None if x[1] is None else (x[1] // block**2 if grow else x[1] * block**2)
    return (x[0], depth, *(None if s is None else (s * block if grow else s // block) for s in x[2:]))


def matmul(a: Shape | None, b: Shape | None) -> Sequence[int | None] | None:
    if a is None or b is None or len(a) < 2 or len(b) < 2:
        return None
    if a[-1] is not None and b[-2] is not None and a[-1] != b[-2]:
        raise Contradiction(f"{a[-1]} columns do not match {b[-2]} rows")
    return (*(broadcast(a[:-2], b[:-2]) or ()), a[-2], b[-1])


def reduce(node: gs.Node, x: Shape | None, shapes: Shapes) -> Sequence[int | None] | None:
    if x is None:
        return None
    keep = bool(node.attrs.get("keepdims", 1))
    if node.op.startswith("Arg"):
        axes: list[int] | None = [int(node.attrs.get("axis", 0))]
    else:
        axes = axes_of(node, shapes)
    if axes is None:
        return [None] * len(x) if keep else None
    if not axes:
        if node.attrs.get("noop_with_empty_axes"):
            return x
        axes = list(range(len(x)))
    removed = {axis % len(x) for axis in axes}
    if keep:
        return [1 if axis in removed else size for axis, size in enumerate(x)]
    return [size for axis, size in enumerate(x) if axis not in removed]
