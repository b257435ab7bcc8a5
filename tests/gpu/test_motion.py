"""StyleTransferMotion.shader, run pass by pass against the same mathematics in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.gpu import reference, unity
from tests.gpu.reprojection import Reprojection

SIZE = HEIGHT, WIDTH = 20, 28
SOURCES = {
    "Frame, built-in pipeline": ("_CameraMotionVectorsTexture", "_CameraDepthTexture"),
    "Frame, URP": ("_MotionVectorTexture", "_CameraDepthTexture"),
    "Frame, HDRP": ("_MotionCopy", "_DepthCopy"),
}
NOT_NUMBERS = [np.nan, np.inf, -np.inf]


def draw(name: str, main: np.ndarray, point: bool = True, **properties: Any) -> np.ndarray:
    return unity.draw("Motion", name, main, SIZE, point=point, **properties)


def move(key: np.ndarray, history: np.ndarray, camera: np.ndarray, **more: Any) -> np.ndarray:
    blank = unity.nearest(np.zeros((HEIGHT, WIDTH, 4), np.float32))
    frames = {"_Frame": blank, "_FrameBefore": blank} | more
    return draw("Move", key, point=False, _History=unity.nearest(history), _Camera=camera, **frames)


@pytest.fixture
def scene() -> dict[str, np.ndarray]:
    """A random history and frame; motion of a few texels and a half, distances of three surfaces."""
    chance = np.random.default_rng(3)

    def offsets(amount: float, odd: float) -> np.ndarray:
        # Never so that a place, or the sum of two, lies on a border or a share is a round one.
        steps = chance.integers(-4 * amount, 4 * amount, (HEIGHT, WIDTH, 2)) * 0.5 + odd
        return steps / [WIDTH, HEIGHT]

    def distances() -> np.ndarray:
        return chance.choice([2.0, 2.1, 8.0, 30.0], (HEIGHT, WIDTH, 1), p=[0.6, 0.2, 0.1, 0.1])

    valid = chance.choice([0.0, 1.0], (HEIGHT, WIDTH, 1), p=[0.25, 0.75])
    return {
        "history": np.concatenate([offsets(2, 0.13), distances(), valid], axis=2).astype(np.float32),
        "frame": np.concatenate([offsets(1, 0.21), distances(), np.ones((HEIGHT, WIDTH, 1))], axis=2).astype(
            np.float32
        ),
    }


def known(value: np.ndarray) -> np.ndarray:
    """A frame or history as it is read: all 0 where anything is not a number."""
    return np.where(np.isfinite(value).all(axis=-1, keepdims=True), value, 0).astype(np.float64)


def accumulated(history: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Between the four texels of the history that are of the pixel's surface, by their shares."""
    u, v = reference.coordinates(SIZE)
    frame, history = known(frame), known(history)
    motion, now = frame[..., :2], frame[..., 2]
    x, y = (u - motion[..., 0]) * WIDTH - 0.5, (v - motion[..., 1]) * HEIGHT - 0.5
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    total, share = np.zeros((*SIZE, 2)), np.zeros(SIZE)
    for right in (0, 1):
        for up in (0, 1):
            texel = reference.texels(history, column + right, row + up)
            weight = np.abs(1 - right - (x - column)) * np.abs(1 - up - (y - row)) * (texel[..., 3] > 0)
            weight *= np.abs(texel[..., 2] - now) <= 0.1 * np.abs(now)
            total += texel[..., :2] * weight[..., None]
            share += weight
    total = motion + total / np.maximum(share, 0.0001)[..., None]
    valid = (frame[..., 3] > 0) & (share >= 0.25)
    for way in (motion, total):
        valid &= reference.inside(u - way[..., 0], v - way[..., 1])
    return np.concatenate([total, now[..., None], valid[..., None]], axis=2)


def test_the_history_grows_by_a_frame_as_the_reference_does(scene: dict[str, np.ndarray]) -> None:
    got = draw("Accumulate", scene["history"], _Frame=unity.nearest(scene["frame"]))
    expected = accumulated(scene["history"], scene["frame"])
    assert 0.2 < expected[..., 3].mean() < 0.8
    assert np.abs(got - expected).max() < 1e-6


@pytest.mark.parametrize("value", NOT_NUMBERS)
@pytest.mark.parametrize("channel", range(4))
@pytest.mark.parametrize("which", ["history", "frame"])
def test_what_is_not_a_number_in_a_history_is_not_known_and_does_not_stay(
    scene: dict[str, np.ndarray], which: str, channel: int, value: float
) -> None:
    scene[which][5:9, 6:12, channel] = value
    got = draw("Accumulate", scene["history"], _Frame=unity.nearest(scene["frame"]))
    expected = accumulated(scene["history"], scene["frame"])
    assert np.abs(got - expected).max() < 1e-6
    if which == "frame":
        assert (got[5:9, 6:12, 3] == 0).all()


def test_slow_motion_over_the_border_is_noticed() -> None:
    history, frame = np.zeros((HEIGHT, WIDTH, 4), np.float32), np.zeros((HEIGHT, WIDTH, 4), np.float32)
    history[..., 2:], frame[..., 2:] = [5, 1], [5, 1]
    frame[..., 0] = 0.3 / WIDTH
    for _ in range(30):
        history = draw("Accumulate", history, _Frame=unity.nearest(frame))
    # 9 pixels have come in on the left.
    assert (history[:, :9, 3] == 0).all() and (history[:, 9:, 3] == 1).all()


def test_a_history_begins_without_motion(scene: dict[str, np.ndarray]) -> None:
    frame = scene["frame"]
    frame[3, 4, 2], frame[6, 7, 0] = np.nan, np.inf
    got = draw("Begin", frame, _Frame=unity.nearest(frame))
    assert (got[..., :2] == 0).all() and (got[..., 3] == 1).all()
    assert np.abs(got[..., 2] - known(frame)[..., 2]).max() < 1e-6


def uncovered(key: np.ndarray, history: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """Colour and mask of pixels that the network's picture does not show, from neighbours that look alike."""
    u, v = reference.coordinates(SIZE)
    here = reference.bilinear(camera, u, v)
    here[..., 3] = 0
    total, weights = np.zeros((HEIGHT, WIDTH, 4)), np.zeros((HEIGHT, WIDTH, 1))
    for ring in (1, 2, 3):
        for tap in range(8):
            angle = (tap + 0.5 * ring) * np.pi / 4
            at_u = u + np.cos(angle) * 3 * ring**2 / key.shape[1]
            at_v = v + np.sin(angle) * 3 * ring**2 / key.shape[0]
            there = reference.nearest(history, at_u, at_v)
            difference = (reference.bilinear(camera, at_u, at_v) - here)[..., :3]
            likeness = 2.0 ** (-40 * (difference**2).sum(axis=-1))
            weight = (there[..., 3] * reference.inside(at_u, at_v) * likeness / ring)[..., None]
            total += weight * reference.bilinear(key, at_u - there[..., 0], at_v - there[..., 1])
            weights += weight
    share = np.clip(weights / 0.25, 0, 1)
    return here * (1 - share) + total / np.maximum(weights, 0.0001) * share


def test_a_picture_moves_and_its_holes_are_filled_as_in_the_reference(scene: dict[str, np.ndarray]) -> None:
    chance = np.random.default_rng(4)
    # The network's picture has another size than the histories: the governor lowered it.
    key = chance.uniform(0, 1, (12, 16, 4)).astype(np.float32)
    dark_or_light = chance.choice([0.1, 0.7], (HEIGHT, WIDTH, 1))
    camera = (chance.uniform(0, 0.2, (HEIGHT, WIDTH, 4)) + dark_or_light).astype(np.float32)
    history = scene["history"]
    got = move(key, history, camera)
    u, v = reference.coordinates(SIZE)
    valid = history[..., 3:] > 0.5
    moved = reference.bilinear(key, u - history[..., 0], v - history[..., 1])
    expected = np.where(valid, moved, uncovered(key, history, camera))
    # Samplers weigh in steps of 1/256.
    assert np.abs(got - expected).max() < 1 / 64
    assert np.abs(expected - reference.bilinear(camera, u, v))[~valid[..., 0]].max() > 0.1


def test_without_any_neighbour_the_camera_is_shown(scene: dict[str, np.ndarray]) -> None:
    camera = np.random.default_rng(5).uniform(0, 1, (HEIGHT, WIDTH, 4)).astype(np.float32)
    got = move(camera[::-1].copy(), scene["history"] * [1, 1, 1, 0], camera)
    assert np.abs(got[..., :3] - camera[..., :3]).max() < 1e-5
    assert (got[..., 3] == 0).all()


def test_a_share_of_the_frame_before_stays_on_its_surface(scene: dict[str, np.ndarray]) -> None:
    chance = np.random.default_rng(8)
    key, before, camera = (chance.uniform(0, 1, (HEIGHT, WIDTH, 4)).astype(np.float32) for _ in range(3))
    history, frame = scene["history"], scene["frame"]
    history[..., 3] = 1
    last = frame[:, ::-1].copy()
    frames = {"_Frame": unity.nearest(frame), "_FrameBefore": unity.nearest(last), "_Before": before}
    plain = move(key, history, camera, **frames)
    got = move(key, history, camera, _Stability=0.7, **frames)
    u, v = reference.coordinates(SIZE)
    at_u, at_v = u - frame[..., 0], v - frame[..., 1]
    now, then = frame[..., 2], reference.nearest(last, at_u, at_v)[..., 2]
    same = reference.inside(at_u, at_v) & (np.abs(then - now) <= 0.1 * now)
    assert 0.2 < same.mean() < 0.8
    share = 0.7 * same[..., None]
    expected = plain * (1 - share) + reference.bilinear(before, at_u, at_v) * share
    assert np.abs(got - expected).max() < 1 / 128


@pytest.mark.parametrize("value", NOT_NUMBERS)
@pytest.mark.parametrize("which", ["key", "before", "camera", "history", "frame", "last"])
def test_nothing_read_makes_the_shown_picture_other_than_numbers(
    scene: dict[str, np.ndarray], which: str, value: float
) -> None:
    chance = np.random.default_rng(9)
    stored = {
        name: chance.uniform(0, 1, (HEIGHT, WIDTH, 4)).astype(np.float32) for name in ("key", "before", "camera")
    }
    stored |= {"history": scene["history"], "frame": scene["frame"], "last": scene["frame"].copy()}

    def shown() -> np.ndarray:
        frames = {"_Frame": unity.nearest(stored["frame"]), "_FrameBefore": unity.nearest(stored["last"])}
        frames |= {"_Before": stored["before"], "_Stability": 0.5}
        return move(stored["key"], stored["history"], stored["camera"], **frames)

    good = shown()
    stored[which][8:12, 10:16] = value
    got = shown()
    assert np.isfinite(got).all() and got.min() >= 0 and got.max() <= 1
    changed = np.abs(got - good).max(axis=2) > 1e-3
    # Holes are filled from as far as 27 pixels away; everything else reads close by.
    assert 0 < changed.sum() < (HEIGHT * WIDTH * 0.5 if which in ("key", "camera", "history") else 60)


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("reversed_", [False, True])
@pytest.mark.parametrize("orthographic", [False, True])
def test_a_frame_holds_motion_and_distance(name: str, reversed_: bool, orthographic: bool) -> None:
    chance = np.random.default_rng(6)
    vectors = chance.uniform(-0.1, 0.1, (HEIGHT, WIDTH, 4)).astype(np.float32)
    distances = chance.uniform(0.5, 90, (HEIGHT, WIDTH))
    lens = (0.3, 100.0, orthographic, reversed_)
    raws = np.repeat(reference.raw_depth(distances, *lens)[..., None], 4, axis=2).astype(np.float32)
    vectors[3, 5] = 2.0  # HDRP's mark for "no motion vector"
    vectors[7, 8, 0], raws[9, 2] = np.nan, np.nan
    motion, depth = SOURCES[name]
    read = {motion: unity.nearest(vectors), depth: unity.nearest(raws)}
    got = draw(name, vectors, _EyeDepth=reference.eye_depth(*lens), **read)
    expected = np.dstack([vectors[..., :2], distances, np.ones(SIZE)])
    if name == "Frame, HDRP":
        expected[3, 5, :2] = 0
    expected[7, 8] = expected[9, 2] = 0
    assert np.abs(got[..., :2] - expected[..., :2]).max() < 1e-6
    assert (got[..., 3] == expected[..., 3]).all()
    assert (np.abs(got[..., 2] - expected[..., 2]) <= (2e-3 if reversed_ else 2e-2) * expected[..., 2]).all()


@pytest.mark.parametrize("name", SOURCES)
def test_a_frame_is_upright_where_the_cameras_picture_is_not(name: str) -> None:
    chance = np.random.default_rng(6)
    vectors, raws = (chance.uniform(0.1, 0.4, (HEIGHT, WIDTH, 4)).astype(np.float32) for _ in range(2))
    motion, depth = SOURCES[name]
    read = {motion: unity.nearest(vectors), depth: unity.nearest(raws), "_EyeDepth": (1.0, 0.0, 0.0, 1.0)}
    got = draw(name, vectors, flipped=True, **read)
    assert np.abs(got[..., :2] - vectors[..., :2]).max() < 1e-6
    assert np.abs(got[..., 2] - raws[..., 0]).max() < 1e-6


def test_distances_beyond_half_precision_are_still_distances() -> None:
    raws = np.zeros((HEIGHT, WIDTH, 4), np.float32)
    read = {"_CameraMotionVectorsTexture": unity.nearest(raws), "_CameraDepthTexture": unity.nearest(raws)}
    lens = reference.eye_depth(0.3, 200000.0, False, True)
    got = draw("Frame, built-in pipeline", raws, _EyeDepth=lens, **read)
    assert (got[..., 2] == 65504).all() and (got[..., 3] == 1).all()


def test_after_a_cut_nothing_old_is_read() -> None:
    chance = np.random.default_rng(2)
    still, depth = np.zeros((HEIGHT, WIDTH, 2)), np.full(SIZE, 0.5)
    lens = reference.eye_depth(0.3, 100.0, False, True)

    def after_the_cut(rubbish: float) -> np.ndarray:
        moving = Reprojection(SIZE, lens, rubbish=rubbish)
        pictures = np.random.default_rng(3).uniform(0, 1, (2, HEIGHT, WIDTH, 4)).astype(np.float32)
        for _ in range(3):
            moving.update(still, depth)
            moving.begin()
            moving.finish()
            moving.move(pictures[0] * rubbish, pictures[0] * rubbish, stability=0.9)
        for name in moving.textures:
            moving.textures[name][:] = rubbish
        moving.forget()
        moving.update(still, depth)
        moving.begin()
        moving.finish()
        return moving.move(pictures[1], pictures[1], stability=0.9)

    clean = after_the_cut(0.5)
    for rubbish in (np.nan, np.inf, 1e30, chance.uniform()):
        assert (after_the_cut(rubbish) == clean).all()
