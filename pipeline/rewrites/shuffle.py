"""Pixels moved into channels and back: pixel shuffle, its inverse, channel shuffle and YOLO's Focus slices.

Written as Reshape, Transpose, Reshape they pass through rank 5 or 6, which 1.0.4 refuses (recipes_measured.md,
shuffle), and hold the picture's size. Here they become DepthToSpace, SpaceToDepth or a Gather of channels, which
all three versions compute right, at every size. Where a convolution stands beside, its weights take the order of
the channels in, so that nothing but DepthToSpace or SpaceToDepth is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.forms import TO_THE_END, slice_spec
from pipeline.graph.shape import Shape, Shapes
from pipeline.graph.shapes import LazyShapes, infer
from pipeline.rewrites.base import Needed, Outcome, Rewrite

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

_PROBES = ((96, 160), (128, 224))
"""Two picture sizes (H, W) at which the shapes of a graph without a declared size are looked at."""

_PER_CHANNEL = frozenset(
    ["Relu", "LeakyRelu", "Clip", "Tanh", "Sigmoid", "Elu", "Selu", "Exp", "Neg", "Abs", "Identity"]
)
"""Operators that treat all channels alike, so that an order of channels passes through."""


class Shuffles(Rewrite):
    """Pixel shuffle and unshuffle, channel shuffle (also at rank 4), DepthToSpace in CRD mode, Focus slices.

    A pixel shuffle whose channels no convolution makes stays, or becomes, a DepthToSpace with mode CRD: measured
    right in all three versions (the file then declares opset 11). Reshapes that are none of these are left alone.
    """

    name = "shuffle"
    summary = "pixel and channel shuffles become DepthToSpace, SpaceToDepth or Gather, without sizes in the graph"
    reason = "one layer of rank 4, and no picture size in the graph"

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        views: list[Shapes] = []
        for node in n.nodes_of(graph, "Transpose", "DepthToSpace", "Concat"):
            match node.op:
                case "Transpose":
                    outcome += self._transpose(graph, node, views)
                case "DepthToSpace":
                    outcome += self._depth_to_space(graph, node)
                case "Concat" if len(node.inputs) in (4, 9, 16):
                    outcome += self._focus(graph, node, views)
        return outcome

    def _transpose(self, graph: gs.Graph, node: gs.Node, views: list[Shapes]) -> Outcome:
        kind = _KINDS.get(n.ints(node, "perm") or ())
        if kind is None:
            return []
        found = _surroundings(graph, node, kind, _views(graph, views))
        if found is None:
            return []
        (block, channels), source, source_reader, result, names = found
        build = n.Builder(graph, node, self.name)
        match kind:
            case "crd" | "dcr":
                change = self._grow(graph, build, source, source_reader, result, block, channels, kind)
            case "unshuffle" | "space-to-depth":
                change = self._shrink(graph, build, source, result, block, channels, kind)
            case _:
                picks = np.arange(block * channels).reshape(block, channels).T.reshape(-1)
                change = self._reorder(graph, build, source, source_reader, result, picks)
        build.drop()
        return self.edit(names, f"Reshape, Transpose, Reshape became {change}", _WHY)

    def _grow(
        self,
        graph: gs.Graph,
        build: n.Builder,
        source: gs.Tensor,
        reader: gs.Node | None,
        result: gs.Tensor,
        block: int,
        channels: int,
        kind: str,
    ) -> str:
        """A DepthToSpace of `source` (read only by `reader`, or None) that makes `result`."""
        mode, what = None, f"DepthToSpace {block}"
        if kind == "crd" and channels > 1:
            picks = _crd_to_dcr(block, channels)
            if reader is not None and _permute_producer(graph, build, source, reader, picks):
                what += ", the convolution's outputs reordered"
            else:
                mode, what = "CRD", f"{what} in CRD mode"
        build.op("DepthToSpace", source, out=result, blocksize=block, mode=mode)
        return what

    def _shrink(
        self,
        graph: gs.Graph,
        build: n.Builder,
        source: gs.Tensor,
        result: gs.Tensor,
        block: int,
        channels: int,
        kind: str,
    ) -> str:
        """A SpaceToDepth of `source`, its channels in the pattern's order for the readers of `result`."""
        picks = np.arange(channels * block * block)
        if kind == "unshuffle":
            picks = picks.reshape(block * block, channels).T.reshape(-1)
        return f"SpaceToDepth {block}" + self._ordered(graph, build, source, result, block, picks)

    def _ordered(
        self,
        graph: gs.Graph,
        build: n.Builder,
        source: gs.Tensor,
        result: gs.Tensor,
        block: int,
        picks: np.ndarray,
    ) -> str:
        if np.array_equal(picks, np.arange(len(picks))):
            build.op("SpaceToDepth", source, out=result, blocksize=block)
            return ""
        if _permute_consumer(graph, build, result, picks):
            build.op("SpaceToDepth", source, out=result, blocksize=block)
            return ", the convolution's inputs reordered"
        deep = build.op("SpaceToDepth", source, blocksize=block)
        build.op("Gather", deep, build.const(picks, "channels", np.int64), out=result, axis=1)
        return " and a Gather of channels"

    def _reorder(
        self,
        graph: gs.Graph,
        build: n.Builder,
        source: gs.Tensor,
        reader: gs.Node | None,
        result: gs.Tensor,
        picks: np.ndarray,
    ) -> str:
        """Channels `picks` of `source` as `result`."""
        if not n.is_output(graph, result):
            if reader is not None and _permute_producer(graph, build, source, reader, picks):
                n.replace_everywhere(graph, result, source)
                return "another order of the convolution's outputs"
            if _permute_consumer(graph, build, result, picks):
                n.replace_everywhere(graph, result, source)
                return "another order of the convolution's inputs"
        build.op("Gather", source, build.const(picks, "channels", np.int64), out=result, axis=1)
        return "a Gather of channels"

    def _depth_to_space(self, graph: gs.Graph, node: gs.Node) -> Outcome:
        if n.text(node, "mode", "DCR") == "DCR":
            return []
        block = int(node.attrs["blocksize"])
        maker = _maker(graph, node.inputs[0], node)
        channels = 0 if maker is None else maker.channels // block**2
        if not channels or not _permute_producer(
            graph, n.Builder(graph, node, self.name), node.inputs[0], node, _crd_to_dcr(block, channels)
        ):
            return []
        del node.attrs["mode"]
        what = "mode CRD became DCR, the convolution's outputs reordered"
        return self.edit(node, what, "one form for every target")

    def _focus(self, graph: gs.Graph, node: gs.Node, views: list[Shapes]) -> Outcome:
        """Concat of x[..., y::r, x::r] for all y, x: every pixel of each r x r block, as channels."""
        block = round(len(node.inputs) ** 0.5)
        shapes = _views(graph, views)[0]
        if int(node.attrs["axis"]) not in (1, -3):
            return []
        roots, offsets, names = [], [], []
        for tensor in node.inputs:
            found = _strided(tensor, block, shapes)
            if found is None:
                return []
            roots.append(found[0])
            offsets.append(found[1])
            names += found[2]
        channels = shapes.channels(roots[0])
        if any(root is not roots[0] for root in roots) or len(set(offsets)) != block**2 or channels is None:
            return []
        picks = np.concatenate([(y * block + x) * channels + np.arange(channels) for y, x in offsets])
        build = n.Builder(graph, node, self.name)
        rest = self._ordered(graph, build, roots[0], node.outputs[0], block, picks)
        build.drop()
        what = f"Slices and Concat became SpaceToDepth {block}{rest}"
        return self.edit((*dict.fromkeys(names), node.name), what, _WHY)


_WHY = "one layer of rank 4, and no picture size in the graph"
_KINDS: dict[tuple[int, ...], str] = {
    (0, 1, 4, 2, 5, 3): "crd",
    (0, 3, 4, 1, 5, 2): "dcr",
    (0, 1, 3, 5, 2, 4): "unshuffle",
    (0, 3, 5, 1, 2, 4): "space-to-depth",
    (0, 2, 1, 3, 4): "channels",
    (0, 2, 1, 3): "channels",
}


def _views(graph: gs.Graph, views: list[Shapes]) -> list[Shapes]:
    """The shapes at the declared size, and at two more where that leaves sizes open; computed once."""
    if not views:
        views.append(LazyShapes(graph).here)
        for height, width in _PROBES:
            sizes = {
                tensor.name: (1, tensor.shape[1], height, width)
                for tensor in graph.inputs
                if tensor.shape is not None and len(tensor.shape) == 4
            }
            views.append(infer(graph, sizes))
    return views


_RESHAPING = frozenset(["Reshape", "Squeeze", "Unsqueeze", "Flatten"])


def _surroundings(
    graph: gs.Graph, node: gs.Node, kind: str, views: list[Shapes]
) -> tuple[tuple[int, int], gs.Tensor, gs.Node | None, gs.Tensor, tuple[str, ...]] | None:
    """What a Transpose shuffles: its size, the rank 4 tensor before the reshapes and the one after them.

    The third is the node that reads the first, None when others read it too; last, the names of all nodes.
    Without a declared size, both probes must agree.
    """
    makers: list[gs.Node] = []
    befores, tensor, alone = [], node.inputs[0], n.read_only_by(graph, node.inputs[0], node)
    while (maker := n.producer(tensor)) is not None and maker.op in _RESHAPING:
        tensor = maker.inputs[0]
        makers.append(maker)
        befores.append((tensor, maker if alone else None))
        alone = alone and n.read_only_by(graph, tensor, maker)
    afters: list[tuple[gs.Tensor, gs.Node]] = []
    tensor = node.outputs[0]
    while (reader := n.only_consumer(graph, tensor)) is not None and reader.op in _RESHAPING:
        tensor = reader.outputs[0]
        afters.append((tensor, reader))
    for source, first in befores:
        for last, (result, _) in enumerate(afters, 1):
            declared, *probes = (
                _match(kind, shapes.of(source), shapes.of(node.inputs[0]), shapes.of(result)) for shapes in views
            )
            found = declared or (probes[0] if probes[0] == probes[1] else None)
            if found is None:
                continue
            upto = next(index for index, pair in enumerate(befores, 1) if pair[0] is source)
            names = [maker.name for maker in reversed(makers[:upto])] + [node.name]
            names += [reader.name for _, reader in afters[:last]]
            return found, source, first, result, tuple(names)
    return None


def _match(kind: str, x: Shape | None, middle: Shape | None, end: Shape | None) -> tuple[int, int] | None:
    """(block or groups, channels outside the block) when the shapes are exactly the pattern's; sizes all known."""
    if x is None or middle is None or end is None or len(x) != 4 or len(end) != 4:
        return None
    if len({shape[0] for shape in (x, middle, end)} - {None}) > 1:
        return None
    return _match_known(kind, _known(x[1:]), _known(middle[1:]), _known(end[1:]))


def _known(shape: Shape) -> tuple[int, ...]:
    """The sizes, or () where one of them is not known."""
    return tuple(size for size in shape if size is not None) if None not in shape else ()


def _match_known(
    kind: str, x: tuple[int, ...], middle: tuple[int, ...], end: tuple[int, ...]
) -> tuple[int, int] | None:
    """The same, of shapes without the batch."""
    if not x or not middle or not end:
        return None
    depth, high, wide = x
    match kind:
        case "crd" | "dcr":
            a, b, c = middle[:3]
            channels, block, again = (a, b, c) if kind == "crd" else (c, a, b)
            whole = (*middle[3:], *end) == (high, wide, channels, high * block, wide * block)
            fits = block == again and whole and channels * block**2 == depth
            return (block, channels) if fits else None
        case "unshuffle" | "space-to-depth":
            channels, rows, block, columns, again = middle
            whole = (rows * block, columns * again) == (high, wide)
            fits = block == again and whole and end == (channels * block**2, rows, columns)
            return (block, channels) if fits and channels == depth else None
    groups, each, *rest = middle
    spatial = [high, wide] if len(rest) == 2 else [high * wide]
    return (groups, each) if list(rest) == spatial and groups * each == depth and end == x else None


def _crd_to_dcr(block: int, channels: int) -> np.ndarray:
    """The channel that each input channel of a DCR DepthToSpace takes to compute CRD."""
    return np.arange(channels * block * block).reshape(channels, block * block).T.reshape(-1)


@dataclass(frozen=True)
class _Maker:
    """A convolution whose output channels can be put into another order."""

    node: gs.Node
    weights: np.ndarray
    bias: np.ndarray | None

    @property
    def axis(self) -> int:
        """The axis of the weights along which output channels lie."""
        return 0 if self.node.op == "Conv" else 1

    @property
    def channels(self) -> int:
        return int(self.weights.shape[self.axis])


def _maker(graph: gs.Graph, tensor: gs.Tensor, reader: gs.Node) -> _Maker | None:
    """The ungrouped convolution behind `tensor`, if only `reader` and operators alike on all channels see it."""
    while True:
        if not n.read_only_by(graph, tensor, reader):
            return None
        node = n.producer(tensor)
        if node is None:
            return None
        if node.op in ("Conv", "ConvTranspose") and int(node.attrs.get("group", 1)) == 1:
            weights, bias = n.value(node.inputs[1]), n.value(n.given(node, 2))
            if weights is None or (bias is None and n.given(node, 2) is not None):
                return None
            return _Maker(node, weights, bias)
        if (
            node.op not in _PER_CHANNEL
            or len([t for t in node.inputs if n.value(t) is None and not t.is_empty()]) != 1
        ):
            return None
        tensor, reader = node.inputs[0], node


def _permute_producer(
    graph: gs.Graph, build: n.Builder, tensor: gs.Tensor, reader: gs.Node, picks: np.ndarray
) -> bool:
    """Let the convolution behind `tensor` make channels `picks` instead; False if there is none."""
    conv = _maker(graph, tensor, reader)
    if conv is None or conv.channels != len(picks):
        return False
    conv.node.inputs[1] = build.const(np.take(conv.weights, picks, axis=conv.axis), "weights")
    if conv.bias is not None:
        conv.node.inputs[2] = build.const(conv.bias[picks], "bias")
    return True


def _permute_consumer(graph: gs.Graph, build: n.Builder, tensor: gs.Tensor, picks: np.ndarray) -> bool:
    """Let the one convolution that reads `tensor` = channels `picks` of another read that other; False if none."""
    conv = n.only_consumer(graph, tensor)
    if conv is None or conv.op != "Conv" or conv.inputs[0] is not tensor or int(conv.attrs.get("group", 1)) != 1:
        return False
    weights = n.value(conv.inputs[1])
    if weights is None or weights.shape[1] != len(picks):
        return False
    turned = np.empty_like(weights)
    turned[:, picks] = weights
    conv.inputs[1] = build.const(turned, "weights")
    return True


def _strided(tensor: gs.Tensor, block: int, shapes: Shapes) -> tuple[gs.Tensor, tuple[int, int], list[str]] | None:
    """(x, (row, column), node names) of a tensor that is x[:, :, row::block, column::block]."""
    starts: dict[int, int] = {}
    names: list[str] = []
    while (node := n.producer(tensor)) is not None and node.op == "Slice" and len(starts) < 2:
        spec = slice_spec(node, shapes)
        if spec is None:
            return None
        shape = shapes.of(node.inputs[0])
        if shape is not None and len(shape) != 4:
            return None
        for start, end, axis, step in zip(*spec, strict=True):
            axis = axis % 4
            size = None if shape is None else shape[axis]
            whole = end >= TO_THE_END or (size is not None and end >= size)
            if step == 1 and start == 0 and whole:
                continue
            if axis not in (2, 3) or axis in starts or step != block or not 0 <= start < block or not whole:
                return None
            starts[axis] = start
        names.append(node.name)
        tensor = node.inputs[0]
    return (tensor, (starts[2], starts[3]), names) if len(starts) == 2 else None
