"""Verdicts as workflow commands."""

from __future__ import annotations

import re

import pytest

from pipeline.report.github import render_github
from pipeline.validation.files import Validation
from tests.report.results import full_result

COMMAND = re.compile(r"::(error|warning|notice) ([a-z]+=[^:,]*(?:,[a-z]+=[^:,]*)*)::(.*)")
"""actions/toolkit, packages/core/src/command.ts: properties are separated by `,`, and end at `::`."""


@pytest.fixture
def result(tmp_path) -> Validation:
    return full_result(tmp_path)


def commands(result: Validation, folder, verbosity: int = 0) -> list[tuple[str, dict[str, str], str]]:
    built = []
    for line in render_github(result, folder=folder, verbosity=verbosity).splitlines():
        match = COMMAND.fullmatch(line)
        assert match is not None, line
        built.append((match[1], dict(p.split("=", 1) for p in match[2].split(",")), unescape(match[3])))
    return built


def unescape(text: str) -> str:
    return text.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")


def test_every_line_is_a_command_and_worst_come_first(result, tmp_path):
    built = commands(result, tmp_path)
    titles = [properties["title"].replace("%2C", ",") for _, properties, _ in built]
    assert titles == [
        "truncated-file",
        "error unknown-operator (barracuda-1.0, barracuda-3.0)",
        "wrong attribute-ignored (barracuda-1.0, barracuda-3.0)",
        "warning softmax-axis-warning (barracuda-1.0, barracuda-3.0)",
        "slow reference-loop-on-cpu (barracuda-1.0, barracuda-3.0)",
        "unused waiver",
    ]
    assert [kind for kind, _, _ in built] == ["error", "error", "notice", "warning", "notice", "warning"]


def test_an_annotation_stands_at_the_python_line_that_the_folder_has(result, tmp_path):
    _, properties, message = commands(result, tmp_path)[1]
    assert (properties["file"], properties["line"]) == ("net.py", "3")
    assert "HardSwish act and 2 more: barracuda-1.0 has no operator HardSwish." in message
    assert "Unity says: OnnxImportException" in message and "Fix: Write it with others" in message
    assert "bad net.onnx" in message


def test_without_a_python_line_it_stands_at_the_model_relative_to_the_folder(result, tmp_path):
    _, properties, message = commands(result, tmp_path)[2]
    assert properties["file"] == "models/bad net.onnx" and "line" not in properties
    assert "Waived: seen and accepted" in message and "Fix:" not in message


def test_notes_are_shown_on_request(result, tmp_path):
    assert not any("integer-precision" in p["title"] for _, p, _ in commands(result, tmp_path))
    assert any("integer-precision" in p["title"] for _, p, _ in commands(result, tmp_path, verbosity=1))


def test_what_fails_is_an_error_even_if_it_is_mild(result, tmp_path):
    from dataclasses import replace

    from pipeline.validation.findings import Severity

    built = commands(replace(result, fail_on=Severity.SLOW), tmp_path)
    assert [kind for kind, p, _ in built if p["title"].startswith(("slow", "warning"))] == ["error", "error"]


def test_a_name_cannot_make_a_command_of_its_own(result, tmp_path):
    text = render_github(result, folder=tmp_path, verbosity=1)
    assert "\x1b" not in text and "\x00" not in text
    assert all(line.startswith("::") for line in text.split("\n") if line)
    assert not any(line.startswith("::error::") for line in text.splitlines())
