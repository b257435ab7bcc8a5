"""pipeline flicker, from the outside."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from pipeline.support import video
from tests.conftest import REPOSITORY
from tests.networks import style_checkpoint, style_onnx

SMALL = ("--size", "96x64", "--count", 3)


@pytest.fixture
def net(tmp_path):
    return style_checkpoint(tmp_path / "net.pth")


def test_models_are_measured_beside_the_frames_themselves(pipeline, net, tmp_path):
    other = style_onnx(tmp_path / "other.onnx", size=(64, 96))
    ranges = ("--input-range", "0..1", "--output-range", "0..1")
    done = pipeline("flicker", net, other, *SMALL, *ranges, "--json", "--strip", "s.png", "--plot", "p.png")
    assert done.code == 0, done.err
    told = json.loads(done.out)["models"]
    assert [model["model"] for model in told] == ["the frames themselves", "net.pth", "other.onnx"]
    assert all(set(model["clips"]) == {"still", "pan", "zoom"} for model in told)
    assert told[1]["flicker"] > told[0]["flicker"]
    assert ["compared" in model for model in told] == [False, False, True]
    like = told[2]["compared"]
    beyond = [model["flicker"] - told[0]["flicker"] for model in told[1:]]
    assert like["flicker"] == pytest.approx(beyond[1] / beyond[0], rel=0.02)
    assert 0 < like["ssim"] < 1 and like["detail"] > 0
    for name in ("s.png", "p.png"):
        with Image.open(tmp_path / "here" / name) as picture:
            assert picture.format == "PNG"
    again = pipeline("flicker", net, *SMALL)
    assert again.code == 0 and again.out.count("\n") == 2
    itself = pipeline("flicker", net, net, *SMALL)
    assert "net.pth: 1.00 of the flicker of net.pth (beyond the frames'), SSIM 1.000, detail 1.00" in itself.err


def test_the_last_argument_may_be_a_picture_or_a_folder_of_frames(pipeline, net, tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    picture = Image.open(REPOSITORY / "examples" / "picture.jpg")
    for i in range(3):
        picture.crop((300 + 2 * i, 100, 460 + 2 * i, 220)).save(frames / f"{i}.png")
    told = json.loads(pipeline("flicker", net, frames, "--json").out)["models"]
    assert list(told[1]["clips"]) == ["frames"] and len(told[1]["steps"]["frames"]) == 2
    one = json.loads(pipeline("flicker", net, frames / "0.png", *SMALL, "--json").out)["models"]
    assert list(one[1]["clips"]) == ["still", "pan", "zoom"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["frames"], "nothing-to-measure"),
        (["net.pth", "empty"], "no-pictures"),
        (["net.pth", "--size", "97x63"], "sizes-differ"),
        (["missing.pth"], "file-not-found"),
    ],
)
def test_bad_input_is_one_line(pipeline, net, tmp_path, arguments, code):
    (tmp_path / "frames").mkdir()
    Image.new("RGB", (80, 80)).save(tmp_path / "frames" / "a.png")
    (tmp_path / "empty").mkdir()
    given = [tmp_path / text if "-" not in text and "x" not in text else text for text in arguments]
    done = pipeline("flicker", *given)
    assert done.code == 2 and f"[{code}]" in done.err and "Traceback" not in done.err


def test_a_video_is_measured_as_its_frames(pipeline, net, tmp_path):
    chance = np.random.default_rng(2)
    wide = np.asarray(Image.fromarray(chance.integers(0, 256, (12, 20, 3), np.uint8)).resize((320, 128)))
    frames = [wide[:, 2 * number : 2 * number + 256] for number in range(4)]
    video.write(tmp_path / "pan.mp4", frames, Fraction(25))
    done = pipeline("flicker", net, tmp_path / "pan.mp4", "--count", "3", "--size", "128x64", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["frames"] == 3 and told["models"]
