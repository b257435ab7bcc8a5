"""Resizing: every mode, ratio and corner convention as something that Barracuda computes exactly.

Barracuda resizes in two ways, by whole-number scales: nearest is asymmetric and floor, linear is half-pixel with
clamped edges, whatever the attributes say (importer.md section 6, Resize / Upsample; measured). So a resize is
written as one of the two where it computes the same. The rest is written out of its taps (the source pixels and
weights of each output pixel): as strided or phase convolutions at any picture size where the ratio is a whole
number, else as Gather per tap at the declared size.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.forms import is_nearest_enlarging, scales_of
from pipeline.graph.sampling import PROBE, Kernel
from pipeline.graph.shape import Shapes
from pipeline.graph.shapes import LazyShapes
from pipeline.rewrites.base import Edit, Needed, Outcome, Rewrite
from pipeline.rewrites.kernels import nearest

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

_MOST_PHASES = 16
"""Phase convolutions (scale squared) up to which an upscale is written with them: x4."""


class Resizes(Rewrite):
    """Resize as nearest or half-pixel linear by whole numbers, as pools, convolutions or Gather.

    Sizes that are a whole multiple or fraction of the input's become scales, so that no size is baked in.
    Refused: antialiased downscaling, cropping (tf_crop_and_resize), exclude_outside, other axes than height and
    width, and ratios that only a known picture size could express when none is declared.
    """

    name = "resize"
    summary = (
        "Resize of any mode and ratio becomes a form that the target computes exactly, without fixed sizes if "
        "possible"
    )
    removes = (
        "resize-attribute-ignored",
        "resize-coordinates-differ",
        "resize-mode-ignored",
        "resize-outer-axes",
        "resize-sizes-warning",
        "rank-not-supported",
        "scales-below-one",
        "scales-not-integral",
        "sizes-do-not-fold",
        "resize-places-unknown",
        "resize-tie",
    )

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        shapes = LazyShapes(graph)
        outcome: Outcome = []
        for node in n.nodes_of(graph, "Resize"):
            if needed(node) and not _is_canonical(node):
                outcome += self._resize(graph, node, shapes)
        return outcome

    def _resize(self, graph: gs.Graph, node: gs.Node, shapes: LazyShapes) -> Outcome:
        refused = self._outside(node, shapes.here)
        if refused:
            return refused
        kernel = _kernel(node)
        found = _scales(node, shapes)
        if found is None:
            reason = "its sizes are computed from the picture"
            return self.refuse(node, "resize-size-unknown", reason, "declare the picture's size")
        scales, holds_everywhere = found
        if node.attrs.get("exclude_outside") and (kernel.mode == "cubic" or min(scales) < 1):
            # of two taps the one inside is the border pixel itself: enlarging linearly is the same
            return self.refuse(node, "resize-exclude-outside", "it weights its taps differently at the borders")
        if node.attrs.get("antialias") and kernel.mode != "nearest" and min(scales) < 1:
            return self.refuse(node, "resize-antialias", "antialiased downscaling has no equivalent")
        if any(abs(scale - 1) > 1e-6 for scale in scales[:2]):
            return self.refuse(node, "resize-outer-axes", "it resizes the batch or the channels")
        factors = [_whole(scale) if holds_everywhere else None for scale in scales[2:]]
        if factors == [1, 1]:
            return self.edit(node, "removed", "it resizes by 1") if n.bypass(graph, node) else []
        make = n.Builder(graph, node, self.name)
        if all(factor is not None for factor in factors):
            grown = self._whole_factors(make, node, kernel, factors, shapes)  # type: ignore[arg-type]
            if grown is not None:
                tensor, what = grown
                n.replace_output(tensor, node.outputs[0])
                make.drop()
                return self.edit(node, what)
        return self._gathered(make, node, kernel, scales, shapes)

    def _outside(self, node: gs.Node, shapes: Shapes) -> Outcome:
        if shapes.rank(node.inputs[0]) != 4:
            return self.refuse(node, "resize-not-2d", "its input is not known to have rank 4")
        if n.text(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
            return self.refuse(node, "resize-keeps-aspect-ratio", "its output size follows the aspect ratio")
        if n.text(node, "coordinate_transformation_mode") == "tf_crop_and_resize":
            return self.refuse(node, "resize-crops", "it crops before it resizes")
        return []

    def _whole_factors(
        self, make: n.Builder, node: gs.Node, kernel: Kernel, factors: list[int], shapes: LazyShapes
    ) -> tuple[gs.Tensor, str] | None:
        """Scales that are whole numbers k (as k) or their reciprocals (as -k), for each axis."""
        source, channels = node.inputs[0], shapes.here.channels(node.inputs[0])
        up = [max(factor, 1) for factor in factors]
        down = [max(-factor, 1) for factor in factors]
        patterns = [_pattern(kernel, 1 / k) for k in down]
        if down != [1, 1] and (channels is None or any(p is None for p in patterns)):
            return None
        changes: list[str] = []
        if up != [1, 1]:
            grown = _grow(make, source, kernel, up, channels)
            if grown is None:
                return None
            source, change = grown
            changes.append(change)
        if down != [1, 1]:
            source = _shrink(make, source, patterns, down, channels)  # type: ignore[arg-type]
            changes.append("became a strided pool or depthwise convolution")
        return source, ", ".join(changes)

    def _gathered(
        self, make: n.Builder, node: gs.Node, kernel: Kernel, scales: list[float], shapes: LazyShapes
    ) -> Outcome:
        """Per axis the sum over taps of Gather times weights; right for any ratio, at one picture size."""
        tensor, output = node.inputs[0], node.outputs[0]
        before, after = shapes.here.static(tensor), shapes.here.static(output)
        if before is None or after is None:
            reason = "this ratio or corner convention depends on the picture's size, which is not declared"
            return self.refuse(node, "resize-needs-size", reason, "declare the picture's size, or resize by 2")
        for axis in (2, 3):
            if before[axis] == after[axis]:
                continue
            whole = abs(before[axis] * scales[axis] - after[axis]) < 1e-3
            if kernel.coordinates == "align_corners" and not whole:
                reason = "implementations disagree whether its last pixel is at the rounded size or beyond"
                return self.refuse(node, "resize-ambiguous", reason, "specify the size instead of the scale")
            index, weight = kernel.taps(before[axis], after[axis], scales[axis])
            index = np.clip(index, 0, before[axis] - 1)
            parts = []
            for tap in range(index.shape[1]):
                picked = make.op("Gather", tensor, make.const(index[:, tap], "indices", np.int64), axis=axis)
                if index.shape[1] > 1:
                    wide = [1, 1, -1, 1] if axis == 2 else [1, 1, 1, -1]
                    picked = make.op("Mul", picked, make.const(weight[:, tap].reshape(wide), "weights"))
                parts.append(picked)
            tensor = parts[0]
            for part in parts[1:]:
                tensor = make.op("Add", tensor, part)
        n.replace_output(tensor, output)
        make.drop()
        what = f"became Gather and weights per tap, only for {before[2]}x{before[3]}"
        return self.edit(node, what)


def _is_canonical(node: gs.Node) -> bool:
    """Whether it is what this rewrite writes."""
    scales = scales_of(node)
    if scales is None:
        return False
    if is_nearest_enlarging(node):
        return bool((scales > 1).any())
    if scales.size != 4 or (scales < 1).any() or (scales % 1).any() or (scales[:2] != 1).any():
        return False
    return bool((scales > 1).any()) and dict(node.attrs) == LINEAR


LINEAR = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
"""The attributes that Barracuda's linear resize follows, and of which it does not warn."""


def _kernel(node: gs.Node) -> Kernel:
    return Kernel(
        n.text(node, "mode", "nearest"),
        n.text(node, "coordinate_transformation_mode", "half_pixel"),
        n.text(node, "nearest_mode", "round_prefer_floor"),
        float(node.attrs.get("cubic_coeff_a", -0.75)),
    )


def _scales(node: gs.Node, shapes: LazyShapes) -> tuple[list[float], bool] | None:
    """The scale of each axis, and whether it holds at every picture size, as far as the graph tells.

    From `sizes` it is the ratio to the input's size. Literal sizes count as such a ratio: an exporter that was
    given one picture wrote them for it.
    """
    here = _ratios(node, shapes.here)
    if here is None:
        return None
    computed = n.given(node, 3) is not None and n.value(n.given(node, 3)) is None
    elsewhere = _ratios(node, shapes.elsewhere) if computed else None
    return here, elsewhere is None or np.allclose(here, elsewhere)


def _ratios(node: gs.Node, shapes: Shapes) -> list[float] | None:
    scales = scales_of(node, shapes)
    axes = [axis % 4 for axis in n.ints(node, "axes", range(4)) or ()]
    full = [1.0] * 4
    if scales is not None:
        for axis, scale in zip(axes, scales, strict=True):
            full[axis] = float(scale)
        return full
    sizes, shape = shapes.value(n.given(node, 3)), shapes.of(node.inputs[0])
    if sizes is None or shape is None or not sizes.size:
        return None
    for axis, size in zip(axes, sizes.reshape(-1), strict=True):
        input_size = shape[axis]
        if input_size is None:
            return None
        full[axis] = int(size) / input_size
    return full


def _whole(scale: float) -> int | None:
    """k for a scale of k, -k for one of 1 / k, None for others."""
    if scale >= 1 and abs(scale - round(scale)) < 1e-5:
        return round(scale)
    if 0 < scale < 1 and abs(1 / scale - round(1 / scale)) < 1e-5:
        return -round(1 / scale)
    return None


def _pattern(kernel: Kernel, scale: float) -> np.ndarray | None:
    """The kernel's weights by phase and offset for a scale of k or 1 / k, if they repeat."""
    if scale >= 1:
        return kernel.dense(PROBE, PROBE * round(scale), scale, 1)
    step = round(1 / scale)
    return kernel.dense(PROBE * step, PROBE, scale, step)


def _bounds(pattern: np.ndarray) -> tuple[int, int]:
    """The lowest and the highest offset with a weight."""
    used = np.flatnonzero(np.abs(pattern).max(axis=0) > 1e-12) - PROBE
    return int(used.min()), int(used.max())


def _grow(
    make: n.Builder, source: gs.Tensor, kernel: Kernel, up: list[int], channels: int | None
) -> tuple[gs.Tensor, str] | None:
    """The native layer where it computes the same, else one convolution per phase."""
    patterns = [_pattern(kernel, k) for k in up]
    if any(pattern is None for pattern in patterns):
        return None
    linear = kernel.mode == "linear"
    native = Kernel("linear", "half_pixel") if linear else Kernel("nearest", "asymmetric", "floor")
    native_patterns = [_pattern(native, k) for k in up]
    pairs = zip(patterns, native_patterns, strict=True)
    if all(np.allclose(pattern, native_pattern) for pattern, native_pattern in pairs):  # type: ignore[arg-type]
        if not linear:
            return nearest(make, source, tuple(up)), "became nearest, rounded down"
        return make.op("Resize", source, scales=[1, 1, *up], **LINEAR), "became half-pixel linear with scales"
    if up[0] != up[1] or up[0] ** 2 > _MOST_PHASES or channels is None:
        return None
    tensor = _phases(make, source, patterns, up[0], channels)  # type: ignore[arg-type]
    return tensor, f"became {up[0] ** 2} phase convolutions and DepthToSpace"


def _shrink(
    make: n.Builder, source: gs.Tensor, patterns: list[np.ndarray], down: list[int], channels: int
) -> gs.Tensor:
    """out[d] = sum of w * x[k * d + offset]: Pad edge, then a depthwise convolution with strides k."""
    kernels, pads = [], []
    for pattern, k in zip(patterns, down, strict=True):
        low, high = _bounds(pattern)
        before, last = max(0, -low), max(high, k - 1)
        kernels.append(pattern[0, PROBE - before : PROBE + last + 1])
        pads.append((before, last - (k - 1)))
    weights = np.outer(kernels[0], kernels[1])
    if down == [2, 2] and weights.shape == (2, 2) and np.allclose(weights, 0.25):
        return make.op("AveragePool", source, kernel_shape=[2, 2], strides=[2, 2])
    if any(pad for pair in pads for pad in pair):
        ends = [0, 0, pads[0][0], pads[1][0], 0, 0, pads[0][1], pads[1][1]]
        source = make.op("Pad", source, mode="edge", pads=ends)
    kernel = make.const(np.broadcast_to(weights, (channels, 1, *weights.shape)), "weights")
    return make.op(
        "Conv",
        source,
        kernel,
        kernel_shape=list(weights.shape),
        strides=list(down),
        group=channels,
        leaf="strided",
    )


def _phases(
    make: n.Builder, source: gs.Tensor, patterns: list[np.ndarray], scale: int, channels: int
) -> gs.Tensor:
    """out[k * q + r] = sum of w[r] * x[q + offset]: Pad edge, one depthwise convolution per phase, interleaved."""
    bounds = [_bounds(pattern) for pattern in patterns]
    before = [max(0, -low) for low, _ in bounds]
    after = [max(0, high) for _, high in bounds]
    padded = make.op("Pad", source, mode="edge", pads=[0, 0, *before, 0, 0, *after])
    parts = []
    for row in range(scale):
        for column in range(scale):
            kernels = [
                pattern[phase, PROBE - low : PROBE + high + 1]
                for pattern, phase, low, high in zip(patterns, (row, column), before, after, strict=True)
            ]
            weights = np.outer(*kernels)
            kernel = make.const(np.broadcast_to(weights, (channels, 1, *weights.shape)), "weights")
            shape = list(weights.shape)
            parts.append(make.op("Conv", padded, kernel, kernel_shape=shape, group=channels, leaf="phase"))
    joined = make.op("Concat", *parts, axis=1)
    return make.op("DepthToSpace", joined, blocksize=scale)


class FuseUpsample(Rewrite):
    """Nearest upsampling written with reshapes becomes a Resize.

    Two forms: PyTorch 0.4 era Reshape, Concat with itself, Reshape, Concat, Reshape (columns, then rows, with
    the picture size baked into the reshapes), and Reshape or Unsqueeze to rank 6, Expand or Tile, Reshape.
    """

    name = "fuse-upsample"
    summary = "nearest upsampling written with Reshape and Concat or Expand becomes a Resize"
    reason = "one layer, and no picture size in the graph"

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        shapes: Shapes | None = None
        for node in n.nodes_of(graph, "Reshape"):
            before = n.producer(node.inputs[0])
            if before is None or before.op not in ("Concat", "Expand", "Tile"):
                continue
            shapes = shapes or LazyShapes(graph).here
            found = _copies(node, shapes) if before.op == "Concat" else _expanded(node, before, shapes)
            if found is None:
                continue
            source, rows, columns, names = found
            make = n.Builder(graph, node, self.name)
            nearest(make, source, (rows, columns), out=node.outputs[0])
            make.drop()
            outcome.append(Edit(self.name, names, f"became a nearest resize by {rows}x{columns}", self.reason))
        return outcome


Found = tuple["gs.Tensor", int, int, tuple[str, ...]] | None


def _repeats(node: gs.Node | None, shapes: Shapes) -> tuple[gs.Tensor, int] | None:
    """The tensor that a Concat on axis 1 repeats, and how often; x + 0 counts as x."""
    if node is None or node.op != "Concat" or int(node.attrs["axis"]) not in (1, -1):
        return None
    if shapes.rank(node.inputs[0]) != 2:
        return None
    first = node.inputs[0]
    for tensor in node.inputs:
        maker = n.producer(tensor)
        same = tensor is first or (
            maker is not None
            and maker.op == "Add"
            and any(a is first and n.scalar(b) == 0 for a, b in (maker.inputs, reversed(maker.inputs)))
        )
        if not same:
            return None
    return first, len(node.inputs)


def _copies(last: gs.Node, shapes: Shapes) -> Found:
    """Reshape [-1, 1], k copies, Reshape [-1, k W], m copies, Reshape [N, C, m H, k W]."""
    rows = _repeats(n.producer(last.inputs[0]), shapes)
    middle = n.producer(rows[0]) if rows else None
    if rows is None or middle is None or middle.op != "Reshape":
        return None
    columns = _repeats(n.producer(middle.inputs[0]), shapes)
    first = n.producer(columns[0]) if columns else None
    if columns is None or first is None or first.op != "Reshape":
        return None
    source = shapes.static(first.inputs[0])
    if source is None or len(source) != 4:
        return None
    batch, channels, height, width = source
    k, m = columns[1], rows[1]
    if shapes.of(columns[0]) != (math.prod(source), 1):
        return None
    if shapes.of(rows[0]) != (batch * channels * height, k * width):
        return None
    if shapes.of(last.outputs[0]) != (batch, channels, m * height, k * width):
        return None
    return first.inputs[0], m, k, (first.name, middle.name, last.name)


def _expanded(last: gs.Node, copy: gs.Node, shapes: Shapes) -> Found:
    """[N, C, H, W] as [N, C, H, 1, W, 1], expanded to [N, C, H, m, W, k], as [N, C, m H, k W]."""
    thin, wide = shapes.static(copy.inputs[0]), shapes.static(copy.outputs[0])
    tensor, names = copy.inputs[0], [copy.name, last.name]
    while (maker := n.producer(tensor)) is not None and maker.op in ("Reshape", "Unsqueeze"):
        tensor = maker.inputs[0]
        names.append(maker.name)
        if shapes.rank(tensor) == 4:
            break
    source = shapes.static(tensor)
    if thin is None or wide is None or source is None or len(source) != 4 or len(thin) != 6:
        return None
    batch, channels, height, width = source
    if thin != (batch, channels, height, 1, width, 1):
        return None
    if wide[:3] != (batch, channels, height) or wide[4] != width:
        return None
    if shapes.of(last.outputs[0]) != (batch, channels, height * wide[3], width * wide[5]):
        return None
    return tensor, wide[3], wide[5], tuple(names)
