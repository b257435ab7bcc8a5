"""SARIF 2.1.0, checked against what the standard demands of every object that is written.

`sarif_subset.json` beside this file is that part of the standard, written down from its text: the objects and
properties that are used, everything else forbidden, so that nothing goes out unchecked.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

from pipeline.report.sarif import FINGERPRINT, render_sarif
from pipeline.validation import codes
from pipeline.validation.files import Validation
from tests.report.results import NASTY, full_result

SUBSET = json.loads((Path(__file__).parent / "sarif_subset.json").read_text(encoding="utf-8"))


@pytest.fixture
def result(tmp_path) -> Validation:
    return full_result(tmp_path)


@pytest.fixture
def log(result, tmp_path) -> dict[str, Any]:
    return json.loads(render_sarif(result, folder=tmp_path))


@pytest.fixture
def run(log) -> dict[str, Any]:
    return log["runs"][0]


def test_it_is_valid(log):
    fastjsonschema.compile(SUBSET)(log)


@pytest.mark.parametrize("place", ["", "runs/0", "runs/0/tool/driver/rules/0", "runs/0/results/0/locations/0"])
def test_the_schema_notices_what_the_standard_does_not_know(log, place):
    stored: Any = log
    for key in place.split("/") if place else ():
        stored = stored[int(key) if key.isdigit() else key]
    stored["unheardOf"] = 1
    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        fastjsonschema.compile(SUBSET)(log)


def test_there_is_a_result_for_each_finding(run, result):
    assert len(run["results"]) == sum(len(v.findings) for v in result.verdicts)


def test_each_result_points_to_its_rule_and_the_rule_explains_it(run):
    rules = run["tool"]["driver"]["rules"]
    for item in run["results"]:
        assert rules[item["ruleIndex"]]["id"] == item["ruleId"]
    (rule,) = [rule for rule in rules if rule["id"] == "unknown-operator"]
    assert codes()["unknown-operator"]["remedy"] in rule["help"]["text"]
    assert rule["defaultConfiguration"] == {"level": "error"}


def test_levels_follow_severities(run):
    levels = {item["properties"]["severity"]: item["level"] for item in run["results"]}
    assert levels == {"error": "error", "wrong": "error", "warning": "warning", "slow": "note", "note": "note"}


def test_uris_are_relative_to_the_folder_and_escaped(run):
    uris = {item["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for item in run["results"]}
    assert uris == {"net.py", "models/bad%20net.onnx", "warns.onnx"}


def test_the_node_is_a_logical_location(run):
    names = [loc["name"] for item in run["results"] for loc in item["locations"][0].get("logicalLocations", [])]
    assert {"pool", "norm", "soft", NASTY} <= set(names)


def test_the_python_line_is_the_location_where_the_folder_has_it(run):
    result = run["results"][0]
    place = result["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("net.py", 3)
    (related,) = result["relatedLocations"]
    assert related["physicalLocation"]["artifactLocation"]["uri"] == "models/bad%20net.onnx"
    assert "net.py:3" in result["message"]["text"]


def test_a_python_line_of_another_machine_is_a_related_location(run):
    result = run["results"][2]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "models/bad%20net.onnx"
    place = result["relatedLocations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("file:///lib/x.py", 2)


def test_a_waived_finding_is_suppressed_with_its_reason(run):
    stored = [item.get("suppressions") for item in run["results"] if item["ruleId"] == "attribute-ignored"]
    assert stored == [[{"kind": "external", "justification": "seen and accepted"}]] * 2
    assert sum("suppressions" in item for item in run["results"]) == 2


def fingerprints(result: Validation, folder: Path) -> list[str]:
    run = json.loads(render_sarif(result, folder=folder))["runs"][0]
    return [item["partialFingerprints"][FINGERPRINT] for item in run["results"]]


def test_fingerprints_are_of_one_result_each(result, tmp_path):
    built = fingerprints(result, tmp_path)
    assert len(set(built)) == len(built)
    assert all(re.fullmatch("[0-9a-f]{32}:1", one) for one in built)


def test_fingerprints_stay_when_words_change_or_the_checkout_moves(result, tmp_path):
    before = fingerprints(result, tmp_path)
    reworded = tuple(
        replace(v, findings=tuple(replace(f, reason="other words", fix="other") for f in v.findings), waivers={})
        for v in result.verdicts
    )
    assert fingerprints(replace(result, verdicts=reworded), tmp_path) == before
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert fingerprints(full_result(elsewhere), elsewhere) == before


def test_a_file_that_cannot_be_read_is_a_notification(run):
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False and invocation["exitCode"] == 2
    (reported,) = invocation["toolExecutionNotifications"]
    assert reported["descriptor"]["id"] == "truncated-file"
    assert reported["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "broken.onnx"


def test_an_unused_waiver_is_a_notification(run):
    (reported,) = run["invocations"][0]["toolConfigurationNotifications"]
    assert reported["level"] == "warning" and "slice-steps" in reported["message"]["text"]


def test_a_file_outside_the_folder_has_an_absolute_uri(result, tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    run = json.loads(render_sarif(result, folder=inner))["runs"][0]
    uris = {item["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for item in run["results"]}
    assert uris == {(tmp_path / "models" / "bad net.onnx").as_uri(), (tmp_path / "warns.onnx").as_uri()}
