"""Convolutions: explicit pads, no groups, square strides, and transposed ones that Barracuda computes right.

Barracuda hands `strides` and `output_padding` over in ONNX's [H, W] order to code that reads [W, H]
(ONNXNodeWrapper.cs:110@3.0.0), turns every group > 1 into a depthwise convolution (BarracudaReferenceCPU.cs:950@
3.0.0), takes SAME pads of both axes from the width (TensorExtensions.cs:684@3.0.0), and asserts symmetric pads for
ConvTranspose (BarracudaReferenceCPU.cs:1006@3.0.0) of which it ignores group, dilations and output_shape. Every
form written here was run in 1.0.4, 2.0.0 and 3.0.0 (recipes_measured.md, convolution and ConvTranspose) or is
made of such forms; none bakes a size into the graph.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.shape import Shapes
from pipeline.graph.shapes import LazyShapes
from pipeline.rewrites.base import Edit, Needed, Outcome, Refusal, Rewrite
from pipeline.rewrites.kernels import (
    Axis,
    block_diagonal,
    keep_pixels,
    narrow,
    phases,
    repeat_pixels,
    same_pads,
    take_over,
    zero_stuff,
)

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

DENSE_LIMIT = 1 << 22
"""Weights up to which a grouped convolution becomes a dense one (16 MiB); beyond it is sliced into its groups.

The dense form has `group` times the multiplications, but stays one call of the fast kernel, which wants 16
channels or more (importer.md section 9); the sliced form is `group` calls of the slow one.
"""
STRIDE_LIMIT = 8
"""The largest common stride for which a non-square stride is written as a square one."""


class Convolutions(Rewrite):
    """Conv: kernel_shape and pads written out, groups dense or depthwise, strides square, dilations as 1.0 takes.

    Left alone: plain and depthwise (group = channels in = channels out) convolutions, non-square kernels, pads,
    and, from 2.0 on, non-square dilations (measured right). One-dimensional convolutions stay too where the
    target has them (2.0 and later), unless something of them is to be changed: that is refused.
    """

    name = "conv"
    summary = "grouped, non-square-strided and auto-padded convolutions become plain or depthwise ones"
    removes = ("grouped-convolution", "height-width-swapped", "same-padding-from-width", "dilations-not-square")

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        shapes = LazyShapes(graph)
        for node in n.nodes_of(graph, "Conv"):
            if needed(node):
                outcome += self._lower(graph, node, target, shapes)
        return outcome

    def _lower(self, graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
        weights = n.value(n.given(node, 1))
        kernel = weights.shape[2:] if weights is not None else n.ints(node, "kernel_shape")
        if kernel is None:
            return [_not_constant(self.name, node)]
        rank = len(kernel)
        uneven = target.can("uneven-dilations")
        strides = n.ints(node, "strides", (1,) * rank)
        dilations = n.ints(node, "dilations", (1,) * rank)
        group = int(node.attrs.get("group", 1))
        to_change = _grouped(weights, group) or len(set(strides)) > 1 or (not uneven and len(set(dilations)) > 1)
        if rank != 2 and (to_change or not target.can("convolution-of-any-rank")):
            return [_not_2d(self.name, node, rank)]
        if to_change and weights is None:
            return [_not_constant(self.name, node)]
        edits: Outcome = []
        if n.text(node, "auto_pad", "NOTSET") not in ("NOTSET", ""):
            spatial = shapes.here.of(node.inputs[0])
            edits.append(_write_pads(self.name, node, kernel, spatial[2:] if spatial else (None,) * rank))
        if rank != 2 or not to_change or weights is None:
            return edits
        if len(set(dilations)) > 1 and not uneven:
            edits.append(self._stuff(graph, node, weights, dilations))
        elif len(set(strides)) > 1:
            edits.append(self._square_strides(graph, node, weights, strides, dilations))
        else:
            edits.append(self._ungroup(graph, node, weights, group))
        return edits

    def _stuff(self, graph: gs.Graph, node: gs.Node, weights: np.ndarray, dilations: tuple[int, ...]) -> Edit:
        stuffed = zero_stuff(weights, dilations)
        high, wide = stuffed.shape[2:]
        node.inputs[1] = n.Builder(graph, node, self.name).const(stuffed, "weights")
        node.attrs |= {"kernel_shape": [high, wide], "dilations": [1, 1]}
        return Edit(
            self.name,
            (node.name,),
            f"dilations {list(dilations)} became a kernel of {high}x{wide} with zeros in it",
        )

    def _square_strides(
        self,
        graph: gs.Graph,
        node: gs.Node,
        weights: np.ndarray,
        strides: tuple[int, ...],
        dilations: tuple[int, ...],
    ) -> Edit | Refusal:
        """y[i, j] of strides (a, b), S = lcm: the input with its pixels repeated S/a x S/b times, the kernel's
        taps S/a and S/b apart, at stride S. Taps meet the first of each repeated pixel, so no value changes."""
        common = math.lcm(*strides)
        if common > STRIDE_LIMIT:
            return _refuse_stride(self.name, node, strides)
        factors = tuple(common // stride for stride in strides)
        build = n.Builder(graph, node, self.name)
        source = repeat_pixels(build, node.inputs[0], factors)
        stuffed = zero_stuff(weights, tuple(f * d for f, d in zip(factors, dilations, strict=True)))
        pads = n.ints(node, "pads", (0, 0, 0, 0))
        node.inputs[0] = source
        node.inputs[1] = build.const(stuffed, "weights")
        node.attrs |= {
            "kernel_shape": list(stuffed.shape[2:]),
            "strides": [common, common],
            "dilations": [1, 1],
            "pads": [pad * factor for pad, factor in zip(pads, factors * 2, strict=True)],
        }
        return Edit(
            self.name,
            (node.name,),
            f"strides {list(strides)} became {[common, common]} on an input with repeated rows or columns",
        )

    def _ungroup(self, graph: gs.Graph, node: gs.Node, weights: np.ndarray, group: int) -> Edit:
        out_channels, each = weights.shape[:2]
        build = n.Builder(graph, node, self.name)
        if each == 1:
            times = out_channels // group
            n.room(out_channels, group)
            picks = np.zeros((out_channels, group, 1, 1), np.float32)
            picks[np.arange(out_channels), np.arange(out_channels) // times] = 1
            node.inputs[0] = build.op(
                "Conv",
                node.inputs[0],
                build.const(picks, "repeat_weights"),
                leaf="repeat",
                kernel_shape=[1, 1],
                strides=[1, 1],
                pads=[0, 0, 0, 0],
                dilations=[1, 1],
                group=1,
            )
            node.attrs["group"] = out_channels
            return Edit(
                self.name,
                (node.name,),
                f"each channel is repeated {times} times by a 1x1 Conv; depthwise with group {out_channels}",
            )
        if weights.size * group <= DENSE_LIMIT:
            node.inputs[1] = build.const(block_diagonal(weights, group), "weights")
            node.attrs["group"] = 1
            return Edit(
                self.name,
                (node.name,),
                f"group {group} became dense weights with zeros outside the blocks ({group}x the multiplications)",
            )
        bias = n.value(n.given(node, 2))
        parts = []
        for index in range(group):
            rows = slice(index * out_channels // group, (index + 1) * out_channels // group)
            part = build.op(
                "Slice", node.inputs[0], axes=[1], starts=[index * each], ends=[(index + 1) * each], leaf="slice"
            )
            inputs = [part, build.const(weights[rows], "weights")]
            if bias is not None:
                inputs.append(build.const(bias[rows], "bias"))
            parts.append(build.op("Conv", *inputs, leaf="group", **(dict(node.attrs) | {"group": 1})))
        build.op("Concat", *parts, axis=1, out=node.outputs[0])
        build.drop()
        return Edit(self.name, (node.name,), f"group {group} became {group} Slices and Convs, and a Concat")


class NarrowConvolutions(Rewrite):
    """Strided, left-padded convolutions that may give a single column are padded by a Pad before them."""

    name = "narrow-conv"
    summary = "convolutions that may give a single column are padded before they run"
    reason = "with a stride and a single output column, it fails an assertion of the CPU backends (measured)"

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        if not target.can("one-column-assertion"):
            return outcome
        shapes = LazyShapes(graph)
        for node in n.nodes_of(graph, "Conv"):
            pads, strides = n.ints(node, "pads", (0, 0, 0, 0)), n.ints(node, "strides", (1, 1))
            if len(pads) < 4 or not pads[1] or max(strides) == 1 or not narrow(node, shapes.here):
                continue
            build = n.Builder(graph, node, self.name)
            around = [0, 0, *pads[:2], 0, 0, *pads[2:]]
            node.inputs[0] = build.op("Pad", node.inputs[0], mode="constant", pads=around)
            node.attrs["pads"] = [0, 0, 0, 0]
            what = "its pads became a Pad before it"
            outcome.append(Edit(self.name, (node.name,), what, self.reason))
        return outcome


class SamePads(Rewrite):
    """Pads of a Conv written out where the target computes other ones for SAME_UPPER or SAME_LOWER."""

    name = "same-pads"
    summary = "pads that depend on the picture's size become explicit"
    removes = ("same-padding-differs",)

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        shapes = LazyShapes(graph)
        for node in n.nodes_of(graph, "Conv"):
            weights, here = n.value(n.given(node, 1)), shapes.here.of(node.inputs[0])
            kernel = weights.shape[2:] if weights is not None else n.ints(node, "kernel_shape")
            if not needed(node) or kernel is None:
                continue
            spatial = here[2:] if here is not None else (None,) * len(kernel)
            outcome.append(_write_pads(self.name, node, kernel, spatial))
        return outcome


class TransposedConvolutions(Rewrite):
    """ConvTranspose in the one form that Barracuda computes right, or as a Conv and a DepthToSpace.

    Kept as ConvTranspose (groups made dense, dilations zero-stuffed, output_shape and auto_pad resolved): square
    strides, symmetric pads and square output_padding. Everything else - TensorFlow's SAME with pads [0, 0, 1, 1],
    cropped or non-square forms - becomes one Conv to stride^2 * channels and a DepthToSpace, see `phases`.
    """

    name = "conv-transpose"
    summary = (
        "asymmetric, grouped, dilated and non-square transposed convolutions become forms that are computed "
        "correctly"
    )
    removes = (
        "transposed-pads-asymmetric",
        "transposed-group",
        "height-width-swapped",
        "attribute-ignored",
        "not-compiled",
    )

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        shapes: Shapes | None = None
        for node in n.nodes_of(graph, "ConvTranspose"):
            if not needed(node):
                continue
            if "output_shape" in node.attrs:
                shapes = shapes or LazyShapes(graph).here
            outcome += self._lower(graph, node, shapes)
        return outcome

    def _lower(self, graph: gs.Graph, node: gs.Node, shapes: Shapes | None) -> Outcome:
        weights = n.value(n.given(node, 1))
        kernel = weights.shape[2:] if weights is not None else n.ints(node, "kernel_shape", (1, 1))
        rank = len(kernel)
        unit, zero = (1,) * rank, (0,) * rank
        strides, dilations = n.ints(node, "strides", unit), n.ints(node, "dilations", unit)
        extra, pads = n.ints(node, "output_padding", zero), n.ints(node, "pads", zero * 2)
        group = int(node.attrs.get("group", 1))
        resolved = "output_shape" not in node.attrs and n.text(node, "auto_pad", "NOTSET") in ("NOTSET", "")
        plain = len(set(strides)) == 1 and len(set(extra)) == 1 and pads[:rank] == pads[rank:]
        if plain and resolved and group == 1 and set(dilations) == {1}:
            return []
        if weights is None:
            return [_not_constant(self.name, node)]
        if rank != 2:
            return [_not_2d(self.name, node, rank)]
        spatial = shapes.of(node.inputs[0]) if shapes is not None else None
        axes = self._axes(node, kernel, spatial[2:] if spatial else (None, None))
        if isinstance(axes, Refusal):
            return [axes]
        original, changes = weights, []
        if group > 1:
            weights = block_diagonal(weights, group)
            changes.append(f"group {group} became dense weights")
        if set(dilations) != {1}:
            weights = zero_stuff(weights, dilations)
            changes.append("dilations became zeros in the kernel")
        if not resolved:
            changes.append("output_shape/auto_pad became pads")
        build = n.Builder(graph, node, self.name)
        begins, ends = tuple(a.begin for a in axes), tuple(a.end for a in axes)
        if len(set(strides)) == 1 and begins == ends and len({a.extra for a in axes}) == 1 and min(begins) >= 0:
            if weights is not original:
                node.inputs[1] = build.const(weights, "weights")
            for attribute in ("output_shape", "auto_pad", "dilations", "group"):
                node.attrs.pop(attribute, None)
            node.attrs |= {"kernel_shape": list(weights.shape[2:]), "pads": [*begins, *ends]}
            return self.edit(node, "; ".join(changes) or "kernel_shape added")
        return [self._phases(build, node, weights, axes, changes)]

    def _axes(
        self, node: gs.Node, kernel: tuple[int, ...], spatial: tuple[int | None, ...]
    ) -> tuple[Axis, ...] | Refusal:
        """Both axes' geometry, output_shape and auto_pad resolved as ONNX says (the odd pad goes to the begin,
        except for SAME_UPPER)."""
        mode = n.text(node, "auto_pad", "NOTSET")
        pads = n.ints(node, "pads", (0, 0, 0, 0))
        output_shape = n.ints(node, "output_shape")
        result = []
        for axis in (0, 1):
            stride = n.ints(node, "strides", (1, 1))[axis]
            reach = (kernel[axis] - 1) * n.ints(node, "dilations", (1, 1))[axis] + 1
            extra = n.ints(node, "output_padding", (0, 0))[axis]
            begin, end = pads[axis], pads[axis + 2]
            size = spatial[axis]
            total = None
            if output_shape is not None:
                if size is None:
                    return Refusal(
                        self.name,
                        "output-shape-of-unknown-size",
                        node.name,
                        node.op,
                        f"output_shape {list(output_shape)} depends on the input size, which is not known",
                        "Export with a fixed size, or with pads and output_padding.",
                    )
                total = stride * (size - 1) + extra + reach - output_shape[axis - 2]
            elif mode.startswith("SAME"):
                total = max(0, extra + reach - stride)
            elif mode == "VALID":
                total = 0
            if total is not None:
                half = max(total, 0) // 2
                begin = half if mode == "SAME_UPPER" else max(total, 0) - half
                end = total - begin
            result.append(Axis(reach, stride, begin, end, extra))
        return tuple(result)

    def _phases(
        self, build: n.Builder, node: gs.Node, weights: np.ndarray, axes: tuple[Axis, ...], changes: list[str]
    ) -> Edit | Refusal:
        common = math.lcm(axes[0].stride, axes[1].stride)
        factors = tuple(common // axis.stride for axis in axes)
        if common > STRIDE_LIMIT:
            return _refuse_stride(self.name, node, tuple(axis.stride for axis in axes))
        spread = tuple(axis.spread(factor) for axis, factor in zip(axes, factors, strict=True))
        if min(axis.before for axis in spread) < 0:
            return Refusal(
                self.name,
                "conv-transpose-crops-all",
                node.name,
                node.op,
                f"the pads {[axes[0].begin, axes[1].begin]} are larger than the kernel's reach",
                "Crop with a Slice instead.",
            )
        kernel = phases(zero_stuff(weights, factors), spread)
        bias = n.value(n.given(node, 2))
        if bias is None and n.given(node, 2) is not None:
            return _not_constant(self.name, node)
        inputs = [node.inputs[0], build.const(kernel, "weights")]
        if bias is not None:
            inputs.append(build.const(np.tile(bias, common * common), "bias"))
        x = build.op(
            "Conv",
            *inputs,
            leaf="phases",
            kernel_shape=list(kernel.shape[2:]),
            strides=[1, 1],
            pads=[axis.before for axis in spread] + [axis.after for axis in spread],
            dilations=[1, 1],
            group=1,
        )
        if common > 1:
            x = build.op("DepthToSpace", x, blocksize=common)
        crops = [(axis + 2, -half.crop) for axis, half in enumerate(spread) if half.crop]
        if crops:
            axes_cut, ends = [axis for axis, _ in crops], [end for _, end in crops]
            x = build.op("Slice", x, axes=axes_cut, starts=[0] * len(crops), ends=ends)
        if len(set(factors)) > 1:
            x = keep_pixels(build, x, factors)
        take_over(x, node.outputs[0])
        build.drop()
        change = f"one {kernel.shape[2]}x{kernel.shape[3]} Conv to {kernel.shape[0]} channels"
        change += f" and DepthToSpace {common}" if common > 1 else ""
        return Edit(
            self.name,
            (node.name,),
            "; ".join([*changes, change]),
        )


def _write_pads(
    rewrite: str,
    node: gs.Node,
    kernel: tuple[int, ...],
    spatial: tuple[int | None, ...],
) -> Edit:
    mode = n.text(node, "auto_pad")
    pads, sizes = same_pads(node, kernel, spatial)
    del node.attrs["auto_pad"]
    node.attrs["pads"] = list(pads)
    return Edit(
        rewrite,
        (node.name,),
        f"auto_pad {mode} became pads {list(pads)}, right for {sizes}",
    )


def _grouped(weights: np.ndarray | None, group: int) -> bool:
    """Whether a group is one that Barracuda cannot run: anything but 1 and depthwise."""
    if group == 1:
        return False
    return weights is None or weights.shape[1] != 1 or weights.shape[0] != group


def _not_constant(rewrite: str, node: gs.Node) -> Refusal:
    return Refusal(
        rewrite,
        "weights-not-constant",
        node.name,
        node.op,
        "its weights or bias are computed in the graph",
        "Export with constant folding, in eval mode, with weight norm, spectral norm and pruning masks removed.",
    )


def _not_2d(rewrite: str, node: gs.Node, rank: int) -> Refusal:
    return Refusal(
        rewrite,
        "conv-not-2d",
        node.name,
        node.op,
        f"the target does not run a {rank}-dimensional convolution in this form",
        "Use two-dimensional convolutions.",
    )


def _refuse_stride(rewrite: str, node: gs.Node, strides: tuple[int, ...]) -> Refusal:
    return Refusal(
        rewrite,
        "stride-not-square",
        node.name,
        node.op,
        f"strides {list(strides)} have the common multiple {math.lcm(*strides)}, which is above {STRIDE_LIMIT}",
        "Use square strides.",
    )
