"""What holds for every command: help, errors, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from pipeline.cli import COMMANDS
from tests.conftest import REPOSITORY


def test_help_names_every_command(pipeline):
    done = pipeline("--help")
    assert done.code == 0
    for name in COMMANDS:
        assert name in done.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(pipeline, name):
    done = pipeline(name, "--help")
    assert done.code == 0
    assert f"pipeline {name}" in done.out.split("Usage:")[1]
    assert "Example" in done.out


def test_a_near_miss_is_answered_with_the_command(pipeline):
    done = pipeline("build")
    assert done.code == 2 and "build-unity" in done.err


def test_no_command_shows_the_help(pipeline):
    done = pipeline()
    assert done.code == 2 and "Start here:\n" in done.err and "Error" not in done.err


def test_a_wrong_option_names_the_help_of_its_command(pipeline):
    done = pipeline("build-unity", "--bogus")
    assert done.code == 2 and "build-unity --help" in done.err


def test_a_bug_says_that_it_is_one_and_shows_no_traceback(pipeline, monkeypatch):
    from pipeline import validation

    def broken():
        raise ZeroDivisionError("of course")

    monkeypatch.setattr(validation, "codes", broken)
    done = pipeline("explain")
    assert done.code == 70
    assert "[bug] ZeroDivisionError" in done.err and "Traceback" not in done.err


def test_explain_lists_and_explains(pipeline):
    listed = pipeline("explain")
    assert listed.code == 0 and "unknown-operator" in listed.out
    one = json.loads(pipeline("explain", "unknown-operator", "--json").out)
    assert set(one["unknown-operator"]) >= {"title", "explanation", "remedy"}
    assert "[unknown-code]" in pipeline("explain", "unknown-operater").err


def test_targets_shows_the_matrix(pipeline):
    done = pipeline("targets", "Split", "Erf", "--json")
    operators = json.loads(done.out)["operators"]
    split = {"barracuda-1.0": "no", "barracuda-2.0": "limits", "barracuda-3.0": "limits"}
    erf = {"barracuda-1.0": "no", "barracuda-2.0": "no", "barracuda-3.0": "yes"}
    assert operators["Split"].items() >= split.items() and operators["Erf"].items() >= erf.items()
    assert "Conv" in pipeline("targets").out


def test_ctrl_c_while_the_program_is_imported_is_one_word(tmp_path):
    """A package of click's name that interrupts where click would be imported."""
    (tmp_path / "click.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(30)\n"
    )
    path = os.pathsep.join((str(tmp_path), str(REPOSITORY)))
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (130, "stopped\n")
