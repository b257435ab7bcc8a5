"""Render what the rewrites did as text (`pipeline convert --explain`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_NAMES = 4
"""Most node names shown per edit; the report has all of them."""


def explanation(report: Mapping[str, Any]) -> list[str]:
    """Lines of text: nodes per operator before and after, edits by rewrite, refusals, and checks."""
    return [*_operators(report), "", *_edits(report), *_refusals(report), *_checks(report)]


def _operators(report: Mapping[str, Any]) -> Iterator[str]:
    before, after = report["before"], report["model"]
    counts = before["operators"], after["operators"]
    names = sorted(set().union(*counts))
    width = max(map(len, ("operator", *names)))
    yield f"  {'operator':<{width}}  before   after"
    for name in names:
        count_before, count_after = (str(operators.get(name, "-")) for operators in counts)
        yield f"  {name:<{width}}  {count_before:>6}  {count_after:>6}"
    yield f"  {'all':<{width}}  {sum(counts[0].values()):>6}  {sum(counts[1].values()):>6}"
    yield f"  {'opset':<{width}}  {before['opset']:>6}  {after['opset']:>6}"


def _edits(report: Mapping[str, Any]) -> Iterator[str]:
    by_rewrite: dict[str, dict[tuple[str, str], list[str]]] = {}
    for edit in report["edits"]:
        same = by_rewrite.setdefault(edit["rewrite"], {})
        same.setdefault((edit["what"], edit["why"]), []).extend(edit["nodes"])
    if not by_rewrite:
        yield "  No rewrite changed anything."
    for rewrite, edits in by_rewrite.items():
        yield f"  {rewrite}"
        for (what, why), nodes in edits.items():
            yield f"    {what}: {why}"
            yield f"      {_some(list(dict.fromkeys(nodes)))}"


def _refusals(report: Mapping[str, Any]) -> Iterator[str]:
    for refusal in report["refusals"]:
        node = f"{refusal['operator']} {refusal['node']}"
        yield f"  {refusal['rewrite']} does not change {node}: {refusal['reason']}"


def _checks(report: Mapping[str, Any]) -> Iterator[str]:
    checks = report.get("checks")
    if checks is None:
        return
    yield ""
    same = sum(check["outcome"] == "same" for check in checks)
    yield f"  checked: {same} of {len(checks)} applications of rewrites did not change the output"
    for check in checks:
        if check["outcome"] != "same":
            yield f"  {check['rewrite']} {check['outcome']}: {check['reason']} ({_some(check['nodes'])})"


def _some(names: list[str]) -> str:
    more = len(names) - _NAMES
    return ", ".join(names[:_NAMES]) + (f" and {more} more" if more > 0 else "")
