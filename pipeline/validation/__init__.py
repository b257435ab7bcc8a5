"""Validation: what Unity's console will say of a model, and what it will not say.

`validate` holds a model against the rules of a target's data file; `codes` explains each code of a finding.
Neither torch nor ONNX Runtime is imported.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.validation.findings import Finding, Severity

if TYPE_CHECKING:
    import onnx

    from pipeline.graph.shape import Shapes
    from pipeline.targets import Rule, Target
    from pipeline.validation.graphs import GraphKind
    from pipeline.validation.kinds import Hit, Kind
    from pipeline.validation.view import View

__all__ = ["codes", "kinds_of", "validate"]


@cache
def codes() -> dict[str, dict[str, str]]:
    """All finding codes: `title`, `explanation` and `remedy` of each, for `pipeline explain` and the docs.

    Those that any family may use stand beside this module, those of one family in its folder.
    """
    from pipeline import targets

    found: dict[str, dict[str, str]] = json.loads(
        Path(__file__).with_name("codes.json").read_text(encoding="utf-8")
    )
    for name in targets.families():
        own = targets.family_of(name).codes()
        if twice := sorted(found.keys() & own.keys()):
            raise ValueError(f"the family {name} explains {twice[0]} again")
        found |= own
    return found


def validate(
    model: onnx.ModelProto, target: Target, only: Collection[str] | None = None, shapes: Shapes | None = None
) -> list[Finding]:
    """The findings of a model for a target, worst first, then in node order, then by code.

    With `only`, those of these codes; the other rules are not evaluated. `shapes` are what our own inference says
    of the model, where that is known already.
    The model is not changed, and weights are not turned into arrays. Never raises on an odd graph: what cannot be
    read is the finding `malformed-graph`.
    """
    from pipeline.validation.view import View

    kinds, graph_kinds = kinds_of(target)
    view = View(model, target, own=shapes)
    place = {id(node): index for index, node in enumerate(view.nodes)}
    found: list[tuple[int, Finding]] = []
    for rule in target.graph_rules:
        if only is not None and rule.code not in only:
            continue
        for node, hit in _guarded(graph_kinds[rule.kind](view, rule)):
            found.append((place.get(id(node), -1), _finding(view, node, rule, hit)))
    counts: dict[str, int] = defaultdict(int)
    for node in view.nodes:
        counts[node.op_type] += 1
    reported: set[tuple[str, str]] = set()
    for index, node in enumerate(view.nodes):
        facts = target.operators.get(node.op_type)
        for rule in facts.rules if facts is not None else ():
            if only is not None and rule.code not in only:
                continue
            if rule.options.get("once"):
                if (rule.code, node.op_type) in reported:
                    continue
                reported.add((rule.code, node.op_type))
            for hit in _guarded(kinds[rule.kind](view, node, rule)):
                found.append((index, _finding(view, node, rule, hit, counts[node.op_type])))
    found.sort(key=lambda item: (item[1].severity.rank, item[0], item[1].code, str(item[1].where)))
    return list(dict.fromkeys(finding for _, finding in found))


def kinds_of(target: Target) -> tuple[Mapping[str, Kind], Mapping[str, GraphKind]]:
    """The kinds of rules that a target's data file may name: about a node, and about a graph."""
    from pipeline.validation.graphs import GRAPH_KINDS
    from pipeline.validation.kinds import KINDS

    return {**KINDS, **target.family.rule_kinds()}, {**GRAPH_KINDS, **target.family.graph_kinds()}


def _guarded(hits: Iterator[Any]) -> Iterator[Any]:
    """The hits of a rule; a graph too odd for it has none (`malformed-graph` and the like say what is odd)."""
    try:
        yield from hits
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError, MemoryError):
        return


def _text(name: str | bytes) -> str:
    """A name of the file; protobuf gives one that is not UTF-8 as bytes."""
    return name if isinstance(name, str) else name.decode("utf-8", "replace")


class _Blank(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "..."


_BY_SIZE = (
    "`pipeline convert` and `build-unity` compute this in advance, because it depends only on sizes and constants."
)


def _fix(view: View, node: onnx.NodeProto | None, hit: Hit, fix: str) -> str:
    """What to do: arithmetic on sizes is gone after the lowering, which knows them, whatever its operators are."""
    if node is None or "build-unity" in fix:
        return fix
    outputs = [name for name in node.output if name]
    arithmetic = bool(outputs) and all(name in view.sizes for name in outputs)
    return _BY_SIZE if arithmetic or hit.values.get("tensor") in view.sizes else fix


def _finding(view: View, node: onnx.NodeProto | None, rule: Rule, hit: Hit, count: int = 1) -> Finding:
    from pipeline.validation.view import label, layer

    texts = codes()[rule.code]
    reason = hit.reason or rule.reason or texts["title"]
    if rule.options.get("once") and count > 1:
        reason = f"{reason} ({count} nodes)"
    if rule.versions:
        reason = f"{reason} ({rule.versions})"
    values = _Blank(hit.values)
    if node is not None:
        values.setdefault("operator", node.op_type)
        values.setdefault("layer", layer(node))
    severity = hit.severity or Severity(rule.severity)
    if rule.versions and severity.rank < Severity.WARNING.rank:
        severity = Severity.WARNING
    console = values.get("text") or (rule.console.format_map(values) if rule.console and not hit.silent else "")
    if "Exception: " in console and severity != Severity.ERROR:
        console = ""
    return Finding(
        code=rule.code,
        severity=severity,
        target=view.target.name,
        reason=reason,
        fix=_fix(view, None if rule.kind == "malformed" else node, hit, hit.fix or rule.fix or texts["remedy"]),
        node=_text(label(node)) if node is not None else "",
        operator=_text(node.op_type) if node is not None else "",
        where=_text(hit.where),
        console=console,
        backends=rule.backends,
        source=rule.source,
    )
