"""pipeline targets, from the outside."""

from __future__ import annotations

import json

from pipeline import targets


def test_the_matrix_tells_yes_limits_and_no(pipeline):
    head, *lines = pipeline("targets").out.splitlines()
    rows = {line.split()[0]: dict(zip(head.split(), line.split()[1:], strict=True)) for line in lines}
    acos = {"barracuda-1.0": "no", "barracuda-2.0": "yes", "barracuda-3.0": "yes", "compute": "no"}
    assert rows["Acos"].items() >= acos.items()
    assert set(rows["Resize"].values()) == {"limits"} and tuple(rows["Resize"]) == targets.names()
    assert set(rows) == {name for t in targets.names() for name in targets.get(t).operators}


def test_one_operator_is_shown_with_its_limits_worst_first(pipeline):
    lines = pipeline("targets", "resize").out.splitlines()
    assert lines[1].split() == ["Resize", *["limits"] * len(targets.names())]
    limits = lines[lines.index("Resize") + 1 :]
    severities = [line.split()[0] for line in limits]
    assert severities == sorted(severities, key=["error", "wrong", "warning", "slow", "note"].index)
    assert any("resize-coordinates-differ" in line and "barracuda-3.0" in line for line in limits)


def test_an_operator_that_is_unknown_is_no_everywhere(pipeline):
    data = json.loads(pipeline("targets", "Col2Im", "--json").out)
    assert data["operators"] == {"Col2Im": {name: "no" for name in targets.names()}}
    assert {t["version"] for t in data["targets"]} >= {"1.0.4", "2.0.0", "3.0.0", "1.0.0", "2.1.3", "2.4.0"}


def test_a_misspelt_operator_gets_a_suggestion(pipeline):
    assert "No target supports Resise. Did you mean Resize?" in pipeline("targets", "Resise").err
    assert "No target supports" not in pipeline("targets", "Resize").err
