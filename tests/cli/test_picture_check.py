"""A wrong value range is seen in the picture, and named with the one that looks right."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.build.picture_check import warning
from pipeline.contract import ImageContract, ImageSide
from pipeline.verify import pictures
from tests.networks import style_checkpoint, style_onnx

PHOTO = pictures.load(None, 54, 96)


def under(given: str, gives: str) -> ImageContract:
    return ImageContract(ImageSide(given), ImageSide(gives))


def levels(value: np.ndarray) -> np.ndarray:
    """A network that was trained with 0..255: it turns the picture's colours around."""
    return 255 - value


def units(value: np.ndarray) -> np.ndarray:
    """A network that was trained with -1..1 and ends with tanh."""
    return np.tanh(-value)


def normalised(value: np.ndarray) -> np.ndarray:
    """A network that begins with an instance norm, so that its input range cannot be seen, and gives 0..255."""
    centred = value - value.mean(axis=(2, 3), keepdims=True)
    return 128 + 50 * centred / centred.std(axis=(2, 3), keepdims=True)


@pytest.mark.parametrize(
    ("network", "given", "gives"),
    [(levels, "0..255", "0..255"), (units, "-1..1", "-1..1"), (normalised, "0..1", "0..255")],
)
def test_the_right_range_draws_no_warning(network, given, gives) -> None:
    assert warning(network, under(given, gives), PHOTO) == ""


@pytest.mark.parametrize(
    ("network", "given", "gives", "told"),
    [
        (normalised, "0..1", "0..1", ("is white", "with --output-range 0..255")),
        (normalised, "-1..1", "-1..1", ("is white", "with --output-range 0..255")),
        (lambda value: value / 255, "0..255", "0..255", ("is nearly flat", "--output-range 0..1")),
        (
            lambda value: value * 0 - 300,
            "0..255",
            "0..255",
            ("100% of the picture is black", "no other value ranges"),
        ),
    ],
)
def test_a_wrong_range_is_reported_with_the_likely_one(network, given, gives, told) -> None:
    message = warning(network, under(given, gives), PHOTO)
    assert all(part in message for part in told), message


def test_a_build_warns_and_its_report_says_so(pipeline, tmp_path) -> None:
    source = style_onnx(tmp_path / "net.onnx")
    ranges = ("--input-range", "0..1", "--output-range")
    done = pipeline("build-unity", source, *ranges, "0..255", "-o", "out", "--json")
    assert done.code == 0
    assert "nearly flat" in done.err and "nearly flat" in json.loads(done.out)["proof"]["picture"]
    right = pipeline("build-unity", source, *ranges, "0..1", "-o", "again", "--json")
    assert json.loads(right.out)["proof"]["picture"] == "" and "warning" not in right.err


def test_a_known_contract_is_not_overridden_in_passing(pipeline, tmp_path) -> None:
    source = style_checkpoint(tmp_path / "net.pth")
    done = pipeline("build-unity", source, "--output-range", "0..1", "-o", "out")
    assert (
        done.code == 2
        and "[contract-contradicted]" in done.err
        and "contradicts the known value for this network, 0..255" in done.err
    )
    agreed = pipeline("build-unity", source, "--output-range", "0..255", "-o", "out", "--dry-run")
    assert agreed.code == 0, agreed.err
    chosen = ("--output-range", "0..1", "--architecture", "fast-neural-style")
    named = pipeline("build-unity", source, *chosen, "-o", "named", "--dry-run")
    assert named.code == 0, named.err
