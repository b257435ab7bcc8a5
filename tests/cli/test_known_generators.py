"""Checkpoints of known generators become bundles that are proven, for every family."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.architectures.test_generators import tensors

CASES = {
    "cyclegan": {"width": 4, "blocks": 1},
    "pix2pix": {"width": 2, "levels": 4, "batch_norm": False},
    "pix2pix-picture": {"width": 2, "levels": 4, "batch_norm": True},
    "animegan2": {"widths": [4, 6, 6, 8, 8, 7, 8, 6, 6, 5, 5, 4], "inner": [6] * 4, "outer": [9] * 4},
    "esrgan-compact": {"features": 6, "convolutions": 2, "scale": 2},
}


@pytest.mark.parametrize("target", ["barracuda-3.0", "inference-2", "compute"])
@pytest.mark.parametrize("name", CASES)
def test_a_checkpoint_is_built(pipeline, tmp_path: Path, name: str, target: str) -> None:
    weights = {key: torch.from_numpy(value) for key, value in tensors(name, CASES[name]).items()}
    torch.save(weights, tmp_path / "net.pth")
    words = ("--architecture", name) if name in ("pix2pix-picture", "animegan2") else ()
    source = tmp_path / "net.pth"
    done = pipeline("build-unity", source, *words, "--size", "64x48", "--target", target, "-o", "out", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["source"]["architecture"] == name
    assert report["model"]["output_scale"] == CASES[name].get("scale", 1)
    assert report["proof"]["would_have_passed_at"] < 0.5
