"""What the emulation of a target works on, and registers of single imitations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.graph import nodes as n
from pipeline.validation.view import View, layer

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.graph import Shapes
    from pipeline.targets import Rule


@dataclass
class Scene:
    """What the emulations work on: the graph that they change, and how the target sees the source model."""

    graph: gs.Graph
    view: View
    shapes: Shapes

    def of(self, *operators: str) -> Iterator[gs.Node]:
        return n.nodes_of(self.graph, *operators)

    def constant(self, tensor: gs.Tensor | None) -> bool:
        """Whether a tensor of the source is constant while the target imports nodes."""
        return tensor is not None and tensor.name in self.view.constants

    def hits(self, code: str) -> Iterator[tuple[gs.Node, Rule]]:
        """The nodes of the graph at which validation finds this code."""
        from pipeline.validation import kinds_of
        from pipeline.validation.findings import Severity

        kinds, graph_kinds = kinds_of(self.view.target)
        producers = {tensor.name: node for node in self.graph.nodes for tensor in node.outputs}
        for rule in self.view.target.graph_rules:
            for proto, _ in graph_kinds[rule.kind](self.view, rule) if rule.code == code else ():
                if proto is not None and layer(proto) in producers:
                    yield producers[layer(proto)], rule
        for proto in self.view.nodes:
            facts = self.view.target.operators.get(proto.op_type)
            for rule in facts.rules if facts is not None else ():
                if rule.code != code or layer(proto) not in producers:
                    continue
                for hit in kinds[rule.kind](self.view, proto, rule):
                    if (hit.severity or rule.severity) in (Severity.ERROR, Severity.WRONG):
                        yield producers[layer(proto)], rule


Emulation = Callable[[Scene], None]


class Register(dict[str, Emulation]):
    """A family's emulations by the name that its data files list among `semantics`, in order of application."""

    def named(self, name: str) -> Callable[[Emulation], Emulation]:
        """Register the function that imitates the semantic difference of that name."""

        def register(function: Emulation) -> Emulation:
            self[name] = function
            return function

        return register

    def apply(self, scene: Scene, leave_out: Collection[str] = ()) -> None:
        """Imitate what the scene's target does, except for what `leave_out` names."""
        for name, function in self.items():
            if name in scene.view.target.semantics and name not in leave_out:
                function(scene)


def copy(node: gs.Node) -> None:
    """Turn a node into one that passes its first input on."""
    node.op, node.inputs, node.attrs = "Identity", node.inputs[:1], {}
    node.outputs = node.outputs[:1]
