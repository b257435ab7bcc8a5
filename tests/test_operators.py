"""A fixed sample of the ONNX operator cases: none may come out wrong. benchmarks/operators.py runs all."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from benchmarks import operators
from pipeline import targets
from tests.conftest import REPOSITORY

MODULES = (
    "averagepool",
    "batch_normalization",
    "clip",
    "concat",
    "conv",
    "convtranspose",
    "depthtospace",
    "gelu",
    "groupnormalization",
    "hardswish",
    "instance_normalization",
    "lppool",
    "maxpool",
    "meanvariancenormalization",
    "mish",
    "pad",
    "prelu",
    "reduce_log_sum_exp",
    "resize",
    "slice",
    "softmax",
    "spacetodepth",
    "split",
    "squeeze",
    "upsample",
)


@pytest.fixture(scope="module")
def outcomes():
    return list(operators.judged(operators.node_cases(MODULES)))


def test_no_case_of_the_sample_is_wrong(outcomes):
    bad = [outcome for outcome in outcomes if outcome.verdict not in ("right", "refused")]
    assert not bad
    assert all(outcome.code and outcome.reason for outcome in outcomes if outcome.verdict == "refused")


@pytest.mark.parametrize(
    ("target", "least"), [("barracuda-1.0", 120), ("barracuda-2.0", 165), ("barracuda-3.0", 165)]
)
def test_most_cases_of_the_sample_are_right(outcomes, target, least):
    counts = Counter(outcome.verdict for outcome in outcomes if outcome.target == target)
    assert counts["right"] >= least, counts


def test_a_wrong_result_is_called_wrong():
    case = next(case for case in operators.node_cases(["clip"]) if case.name == "test_clip")
    off = operators.Case(case.name, case.model, case.given, tuple(value + 0.01 for value in case.expected))
    target = targets.get(targets.DEFAULT)
    assert operators.judge(case, target).verdict == "right"
    assert operators.judge(off, target).verdict == "wrong"


def test_shapes_and_not_a_number_count_as_differences():
    assert operators.difference([np.ones((1, 2))], [np.ones((2, 1))]) == "shape (2, 1) instead of (1, 2)"
    assert operators.difference([np.array([1.0, np.nan])], [np.array([1.0, 0.0])])
    assert not operators.difference([np.array([1.0, np.nan])], [np.array([1.00005, np.nan])])


def test_the_page_says_that_nothing_is_wrong():
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in (REPOSITORY / "docs" / "operators.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| barracuda-")
    ]
    assert [row[0] for row in rows] == list(targets.names("barracuda"))
    for _, cases, right, refused, wrong, errors in rows:
        assert int(cases) == int(right) + int(refused)
        assert (wrong, errors) == ("0", "0")
