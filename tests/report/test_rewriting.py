from __future__ import annotations

from pipeline.report.rewriting import explanation


def edit(rewrite, what, *nodes):
    return {"rewrite": rewrite, "what": what, "why": "because", "nodes": list(nodes)}


REPORT = {
    "before": {"opset": 13, "operators": {"Conv": 2, "Identity": 10}},
    "model": {"opset": 9, "operators": {"Conv": 2, "Pad": 1}},
    "edits": [
        edit("constants", "removed", *"abc"),
        edit("pads", "added", "p"),
        edit("constants", "removed", *"cde"),
    ],
    "refusals": [{"rewrite": "conv", "operator": "Conv", "node": "k", "reason": "its kernel is computed"}],
}


def test_operators_are_counted_before_and_after():
    rows = [line.split() for line in explanation(REPORT)[:6]]
    assert rows == [
        ["operator", "before", "after"],
        ["Conv", "2", "2"],
        ["Identity", "10", "-"],
        ["Pad", "-", "1"],
        ["all", "12", "3"],
        ["opset", "13", "9"],
    ]


def test_edits_are_told_by_rewrite_with_what_why_and_where():
    lines = explanation(REPORT)
    at = lines.index("  constants")
    assert lines[at : at + 3] == ["  constants", "    removed: because", "      a, b, c, d and 1 more"]
    assert lines[at + 3 :] == [
        "  pads",
        "    added: because",
        "      p",
        "  conv does not change Conv k: its kernel is computed",
    ]


def test_checks_are_told_where_there_are_some():
    checks = [
        {"rewrite": "constants", "outcome": "same", "nodes": ["a"], "reason": ""},
        {"rewrite": "pads", "outcome": "undone", "nodes": ["p"], "reason": "the output differs by 1"},
    ]
    assert explanation({**REPORT, "checks": checks})[-2:] == [
        "  checked: 1 of 2 applications of rewrites did not change the output",
        "  pads undone: the output differs by 1 (p)",
    ]


def test_a_graph_that_is_fit_says_so():
    assert explanation({**REPORT, "edits": [], "refusals": []})[-1] == "  No rewrite changed anything."
