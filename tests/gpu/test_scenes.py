"""A network's picture, moved along with scenes for half a second, against where everything really is."""

from __future__ import annotations

import numpy as np
import pytest

from tests.gpu import reference
from tests.gpu.reprojection import Reprojection
from tests.gpu.scenes import FAR, NEAR, SCENES, Scene, camera_colors, painted_colors

LENS = reference.eye_depth(NEAR, FAR, False, True)
FRAMES = 30

# Of all pixels: said to be known where they are not, and the reverse. Then the mean error in levels of 255 where
# pixels are known, after 30 steps.
LIMITS = {
    "pan": (0.002, 0.015, 0.5),
    "slow pan": (0.002, 0.002, 0.1),
    "slow turn": (0.015, 0.002, 0.5),
    "dolly": (0.002, 0.1, 1.0),
    "passing": (0.002, 0.015, 0.1),
    "falling": (0.002, 0.025, 0.1),
    "turn and pass": (0.02, 0.02, 1.0),
}


def follow(scene: Scene, frames: int, start: Reprojection | None = None) -> Reprojection:
    """The histories `frames` frames after the network's picture was taken."""
    moving = start or Reprojection(scene.size, LENS)
    for number in range(frames + 1):
        _, motion, depth = scene.frame(number)
        moving.update(motion, depth)
        if number == 0:
            moving.begin()
            moving.finish()
    return moving


@pytest.mark.parametrize("name", SCENES)
def test_pixels_are_known_where_the_networks_picture_shows_them(name: str) -> None:
    scene = SCENES[name]
    moving = follow(scene, FRAMES)
    visible, _, _ = scene.shown_at(0, FRAMES)
    wrongly_known, wrongly_unknown, error = LIMITS[name]
    assert (moving.known & ~visible).mean() <= wrongly_known
    assert (~moving.known & visible).mean() <= wrongly_unknown

    first, last = scene.frame(0)[0], scene.frame(FRAMES)[0]
    shown = moving.move(scene.picture(first, painted_colors), scene.picture(last, camera_colors))
    truth = scene.picture(last, painted_colors)
    both = moving.known & visible
    assert both.mean() > 0.5
    assert 255 * np.abs(shown - truth)[both][:, :3].mean() <= error
    still = np.abs(scene.picture(first, painted_colors) - truth)[both][:, :3]
    assert 255 * still.max() > 20, "the picture must have to be moved"


@pytest.mark.parametrize("name", ["pan", "falling"])
def test_pipelines_give_the_same(name: str) -> None:
    scene = SCENES[name]
    sources = {
        "Frame, URP": ("_MotionVectorTexture", "_CameraDepthTexture"),
        "Frame, HDRP": ("_MotionCopy", "_DepthCopy"),
    }
    expected = follow(scene, 5).textures["shown"]
    for source, names in sources.items():
        other = follow(scene, 5, Reprojection(scene.size, LENS, source, names))
        assert (other.textures["shown"] == expected).all()
    turned = follow(scene, 5, Reprojection(scene.size, LENS, flipped=True))
    assert np.abs(turned.textures["shown"] - expected).max() < 1e-5


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_gone_with_the_next_picture(value: float) -> None:
    scene = SCENES["pan"]
    moving = Reprojection(scene.size, LENS)
    key = None
    for number in range(12):
        view, motion, depth = scene.frame(number)
        if number == 3:
            depth[10:20, 10:30], motion[30:35, 50:60] = value, value
        moving.update(motion, depth)
        if number % 6 == 0:
            moving.begin()
            moving.finish()
            key = scene.picture(view, painted_colors)
        shown = moving.move(key, scene.picture(view, camera_colors), stability=0.5)
        assert all(np.isfinite(moving.textures[name]).all() for name in ("frame", "shown", "moved"))
        assert shown.min() >= 0 and shown.max() <= 1
        lost = (~moving.known).mean()
        assert lost > 0.05 if number == 3 else True
    assert lost < 0.05


def test_stability_holds_what_was_shown_and_forgets_it_after_a_cut() -> None:
    scene = SCENES["slow pan"]
    moving = follow(scene, 1)
    view, motion, depth = scene.frame(2)
    white, black = (np.full((*scene.size, 4), level, np.float32) for level in (1, 0))
    camera = scene.picture(view, camera_colors)
    moving.move(white, camera)
    moving.update(motion, depth)
    stored = moving.move(black, camera, stability=0.6)[moving.known]
    assert np.abs(stored[:, :3] - 0.6).max() < 0.01
    moving.forget()
    moving.update(motion, depth)
    moving.begin()
    moving.finish()
    assert (moving.move(black, camera, stability=0.6)[..., :3] == 0).all()
