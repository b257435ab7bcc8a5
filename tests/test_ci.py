"""What users' CI runs: action.yml, .pre-commit-hooks.yaml and the snippets of docs/ci.md, without their servers.

The steps of the action run as GitHub's runner would run them: `bash -eo pipefail` in another folder, inputs in the
environment, the package installed from the action's own path.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import venv
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml
from onnx import TensorProto, helper

from pipeline.cli import COMMANDS
from pipeline.cli.validate import FORMATS, SEVERITIES
from pipeline.validation.waivers import load_settings
from tests.conftest import REPOSITORY
from tests.networks import style_onnx

ACTION = yaml.safe_load((REPOSITORY / "action.yml").read_text(encoding="utf-8"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
DOCS = (REPOSITORY / "docs" / "ci.md").read_text(encoding="utf-8")


def snippets(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)


def swish(path: Path) -> Path:
    graph = helper.make_graph(
        [helper.make_node("HardSwish", ["x"], ["y"], name="act")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 8])],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)]), path)
    return path


@pytest.fixture(scope="module")
def tools(tmp_path_factory) -> Path:
    """A folder for PATH in which `python` and `pipeline` are those of the tests."""
    folder = tmp_path_factory.mktemp("tools")
    for name, more in (("python", ""), ("pipeline", " -m pipeline")):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{more} "$@"\n')
        script.chmod(0o755)
    return folder


def shell(script: str, folder: Path, tools: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """As a runner runs a `shell: bash` step."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("GITHUB_", "PIPELINE_"))}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env=kept | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def runner(tmp_path_factory) -> Path:
    """The folder of a runner's `python` after the Install step: the package comes from the action's path, pip and
    what the package depends on are lent by the environment of the tests."""
    folder, elsewhere = tmp_path_factory.mktemp("runner") / "env", tmp_path_factory.mktemp("elsewhere")
    venv.create(folder)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "lent.pth").write_text(f"{Path(onnx.__file__).parents[1]}\n")
    done = shell(STEPS["Install"]["run"], elsewhere, folder / "bin", {"GITHUB_ACTION_PATH": str(REPOSITORY)})
    assert done.returncode == 0, done.stderr
    assert (site / "pipeline" / "cli" / "validate.py").is_file()
    return folder / "bin"


@pytest.fixture
def validate_step(tmp_path, runner):
    """The Validate step with inputs (the others at their defaults) in an empty folder: process, outputs."""
    folder = tmp_path / "repository"
    folder.mkdir()

    def run(**inputs: str) -> tuple[subprocess.CompletedProcess[str], dict[str, str]]:
        values = {name: str(item.get("default", "")) for name, item in ACTION["inputs"].items()}
        values |= {name.replace("_", "-"): value for name, value in inputs.items()}
        step = STEPS["Validate"]
        environment = {key: expression(value, values) for key, value in step["env"].items()}
        outputs = tmp_path / "outputs"
        outputs.write_text("")
        environment |= {"GITHUB_OUTPUT": str(outputs)}
        done = shell(step["run"], folder, runner, environment)
        return done, dict(line.split("=", 1) for line in outputs.read_text().splitlines())

    run.folder = folder  # type: ignore[attr-defined]
    return run


def expression(text: str, inputs: dict[str, str]) -> str:
    match = re.fullmatch(r"\$\{\{ inputs\.([a-z-]+) \}\}", text)
    assert match is not None, text
    return inputs[match[1]]


# ------------------------------------------------------------------------------------------------ the action
def test_inputs_reach_the_shell_through_the_environment_alone():
    for step in STEPS.values():
        assert "${{" not in step.get("run", "")
        assert step.get("shell", "bash") == "bash"


def test_every_input_is_used_and_documented():
    used = set(re.findall(r"inputs\.([a-z-]+)", str(ACTION["runs"]) + str(ACTION["outputs"])))
    documented = {
        re.findall("`([^`]+)`", line)[0]: re.findall("`([^`]*)`", line.split("|")[2])
        for line in DOCS.split("| input |")[1].splitlines()[2:]
        if line.startswith("| `")
    }
    assert set(ACTION["inputs"]) == used == set(documented)
    for name, item in ACTION["inputs"].items():
        assert [item["default"]] == documented[name] if item["default"] else not documented[name]


def test_a_bad_model_fails_the_step_with_annotations(validate_step):
    swish(validate_step.folder / "Assets" / "swish.onnx")
    style_onnx(validate_step.folder / "Assets" / "good.onnx")
    done, outputs = validate_step(files="Assets\n", targets="barracuda-2.0 barracuda-3.0")
    assert (done.returncode, outputs) == (1, {"exit-code": "1"})
    errors = [line for line in done.stdout.splitlines() if line.startswith("::error ")]
    assert len(errors) == 1 and "file=Assets/swish.onnx" in errors[0]
    assert "barracuda-2.0%2C barracuda-3.0" in errors[0]


def test_a_good_model_passes(validate_step):
    style_onnx(validate_step.folder / "good.onnx")
    done, outputs = validate_step(files="*.onnx")
    assert (done.returncode, outputs) == (0, {"exit-code": "0"}), done.stderr


def test_globs_are_not_expanded_by_the_shell_and_blanks_in_names_are_kept(validate_step):
    swish(validate_step.folder / "a b" / "deep er" / "net.onnx")
    done, _ = validate_step(files="a b/**/*.onnx\r\n", format="text")
    assert done.returncode == 1 and "a b/deep er/net.onnx" in done.stdout


def test_an_input_cannot_run_a_command(validate_step):
    done, _ = validate_step(
        files="$(touch stolen); touch stolen", targets="`touch stolen`", output="$(touch stolen)"
    )
    assert done.returncode == 2 and not (validate_step.folder / "stolen").exists()


def test_sarif_is_written_with_a_hint_to_upload_it(validate_step):
    swish(validate_step.folder / "net.onnx")
    done, outputs = validate_step(files="net.onnx", format="sarif", output="out/validate.sarif")
    assert done.returncode == 1 and "upload-sarif" in done.stdout and outputs["exit-code"] == "1"
    assert '"2.1.0"' in (validate_step.folder / "out" / "validate.sarif").read_text(encoding="utf-8")


def test_without_inputs_the_repository_decides(validate_step):
    swish(validate_step.folder / "net.onnx")
    (validate_step.folder / "pipeline.toml").write_text(
        '[validate]\nfiles = ["*.onnx"]\n[[validate.waivers]]\ncode = "unknown-operator"\nreason = "known"\n'
    )
    done, _ = validate_step()
    assert done.returncode == 0 and "Waived: known" in done.stdout


def test_fail_on_and_config_are_passed_on(validate_step):
    style_onnx(validate_step.folder / "good.onnx")
    assert validate_step(files="good.onnx", fail_on="slow")[0].returncode == 1
    assert validate_step(files="good.onnx", config="none.toml")[0].returncode == 2


# ------------------------------------------------------------------------------------------------ the hook
def test_the_hook_runs_a_command_that_exists_on_onnx_files(tools, tmp_path):
    (hook,) = yaml.safe_load((REPOSITORY / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    program, command = hook["entry"].split()
    assert program == "pipeline" and command in COMMANDS
    assert re.search(hook["files"], "Assets/net.onnx") and not re.search(hook["files"], "Assets/net.onnx.meta")
    assert hook["id"] in DOCS
    swish(tmp_path / "net.onnx")
    done = shell(f"{hook['entry']} --target barracuda-2.0 net.onnx", tmp_path, tools, {})
    assert done.returncode == 1 and "unknown-operator" in done.stdout


# ------------------------------------------------------------------------------------------------ the docs
def test_the_documented_pipeline_toml_can_be_read(tmp_path):
    (snippet,) = snippets("toml")
    (tmp_path / "pipeline.toml").write_text(snippet, encoding="utf-8")
    settings = load_settings(tmp_path / "pipeline.toml")
    assert settings.files and settings.targets and settings.fail_on and len(settings.waivers) == 1


def test_the_documented_workflows_use_inputs_that_exist():
    for snippet in snippets("yaml"):
        data: Any = yaml.safe_load(snippet)
        steps = data["jobs"]["models"]["steps"] if "jobs" in data else data if isinstance(data, list) else []
        for step in steps:
            if step.get("uses", "").startswith("OWNER/REPOSITORY@"):
                assert set(step["with"]) <= set(ACTION["inputs"])


def test_the_gitlab_job_leaves_a_junit_artifact(tools, tmp_path):
    (job,) = [data["models"] for data in map(yaml.safe_load, snippets("yaml")) if "models" in data]
    swish(tmp_path / "Assets" / "net.onnx")
    install, validate = job["script"]
    assert install.startswith("pip install ")
    done = shell(validate, tmp_path, tools, {})
    assert done.returncode == 1, done.stderr
    assert job["artifacts"]["when"] == "always"
    report = ET.parse(tmp_path / job["artifacts"]["reports"]["junit"])
    assert report.getroot().get("failures") == "1"


def test_every_format_and_severity_is_documented():
    for name in (*FORMATS, *SEVERITIES):
        assert re.search(rf"[`\"]{name}[`\",]|\b{name}\b", DOCS), name
