"""Videos where pictures are taken: frames from all of it to learn from, the first ones to measure flicker."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.support import video
from pipeline.support.errors import PipelineError
from pipeline.support.picture_files import picture_files


@pytest.fixture
def walk(tmp_path: Path) -> Path:
    """Ten frames of 64x48, each brighter than the one before."""
    chance = np.random.default_rng(1)
    texture = chance.integers(0, 40, (48, 64, 3))
    video.write(tmp_path / "walk.mp4", [(texture + 20 * n).astype(np.uint8) for n in range(10)], Fraction(10))
    return tmp_path / "walk.mp4"


def brightness(files: tuple[Path, ...]) -> list[float]:
    return [float(np.asarray(Image.open(file)).mean()) for file in files]


def test_stills_are_spread_over_the_video_or_its_first_frames(walk: Path) -> None:
    spread = brightness(video.stills(walk, 5, True))
    first = brightness(video.stills(walk, 4, False))
    assert np.diff(spread) == pytest.approx([40] * 4, abs=3)
    assert np.diff(first) == pytest.approx([20] * 3, abs=3)
    assert video.stills(walk, 5, True) == video.stills(walk, 5, True)
    assert len(video.stills(walk, 99, True)) == 10


def test_a_video_counts_as_its_pictures(walk: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "still.png")
    found = picture_files([walk, tmp_path / "still.png"])
    assert len(found) == 11 and found[0].name == "walk.000000.png" and found[-1].name == "still.png"


def test_what_is_no_video_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    with pytest.raises(PipelineError, match="bad-video"):
        picture_files([tmp_path / "broken.mp4"])


def test_an_unknown_codec_and_frames_that_are_too_large_are_told(
    walk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = tmp_path / "unknown.mp4"
    unknown.write_bytes(walk.read_bytes().replace(b"avc1\0", b"zzzz\0"))
    for read in (video.rate, lambda path: list(video.frames(path)), lambda path: video.stills(path, 5, True)):
        with pytest.raises(PipelineError, match="its codec is not known"):
            read(unknown)
    monkeypatch.setattr(video, "LARGEST", 64 * 48 - 1)
    with pytest.raises(PipelineError, match="its frames are 64x48"):
        list(video.frames(walk))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes in folders")
def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(PipelineError, match="not a regular file"):
        video.rate(tmp_path / "a.mp4")
