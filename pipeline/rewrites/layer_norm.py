"""Layer normalisation that older exporters spell out becomes one operator, where the target has it.

Unity's optimiser knows the spelled-out form too, but no longer once its transposes are moved (rewrite `layout`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.forms import integers
from pipeline.graph.shapes import LazyShapes
from pipeline.rewrites.base import Needed, Outcome, Rewrite

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target


class FuseLayerNorm(Rewrite):
    """(x - mean) / sqrt(var + epsilon) over the last axis, with a factor and a shift along it, if there are any.

    Left alone: other axes, and an axis of unknown size.
    """

    name = "fuse-layer-norm"
    summary = "decomposed layer normalisation becomes LayerNormalization if the target has it"
    reason = "one layer instead of up to nine"

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        if not target.accepts("LayerNormalization"):
            return outcome
        shapes = LazyShapes(graph)
        for node in n.nodes_of(graph, "Div"):
            found = _normalised(node, shapes)
            if found is None:
                continue
            source, epsilon, size = found
            output, scale, names = node.outputs[0], np.ones(size), [node.name]
            output, scale, names = _next(graph, output, "Mul", scale, names)
            output, bias, names = _next(graph, output, "Add", np.zeros(size), names)
            make = n.Builder(graph, node, self.name)
            parameters = make.const(scale, "scale"), make.const(bias, "bias")
            make.op("LayerNormalization", source, *parameters, axis=-1, epsilon=epsilon, out=output)
            outcome += self.edit(tuple(names), "became LayerNormalization", self.reason)
        return outcome


def _normalised(node: gs.Node, shapes: LazyShapes) -> tuple[gs.Tensor, float, int] | None:
    """What a Div normalises along the last axis, the epsilon, and the size of that axis."""
    centred, root = n.producer(node.inputs[0]), n.producer(node.inputs[1])
    if centred is None or centred.op != "Sub" or root is None or root.op != "Sqrt":
        return None
    source, added = centred.inputs[0], n.producer(root.inputs[0])
    shape = shapes.here.of(source)
    if shape is None or shape[-1] is None or added is None or added.op != "Add":
        return None
    if not _is_mean(centred.inputs[1], source, len(shape)):
        return None
    for position in (0, 1):
        epsilon, variance = n.scalar(added.inputs[1 - position]), n.producer(added.inputs[position])
        if epsilon is None or epsilon <= 0 or variance is None or variance.op != "ReduceMean":
            continue
        square = n.producer(variance.inputs[0])
        difference = centred.outputs[0]
        if square is None or not _is_mean(added.inputs[position], variance.inputs[0], len(shape)):
            continue
        powered = square.op == "Pow" and square.inputs[0] is difference and n.scalar(square.inputs[1]) == 2
        if powered or (square.op == "Mul" and all(tensor is difference for tensor in square.inputs)):
            return source, epsilon, shape[-1]
    return None


def _is_mean(tensor: gs.Tensor, source: gs.Tensor, rank: int) -> bool:
    """Whether a tensor is the mean of `source` along its last axis, kept as an axis of 1."""
    node = n.producer(tensor)
    if (
        node is None
        or node.op != "ReduceMean"
        or node.inputs[0] is not source
        or not node.attrs.get("keepdims", 1)
    ):
        return False
    axes = integers(node, "axes")
    return axes is not None and [axis % rank for axis in axes] == [rank - 1]


def _next(
    graph: gs.Graph, output: gs.Tensor, operator: str, values: np.ndarray, names: list[str]
) -> tuple[gs.Tensor, np.ndarray, list[str]]:
    """The output, values and names with the factor or shift behind, if numbers along the last axis follow."""
    reader = n.only_consumer(graph, output)
    if reader is None or reader.op != operator or len(reader.inputs) != 2:
        return output, values, names
    other = reader.inputs[1] if reader.inputs[0] is output else reader.inputs[0]
    constant = n.value(other)
    if (
        constant is None
        or constant.dtype.kind != "f"
        or constant.size not in (1, values.size)
        or constant.shape[-1:] != (constant.size,)
    ):
        return output, values, names
    return reader.outputs[0], np.broadcast_to(constant.reshape(-1), values.size), [*names, reader.name]
