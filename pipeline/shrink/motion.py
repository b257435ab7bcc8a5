"""Pairs of views of a moving scene with known or estimated motion, for the loss on flicker. Imports torch.

The motion of a synthetic camera (shift, zoom, rotation) over a still picture is exact and costs one resampling.
The motion between consecutive frames of a game is estimated once by the optical flow that `pipeline flicker`
measures with (pipeline.flicker.flow); pixels that cannot be tracked in both directions are masked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as f

from pipeline.flicker import flow
from pipeline.shrink import losses as lost
from pipeline.support.errors import PipelineError
from pipeline.support.picture_files import open_picture, picture_files
from pipeline.support.size import Size
from pipeline.support.video import is_video, stills

SHIFT = 4.0
"""Largest shift of the synthetic camera, in pixels."""
ZOOM, TURN = 0.03, math.radians(1.5)
"""Its largest relative zoom, and its largest rotation."""
NOISE = 2.0
"""Standard deviation of the noise on the second view, in levels of 255."""
LONGER_SIDE = 640
"""Longer side to which the frames of a sequence are downscaled, in pixels."""
SHORTER_SIDE = 256
"""Shorter side that they keep."""
MOST_PAIRS = 32
"""Maximum number of pairs of consecutive frames, taken from all sequences at equal distances."""
CHANGED = 12.0
"""Difference in levels of 255 between a frame and the warped previous one at which the weight of a pixel is 1/e:
light, shadows and particles change without a motion, and the output may follow them."""


@dataclass(frozen=True)
class Motion:
    """The motion between two views: `moved` (N, 2, H, W) is the displacement of each pixel of the second view to
    its position in the first, down and right in pixels; `weight` (N, 1, H, W) is 0 where it is not known, at most
    1."""

    moved: Tensor
    weight: Tensor

    def to(self, device: torch.device) -> Motion:
        """The motion on a device."""
        return Motion(self.moved.to(device), self.weight.to(device))

    def inside(self, edge: int = 2) -> Motion:
        """The motion with weight 0 where the displaced position is less than `edge` pixels inside the picture."""
        height, width = self.moved.shape[2:]
        y = torch.arange(height, device=self.moved.device).view(1, -1, 1) + self.moved[:, 0]
        x = torch.arange(width, device=self.moved.device).view(1, 1, -1) + self.moved[:, 1]
        inside = (y >= edge) & (y <= height - 1 - edge) & (x >= edge) & (x <= width - 1 - edge)
        return Motion(self.moved, self.weight * inside[:, None])

    def loss(self, first: Tensor, second: Tensor) -> Tensor:
        """Difference between the outputs for the two views (N, 3, H, W) beyond the motion."""
        difference = (warp(first, self.moved) - second) / lost.UNIT
        return (torch.sqrt(difference.square() + 1e-4) * self.weight).sum() / (3 * self.weight.sum() + 1)


def warp(pictures: Tensor, moved: Tensor, offset: float = 0.0) -> Tensor:
    """Pictures (N, C, H, W) sampled at each pixel of `moved` (N, 2, h, w), displaced by it and by `offset`;
    bicubic, because a bilinear warp would blur, and a network would learn to blur with it."""
    height, width = pictures.shape[2:]
    rows = torch.arange(moved.shape[2], device=moved.device, dtype=torch.float32).view(1, -1, 1) + offset
    columns = torch.arange(moved.shape[3], device=moved.device, dtype=torch.float32).view(1, 1, -1) + offset
    y = (rows + moved[:, 0]) * (2 / max(height - 1, 1)) - 1
    x = (columns + moved[:, 1]) * (2 / max(width - 1, 1)) - 1
    grid = torch.stack((x, y), 3)
    return f.grid_sample(pictures.float(), grid, mode="bicubic", padding_mode="border", align_corners=True)


def camera(rng: np.random.Generator, count: int, height: int, width: int) -> Motion:
    """Random motions of a synthetic camera for views of a size; `weight` is 0 outside the first view.

    Half of them are shifts by whole pixels, which need no resampling.
    """
    down, right = np.mgrid[0:height, 0:width].astype(np.float32)
    fields = []
    for _ in range(count):
        y, x = down - rng.uniform(0, height), right - rng.uniform(0, width)
        shift = rng.uniform(-SHIFT, SHIFT, 2)
        if rng.random() < 0.5:
            scale, turn, shift = 1.0, 0.0, np.rint(shift)
        else:
            scale, turn = 1 + rng.uniform(-ZOOM, ZOOM), rng.uniform(-TURN, TURN)
        fields.append(
            np.stack(
                [
                    scale * (math.cos(turn) * y - math.sin(turn) * x) - y + shift[0],
                    scale * (math.sin(turn) * y + math.cos(turn) * x) - x + shift[1],
                ]
            )
        )
    moved = torch.from_numpy(np.stack(fields).astype(np.float32))
    return Motion(moved, torch.ones(count, 1, height, width)).inside()


def noisy(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Pictures with noise of `NOISE` levels, clamped to 0..255."""
    noise = torch.from_numpy(rng.normal(0, NOISE, tuple(pictures.shape)).astype(np.float32))
    return (pictures + noise.to(pictures.device)).clamp(0, 255)


@dataclass(frozen=True)
class _Pair:
    """Two consecutive frames (3, H, W) uint8, the displacement (2, H, W) of the second to the first, and
    weights."""

    first: np.ndarray
    second: np.ndarray
    moved: np.ndarray
    weight: np.ndarray


class Sequences:
    """Pairs of consecutive frames of folders and videos, with the estimated motion.

    Raises PipelineError `no-pictures` for fewer than two frames, `sizes-differ` for frames of different sizes,
    `bad-picture`, `bad-video`.
    """

    def __init__(
        self,
        sources: Sequence[Path],
        seed: int,
        progress: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.seed = seed
        wanted = []
        for source in sources:
            files = (
                stills(source.resolve(), 4 * MOST_PAIRS, False) if is_video(source) else picture_files([source])
            )
            if len(files) < 2:
                raise PipelineError(
                    "no-pictures",
                    "there are fewer than two frames",
                    subject=str(source),
                    remedy="Name a folder with consecutive frames, or a video.",
                )
            wanted += [(files[i], files[i + 1]) for i in range(len(files) - 1)]
        step = max(len(wanted) / MOST_PAIRS, 1.0)
        chosen = [wanted[int(i * step)] for i in range(min(len(wanted), MOST_PAIRS))]
        self.files = tuple(dict.fromkeys(file for pair in chosen for file in pair))
        progress(f"estimating the motion between {len(chosen)} pairs of frames")
        self.pairs = [_pair(first, second) for first, second in chosen]

    def check(self, size: Size) -> None:
        """Raise PipelineError `no-pictures` if crops of a size do not fit into the frames."""
        for pair in self.pairs:
            height, width = pair.first.shape[1:]
            if height < size.height or width < size.width:
                raise PipelineError(
                    "no-pictures",
                    f"the frames have {width}x{height} pixels, but the training uses crops of {size}",
                    subject="--sequence",
                    remedy=f"Use frames of at least {size}.",
                )

    def batch(self, number: int, count: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray, Motion]:
        """`count` crops of the pairs, (count, 3, height, width) uint8 each, and the motion between them;
        determined by the seed and `number`."""
        rng = np.random.default_rng([self.seed, number, 3])
        found = []
        for _ in range(count):
            pair = self.pairs[int(rng.integers(len(self.pairs)))]
            rows, columns = pair.first.shape[1:]
            top, left = int(rng.integers(rows - height + 1)), int(rng.integers(columns - width + 1))
            window = np.s_[:, top : top + height, left : left + width]
            crop = [pair.first[window], pair.second[window], pair.moved[window], pair.weight[window]]
            if rng.random() < 0.5:
                crop = [np.ascontiguousarray(plane[..., ::-1]) for plane in crop]
                crop[2] = crop[2] * np.array([1, -1], np.float32)[:, None, None]
            found.append(crop)
        first, second, moved, weight = (np.stack(planes) for planes in zip(*found, strict=True))
        return first, second, Motion(torch.from_numpy(moved), torch.from_numpy(weight))


def _pair(first: Path, second: Path) -> _Pair:
    pictures = [open_picture(path) for path in (first, second)]
    if pictures[0].size != pictures[1].size:
        raise PipelineError(
            "sizes-differ",
            f"{first.name} and {second.name} have different sizes",
            subject=str(second),
            remedy="Use consecutive frames of one recording in each folder.",
        )
    scale = min(1.0, max(LONGER_SIDE / max(pictures[0].size), SHORTER_SIDE / min(pictures[0].size)))
    width, height = (math.ceil(side * scale) for side in pictures[0].size)
    levels = [
        np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS), np.uint8).transpose(2, 0, 1)
        for picture in pictures
    ]
    a, b = (plane[None].astype(np.float32) / 255 for plane in levels)
    back = flow.flow(b, a)
    warped, _ = flow.warp(a, back)
    change = np.abs(warped - b)[0].mean(0) * 255
    weight = flow.reliable(back, flow.flow(a, b)) * np.exp(-((change / CHANGED) ** 2))
    return _Pair(levels[0], levels[1], back, weight[None].astype(np.float32))
