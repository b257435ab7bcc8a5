"""Interpolation.cs once more: the order of StyleTransferMotion.shader's passes and what is kept between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from tests.gpu import unity


@dataclass
class Interpolation:
    """Frames that are kept at one size, and key pictures, by the frame that they were taken from.

    `kept` frames are kept; what was never drawn holds `rubbish`.
    """

    size: tuple[int, int]
    eye_depth: tuple[float, float, float, float]
    kept: int
    source: str = "Frame, built-in pipeline"
    names: tuple[str, str] = ("_CameraMotionVectorsTexture", "_CameraDepthTexture")
    rubbish: float = np.nan
    flipped: bool = False
    number: int = 0
    keys: dict[int, np.ndarray] = field(default_factory=dict)
    small: dict[int, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.columns = math.ceil(math.sqrt(self.kept))
        self.rows = -(-self.kept // self.columns)
        height, width = self.size
        self.frames = np.full((height * self.rows, width * self.columns, 4), self.rubbish, np.float32)

    def update(self, motion: np.ndarray, depth: np.ndarray, camera: np.ndarray) -> None:
        """Takes in a frame: motion vectors (height x width x 2), raw depth, the camera's picture at this size."""
        self.number += 1
        pictures = np.zeros((2, *depth.shape, 4), np.float32)
        pictures[0, ..., :2] = motion
        pictures[1] = depth[..., None]
        read = {name: unity.nearest(picture) for name, picture in zip(self.names, pictures, strict=True)}
        frame = unity.draw(
            "Motion", self.source, pictures[0], self.size, self.flipped, _EyeDepth=self.eye_depth, **read
        )
        row, column = divmod(self.number % self.kept, self.columns)
        height, width = self.size
        # The textures between the passes are of half precision.
        tile = frame.astype(np.float16).astype(np.float32)
        self.frames[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
        self.small[self.number] = camera

    def finish(self, picture: np.ndarray, frame: int) -> None:
        """The network has finished the picture that was taken from a frame."""
        self.keys[frame] = picture

    def interpolate(self, shown: int) -> np.ndarray:
        """Alpha is below 0 where neither key picture shows what is there."""
        before = max(frame for frame in self.keys if frame <= shown)
        after = min((frame for frame in self.keys if frame > shown), default=before)
        has_next = before < shown < after
        way = (shown - before, 0, 0, 0)
        if has_next:
            way = (shown - before, after - shown, (shown - before) / (after - before), 0)
        return unity.draw(
            "Motion",
            "Interpolate",
            self.keys[before],
            self.size,
            _KeyAfter=self.keys[after if has_next else before],
            _Frames=unity.nearest(self.frames),
            _Tiles=(self.columns, self.rows, self.kept, shown % self.kept),
            _Way=way,
        )

    def draw(self, shown: int) -> np.ndarray:
        """The picture in the style of a frame that is kept."""
        interpolated = self.interpolate(shown).astype(np.float16).astype(np.float32)
        return unity.draw("Motion", "Fill", interpolated, self.size, _Camera=self.small[shown])
