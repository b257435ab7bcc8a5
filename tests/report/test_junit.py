"""JUnit XML, checked against the schema of Jenkins' xunit plugin (junit-10.xsd), whose rules stand below."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from pipeline.report.junit import render_junit
from pipeline.validation.files import Validation
from tests.report.results import TARGETS, full_result

SCHEMA: dict[str, tuple[set[str], set[str], set[str], bool]] = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, {"testsuite"}, False),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url", "version"},
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
        False,
    ),
    "testcase": (
        {"name"},
        {"time", "classname", "group"},
        {"skipped", "error", "failure", "system-out", "system-err"},
        False,
    ),
    "failure": (set(), {"type", "message"}, set(), True),
    "error": (set(), {"type", "message"}, set(), True),
    "system-out": (set(), set(), set(), True),
    "system-err": (set(), set(), set(), True),
}
"""Element: required attributes, further ones, children, whether it holds text."""


def problems(element: ET.Element) -> list[str]:
    """Where an element and what is in it breaks the schema."""
    if element.tag not in SCHEMA:
        return [f"unknown element {element.tag}"]
    required, further, children, text = SCHEMA[element.tag]
    found = [f"{element.tag} lacks {name}" for name in sorted(required - set(element.attrib))]
    found += [f"{element.tag} has {name}" for name in sorted(set(element.attrib) - required - further)]
    found += [f"{element.tag} in {element.tag}" for child in element if child.tag not in children]
    found += [f"text in {element.tag}"] if not text and (element.text or "").strip() else []
    return found + [problem for child in element for problem in problems(child)]


@pytest.fixture
def result(tmp_path) -> Validation:
    return full_result(tmp_path)


@pytest.fixture
def root(result) -> ET.Element:
    return ET.fromstring(render_junit(result))


def test_it_is_valid(root):
    assert problems(root) == []


def test_the_checker_of_the_schema_notices():
    bad = ET.fromstring('<testsuites><testsuite name="a" tests="1" failures="0" errors="0" nope="">'
                        "<testcase>text<failure/><what/></testcase></testsuite></testsuites>")  # fmt: skip
    assert problems(bad) == [
        "testsuite has nope",
        "testcase lacks name",
        "testcase in testcase",
        "text in testcase",
        "unknown element what",
    ]


def test_a_suite_per_target_and_a_case_per_file(root):
    suites = root.findall("testsuite")
    assert [s.get("name") for s in suites] == list(TARGETS)
    for suite in suites:
        names = [case.get("name", "").rpartition("/")[2] for case in suite.findall("testcase")]
        assert names == ["bad net.onnx", "clean.onnx", "warns.onnx", "broken.onnx"]
        assert {case.get("classname") for case in suite.findall("testcase")} == {suite.get("name")}


def test_the_counts_are_those_of_the_cases(root):
    for suite in root.findall("testsuite"):
        assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "1", "1")
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("8", "2", "2")


def test_a_finding_that_fails_is_a_failure_and_the_rest_is_output(root):
    bad = root.find("testsuite/testcase")
    assert bad is not None
    (failure,) = bad.findall("failure")
    assert failure.get("type") == "unknown-operator"
    assert "HardSwish act and 2 more" in (failure.text or "") and "net.py:3" in (failure.text or "")
    output = bad.findtext("system-out") or ""
    assert "Waived: seen and accepted" in output and "reference-loop-on-cpu" in output


def test_a_file_that_cannot_be_read_is_an_error_in_every_suite(root):
    errors = root.findall("testsuite/testcase/error")
    assert [e.get("type") for e in errors] == ["truncated-file"] * 2


def test_an_unused_waiver_is_on_the_error_stream(root):
    assert "slice-steps" in (root.findtext("testsuite/system-err") or "")


def test_characters_that_xml_cannot_hold_are_replaced(result):
    text = render_junit(result)
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", text)


def test_equal_results_are_equal_bytes(result):
    assert render_junit(result) == render_junit(result)
    assert "time" not in re.sub("testcase|run time", "", render_junit(result)).split("<testcase")[0]
