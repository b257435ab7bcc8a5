"""Expand in front of arithmetic, which repeats small operands by itself.

torch writes `x * gate.expand_as(x)` (squeeze and excite) and F.normalize as Expand to the shape of x; the shape
would be baked in, and the graph bound to one picture size, though Mul and Div need no Expand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.graph import nodes as n
from pipeline.graph.shape import Contradiction, Shape, broadcast
from pipeline.graph.shapes import LazyShapes
from pipeline.rewrites.base import Edit, Needed, Outcome, Rewrite

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

_ARITHMETIC = frozenset(["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum"])


class Expands(Rewrite):
    """Removes an Expand whose readers are all arithmetic that gives the same shape without it.

    Left alone: those whose source has another rank than 4, and those that are needed (Concat, Resize).
    """

    name = "expand"
    summary = "Expand in front of arithmetic is removed"
    reason = "arithmetic broadcasts small operands without it, at every picture size"

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        shapes = LazyShapes(graph)
        outcome: Outcome = []
        for node in n.nodes_of(graph, "Expand"):
            source, output = node.inputs[0], node.outputs[0]
            before, after = shapes.here.static(source), shapes.here.static(output)
            if before is None or after is None or len(before) != 4 or len(after) != 4:
                continue
            readers = n.consumers(output)
            if n.is_output(graph, output) or not all(_needless(node, reader, shapes) for reader in readers):
                continue
            name = node.name
            if n.bypass(graph, node):
                outcome.append(Edit(self.name, (name,), "removed", self.reason))
        return outcome


def _needless(expand: gs.Node, reader: gs.Node, shapes: LazyShapes) -> bool:
    """Whether the reader's result has the same shape when it reads what the Expand reads."""
    if reader.op not in _ARITHMETIC:
        return False
    operands: list[Shape | None] = [
        shapes.here.of(expand.inputs[0] if tensor is expand.outputs[0] else tensor) for tensor in reader.inputs
    ]
    whole = shapes.here.static(reader.outputs[0])
    try:
        return whole is not None and None not in operands and broadcast(*operands) == whole
    except Contradiction:
        return False
