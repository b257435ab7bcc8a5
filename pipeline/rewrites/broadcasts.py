"""Constants beside pictures, written in the rank of a picture.

1.0.4 takes the rank of a result from its first input, also where that is a constant of a lower one, and then puts
the axes of a Slice, Concat or Squeeze behind it in the wrong places (ONNXTensor.cs:493@1.0.4; run: a channel Slice
behind Add([C, 1, 1], x) cuts the width). It also takes a vector for one number per channel, wherever ONNX has it
along the width (ONNXLayout.cs:58@1.0.4). 2.0.0 takes a matrix for height and channels (measured).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.graph import nodes as n
from pipeline.graph.shapes import LazyShapes
from pipeline.rewrites.base import Edit, Needed, Outcome, Rewrite

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

_BROADCASTING = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean")


class BroadcastConstants(Rewrite):
    """A constant of fewer than four dimensions beside a tensor of four gets the missing ones in front."""

    name = "broadcast-constants"
    summary = "constants that are combined with pictures get four dimensions if the target guesses by their rank"
    removes = ("broadcast-by-rank",)

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        shapes = LazyShapes(graph)
        for node in n.nodes_of(graph, *_BROADCASTING):
            misread = needed(node)
            low = []
            for index, tensor in enumerate(node.inputs):
                constant = n.value(tensor)
                first = index == 0 and not target.can("rank-of-all-inputs")
                if constant is not None and constant.ndim < 4 and (misread or first):
                    low.append((index, constant))
            if not low or shapes.here.rank(node.outputs[0]) != 4:
                continue
            make = n.Builder(graph, node, self.name)
            for index, constant in low:
                node.inputs[index] = make.const(
                    constant.reshape((1,) * (4 - constant.ndim) + constant.shape), "constant"
                )
            why = (
                "1.0 takes the rank from the first input and a vector as per channel; 2.0 takes a matrix as "
                "height and channels"
            )
            outcome.append(Edit(self.name, (node.name,), "its constant got four dimensions", why))
        return outcome
