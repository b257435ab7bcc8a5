"""Where torch is not installed: what works, and what is said where it does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import REPOSITORY
from tests.networks import style_checkpoint
from tests.sources.files import fritz_h5


@pytest.fixture
def without(tmp_path):
    """The command line in a process that cannot import torch."""
    (tmp_path / "none" / "torch").mkdir(parents=True)
    (tmp_path / "none" / "torch" / "__init__.py").write_text("raise ImportError('No module named torch')\n")
    paths = os.pathsep.join(map(str, (tmp_path / "none", REPOSITORY)))
    environment = os.environ | {"PYTHONPATH": paths, "PIPELINE_CACHE": str(tmp_path / "cache")}

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipeline", *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=False
        )

    return call


def test_a_keras_file_is_converted_and_is_what_torch_computes(without, pipeline, tmp_path):
    fritz_h5(tmp_path / "net.h5", blocks=1)
    done = without("convert", "net.h5", "-o", "made.onnx", "--size", "64x48")
    assert done.returncode == 0, done.stderr
    same = pipeline("compare", tmp_path / "net.h5", tmp_path / "made.onnx", "--target", "barracuda-3.0")
    assert same.code == 0, same.err


def test_a_checkpoint_is_described_and_the_rest_names_the_cpu_build(without, tmp_path):
    path = style_checkpoint(tmp_path / "net.pth")
    report = without("inspect", path, "--json")
    assert report.returncode == 0, report.stderr
    facts = json.loads(report.stdout)
    assert (facts["architecture"], facts["contract"]["input"]["range"]) == ("fast-neural-style", "0..255")
    assert "cost" not in facts
    refused = without("convert", path)
    assert refused.returncode == 2
    assert "[missing-dependency]" in refused.stderr
    assert "whl/cpu" in refused.stderr
    assert not list(Path(tmp_path).glob("*.onnx"))


@pytest.mark.parametrize("command", ["distill", "prune"])
def test_training_without_its_optimiser_names_the_extra_before_any_work(command, pipeline, tmp_path, monkeypatch):
    path = style_checkpoint(tmp_path / "net.pth")
    Image.new("RGB", (80, 80)).save(tmp_path / "a.png")
    monkeypatch.setattr("pipeline.shrink.find_spec", lambda name: None)
    options = {"distill": ["--student", "fast-neural-style:4x1"], "prune": ["--goal", "50%", "--tune", "1 step"]}
    done = pipeline(command, path, "--images", tmp_path, *options[command])
    assert done.code == 2
    assert "[missing-dependency]" in done.err and "unity-bridge-pipeline[torch]" in done.err
