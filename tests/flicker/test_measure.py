"""Flicker: nothing for what moves with the picture, and more for what does not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.flicker import drawing as flicker_pictures
from pipeline.flicker import measure as flicker
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from tests.conftest import REPOSITORY

SIZE = Size(144, 96)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    image = Image.open(REPOSITORY / "examples" / "picture.jpg").convert("RGB").crop((250, 50, 650, 350))
    return np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 255


@pytest.fixture(scope="module")
def clips(picture) -> tuple[flicker.Clip, ...]:
    return flicker.clips_of_picture(picture, SIZE, 4)


def lattice(frame: np.ndarray) -> np.ndarray:
    """A style that hangs on the pixel grid: stripes that stay where they are on the screen."""
    stripes = (np.arange(frame.shape[3]) // 4 % 2).astype(np.float32)
    return frame * 0.5 + 0.5 * stripes


def test_the_movements_are_what_they_say(clips):
    assert [clip.name for clip in clips] == ["still", "pan", "zoom"]
    assert all(len(clip.frames) == 4 and len(clip.steps) == 3 for clip in clips)
    assert all(frame.shape == (1, 3, *SIZE.hw) for clip in clips for frame in clip.frames)
    stored = flicker.unpainted(clips)
    assert stored.means["pan"] == 0  # whole pixels: the frames are the same, moved
    assert 0.9 < stored.means["still"] < 1.3  # two noises of one level: 2 / sqrt(pi) levels apart
    assert 0 < stored.means["zoom"] < 3  # what resampling costs, and no more


def test_the_zoom_is_known_to_a_hundredth_of_a_pixel():
    """Frames of a picture whose colours are its coordinates must agree after the known movement."""
    rows, columns = np.mgrid[0:200, 0:300].astype(np.float32)
    ramp = np.stack([rows / 300, columns / 300, rows * 0])[None]
    (_, _, zoom) = flicker.clips_of_picture(ramp, SIZE, 5)
    assert max(flicker.unpainted([zoom]).errors["zoom"]) < 0.01 * 255 / 300


def test_a_style_that_hangs_on_the_screen_flickers_and_one_that_follows_does_not(clips):
    darker = flicker.stability("darker", lambda frame: frame * 0.5, clips)
    hanging = flicker.stability("hanging", lattice, clips)
    frames = flicker.unpainted(clips)
    assert darker.flicker == pytest.approx(frames.flicker / 2, rel=0.01)
    assert hanging.means["pan"] > 40 and hanging.means["still"] < frames.means["still"]
    assert hanging.flicker > 10 * darker.flicker


def test_noise_of_the_sensor_counts_as_much_as_the_style_enlarges_it(clips):
    frames = flicker.unpainted(clips[:1]).flicker
    for gain in (0.25, 0.9):
        stored = flicker.stability("gain", lambda frame, gain=gain: frame * gain, clips[:1])
        assert stored.flicker == pytest.approx(frames * gain, rel=0.01)


def test_edges_and_what_has_gone_out_of_sight_do_not_count(clips):
    def framed(frame: np.ndarray) -> np.ndarray:
        result = frame.copy()
        edge = flicker.EDGE - max(flicker.PAN)
        result[:, :, :edge], result[:, :, -edge:], result[..., :edge], result[..., -edge:] = 0, 1, 0, 1
        return result

    assert flicker.stability("framed", framed, [clips[1]]).means["pan"] == 0


def test_frames_of_a_folder_are_followed_by_optical_flow(picture, tmp_path):
    folder = tmp_path / "walk"
    folder.mkdir()
    for i in range(3):
        frame = picture[0, :, 20 + 2 * i : 180 + 2 * i, 20 + 5 * i : 260 + 5 * i]
        Image.fromarray(np.rint(frame.transpose(1, 2, 0) * 255).astype(np.uint8)).save(folder / f"{i}.png")
    clip = flicker.clip_of_frames(sorted(folder.iterdir()))
    assert clip.name == "walk" and clip.frames[0].shape == (1, 3, 160, 240)
    stored = [flicker.unpainted([clip]), flicker.stability("hanging", lattice, [clip])]
    assert stored[0].flicker < 2 and stored[1].flicker > 30


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_frames_are_refused(tmp_path, picture, count):
    Image.new("RGB", (80, 80)).save(tmp_path / "one.png")
    with pytest.raises(PipelineError) as caught:
        flicker.clip_of_frames([Path(tmp_path / "one.png")][:count])
    assert caught.value.code == "no-pictures"
    with pytest.raises(PipelineError) as caught:
        flicker.clips_of_picture(picture, SIZE, count)
    assert caught.value.code == "bad-size"


def test_a_small_picture_is_enlarged_for_the_movements():
    clips = flicker.clips_of_picture(np.full((1, 3, 20, 30), 0.25, np.float32), SIZE, 3)
    assert clips[1].frames[2].shape == (1, 3, *SIZE.hw)
    assert np.allclose(clips[1].frames[2], 0.25)


def test_strip_and_plot_are_pictures_with_a_row_and_a_line_for_each_model(clips):
    stored = [flicker.unpainted(clips), flicker.stability("hanging", lattice, clips)]
    with Image.open(io.BytesIO(flicker_pictures.strip(clips[1], stored))) as sheet:
        assert sheet.size == (6 * 244, 2 * 180)
        pixels = np.asarray(sheet.convert("RGB"), np.float32)
    change = pixels[:, 4 * 244 : 4 * 244 + 230]
    assert change[16:170].mean() < 1 < 60 < change[196:350].mean()  # no change in the frames, much in the stripes
    with Image.open(io.BytesIO(flicker_pictures.plot(clips, stored))) as chart:
        assert chart.size == (3 * 420, 260 + 48)
        colours = {colour for _, colour in chart.convert("RGB").getcolors(100_000)}
    assert {(0x88, 0x88, 0x88), (0x1F, 0x77, 0xB4)} <= colours
