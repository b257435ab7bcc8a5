"""Frames between two pictures of the network, over moving scenes whose every pixel is known exactly."""

from __future__ import annotations

import numpy as np
import pytest

from tests.gpu import reference, unity
from tests.gpu.interpolation import Interpolation
from tests.gpu.reprojection import Reprojection
from tests.gpu.scenes import FAR, NEAR, SCENES, Scene, camera_colors, painted_colors

LENS = reference.eye_depth(NEAR, FAR, False, True)
INTERVAL = 6
KEPT = 2 * INTERVAL + 3

# Mean error in levels of 255 of all pixels, and the share of pixels that a key picture shows but nobody found.
LIMITS = {
    "pan": (1.0, 0.001),
    "slow pan": (0.3, 0.001),
    "slow turn": (0.4, 0.001),
    "dolly": (1.2, 0.01),
    "passing": (0.2, 0.001),
    "falling": (0.4, 0.005),
    "turn and pass": (0.6, 0.001),
}


def kept(scene: Scene, first: int = 0, changes: float = 0.0, start: Interpolation | None = None) -> Interpolation:
    """Two intervals of a scene; the network paints each picture brighter by `changes` than the one before."""
    between = start or Interpolation(scene.size, LENS, KEPT)
    for number in range(first, first + 2 * INTERVAL + 1):
        view, motion, depth = scene.frame(number)
        between.update(motion, depth, scene.picture(view, camera_colors))
        if (number - first) % INTERVAL == 0:
            key = scene.picture(view, painted_colors)
            key[..., :3] += changes * (number - first) / INTERVAL
            between.finish(key, between.number)
    return between


def view_of(scene: Scene, number: int, paint=painted_colors) -> np.ndarray:
    return scene.picture(scene.view(number, *reference.coordinates(scene.size)), paint)


def error(shown: np.ndarray, truth: np.ndarray) -> float:
    return 255 * np.abs(shown - truth)[..., :3].mean()


@pytest.mark.parametrize("name", SCENES)
def test_each_frame_between_is_where_things_are_in_it(name: str) -> None:
    scene = SCENES[name]
    between = kept(scene)
    limit, lost = LIMITS[name]
    for number in range(INTERVAL, 2 * INTERVAL + 1):
        # Frames are numbered from 1 where they are kept.
        truth = view_of(scene, number)
        assert error(between.draw(number + 1), truth) <= limit
        found = between.interpolate(number + 1)[..., 3] >= 0
        shown = [scene.shown_at(key, number)[0] for key in (INTERVAL, 2 * INTERVAL)]
        assert ((shown[0] | shown[1]) & ~found).mean() <= lost
        assert (found & ~(shown[0] | shown[1])).mean() <= 0.002
    middle = INTERVAL + INTERVAL // 2
    stored = view_of(scene, INTERVAL)
    assert 255 * np.abs(stored - view_of(scene, middle)).max() > 5, "the picture must have to be moved"


@pytest.mark.parametrize("name", ["pan", "falling", "turn and pass"])
def test_less_is_missing_than_of_the_last_picture_alone(name: str) -> None:
    scene = SCENES[name]
    between = kept(scene)
    last = Reprojection(scene.size, LENS)
    for number in range(INTERVAL):
        _, motion, depth = scene.frame(number)
        last.update(motion, depth)
        if number == 0:
            last.begin()
            last.finish()
    missing = (between.interpolate(INTERVAL)[..., 3] < 0).mean()
    assert missing < 0.2 * (~last.known).mean()


def test_one_key_picture_becomes_the_other_step_by_step() -> None:
    scene = SCENES["pan"]
    between = kept(scene, changes=0.12)
    for number in range(INTERVAL, 2 * INTERVAL + 1):
        brighter = between.draw(number + 1)[..., :3] - view_of(scene, number)[..., :3]
        # Not so where only one of them shows the pixel.
        assert np.median(brighter) == pytest.approx(0.12 * number / INTERVAL, abs=0.01)


def test_before_the_next_key_picture_is_there_the_last_one_is_moved() -> None:
    scene = SCENES["pan"]
    between = kept(scene)
    del between.keys[2 * INTERVAL + 1]
    for number in (INTERVAL + 1, INTERVAL + 4):
        found = between.interpolate(number + 1)
        visible = scene.shown_at(INTERVAL, number)[0]
        known = found[..., 3] >= 0
        assert (known & ~visible).mean() < 0.002 and (~known & visible).mean() < 0.02
        assert 255 * np.abs(found - view_of(scene, number))[known & visible][:, :3].mean() < 1


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("Frame, URP", ("_MotionVectorTexture", "_CameraDepthTexture")),
        ("Frame, HDRP", ("_MotionCopy", "_DepthCopy")),
    ],
)
def test_pipelines_give_the_same(source: str, names: tuple[str, str]) -> None:
    scene = SCENES["falling"]
    expected = kept(scene).draw(INTERVAL + 4)
    other = kept(scene, start=Interpolation(scene.size, LENS, KEPT, source, names))
    assert (other.draw(INTERVAL + 4) == expected).all()


def test_frames_are_upright_where_the_cameras_picture_is_not() -> None:
    scene = SCENES["falling"]
    turned = kept(scene, start=Interpolation(scene.size, LENS, KEPT, flipped=True))
    assert np.abs(turned.draw(INTERVAL + 4) - kept(scene).draw(INTERVAL + 4)).max() < 1e-3


@pytest.mark.parametrize("kept_frames", [KEPT, 16, 25, 29])
def test_tiles_are_used_again(kept_frames: int) -> None:
    """After any number of frames, and whatever the tiles held before."""
    scene = SCENES["turn and pass"]
    expected = kept(scene).draw(INTERVAL + 3)
    later = Interpolation(scene.size, LENS, kept_frames, number=1000)
    later = kept(scene, start=later)
    later.small = {number - 1000: picture for number, picture in later.small.items()} | later.small
    assert (later.draw(1000 + INTERVAL + 3) == expected).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", ["motion", "depth", "earlier", "later", "camera"])
def test_numbers_that_are_none_stay_in_their_frame(which: str, value: float) -> None:
    scene = SCENES["pan"]
    good = kept(scene)
    bad = Interpolation(scene.size, LENS, KEPT)
    for number in range(2 * INTERVAL + 1):
        view, motion, depth = scene.frame(number)
        camera, key = scene.picture(view, camera_colors), scene.picture(view, painted_colors)
        if which == "motion" and number == INTERVAL + 2:
            motion[10:20, 20:30, 0] = value
        if which == "depth" and number == INTERVAL + 2:
            depth[10:20, 20:30] = value
        if which == "camera":
            camera[10:20, 20:30] = value
        if (which == "earlier" and number == INTERVAL) or (which == "later" and number == 2 * INTERVAL):
            key[10:20, 20:30] = value
        bad.update(motion, depth, camera)
        if number % INTERVAL == 0:
            bad.finish(key, bad.number)
    for number in range(INTERVAL, 2 * INTERVAL + 1):
        got, expected = bad.draw(number + 1), good.draw(number + 1)
        assert np.isfinite(got).all() and got.min() >= 0 and got.max() <= 1
        changed = (np.abs(got - expected).max(axis=2) > 1e-3).mean()
        # What the other key picture shows is taken from there; holes are filled from neighbours.
        assert changed < (0.001 if which == "camera" else 0.06)


@pytest.mark.parametrize("orthographic", [False, True])
@pytest.mark.parametrize("reversed_", [False, True])
def test_every_kind_of_depth_serves(orthographic: bool, reversed_: bool) -> None:
    scene = SCENES["falling"]
    expected = kept(scene).draw(INTERVAL + 3)
    other = Interpolation(scene.size, reference.eye_depth(NEAR, FAR, orthographic, reversed_), KEPT)
    for number in range(2 * INTERVAL + 1):
        view, motion, _ = scene.frame(number)
        depth = reference.raw_depth(view.distance, NEAR, FAR, orthographic, reversed_)
        other.update(motion, depth, scene.picture(view, camera_colors))
        if number % INTERVAL == 0:
            other.finish(scene.picture(view, painted_colors), other.number)
    assert np.abs(other.draw(INTERVAL + 3) - expected).max() < 2e-2


def test_what_neither_shows_is_filled_with_what_looks_alike() -> None:
    """A hole in both: its colour is that of neighbours of the same surface, not of the one beside it."""
    size = 24, 40
    half = np.arange(size[1]) < size[1] // 2
    camera = np.zeros((*size, 4), np.float32)
    camera[..., :3] = np.where(half, 0.2, 0.8)[None, :, None]
    output = np.zeros((*size, 4), np.float32)
    output[..., 0], output[..., 2], output[..., 3] = np.where(half, 0.9, 0.1), np.where(half, 0.1, 0.9), 1
    output[8:14, 16:24] = [0, 0, 0, -1]
    got = unity.draw("Motion", "Fill", output, size, _Camera=camera)
    assert np.abs(got[8:14, 17:20, :3] - [0.9, 0, 0.1]).max() < 0.05
    assert np.abs(got[8:14, 20:23, :3] - [0.1, 0, 0.9]).max() < 0.05
    untouched = np.ones(size, bool)
    untouched[7:15, 15:25] = False
    assert (got[untouched] == output[untouched]).all() and got[..., 3].min() >= 0
