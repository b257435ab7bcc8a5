"""The editor side of a bundle: it reads what the pipeline prints, starts it, and says which package is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline import targets
from pipeline.unity.bundle import render
from tests.conftest import REPOSITORY
from tests.csharp.conftest import EngineAssemblies
from tests.csharp.toolchain import UNITY_DEFINES, must_compile, run
from tests.unity.bundles import spec

SOURCE = Path(__file__).with_name("EditorCases.cs")
ASSET = "Assets/Third Party/StyleTransfer/Models/Mosaic/Mosaic.asset"


@pytest.fixture(scope="module")
def program(fake: EngineAssemblies) -> Path:
    references = [*fake.editor, fake.library("StyleTransfer.Setup"), fake.own]
    return must_compile(fake.folder / "EditorCases.exe", [SOURCE], references, UNITY_DEFINES)


def ask(program: Path, *words: str, stdin: str = "") -> list[str]:
    done = run("mono", program, *words, stdin=stdin)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


# Starting the tool


@pytest.mark.parametrize(
    "words",
    [
        ["plain", "a b", "", 'say "hi"', "it's", "tab\there"],
        ["Caf\u00e9 \u65e5\u672c.pth", "--input-range", "-1..1", "$HOME `x` *"],
    ],
)
def test_a_process_gets_the_words_that_were_meant(program: Path, words: list[str]) -> None:
    assert ask(program, "echo", *words) == words


def test_what_the_tool_prints_and_how_it_ends_comes_back(program: Path, tmp_path: Path) -> None:
    tool = tmp_path / "pipeline"
    tool.write_text('#!/bin/sh\necho "out $1"\necho "told $PYTHONUTF8 $NO_COLOR" >&2\nexit 2\n')
    tool.chmod(0o755)
    done = run("mono", program, "run", str(tool), "validate")
    assert done.stdout == "out validate\n"
    assert done.stderr.splitlines() == ["locks 1", "told 1 1", "locks 0", "exit 2"]


def test_a_tool_that_is_not_there_is_named_with_the_place_to_set_it(program: Path) -> None:
    done = run("mono", program, "run", "no-such-pipeline", "validate")
    locked, reported, unlocked, ended = done.stderr.splitlines()
    assert (locked, unlocked, ended) == ("locks 1", "locks 0", "exit -1")
    assert "'no-such-pipeline' could not be started" in reported and "Preferences > Style Transfer" in reported


@pytest.mark.parametrize("command", ["/usr/bin/python3.11", "python.exe", "C:/Python/python.exe", "py"])
def test_a_python_is_told_to_run_the_tool(program: Path, command: str) -> None:
    assert ask(program, "arguments", command, "a b") == ['-m pipeline "a b"']
    assert ask(program, "arguments", "/opt/my venv/bin/pipeline", "x") == ["x"]


# Reading what it prints


def test_the_verdict_of_the_validator_is_read(program: Path) -> None:
    from pipeline.validation.files import check_files

    place = REPOSITORY / "UnityProject/Assets/StyleTransfer/Models/Mosaic/Mosaic.onnx"
    reported = check_files([place], ["barracuda-3.0"]).as_dict()
    head, *rows = ask(program, "validation", stdin=json.dumps(reported))
    (verdict,) = reported["files"]
    assert head.split("\t") == [verdict["verdict"], verdict["summary"], "", ""]
    keys = ("code", "severity", "node", "reason", "fix")
    assert [row.split("\t") for row in rows] == [[f[key] for key in keys] for f in verdict["findings"]]
    assert rows


def test_a_file_that_cannot_be_read_has_its_remedy(program: Path, tmp_path: Path) -> None:
    from pipeline.validation.files import check_files

    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"")
    verdict = check_files([broken], ["barracuda-3.0"]).as_dict()
    (row,) = ask(program, "validation", stdin=json.dumps(verdict))
    error = verdict["files"][0]["error"]
    assert row.split("\t") == ["unreadable", verdict["files"][0]["summary"], "empty-file", error["remedy"]]


@pytest.mark.parametrize("text", ["", "no json", '{"error": {"code": "bad-size"}}', "[]", '{"files": []}'])
def test_other_texts_are_no_verdict(program: Path, text: str) -> None:
    assert ask(program, "validation", stdin=text) == ["null"]


def test_the_report_of_the_example_is_read(program: Path) -> None:
    text = (REPOSITORY / "UnityProject/Assets/StyleTransfer/Models/Mosaic/report.json").read_text()
    rebuild, *rows = ask(program, "report", stdin=text)
    assert rebuild == " ".join(json.loads(text)["rebuild"])
    assert [row.split("\t")[0] for row in rows] == [f["code"] for f in json.loads(text)["findings"]]


# Building again


def test_a_style_is_built_again_where_it_lies_with_its_options(program: Path) -> None:
    report = json.dumps({"findings": [], "rebuild": ["--input-range", "0..255"]})
    assert ask(program, "rebuild", "my net.onnx", ASSET, "fake-7", stdin=report) == [
        *("build-unity", "my net.onnx", "--name", "Mosaic", "--output", "Assets/Third Party"),
        *("--target", "fake-7", "--input-range", "0..255"),
    ]
    assert "--input-range" not in ask(program, "rebuild", "net.onnx", ASSET, "fake-7", stdin="broken")
    assert "--target" not in ask(program, "rebuild", "net.onnx", ASSET, "-", stdin="broken")


@pytest.mark.parametrize("asset", ["Assets/Mosaic.asset", "StyleTransfer/Models/Mosaic/Mosaic.asset"])
def test_a_style_outside_its_bundle_is_not_built_again(program: Path, asset: str) -> None:
    (answer,) = ask(program, "rebuild", "net.onnx", asset, "-", stdin="{}")
    assert answer.startswith("refused: ") and "Move its folder back" in answer


# Which package is missing


BARRACUDA, SENTIS, INFERENCE = "com.unity.barracuda", "com.unity.sentis", "com.unity.ai.inference"


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([f"{BARRACUDA}=3.0.0", "-", "A=barracuda-3.0"], []),
        ([f"{BARRACUDA}=3.0.1", "-"], []),
        ([f"{INFERENCE}=2.6.1", "-", "A=inference-2", "B=compute-1"], []),
        ([f"{SENTIS}=2.1.3", "-", "A=sentis-2.1"], []),
        ([f"{INFERENCE}=2.3.0", "-", "A=inference-2", "B=inference-2.3"], []),
        ([f"{INFERENCE}=2.4.0", "-", "A=inference-2", "B=inference-2.3"],
         ["B (inference-2.3).", "--target inference-2"]),
        # Unity 6000.3 and later: the old name only refers to the new one.
        ([f"{INFERENCE}=2.4.1", f"{SENTIS}=2.5.0", "-", "A=inference-2"], []),
        ([f"{BARRACUDA}=2.1.0", "-", "B=barracuda-3.0", "A=barracuda-1.0", "C=barracuda-2.0"],
         ["2.1.0 is installed", "A (barracuda-1.0), B (barracuda-3.0).", "--target barracuda-2.0"]),
        ([f"{INFERENCE}=2.3.0", "-", "A=barracuda-3.0"],
         ["inference 2.3.0 is installed", "A (barracuda-3.0).", "--target inference-2", "Rebuild"]),
        ([f"{BARRACUDA}=3.0.0", "-", "A=sentis-2.1"], ["A (sentis-2.1).", "--target barracuda-3.0"]),
        (["-", "A=barracuda-1.0"],
         ["barracuda is not installed", "version 1.0.4", "Style Transfer > Install Package"]),
        (["-", "A=sentis-2.1"], ["sentis is not installed", "version 2.1.3"]),
        (["-"], ["barracuda is not installed", "version 3.0.0"]),
        (["-", "A=compute-1"], []),
        ([f"{BARRACUDA}=3.0.0", f"{SENTIS}=2.1.3", "-"], [BARRACUDA, SENTIS, "remove the one"]),
        ([f"{BARRACUDA}=3.0.0", f"{INFERENCE}=2.4.0", "-"], [BARRACUDA, INFERENCE, "lets neither"]),
        ([f"{SENTIS}=1.4.0-pre.3", "-"], ["no style can be built", "1.4.0-pre.3", "2.1.3"]),
    ],
)  # fmt: skip
def test_advice_on_packages(program: Path, words: list[str], parts: list[str]) -> None:
    (answer,) = ask(program, "advice", *words)
    assert (answer == "null") is (not parts)
    for part in parts:
        assert part in answer


def test_the_versions_that_it_installs_are_those_of_the_targets(program: Path) -> None:
    for name in targets.names():
        (answer,) = ask(program, "advice", "-", f"A={name}")
        target = targets.get(name)
        if not target.package:
            assert answer == "null"
            continue
        assert target.package in answer and f"version {target.package_version} " in answer


def test_the_target_is_read_from_the_text_of_an_asset(program: Path) -> None:
    files = render(spec("Mosaic"))
    asset = files["StyleTransfer/Models/Mosaic/Mosaic.asset"].decode()
    assert ask(program, "target", stdin=asset) == ["barracuda-3.0"]
    assert ask(program, "target", stdin=asset.replace("\n", "\r\n")) == ["barracuda-3.0"]
    assert ask(program, "target", stdin="nothing") == ["null"]


def put(folder: Path) -> None:
    for name, data in render(spec("Mosaic")).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def test_the_project_is_checked_once_a_session_and_when_a_model_comes(program: Path, tmp_path: Path) -> None:
    put(tmp_path)
    problem, *logs = ask(program, "check", str(tmp_path), f"{BARRACUDA}=2.0.0")
    assert "Mosaic (barracuda-3.0)" in problem
    assert logs == [f"warning Style Transfer: {problem}"]
    assert ask(program, "check", str(tmp_path), f"{BARRACUDA}=3.0.0") == ["null"]
    assert ask(program, "check", "-", f"{INFERENCE}=2.4.0") == ["null"]
    assert "not installed" in ask(program, "check", "-")[0]


def test_one_click_adds_the_missing_package_and_says_how_it_ended(program: Path, tmp_path: Path) -> None:
    added = "log Style Transfer: adding com.unity.barracuda@3.0.0 to the project."
    requested = "package com.unity.barracuda@3.0.0"
    assert ask(program, "install", "-", "Success") == [
        *("True", added, requested, "waiting", "False"),
        *("log Style Transfer: com.unity.barracuda@3.0.0 was added.", "True"),
    ]
    *_, item, can = ask(program, "install", "-", "Failure")
    assert item.startswith("error Style Transfer: com.unity.barracuda@3.0.0 could not be added: offline.")
    assert can == "True"
    assert ask(program, "install", "-", "Success", f"{INFERENCE}=2.4.0")[0] == "False"


# The inspector


@pytest.fixture
def style(tmp_path: Path) -> Path:
    """The path of an asset in a bundle with a report."""
    folder = tmp_path / "Assets/StyleTransfer/Models/Mosaic"
    folder.mkdir(parents=True)
    finding = {"code": "slow-thing", "severity": "slow", "node": "n1", "reason": "Slow", "fix": "Wait."}
    (folder / "report.json").write_text(json.dumps({"findings": [finding], "rebuild": ["--size", "640x360"]}))
    return folder / "Mosaic.asset"


def tool(tmp_path: Path, script: str) -> str:
    """A program that stands for the pipeline."""
    path = tmp_path / "pipeline"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_the_inspector_shows_numbers_findings_and_what_does_not_fit(program: Path, style: Path) -> None:
    lines = ask(program, "inspector", "pipeline", str(style))
    assert (
        lines[0]
        == "box Warning Built for other-9, but fake-7 is installed. Press Rebuild to build it for that package."
    )
    assert {"field Style: Candy", "field Weights: 1,234", "field File: 2.50 MB"} <= set(lines)
    assert "box Info [slow-thing] n1: Slow. Wait." in lines
    buttons = [line for line in lines if line.startswith("button")]
    assert buttons[:2] == ["button Check golden frame", "button Validate"]


def test_validate_shows_what_the_tool_finds_now(program: Path, style: Path, tmp_path: Path) -> None:
    found = {"code": "unknown-operator", "severity": "error", "node": "y", "reason": "No", "fix": "Rewrite it."}
    verdict = {"verdict": "fails", "summary": "fails (1 error)", "error": None, "findings": [found]}
    answer = json.dumps({"schema": 1, "files": [verdict]})
    script = f"echo \"$@\" > {tmp_path}/asked\ncat <<'END'\n{answer}\nEND\nexit 1"
    lines = ask(program, "inspector", tool(tmp_path, script), str(style), "Validate", "wait")
    running, done = "\n".join(lines).split("--- Validate\n")[1].split("--- wait\n")
    assert running.startswith("left\n") and "field Validate: running\nbutton Cancel" in running
    assert "box Error [unknown-operator] y: No. Rewrite it." in done and "slow-thing" not in done
    assert "fails (1 error): 1" in done and "locks 0" in done
    network = str(style).replace(".asset", ".onnx")
    assert (tmp_path / "asked").read_text().startswith(f"validate {network} --target fake-7 ")


def test_rebuild_asks_for_the_source_once_and_takes_the_new_files_over(
    program: Path, style: Path, tmp_path: Path
) -> None:
    source = tmp_path / "candy.pth"
    source.touch()
    command = tool(tmp_path, f'echo "$@" >> {tmp_path}/asked')
    name = next(line for line in ask(program, "inspector", command, str(style)) if line.startswith("button R"))[7:]
    words = (command, str(style), name, f"source={source}", name, "wait", "source=", name, "wait")
    lines = ask(program, "inspector", *words)
    assert lines[-1] == "refreshed 2, locks 0"
    requested = (tmp_path / "asked").read_text().splitlines()
    assert len(requested) == 2 and requested[0] == requested[1]
    assert f"build-unity {source} --name Mosaic --output {tmp_path}/Assets --target fake-7 " in requested[0]
    assert requested[0].endswith("--size 640x360")


def test_what_a_build_says_when_it_fails_is_shown_or_logged(program: Path, style: Path, tmp_path: Path) -> None:
    source = tmp_path / "candy.pth"
    source.touch()
    command = tool(tmp_path, "echo 'error [proof-failed] candy.pth: no.' >&2\nexit 1")
    name = next(line for line in ask(program, "inspector", command, str(style)) if line.startswith("button R"))[7:]
    lines = ask(program, "inspector", command, str(style), f"source={source}", name, "wait")
    assert "box Error error [proof-failed] candy.pth: no." in lines and lines[-1] == "refreshed 0, locks 0"


def test_a_running_command_can_be_cancelled(program: Path, style: Path, tmp_path: Path) -> None:
    lines = ask(program, "inspector", tool(tmp_path, "exec sleep 600"), str(style), "Validate", "Cancel")
    after = lines[lines.index("--- Cancel") :]
    assert "button Validate" in after and "button Cancel" not in after[2:]
    assert lines[-1] == "refreshed 0, locks 0"


@pytest.mark.parametrize(
    ("width", "height", "corners"), [(64, 32, [(16, 0), (47, 31)]), (32, 64, [(0, 16), (31, 47)])]
)
def test_the_icon_of_a_style_is_the_middle_of_its_picture(
    program: Path, width: int, height: int, corners: list[tuple[int, int]]
) -> None:
    size, first, last, alive = ask(program, "icon", str(width), str(height), "32")
    assert (size, alive) == ("32 32", "alive ")
    assert [tuple(map(int, line.split())) for line in (first, last)] == corners
