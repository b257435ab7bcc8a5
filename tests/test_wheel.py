"""The wheel: built, installed in an empty environment outside the repository, and used there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.networks import style_checkpoint, style_onnx

DECLARED = ("--input-range", "0..1", "--output-range", "0..1")


def call(*command: object, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, **more)


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The `pipeline` command of an environment that holds the wheel and its dependencies, and no torch."""
    folder = tmp_path_factory.mktemp("wheel")
    quiet = ("--quiet", "--disable-pip-version-check")
    fast = (*quiet, "--no-compile")
    built = call(sys.executable, "-m", "pip", "wheel", *quiet, "--no-deps", "-w", folder, REPOSITORY)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=True)
    scripts = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    locked = REPOSITORY / "requirements" / "demo.txt"
    done = call(scripts / "python", "-m", "pip", "install", *fast, wheel, "--constraint", locked)
    assert done.returncode == 0, done.stderr
    assert call(scripts / "python", "-c", "import torch").returncode != 0
    return scripts / "pipeline"


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """An empty folder outside the repository to work in, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIPELINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return tmp_path


def test_validate_runs_without_torch(installed, place):
    style_onnx(place / "net.onnx")
    done = call(installed, "validate", "net.onnx", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"][0]["target"] == "barracuda-3.0"


def test_an_onnx_file_becomes_a_bundle_in_a_new_unity_project_without_torch(installed, place):
    style_onnx(place / "net.onnx")
    done = call(installed, "build-unity", "net.onnx", *DECLARED)
    assert done.returncode == 0, done.stderr
    project = place / "UnityProject"
    assert (project / "ProjectSettings" / "ProjectVersion.txt").is_file()
    assert (project / "Assets" / "StyleTransfer" / "Runtime" / "StyleTransferRunner.cs").is_file()
    assert (project / "Assets" / "StyleTransfer" / "Models" / "Net" / "Net.onnx").is_file()


def test_a_checkpoint_without_torch_says_what_to_install(installed, place):
    style_checkpoint(place / "style.pth")
    done = call(installed, "build-unity", "style.pth", "-o", "out")
    assert done.returncode == 2
    assert "[missing-dependency]" in done.stderr and "pip install torch" in done.stderr
    assert not (place / "out").exists()


def test_a_checkpoint_with_torch_becomes_a_bundle(installed, place, monkeypatch):
    """torch alone is lent from the environment of the tests: its wheel takes minutes to install."""
    import torch

    lent = place / "lent"
    lent.mkdir()
    site = Path(torch.__file__).parent.parent
    expected = ("torch", "torchgen", "functorch", "sympy", "mpmath", "networkx", "filelock", "fsspec")
    for name in (*expected, *(p.name for p in site.glob("torch-*"))):
        if (site / name).exists():
            (lent / name).symlink_to(site / name)
    monkeypatch.setenv("PYTHONPATH", str(lent))
    style_checkpoint(place / "style.pth")
    done = call(installed, "build-unity", "style.pth", "-o", "out")
    assert done.returncode == 0, done.stderr
    assert (place / "out" / "StyleTransfer" / "Models" / "Style" / "Style.onnx").is_file()
