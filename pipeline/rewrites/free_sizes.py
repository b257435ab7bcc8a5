"""No picture size in the graph: ratios instead of sizes, and reshapes that copy the sizes they do not change.

For targets that run a model at no other size than the one it declares, unless that is left open. Exporters write
the size of the picture that they were given into Resize and into the reshapes around a group normalisation, or let
the graph compute it; a ratio, and a reshape with zeros, hold at every size and take no layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.shapes import LazyShapes, infer
from pipeline.rewrites.base import Edit, Needed, Outcome, Rewrite

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.graph import Shapes
    from pipeline.targets import Target

_TRIALS = ((64, 96), (160, 128))
"""Heights and widths at which ratios are compared: multiples of 32, which halve as often as networks halve."""


class FreeSizes(Rewrite):
    """Resize by sizes of a whole ratio takes scales; group normalisation is reshaped to (N, groups, -1, W)."""

    name = "free-sizes"
    summary = "picture sizes in Resize and around group normalisation become scales and copied sizes"
    reason = "no picture size in the graph, and no layers that compute one"

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        sized = [node for node in n.nodes_of(graph, "Resize") if n.given(node, 3) is not None]
        norms = [pair for node in n.nodes_of(graph, "InstanceNormalization") if (pair := _around(graph, node))]
        if not target.can("declared-size-binds") or not (sized or norms):
            return []
        at = shapes_at(graph)
        edits = [edit for node in sized if (edit := self._scales(graph, node, at))]
        return [*edits, *(edit for pair in norms if (edit := self._copied(graph, *pair, at)))]

    def _scales(self, graph: gs.Graph, node: gs.Node, at: list[Shapes]) -> Edit | None:
        ratios = [_ratio(node, shapes) for shapes in at]
        if any(ratio is None or ratio != ratios[0] for ratio in ratios):
            return None
        scales = np.asarray(ratios[0], np.float32)
        if not all(scale == round(scale) or 1 / scale == round(1 / scale) for scale in scales.tolist()):
            return None
        node.inputs = [node.inputs[0], n.empty(), n.Builder(graph, node, self.name).const(scales, "scales")]
        node.attrs.pop("axes", None)
        return Edit(self.name, (node.name,), "its sizes became scales", self.reason)

    def _copied(self, graph: gs.Graph, first: gs.Node, last: gs.Node, at: list[Shapes]) -> Edit | None:
        for shapes in at:
            shape, rows = shapes.of(first.inputs[0]), shapes.of(first.outputs[0])
            if (
                shape is None
                or rows is None
                or len(shape) != 4
                or len(rows) != 3
                or shapes.of(last.outputs[0]) != shape
            ):
                return None
            if not isinstance(shape[1], int) or not isinstance(rows[1], int) or shape[1] % rows[1]:
                return None
        channels, groups = at[0].of(first.inputs[0]), at[0].of(first.outputs[0])
        assert channels is not None and groups is not None
        for node, count in ((first, groups[1]), (last, channels[1])):
            shape = n.Builder(graph, node, self.name).const([0, count, -1, 0], "shape", np.int64)
            node.inputs = [node.inputs[0], shape]
            node.attrs.pop("allowzero", None)
        for tensor in (first.outputs[0], last.inputs[0]):
            tensor.shape = None
        return Edit(self.name, (first.name, last.name), "they copy the sizes instead of naming them", self.reason)


def _around(graph: gs.Graph, norm: gs.Node) -> tuple[gs.Node, gs.Node] | None:
    """The reshapes before and behind a normalisation that nothing else reads."""
    first, last = n.producer(norm.inputs[0]), n.only_consumer(graph, norm.outputs[0])
    if first is None or last is None or first.op != "Reshape" or last.op != "Reshape":
        return None
    shape = n.value(first.inputs[1])
    copies = shape is not None and shape.size == 4 and shape.reshape(-1).tolist()[2:] == [-1, 0]
    if copies or last.inputs[0] is not norm.outputs[0] or not n.read_only_by(graph, first.outputs[0], norm):
        return None
    return first, last


def shapes_at(graph: gs.Graph) -> list[Shapes]:
    """Shapes at the trial sizes, or at the one that the input declares."""
    image = graph.inputs[0]
    declared = image.shape
    if declared is None or len(declared) != 4:
        return [LazyShapes(graph).here]
    if all(isinstance(size, int) and size > 0 for size in declared[2:]):
        return [LazyShapes(graph).here]
    return [infer(graph, {image.name: [1, declared[1], *size]}) for size in _TRIALS]


def _ratio(node: gs.Node, shapes: Shapes) -> list[float] | None:
    """The ratio along every axis."""
    sizes, shape = shapes.value(n.given(node, 3)), shapes.static(node.inputs[0])
    if sizes is None or shape is None or not all(size > 0 for size in shape):
        return None
    named = [axis % len(shape) for axis in n.ints(node, "axes", tuple(range(len(shape)))) or ()]
    if len(named) != sizes.size:
        return None
    ratios = [1.0] * len(shape)
    for axis, size in zip(named, sizes.reshape(-1), strict=True):
        ratios[axis] = int(size) / shape[axis]
    return ratios
