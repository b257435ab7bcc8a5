"""Verdicts as text: grouped, coloured, and safe to print."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.report.text import groups, hidden_notes, render_summary, render_text, shown
from pipeline.support.plain_text import styled, unstyled
from pipeline.validation.files import Validation, Verdict
from pipeline.validation.findings import Severity
from tests.report.results import NASTY, TARGETS, found, full_result


@pytest.fixture
def result(tmp_path) -> Validation:
    return full_result(tmp_path)


def plain(result: Validation, **more: int) -> str:
    return unstyled(render_text(result, **more))


def test_equal_findings_are_one_with_a_count_and_their_targets(result):
    text = plain(result)
    assert text.count("[unknown-operator]") == 1
    assert "error [unknown-operator] HardSwish act and 2 more (barracuda-1.0, barracuda-3.0)" in text


def test_a_finding_says_reason_console_python_line_and_fix(result):
    text = plain(result)
    assert "    barracuda-1.0 has no operator HardSwish.\n" in text
    assert "Unity:   OnnxImportException: Unknown type HardSwish\n" in text
    assert "Python:  net.py:3 in forward: y = hardswish(x)\n" in text
    assert "Fix:     Write it with others\n" in text


def test_notes_are_left_out_and_counted(result):
    assert "integer-precision" not in plain(result)
    assert hidden_notes(result) == 2


def test_verbose_shows_every_node_every_note_and_the_sources(result):
    text = plain(result, verbosity=1)
    assert text.count("[unknown-operator]") == 3 and "integer-precision" in text
    assert "Source:  ONNXModelConverter.cs:2953@3.0.0" in text


def test_quiet_shows_only_what_fails(result):
    text = plain(result, verbosity=-1)
    assert "unknown-operator" in text
    assert not any(code in text for code in ("attribute-ignored", "reference-loop", "softmax-axis"))


def test_a_waived_finding_is_shown_with_its_reason_and_without_a_fix(result):
    after = plain(result).split("[attribute-ignored]")[1].split("slow [")[0]
    assert "Waived:  seen and accepted" in after and "Fix:" not in after


def test_findings_stand_under_their_file_worst_first(result):
    lines = plain(result).splitlines()
    heads = [line.split(" [")[0].strip() for line in lines if line.startswith("  ") and line[2] != " "]
    assert heads == ["error", "wrong", "slow", "warning"]
    assert lines[0].endswith("bad net.onnx") and "clean.onnx" not in plain(result)


def test_severities_are_coloured(result):
    assert styled("error", fg="red") in render_text(result)
    assert styled("slow", fg="cyan") in render_text(result)


def test_names_cannot_steer_the_terminal(result):
    for text in (plain(result, verbosity=2), render_summary(result)):
        assert not any(ord(c) < 32 and c != "\n" for c in unstyled(text))
    assert shown(NASTY).startswith('n<&>"\\x1b[31m\\x00\\n::error')


def test_a_long_name_is_shortened_in_its_middle():
    assert shown("a" * 50 + "b" * 10_000 + "c" * 50) == "a" * 40 + "..." + "c" * 37
    assert shown("a" * 80) == "a" * 80


def test_groups_keep_severities_operators_and_waivers_apart():
    findings = tuple(
        found(severity=severity, operator=operator, node=f"{severity}{operator}{n}")
        for severity in ("error", "wrong")
        for operator in ("Gelu", "Swish")
        for n in range(2)
    )
    result = groups([Verdict(Path("net.onnx"), TARGETS[0], findings)])
    assert [(g.first.severity.value, g.first.operator, g.more) for g in result] == [
        ("error", "Gelu", 1),
        ("error", "Swish", 1),
        ("wrong", "Gelu", 1),
        ("wrong", "Swish", 1),
    ]


def test_the_summary_is_a_matrix_of_files_and_targets(result):
    header, *rows = unstyled(render_summary(result)).splitlines()
    assert header.split() == ["barracuda-1.0", "barracuda-3.0"]
    assert [row.split("onnx", 1)[1].split() for row in rows] == [
        ["fails", "(3),", "1", "waived"] * 2,
        ["right"] * 2,
        ["right,", "warns"] * 2,
        ["unreadable:", "truncated-file"],
    ]
    assert {row.index("barracuda-3.0") for row in [header]} == {row.rindex("fails") for row in rows[:1]}


def test_one_file_for_one_target_is_summed_up_in_a_line():
    one = Validation((Verdict(Path("net.onnx"), TARGETS[0], (found(),)),), TARGETS[:1])
    assert unstyled(render_summary(one)) == "net.onnx for barracuda-1.0: does not import or run (1 error)"


def test_a_mild_finding_that_fails_is_counted_in_the_matrix():
    verdicts = tuple(Verdict(Path("net.onnx"), t, (found(severity="slow", target=t),)) for t in TARGETS)
    text = unstyled(render_summary(Validation(verdicts, TARGETS, Severity.SLOW)))
    assert text.count("right, 1 to fail on") == 2
