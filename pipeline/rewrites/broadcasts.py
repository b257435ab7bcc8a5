"""Constants combined with pictures, written in the rank of a picture.

1.0.4 takes a vector for one number per channel, wherever ONNX has it along the width (ONNXLayout.cs:58@1.0.4), and
the rank of a result from its first operand, which misplaces the axes of a Slice or Concat behind it
(ONNXTensor.cs:493@1.0.4; run: a Slice of channels behind Add([C, 1, 1], x) keeps one column). 2.0.0 takes a matrix
for height and channels (measured).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.graph import nodes as n
from pipeline.graph.elementwise import BROADCASTING
from pipeline.graph.shapes import LazyShapes
from pipeline.rewrites.base import Needed, Outcome, Rewrite

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target


class BroadcastConstants(Rewrite):
    """A constant of fewer than four dimensions beside a tensor of four gets the missing ones in front."""

    name = "broadcast-constants"
    summary = "constants that are combined with pictures get four dimensions if the target guesses by their rank"
    removes = ("broadcast-by-rank", "rank-of-first-operand")

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        shapes = LazyShapes(graph)
        for node in n.nodes_of(graph, *sorted(BROADCASTING)):
            if not needed(node) or shapes.here.rank(node.outputs[0]) != 4:
                continue
            constants = [(index, n.value(tensor)) for index, tensor in enumerate(node.inputs)]
            low = [(index, value) for index, value in constants if value is not None and value.ndim < 4]
            make = n.Builder(graph, node, self.name)
            for index, value in low:
                whole = value.reshape((1,) * (4 - value.ndim) + value.shape)
                node.inputs[index] = make.const(whole, "constant", value.dtype)
            if low:
                outcome += self.edit(node, "its constant got four dimensions")
        return outcome
