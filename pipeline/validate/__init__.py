"""Validation: what Unity's console will say of a model, and what it will not say.

`validate` holds a model against the rules of a target's data file; `codes` explains each code of a finding.
Neither torch nor ONNX Runtime is imported.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.validate.findings import Finding, Severity

if TYPE_CHECKING:
    import onnx

    from pipeline.targets import Rule, Target
    from pipeline.validate.kinds import Hit
    from pipeline.validate.view import View

__all__ = ["codes", "validate"]


@cache
def codes() -> dict[str, dict[str, str]]:
    """All finding codes: `title`, `explanation` and `remedy` of each, for `pipeline explain` and the docs."""
    path = Path(__file__).resolve().parent / "codes.json"
    return json.loads(path.read_text(encoding="utf-8"))


def validate(model: onnx.ModelProto, target: Target) -> list[Finding]:
    """The findings of a model for a target, worst first, then in node order, then by code.

    The model is not changed, and weights are not turned into arrays. Never raises on an odd graph: what cannot be
    read is the finding `malformed-graph`.
    """
    from pipeline.validate import believed, broadcasting, convolutions, operators, resizing, shaping, slicing  # noqa: F401
    from pipeline.validate.graphs import GRAPH_KINDS
    from pipeline.validate.kinds import KINDS
    from pipeline.validate.view import View

    graph_kinds = {**GRAPH_KINDS, **target.family.graph_kinds()}
    kinds = {**KINDS, **target.family.rule_kinds()}
    view = View(model, target)
    place = {id(node): index for index, node in enumerate(view.nodes)}
    found: list[tuple[int, Finding]] = []
    for rule in target.graph_rules:
        for node, hit in _guarded(graph_kinds[rule.kind](view, rule)):
            found.append((place.get(id(node), -1), _finding(view, node, rule, hit)))
    counts: dict[str, int] = defaultdict(int)
    for node in view.nodes:
        counts[node.op_type] += 1
    told: set[tuple[str, str]] = set()
    for index, node in enumerate(view.nodes):
        facts = target.operators.get(node.op_type)
        for rule in facts.rules if facts is not None else ():
            if rule.options.get("once"):
                if (rule.code, node.op_type) in told:
                    continue
                told.add((rule.code, node.op_type))
            for hit in _guarded(kinds[rule.kind](view, node, rule)):
                found.append((index, _finding(view, node, rule, hit, counts[node.op_type])))
    found.sort(key=lambda item: (item[1].severity.rank, item[0], item[1].code, item[1].where))
    return list(dict.fromkeys(finding for _, finding in found))


def _guarded(hits: Iterator[Any]) -> Iterator[Any]:
    """The hits of a rule; a graph too odd for it has none (`malformed-graph` and the like say what is odd)."""
    try:
        yield from hits
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError, MemoryError):
        return


class _Blank(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "..."


def _finding(view: View, node: onnx.NodeProto | None, rule: Rule, hit: Hit, count: int = 1) -> Finding:
    from pipeline.validate.view import label, layer

    told = codes()[rule.code]
    reason = hit.reason or rule.reason or told["title"]
    if rule.options.get("once") and count > 1:
        reason = f"{reason} ({count} nodes)"
    values = _Blank(hit.values)
    if node is not None:
        values.setdefault("operator", node.op_type)
        values.setdefault("layer", layer(node))
    severity = hit.severity or Severity(rule.severity)
    console = values.get("text") or (rule.console.format_map(values) if rule.console and not hit.silent else "")
    if "Exception: " in console and severity != Severity.ERROR:
        console = ""
    return Finding(
        code=rule.code,
        severity=severity,
        target=view.target.name,
        reason=reason,
        fix=hit.fix or rule.fix or told["remedy"],
        node=label(node) if node is not None else "",
        operator=node.op_type if node is not None else "",
        where=hit.where,
        console=console,
        backends=rule.backends,
        source=rule.source,
    )
