"""Whatever stands in a file, what a command prints cannot steer a terminal or a CI system.

Every command that reads a model is fed names with escape sequences, line breaks, workflow commands, bidirectional
overrides and bytes that are not UTF-8; the raw bytes on both streams are scanned, and those of files it wrote.
"""

from __future__ import annotations

import os
import re
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.cli import COMMANDS, cli
from pipeline.cli.console import run
from pipeline.support.plain_text import dump_json, line, plain, styled

NASTY = "e\x1b[31m\x1b]0;t\x07\n::error file=a::b\r##vso[task.x]\u202e\u2066\x9b1m\u2028\x85::warning::c"
NO_COMMAND = {"explain", "targets", "verify-unity", "ai", "port"}
"""Commands that read no model file."""
ARGUMENTS = {
    "bench": ("{file}", "--seconds", "0.01", "--size", "64x64"),
    "train": ("--style", "{file}", "--images", "{folder}"),
    "distill": ("{file}", "--images", "{folder}"),
    "prune": ("{file}",),
    "shrink": ("{file}", "--images", "{folder}"),
    "paint": ("{file}", "{file}"),
    "compare": ("{file}", "{file}"),
    "build-unity": ("{file}", "--input-range", "0..1", "--output-range", "0..1", "-o", "{folder}/out"),
}


def hostile_model(operator: str) -> bytes:
    weights = numpy_helper.from_array(np.zeros((3, 3, 1, 1), "float32"), f"w{NASTY}")
    nodes = [
        helper.make_node("Conv", [f"x{NASTY}", f"w{NASTY}"], [f"m{NASTY}"], name=f"conv{NASTY}"),
        helper.make_node(operator, [f"m{NASTY}"], [f"y{NASTY}"], name=f"act{NASTY}zqzqzqzq"),
    ]
    graph = helper.make_graph(
        nodes,
        NASTY,
        [helper.make_tensor_value_info(f"x{NASTY}", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info(f"y{NASTY}", TensorProto.FLOAT, [1, 3, 8, 8])],
        [weights],
    )
    model = helper.make_model(
        graph, producer_name=NASTY, opset_imports=[helper.make_opsetid("", 14)], ir_version=7
    )
    model.metadata_props.add(key=NASTY, value=NASTY)
    return model.SerializeToString().replace(b"zqzqzqzq", b"\xff\xfe\x80\xc0\xff\xff\xff\xff")


def check(output: bytes) -> None:
    text = output.decode("utf-8")  # strictly
    for row in text.split("\n"):
        assert row.isprintable() or not row, repr(row)
        assert not re.match(r"\s*(::|##)", row), row
        assert not re.search(r"##\w*\[", row), row


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIPELINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    folder = tmp_path / "pictures"
    folder.mkdir()
    result = []
    for operator in ("Relu", f"Op{NASTY}"):
        for stem in ("net", "e\x1b[31m\n::error::x"):
            path = tmp_path / f"{stem}{len(result)}.onnx"
            path.write_bytes(hostile_model(operator))
            result.append(path)
    odd = tmp_path / os.fsdecode(b"bad\xff\n::error::.onnx")
    odd.write_bytes(hostile_model("Relu"))
    return folder, [*result, odd]


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - NO_COMMAND))
@pytest.mark.parametrize("as_json", [False, True])
def test_no_command_prints_what_steers(name, as_json, files, capfdbinary, monkeypatch):
    folder, models = files
    for model in models if name == "validate" else models[1:2] if as_json else models[2:4]:
        stored = ARGUMENTS.get(name, ("{file}",))
        arguments = [part.format(file=model, folder=folder) if "{" in part else part for part in stored]
        monkeypatch.setattr(sys, "argv", ["pipeline", name, *arguments, *(["--json"] if as_json else [])])
        capfdbinary.readouterr()
        code = run(cli)
        printed = capfdbinary.readouterr()
        assert code in (0, 1, 2), printed.err[-500:]
        check(printed.out)
        check(printed.err)


@pytest.mark.parametrize("form", ["text", "json", "junit", "sarif", "github"])
def test_every_form_of_validation_is_plain(form, files, capfdbinary, monkeypatch):
    _, models = files
    monkeypatch.setattr(sys, "argv", ["pipeline", "validate", *map(str, models), "--format", form, "-v"])
    assert run(cli) in (1, 2)
    printed = capfdbinary.readouterr().out.decode("utf-8")
    for row in printed.split("\n"):
        assert row.isprintable() or not row, repr(row)
        if form != "github":
            assert not re.match(r"\s*(::|##)", row), row
        else:
            assert re.match(r"::(error|warning|notice) (file|title)=", row) or not row


def test_reports_are_plain_and_hold_no_markup(files, monkeypatch, capfdbinary):
    folder, models = files
    options = ["--input-range", "0..1", "--output-range", "0..1", "-o", str(folder / "out"), "--name", "Net"]
    monkeypatch.setattr(sys, "argv", ["pipeline", "build-unity", str(models[0]), *options, "--no-cache"])
    code = run(cli)
    reported = capfdbinary.readouterr()
    check(reported.err)
    if code == 0:
        for name in ("report.json", "report.md", "report.html"):
            text = (folder / "out/StyleTransfer/Models/Net" / name).read_text(encoding="utf-8")
            assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e\u2066]", text)


def test_a_line_is_one_line_and_keeps_its_styles_only():
    assert plain(NASTY).isprintable()
    assert plain("\udcff\n") == "\\udcff\\n"
    assert line(f"{styled('error', fg='red')} {NASTY}", colour=True).startswith("\x1b[31merror\x1b[0m e\\x1b[31m")
    assert line(f"{styled('error', fg='red')} x", colour=False) == "error x"
    assert line("::error::x") == ": :error::x"
    assert line(styled("::error::x", bold=True), colour=True).startswith("\x1b[1m: :error")
    assert line("  ##[group]x").strip().startswith("# #")
    assert line("a ##vso[x]") == "a # #vso[x]"
    assert len(line("x" * 10**6)) < 3000


def test_json_means_the_same_and_is_printable():
    import json

    value = {NASTY: [NASTY, "\U000e0001", "\x7f", "\u00e9"]}
    report = dump_json(value)
    assert json.loads(report) == value and report.replace("\n", "").isprintable() and "\u00e9" in report
