"""Pools: square kernels and strides, floor, pads that are not counted - the one form that Barracuda computes.

It reads `kernel_shape` and `strides` in the wrong order (ONNXNodeWrapper.cs:110@3.0.0), ignores ceil_mode,
dilations and count_include_pad, and divides an average by the pixels inside the picture (Pool.cginc:72@3.0.0).
The forms written here were run in 1.0.4, 2.0.0 and 3.0.0 (recipes_measured.md, pooling) or are made of such.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.forms import TO_THE_END
from pipeline.graph.shape import Shapes
from pipeline.graph.shapes import LazyShapes
from pipeline.rewrites.base import Needed, Outcome, Rewrite
from pipeline.rewrites.conv import STRIDE_LIMIT
from pipeline.rewrites.kernels import keep_pixels, repeat_pixels, same_pads, take_over

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

LOWEST = -3.0e38
"""What stands for minus infinity in a Pad (measured)."""


@dataclass
class _Pool:
    """What a two-dimensional pool asks for, all of it written out."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    ceil: bool
    counted: bool
    """Whether an average counts the padded pixels."""

    @property
    def square(self) -> bool:
        return len(set(self.kernel)) == 1 and len(set(self.strides)) == 1 and set(self.dilations) == {1}


_FIX = "Use two-dimensional MaxPool or AveragePool with square kernels."


class Pools(Rewrite):
    """MaxPool and AveragePool in every form become square ones, global ones, or shifts and depthwise convolutions.

    * auto_pad: pads written out, as for Conv. ceil_mode: pads of stride - 1 more at the end, which is the same at
      every size where the kernel reaches over them (kernel >= stride + end pad); else the declared size decides.
    * count_include_pad: a Pad of zeros before the pool.
    * kernel = whole map: GlobalMaxPool or GlobalAveragePool (AdaptiveMaxPool2d(1) of a non-square map).
    * kernel and strides in one ratio: the same pool on an input with rows or columns repeated.
    * other non-square or dilated ones: MaxPool as the Max of shifted Slices, AveragePool as a depthwise Conv.
    Refused: LpPool, one-dimensional and three-dimensional pools in these forms, MaxPool whose Indices are read.
    """

    name = "pooling"
    summary = (
        "pools with ceil_mode, dilations, counted pads or non-square kernels become forms that are computed "
        "correctly"
    )
    removes = (
        "attribute-ignored",
        "attribute-rejected",
        "height-width-swapped",
        "same-padding-from-width",
        "extra-output",
        "pool-stride-lost",
        "unknown-operator",
        "not-compiled",
    )

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        shapes: Shapes | None = None
        for node in n.nodes_of(graph, "MaxPool", "AveragePool", "LpPool", "GlobalLpPool"):
            if not needed(node):
                continue
            if node.op.endswith("LpPool"):
                outcome += self.refuse(node, "pool-unknown", f"{target.name} does not have {node.op}", _FIX)
                continue
            shapes = shapes or LazyShapes(graph).here
            outcome += self._lower(graph, node, shapes)
        return outcome

    def _lower(self, graph: gs.Graph, node: gs.Node, shapes: Shapes) -> Outcome:
        edits: Outcome = []
        if len(node.outputs) > 1:
            if n.consumers(node.outputs[1]) or n.is_output(graph, node.outputs[1]):
                why = "its output Indices is read (by a MaxUnpool?), and the target does not compute it"
                return self.refuse(node, "pool-indices", why, _FIX)
            del node.outputs[1]
            edits += self.edit(node, "the unused output Indices was removed")
        kernel = n.ints(node, "kernel_shape") or ()
        rank = len(kernel)
        unit = (1,) * rank
        mode = n.text(node, "auto_pad", "NOTSET")
        plain = (
            mode in ("NOTSET", "")
            and not node.attrs.get("ceil_mode", 0)
            and not (node.attrs.get("count_include_pad", 0) and any(n.ints(node, "pads", (0,))))
            and len(set(kernel)) == 1
            and len(set(n.ints(node, "strides", unit))) == 1
            and set(n.ints(node, "dilations", unit)) == {1}
        )
        if plain:
            for attribute in ("ceil_mode", "count_include_pad", "storage_order", "dilations", "auto_pad"):
                node.attrs.pop(attribute, None)
            return edits
        if rank != 2:
            why = f"a {rank}-dimensional pool in this form has no equivalent here"
            return [*edits, *self.refuse(node, "pool-not-2d", why, _FIX)]
        shape = shapes.of(node.inputs[0]) or (None,) * 4
        changes = []
        if mode in ("NOTSET", ""):
            pads = n.ints(node, "pads", (0, 0, 0, 0))
        else:
            pads, sizes = same_pads(node, kernel, shape[2:])
            changes.append(f"auto_pad {mode} became pads {list(pads)}, right for {sizes}")
        pool = _Pool(
            kernel,
            n.ints(node, "strides", unit),
            n.ints(node, "dilations", unit),
            pads[:2],
            pads[2:],
            bool(node.attrs.get("ceil_mode", 0)),
            bool(node.attrs.get("count_include_pad", 0)) and node.op == "AveragePool" and any(pads),
        )
        build = n.Builder(graph, node, self.name)
        refused = self._rewrite(build, node, pool, shape, changes)
        if refused:
            return [*edits, *refused]
        return [*edits, *self.edit(node, "; ".join(changes))]

    def _rewrite(
        self, build: n.Builder, node: gs.Node, pool: _Pool, shape: tuple[int | None, ...], changes: list[str]
    ) -> Outcome:
        """Make what takes the pool's place, and say in `what` what was done; refusals where that cannot be."""
        x, result = node.inputs[0], node.outputs[0]
        whole = (
            shape[2:] == pool.kernel and not any(pool.begins) and not any(pool.ends) and set(pool.dilations) == {1}
        )
        if whole:
            changes.append("a kernel of the whole map became a global pool")
            build.op("Global" + node.op, x, out=result)
            build.drop()
            return []
        inside = pool.ends
        if pool.ceil:
            refused = self._round_up(node, pool, shape, changes)
            if refused:
                return refused
        if pool.counted:
            zeros = [min(old, new) for old, new in zip(inside, pool.ends, strict=True)]
            x = build.op("Pad", x, mode="constant", pads=[0, 0, *pool.begins, 0, 0, *zeros], value=0.0)
            changes.append("the counted pads became a Pad of zeros")
            beyond = (pool.ends[0] - zeros[0], pool.ends[1] - zeros[1])
            pool.begins, pool.ends = (0, 0), beyond
        factors = _ratio(pool)
        if pool.square or factors is not None:
            if factors is not None and set(factors) != {1}:
                x = repeat_pixels(build, x, factors)
                changes.append(
                    f"kernel {list(pool.kernel)} became square on an input with repeated rows or columns"
                )
                pool.kernel, pool.strides = (
                    (pair[0] * factors[0], pair[1] * factors[1]) for pair in (pool.kernel, pool.strides)
                )
                pool.begins, pool.ends = (
                    (pair[0] * factors[0], pair[1] * factors[1]) for pair in (pool.begins, pool.ends)
                )
            x = build.op(
                node.op,
                x,
                kernel_shape=list(pool.kernel),
                strides=list(pool.strides),
                pads=[*pool.begins, *pool.ends],
            )
        elif node.op == "MaxPool":
            if math.lcm(*pool.strides) > STRIDE_LIMIT:
                return self.refuse(
                    node, "stride-not-square", f"strides {list(pool.strides)} are too far apart", _FIX
                )
            x = _shifted_max(build, x, pool)
            changes.append(f"kernel {list(pool.kernel)} became the Max of shifted Slices")
        else:
            channels = shape[1]
            if channels is None:
                return self.refuse(node, "channels-unknown", "the number of its channels is not known", _FIX)
            x = _average(build, x, pool, channels)
            changes.append(f"kernel {list(pool.kernel)} became a depthwise Conv")
        take_over(x, result)
        build.drop()
        return []

    def _round_up(self, node: gs.Node, pool: _Pool, shape: tuple[int | None, ...], changes: list[str]) -> Outcome:
        """ceil_mode as pads at the end. Where kernel >= stride + end pad, stride - 1 more pixels make every size
        come out right: no window starts in them, and floor((x + s - 1) / s) = ceil(x / s)."""
        ends = list(pool.ends)
        exact = False
        for axis, size in enumerate(shape[2:]):
            reach = (pool.kernel[axis] - 1) * pool.dilations[axis] + 1
            stride, begin, end = pool.strides[axis], pool.begins[axis], pool.ends[axis]
            if reach >= stride + end:
                ends[axis] = end + stride - 1
                continue
            if size is None:
                why = "the effect of ceil_mode depends on the picture's size, which is not declared"
                return self.refuse(node, "ceil-mode-of-unknown-size", why, _FIX)
            span = size + begin + end - reach
            count = math.ceil(span / stride) + 1
            if (count - 1) * stride >= size + begin:
                count -= 1
            ends[axis] = (count - 1) * stride + reach - size - begin
            exact = True
        if min(ends) < 0:
            return self.refuse(node, "ceil-mode-of-unknown-size", "its last window would omit pixels", _FIX)
        pool.ends, pool.ceil = (ends[0], ends[1]), False
        sizes = "the declared size" if exact else "every size"
        changes.append(f"ceil_mode became pads {[*pool.begins, *pool.ends]}, right for {sizes}")
        return []


def _ratio(pool: _Pool) -> tuple[int, int] | None:
    """How often rows and columns are repeated so that kernel and strides become square; None if nothing does."""
    if set(pool.dilations) != {1}:
        return None
    common = math.lcm(*pool.kernel)
    factors = (common // pool.kernel[0], common // pool.kernel[1])
    same = pool.strides[0] * factors[0] == pool.strides[1] * factors[1]
    return factors if same and max(factors) <= STRIDE_LIMIT else None


def _shifted_max(build: n.Builder, x: gs.Tensor, pool: _Pool) -> gs.Tensor:
    """The Max over each axis' taps of shifted Slices, then every stride-th pixel; at any size."""
    if any(pool.begins) or any(pool.ends):
        pads = [0, 0, *pool.begins, 0, 0, *pool.ends]
        x = build.op("Pad", x, mode="constant", pads=pads, value=LOWEST)
    for axis, (taps, dilation) in enumerate(zip(pool.kernel, pool.dilations, strict=True)):
        if taps == 1:
            continue
        parts = []
        for tap in range(taps):
            rest = (taps - 1 - tap) * dilation
            end = -rest if rest else TO_THE_END
            parts.append(build.op("Slice", x, axes=[axis + 2], starts=[tap * dilation], ends=[end]))
        x = parts[0]
        for part in parts[1:]:
            x = build.op("Max", x, part)
    if set(pool.strides) != {1}:
        x = keep_pixels(build, x, pool.strides)
    return x if x is not build.node.inputs[0] else build.op("MaxPool", x, kernel_shape=[1, 1], strides=[1, 1])


def _average(build: n.Builder, x: gs.Tensor, pool: _Pool, channels: int) -> gs.Tensor:
    """A depthwise Conv with equal taps; where pads are not counted, divided by the same Conv of ones.

    The ones are x * 0 - (-1): as a Sub, which no version folds into a padded convolution (importer.md section 8).
    """
    taps = pool.kernel[0] * pool.kernel[1]
    attrs: dict[str, Any] = {
        "kernel_shape": list(pool.kernel),
        "strides": list(pool.strides),
        "dilations": list(pool.dilations),
        "pads": [*pool.begins, *pool.ends],
        "group": channels,
    }
    n.room(channels, *pool.kernel)
    weights = np.full((channels, 1, *pool.kernel), 1 / taps, np.float32)
    mean = build.op("Conv", x, build.const(weights, "weights"), **attrs)
    if not any(pool.begins) and not any(pool.ends):
        return mean
    ones = build.op("Sub", build.op("Mul", x, build.const([0.0], "zero")), build.const([-1.0], "minus_one"))
    share = build.op("Conv", ones, build.const(weights, "weights"), leaf="share", **attrs)
    return build.op("Div", mean, share)
