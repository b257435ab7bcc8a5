"""Temporal stability: how much a network's output flickers while the picture moves.

The output for a frame, warped by the motion of the frame, should be the output for the next frame. The mean
absolute difference over the pixels that are visible in both is the warping error (Lai et al. 2018), in levels of
255. The motion is known for clips made from one picture, and estimated by optical flow between the frames of a
folder. The frames themselves have an error too (resampling, noise, a wrong flow), which is reported for
comparison.

Clips made from one picture:
    still   no motion, noise with a standard deviation of one level: sensitivity to noise
    pan     whole pixels per frame, so that nothing is resampled: dependence on the pixel grid
    zoom    one per cent per frame with a slight rotation: dependence on scale and direction
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.flicker import flow
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size

Paint = Callable[[np.ndarray], np.ndarray]
"""A network as a function of a picture (1, 3, H, W), RGB 0..1, with an output of the same size."""

FRAMES = 8
SIZE = Size(480, 272)
"""Default size of the frames."""
NOISE = 1.0
PAN = (1, 3)
"""Motion in pixels per frame, down and right."""
ZOOM, TURN = 0.01, math.radians(0.3)
EDGE = 8
"""Pixels at the edge of a frame that are not compared, because padding affects them."""


@dataclass(frozen=True)
class Step:
    """Two consecutive frames: `moved` (2, H, W) is the displacement of each pixel of the second to its position in
    the first, in pixels; `shown` (H, W) is the mask of pixels that are visible in both."""

    first: int
    moved: np.ndarray
    shown: np.ndarray


@dataclass(frozen=True)
class Clip:
    """Frames (1, 3, H, W), RGB 0..1, and the motion between them."""

    name: str
    frames: tuple[np.ndarray, ...]
    steps: tuple[Step, ...]


@dataclass
class Stability:
    """The warping errors of one model: for each clip one number per step, in levels of 255."""

    name: str
    errors: dict[str, list[float]] = field(default_factory=dict)
    paintings: dict[str, list[np.ndarray]] = field(default_factory=dict, repr=False)

    @property
    def means(self) -> dict[str, float]:
        return {name: sum(values) / len(values) for name, values in self.errors.items()}

    @property
    def flicker(self) -> float:
        """The mean over the clips."""
        means = self.means
        return sum(means.values()) / len(means)

    def as_dict(self) -> dict[str, Any]:
        return {
            "model": self.name,
            "flicker": round(self.flicker, 3),
            "clips": {name: round(value, 3) for name, value in self.means.items()},
            "steps": {name: [round(v, 3) for v in values] for name, values in self.errors.items()},
        }


# --- frames ---------------------------------------------------------------------------------------------------


def clips_of_picture(picture: np.ndarray, size: Size = SIZE, frames: int = FRAMES) -> tuple[Clip, ...]:
    """The three clips made from one picture (1, 3, H, W), which is enlarged if it is too small.

    Raises PipelineError `bad-size` for fewer than two frames.
    """
    if frames < 2:
        raise PipelineError(
            "bad-size", "flicker needs at least two frames", subject="--count", remedy="Use at least 2."
        )
    height, width = size.hw
    covered = Size(width + PAN[1] * frames + 2, height + PAN[0] * frames + 2)
    picture = _covering(picture, covered)
    everywhere, unmoved = np.ones(size.hw, bool), np.zeros((2, height, width), np.float32)
    rng = np.random.default_rng(20202)

    base = picture[:, :, :height, :width]
    still = tuple(
        np.clip(base + rng.normal(0, NOISE / 255, base.shape), 0, 1).astype(np.float32) for _ in range(frames)
    )
    clips = [Clip("still", still, tuple(Step(i, unmoved, everywhere) for i in range(frames - 1)))]

    pan, steps = [], []
    moved = np.stack([np.full(size.hw, PAN[0], np.float32), np.full(size.hw, PAN[1], np.float32)])
    shown = everywhere.copy()
    shown[height - PAN[0] :], shown[:, width - PAN[1] :] = False, False
    for i in range(frames):
        top, left = i * PAN[0], i * PAN[1]
        pan.append(np.ascontiguousarray(picture[:, :, top : top + height, left : left + width]))
        steps.append(Step(i, moved, shown))
    clips.append(Clip("pan", tuple(pan), tuple(steps[:-1])))

    zoom = [_zoomed(picture, size, (1 - ZOOM) ** i, TURN * i) for i in range(frames)]
    moved = _map(size, 1 - ZOOM, TURN)
    _, shown = flow.warp(base, moved)
    clips.append(Clip("zoom", tuple(zoom), tuple(Step(i, moved, shown) for i in range(frames - 1))))
    return tuple(clips)


def clips_of_file(picture: Path | None, size: Size = SIZE, frames: int = FRAMES) -> tuple[Clip, ...]:
    """The three clips made from a picture file (None: the bundled photograph); see `clips_of_picture`.

    Raises PipelineError `bad-picture`.
    """
    from pipeline.support.picture_files import open_picture
    from pipeline.support.resources import resource

    pixels = np.asarray(open_picture(picture or resource("examples/picture.jpg")), np.float32)
    return clips_of_picture(pixels.transpose(2, 0, 1)[None] / 255, size, frames)


def clip_of_frames(files: Sequence[Path], size: Size | None = None, frames: int = FRAMES, name: str = "") -> Clip:
    """Consecutive frames of a video or a game, with the optical flow between them; `name` is by default the
    folder's.

    Raises PipelineError: no-pictures for fewer than two, bad-picture.
    """
    from pipeline.support.picture_files import open_picture

    if len(files) < 2:
        raise PipelineError(
            "no-pictures",
            "there are fewer than two frames",
            subject=str(files[0]) if files else "FRAMES",
            remedy="Name a folder with consecutive frames, or the picture itself: then clips with known motion "
            "are made from it.",
        )
    loaded = []
    for file in files[:frames]:
        picture = open_picture(file)
        if size is None:
            scale = min(1.0, SIZE.width / picture.width)
            size = Size(*(max(round(v * scale) // 8 * 8, 8) for v in (picture.width, picture.height)))
        pixels = np.asarray(picture.resize((size.width, size.height)), np.float32)
        loaded.append(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]) / np.float32(255))
    steps = []
    for i, (a, b) in enumerate(itertools.pairwise(loaded)):
        back = flow.flow(b, a)
        steps.append(Step(i, back, flow.reliable(back, flow.flow(a, b))))
    return Clip(name or files[0].parent.name or "frames", tuple(loaded), tuple(steps))


def _covering(picture: np.ndarray, size: Size) -> np.ndarray:
    """The picture, enlarged to at least this height and width."""
    factor = max(size.height / picture.shape[2], size.width / picture.shape[3], 1.0)
    if factor == 1:
        return picture
    height, width = (math.ceil(v * factor) for v in picture.shape[2:])
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    return flow.fetch(picture[0], rows / factor, columns / factor)[None]


def _map(size: Size, scale: float, turn: float) -> np.ndarray:
    """The displacement (2, H, W) of each pixel to its position before a zoom by 1/scale and a rotation about the
    centre."""
    height, width = size.hw
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    y, x = rows - (height - 1) / 2, columns - (width - 1) / 2
    down = scale * (math.cos(turn) * y - math.sin(turn) * x) - y
    right = scale * (math.sin(turn) * y + math.cos(turn) * x) - x
    return np.stack([down, right]).astype(np.float32)


def _zoomed(picture: np.ndarray, size: Size, scale: float, turn: float) -> np.ndarray:
    moved = _map(size, scale, turn)
    margin = tuple((a - b) / 2 for a, b in zip(picture.shape[2:], size.hw, strict=True))
    rows, columns = np.mgrid[0 : size.height, 0 : size.width].astype(np.float32)
    return flow.fetch(picture[0], rows + moved[0] + margin[0], columns + moved[1] + margin[1])[None]


# --- measuring ------------------------------------------------------------------------------------------------


def stability(name: str, paint: Paint, clips: Sequence[Clip]) -> Stability:
    """The warping errors of the outputs of `paint` for each clip's frames."""
    result = Stability(name)
    for clip in clips:
        painted = [np.clip(paint(frame), 0, 1).astype(np.float32) for frame in clip.frames]
        result.errors[clip.name] = [_error(painted[s.first], painted[s.first + 1], s) for s in clip.steps]
        result.paintings[clip.name] = painted
    return result


def unpainted(clips: Sequence[Clip]) -> Stability:
    """The warping errors of the frames themselves, for comparison."""
    return stability("the frames themselves", lambda frame: frame, clips)


def _error(first: np.ndarray, second: np.ndarray, step: Step) -> float:
    """Mean difference in levels of 255 between an output and the previous one, warped, where both are visible."""
    warped, inside = flow.warp(first, step.moved)
    shown = inside & step.shown
    shown[:EDGE], shown[-EDGE:], shown[:, :EDGE], shown[:, -EDGE:] = False, False, False, False
    if not shown.any():
        return 0.0
    return float(np.abs(warped - second)[0][:, shown].mean() * 255)
