"""The rules of the compute family: what its compiler refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.support.size import Size
from pipeline.targets.compute.steps import Refused
from pipeline.validation.kinds import Hit

if TYPE_CHECKING:
    import onnx

    from pipeline.targets import Rule
    from pipeline.validation.graphs import Found, GraphKind
    from pipeline.validation.kinds import Kind
    from pipeline.validation.view import View

_KEPT = "_compute_refused"
"""Under which name a view keeps what the compiler said."""
_TRIAL = Size(512, 512)
"""At what a graph is compiled that declares no size: whatever it halves, it can be halved."""


def compiles(view: View, rule: Rule) -> Found:
    """What the compiler refuses of the network as a whole."""
    for refused in _refused(view):
        if refused.operator == "Network":
            yield None, Hit(refused.reason, fix=refused.fix)


def compiled(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """What the compiler refuses at this node."""
    for refused in _refused(view):
        if refused.node == node.name and refused.operator == node.op_type:
            yield Hit(refused.reason, fix=refused.fix)


def _refused(view: View) -> tuple[Refused, ...]:
    """What the compiler says of a model, found out once; a plan was compiled already, and has nothing here."""
    held: tuple[Refused, ...] | None = getattr(view, _KEPT, None)
    if held is None:
        held = _compiled(view)
        setattr(view, _KEPT, held)
    return held


def _compiled(view: View) -> tuple[Refused, ...]:
    from pipeline.targets.compute.compiler import compile_graph
    from pipeline.targets.compute.described import DOMAIN

    whole = len(view.inputs) == len(view.outputs) == 1 and not any(node.domain == DOMAIN for node in view.nodes)
    graph = view.surgeon if whole else None
    if graph is None:
        return ()
    shape = graph.inputs[0].shape
    if shape is None or len(shape) != 4:
        return (Refused("", "Network", "its input is not a picture: a tensor (1, channels, height, width)"),)
    sides = [side for side in shape[2:] if isinstance(side, int) and side > 0]
    return compile_graph(graph, Size.of_hw((sides[0], sides[1])) if len(sides) == 2 else _TRIAL).refused


def one_picture(view: View, rule: Rule) -> Found:
    """One picture goes in and one comes out."""
    for what, names in (("input", list(view.inputs)), ("output", view.outputs)):
        if len(names) != 1:
            yield None, Hit(f"it has {len(names)} {what}s, and one picture is what a kernel reads and paints")


KINDS: dict[str, Kind] = {"compiled": compiled}
GRAPH_KINDS: dict[str, GraphKind] = {"compiles": compiles, "one-picture": one_picture}
