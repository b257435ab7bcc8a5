"""Masks, own colours and strength: from the command line into the bundle, the report and its pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.verify import look
from tests.networks import style_checkpoint
from tests.sources.test_masks import network


def asset(folder: Path, name: str) -> dict[str, str]:
    text = (folder / f"StyleTransfer/Models/{name}/{name}.asset").read_text()
    return {key.strip(): value for key, _, value in (line.partition(": ") for line in text.splitlines())}


@pytest.mark.parametrize("target", ["barracuda-3.0", "inference-2", "compute"])
def test_a_mask_is_built_and_proven_for_every_family(pipeline, tmp_path: Path, target: str) -> None:
    source = network(tmp_path / "person.onnx", 2, "Softmax")
    arguments = ("build-unity", source, "--mask", "background", "--input-range", "0..1", "--target", target)
    done = pipeline(*arguments, "--size", "64x48", "-o", "out", "--preview", "p.png", "--json")
    assert done.code == 0, done.err
    # A mask is black and white where it should be: no picture that is clipped.
    assert "clipped" not in done.err
    shown = np.asarray(Image.open("p.png"))[:, -64:]
    assert (shown[..., 0] == shown[..., 1]).all() and shown.std() > 5
    report = json.loads(done.out)
    assert report["look"]["mask"] is True and report["model"]["output_channels"] == 1
    assert report["proof"]["would_have_passed_at"] < 0.1
    assert "--mask" in report["rebuild"]
    reported = asset(Path("out"), "Person")
    assert (reported["isMask"], reported["outputChannels"]) == ("1", "1")
    assert "1 at the subject" in Path("out/StyleTransfer/Models/Person/report.md").read_text()


def test_own_colours_and_strength_are_in_the_bundle_and_in_what_is_shown(pipeline, tmp_path: Path) -> None:
    source = style_checkpoint(tmp_path / "net.pth")
    chosen = ("--strength", "0.75", "--keep-colors", "0.5")
    done = pipeline("build-unity", source, *chosen, "--size", "64x48", "-o", "out", "--preview", "p.png", "--json")
    assert done.code == 0, done.err
    reported = asset(Path("out"), "Net")
    assert (reported["isMask"], reported["strength"], reported["keepColors"]) == ("0", "0.75", "0.5")
    assert json.loads(done.out)["rebuild"][-4:] == list(chosen)
    pipeline("build-unity", source, "--size", "64x48", "-o", "other", "--preview", "plain.png")
    before, plain, shown = (
        np.asarray(Image.open(file), np.float32).transpose(2, 0, 1)[None, :, :, cut] / 255
        for file, cut in (("p.png", slice(0, 64)), ("plain.png", slice(-64, None)), ("p.png", slice(-64, None)))
    )
    assert np.abs(shown - look.shown(before, plain, 0.75, 0.5)).max() < 2 / 255
    assert np.abs(shown - plain).max() > 0.1


@pytest.mark.parametrize("option", ["--strength", "--keep-colors"])
@pytest.mark.parametrize("value", ["1.5", "-0.1", "nan"])
def test_a_share_is_between_0_and_1(pipeline, tmp_path: Path, option: str, value: str) -> None:
    done = pipeline("build-unity", style_checkpoint(tmp_path / "net.pth"), option, value, "-o", "out")
    assert done.code == 2 and "[bad-share]" in done.err and option in done.err


def test_a_bundle_keeps_its_look_when_it_is_ported(pipeline, tmp_path: Path) -> None:
    source = style_checkpoint(tmp_path / "net.pth")
    assert pipeline("build-unity", source, "--keep-colors", "0.5", "--size", "64x48", "-o", "out").code == 0
    done = pipeline("port", "out", "--target", "inference-2")
    assert done.code == 0, done.err
    assert (asset(Path("out"), "Net")["keepColors"], asset(Path("out"), "Net")["target"]) == ("0.5", "inference-2")
