"""pipeline explain, from the outside."""

from __future__ import annotations

import json

import pytest

from pipeline.validation import codes


@pytest.mark.parametrize("code", sorted(codes()))
def test_every_code_is_explained(pipeline, code):
    done = pipeline("explain", code)
    assert done.code == 0 and done.out.startswith(f"{code}: {codes()[code]['title']}")
    assert "What to do: " in done.out and "    Source: " in done.out


def test_without_a_code_all_are_listed(pipeline):
    done = pipeline("explain")
    assert [line.split()[0] for line in done.out.splitlines()] == sorted(codes())


def test_a_near_miss_is_corrected(pipeline):
    done = pipeline("explain", "unknown-operatr")
    assert done.code == 2 and "Did you mean unknown-operator?" in done.err


def test_the_data_hold_the_rules(pipeline):
    rules = json.loads(pipeline("explain", "unknown-operator", "--json").out)["unknown-operator"]["rules"]
    assert [(rule["target"], rule["severity"]) for rule in rules] == [
        ("barracuda-1.0", "error"),
        ("barracuda-2.0", "error"),
        ("barracuda-3.0", "error"),
        ("compute", "error"),
        ("sentis-2.1", "error"),
        ("inference-2", "error"),
    ]


def test_codes_of_errors_are_explained_too(pipeline):
    done = pipeline("explain", "truncated-file")
    assert done.code == 0 and done.out == "truncated-file: the download or copy was cut off\n"
    assert json.loads(pipeline("explain", "zip-bomb", "--json").out)["zip-bomb"]["explanation"]
    assert "Did you mean truncated-file?" in pipeline("explain", "truncated-fil").err
