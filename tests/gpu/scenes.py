"""Moving scenes whose every pixel is known exactly: rectangles before a camera that pans, dollies and turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.gpu import reference

NEAR, FAR = 0.3, 100.0


@dataclass(frozen=True)
class Rectangle:
    """Parallel to the picture at frame 0; `half` is half of its width and height, `velocity` per frame."""

    center: tuple[float, float, float]
    half: tuple[float, float]
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)
    hue: float = 0.0

    def at(self, frame: int) -> np.ndarray:
        return np.asarray(self.center) + frame * np.asarray(self.velocity)


@dataclass(frozen=True)
class View:
    """What a frame shows, per pixel: which rectangle, where on it, and how far away."""

    which: np.ndarray
    local: np.ndarray
    distance: np.ndarray


@dataclass(frozen=True)
class Scene:
    """Rectangles and a camera at the origin that looks along z; `velocity` and `turn` (radians) are per frame.

    The last rectangle should fill the view. The picture is two units wide at a distance of one.
    """

    rectangles: tuple[Rectangle, ...]
    size: tuple[int, int] = (54, 96)
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turn: float = 0.0

    def _camera(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Position, and the rotation from the camera's axes to the world's."""
        angle = self.turn * frame
        rotation = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        return np.asarray(self.velocity) * frame, rotation

    def view(self, frame: int, u: np.ndarray, v: np.ndarray) -> View:
        """What is seen at texture coordinates."""
        height, width = self.size
        position, rotation = self._camera(frame)
        ray = np.stack([2 * u - 1, (2 * v - 1) * height / width, np.ones_like(u)], axis=-1) @ rotation.T
        which = np.full(u.shape, -1)
        local, distance = np.zeros((*u.shape, 2)), np.full(u.shape, FAR)
        for number, rectangle in enumerate(self.rectangles):
            center = rectangle.at(frame)
            reach = (center[2] - position[2]) / ray[..., 2]
            place = (position + ray * reach[..., None] - center)[..., :2]
            # The ray's own length along the camera's axis is 1.
            hit = (np.abs(place) <= rectangle.half).all(axis=-1) & (reach > NEAR) & (reach < distance)
            which[hit], local[hit], distance[hit] = number, place[hit], reach[hit]
        return View(which, local, distance)

    def project(self, frame: int, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Where what a view shows is in another frame, as texture coordinates."""
        height, width = self.size
        centers = np.array([rectangle.at(frame) for rectangle in self.rectangles])[view.which]
        position, rotation = self._camera(frame)
        point = (
            np.concatenate([view.local, np.zeros((*view.which.shape, 1))], axis=-1) + centers - position
        ) @ rotation
        return (point[..., 0] / point[..., 2] + 1) / 2, (point[..., 1] / point[..., 2] * width / height + 1) / 2

    def frame(self, number: int) -> tuple[View, np.ndarray, np.ndarray]:
        """A frame's view, motion vectors (now minus before, in texture coordinates) and reversed depth."""
        u, v = reference.coordinates(self.size)
        view = self.view(number, u, v)
        before_u, before_v = self.project(number - 1, view)
        depth = reference.raw_depth(view.distance, NEAR, FAR, False, True)
        return view, np.stack([u - before_u, v - before_v], axis=-1), depth

    def shown_at(self, start: int, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each pixel of a frame: whether frame `start` shows what is there, and where."""
        u, v = reference.coordinates(self.size)
        view = self.view(number, u, v)
        then_u, then_v = self.project(start, view)
        then = self.view(start, then_u, then_v)
        visible = (then.which == view.which) & reference.inside(then_u, then_v)
        return visible, then_u, then_v

    def picture(self, view: View, paint: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """Height x width x 4: colours by rectangle's hue and place on it."""
        hues = np.array([rectangle.hue for rectangle in self.rectangles])[view.which]
        rgb = paint(hues, view.local[..., 0], view.local[..., 1])
        return np.concatenate([rgb, np.ones((*rgb.shape[:2], 1))], axis=-1).astype(np.float32)


def camera_colors(hue: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What the camera sees: one colour for each surface, lightly shaded."""
    phases = np.array([0, 2.1, 4.2])
    return 0.5 + 0.35 * np.cos(hue[..., None] + phases) + 0.1 * np.sin(x + y)[..., None]


def painted_colors(hue: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What a network makes of it: strokes of several pixels."""
    phases = np.array([0, 2.1, 4.2])
    strokes = 0.15 * np.sin(0.8 * x + hue)[..., None] * np.cos(0.6 * y)[..., None]
    return 0.5 + 0.3 * np.cos(1.7 * hue[..., None] + phases) + strokes


_BACK = Rectangle((0, 0, 20), (60, 60), hue=0.5)
_NEAR = Rectangle((-1, 0.2, 5), (1.2, 1.5), hue=2.5)

SCENES = {
    "pan": Scene((_NEAR, _BACK), velocity=(0.03, 0, 0)),
    "slow pan": Scene((_BACK,), velocity=(0.3 / 96 * 2 * 20, 0, 0)),
    "slow turn": Scene((_BACK,), turn=0.4 / 96 * 2),
    "dolly": Scene((_NEAR, _BACK), velocity=(0, 0, 0.05)),
    "passing": Scene((Rectangle((-3, 0, 6), (1, 1.2), velocity=(0.08, 0, 0), hue=4), _BACK)),
    "falling": Scene((Rectangle((0, -3, 6), (1, 1), velocity=(0.01, 0.09, 0.02), hue=4), _NEAR, _BACK)),
    "turn and pass": Scene((Rectangle((-3, 0, 6), (1, 1.2), velocity=(0.05, 0, 0), hue=4), _BACK), turn=0.01),
}
