"""Each rule reports its smallest graph on the targets that have the rule, and not a correct similar graph."""

from __future__ import annotations

import re

import pytest

from pipeline import targets
from pipeline.validation import codes, kinds_of, validate
from pipeline.validation.findings import Severity
from pipeline.validation.kinds import HARMLESS
from tests.validation.cases import CASES, RIGHT
from tests.validation.small import graph, ints, node

MEASURED = ("1", "2", "3")
"""The versions that the cases tell apart. A newer one is expected to have the rules of the last of them."""


@pytest.mark.parametrize(
    ("code", "model", "expected"), CASES, ids=[f"{i} {case[0]}" for i, case in enumerate(CASES)]
)
def test_code_is_found_on_the_targets_that_have_the_rule(code, model, expected):
    found = {
        name.removeprefix("barracuda-").removesuffix(".0")
        for name in targets.names("barracuda")
        if any(finding.code == code for finding in validate(model, targets.get(name)))
    }
    expected_value = set(expected.split())
    newer = {name.removeprefix("barracuda-") for name in targets.names("barracuda")[len(MEASURED) :]}
    assert found == (expected_value | newer if MEASURED[-1] in expected_value else expected_value)


@pytest.mark.parametrize(("shape", "severity"), [((2, 8, 9), Severity.WRONG), ((1, 8, 12, 16), Severity.ERROR)])
def test_a_slice_to_the_end_that_starts_beyond_it_fails_but_for_rank_three(shape, severity):
    cut = node("Slice", "x s e a", "y")
    source = graph(cut, shape=shape, opset=11, s=ints(20), e=ints(2**63 - 1), a=ints(1))
    found = [f for f in validate(source, targets.get("barracuda-1.0")) if f.code == "slice-end-int64"]
    assert [f.severity for f in found] == [severity]


def test_every_code_of_the_targets_has_a_graph_that_fires_it():
    used = {rule.code for name in targets.names("barracuda") for rule in targets.get(name).rules()}
    assert {code for code, _, expected in CASES if expected} == used


def test_every_code_is_explained_and_every_explanation_has_a_code():
    used = {rule.code for name in targets.names() for rule in targets.get(name).rules()}
    assert set(codes()) == used


@pytest.mark.parametrize("code", sorted(codes()))
def test_explanation_has_title_explanation_and_remedy(code):
    reported = codes()[code]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)
    assert set(reported) == {"title", "explanation", "remedy"}
    assert all(reported.values())
    assert (
        not reported["title"].endswith(".")
        and reported["explanation"].endswith(".")
        and reported["remedy"].endswith(".")
    )


@pytest.mark.parametrize("name", targets.names(narrow=True))
def test_every_row_of_a_target_can_be_evaluated(name):
    target = targets.get(name)
    kinds, graph_kinds = kinds_of(target)
    assert {rule.kind for rule in target.graph_rules} <= set(graph_kinds)
    rows = [rule for facts in target.operators.values() for rule in facts.rules]
    assert {rule.kind for rule in rows} <= set(kinds)
    assert {rule.options["harmless"] for rule in rows if "harmless" in rule.options} <= set(HARMLESS)
    assert {rule.severity for rule in target.rules()} <= {severity.value for severity in Severity}


def test_every_kind_is_used_by_a_target():
    stored = [targets.get(name) for name in targets.names()]
    used = {rule.kind for target in stored for rule in target.rules()}
    assert used == {kind for target in stored for kinds in kinds_of(target) for kind in kinds}


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("target", targets.names("barracuda"))
def test_what_was_measured_right_has_no_finding_worse_than_slow(name, target):
    found = validate(RIGHT[name], targets.get(target))
    assert [f for f in found if f.severity.rank < Severity.SLOW.rank] == []
