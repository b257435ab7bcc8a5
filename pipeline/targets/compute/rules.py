"""The validation rules of the compute family: one finding for each node that its compiler refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
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

_CACHE = "_compute_refused"
"""Attribute of a view that caches the result of the compiler."""
_TRIAL = Size(512, 512)
"""The size at which a graph without a declared size is compiled; it can be halved nine times."""


def compiles(view: View, rule: Rule) -> Found:
    """Findings about the network as a whole, and about nodes of operators without a rule `compiled`."""
    for refused in _refused(view):
        node = next((node for node in view.nodes if _is_at(refused, node)), None)
        facts = view.target.operators.get(refused.operator)
        if refused.operator == "Network":
            yield None, Hit(refused.reason, fix=refused.fix)
        elif facts is not None and all(other.kind != "compiled" for other in facts.rules):
            yield node, Hit(refused.reason, fix=refused.fix)


def compiled(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """Findings about this node."""
    for refused in _refused(view):
        if _is_at(refused, node):
            yield Hit(refused.reason, fix=refused.fix)


def _is_at(refused: Refused, node: onnx.NodeProto) -> bool:
    return refused.node == node.name and refused.operator == node.op_type


def _refused(view: View) -> tuple[Refused, ...]:
    """What the compiler refuses of a model, cached in the view; nothing for a plan, which is compiled already."""
    refused: tuple[Refused, ...] | None = getattr(view, _CACHE, None)
    if refused is None:
        refused = tuple(_placed(view, item) for item in _compiled(view))
        setattr(view, _CACHE, refused)
    return refused


def _placed(view: View, refused: Refused) -> Refused:
    """A refusal under the operator of its node; of the whole network, if the model has no such node.

    A step of several nodes has a name of its own for what it computes.
    """
    operators = [node.op_type for node in view.nodes if node.name == refused.node]
    if refused.operator in ("Network", *operators):
        return refused
    return replace(refused, operator=operators[0] if operators else "Network")


def _compiled(view: View) -> tuple[Refused, ...]:
    from pipeline.targets.compute.compiler import compile_graph, guide_inputs, takes_style
    from pipeline.targets.compute.described import DOMAIN

    is_graph = len(view.outputs) == 1 and not any(node.domain == DOMAIN for node in view.nodes)
    graph = view.surgeon if is_graph else None
    if graph is None or (len(graph.inputs) != 1 and not takes_style(graph) and not guide_inputs(graph)):
        return ()
    shape = graph.inputs[0].shape
    if shape is None or len(shape) != 4:
        return (
            Refused("", "Network", "its input is not a picture, which is a tensor (1, channels, height, width)"),
        )
    sides = [side for side in shape[2:] if isinstance(side, int) and side > 0]
    return compile_graph(graph, Size.of_hw((sides[0], sides[1])) if len(sides) == 2 else _TRIAL).refused


def one_picture(view: View, rule: Rule) -> Found:
    """A finding if the model has not exactly one output and one input, besides a style vector or guides."""
    from pipeline.targets.compute.compiler import guide_inputs, takes_style

    graph = view.surgeon
    more = graph is not None and (takes_style(graph) or bool(guide_inputs(graph)))
    for what, names in (("input", list(view.inputs)), ("output", view.outputs)):
        if len(names) != 1 and not (what == "input" and more):
            yield None, Hit(f"it has {len(names)} {what}s, but the kernels read one picture and write one")


KINDS: dict[str, Kind] = {"compiled": compiled}
GRAPH_KINDS: dict[str, GraphKind] = {"compiles": compiles, "one-picture": one_picture}
