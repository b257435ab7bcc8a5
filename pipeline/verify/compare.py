"""How far two pictures are apart, in levels of 255."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

FLOAT_NOISE = 110.0
"""PSNR in dB beyond which only the order of float32 additions differs, which depends on the processor."""
LEVELS = 255.0
"""Levels of an 8-bit picture: a difference of 1.0 here is one step of one colour channel."""


@dataclass(frozen=True)
class Difference:
    """The difference of two pictures (N, C, H, W) whose values are 0..1.

    `max_levels` and `mean_levels` are absolute differences in 8-bit levels; `max_levels` is also the smallest
    tolerance that would have passed. `psnr` is in dB against a peak of 1.0, None where the pictures are equal.
    `worst` is (channel, row, column) of the largest difference. As data the numbers are rounded so far that they
    are the same on another processor.
    """

    name: str
    height: int
    width: int
    max_levels: float
    mean_levels: float
    psnr: float | None
    worst: tuple[int, int, int]

    def as_dict(self) -> dict[str, Any]:
        noise = self.psnr is None or self.psnr > FLOAT_NOISE
        return {
            "input": self.name,
            "height": self.height,
            "width": self.width,
            "max_levels": round_up(self.max_levels),
            "mean_levels": round(self.mean_levels, 4),
            "psnr": None if noise else round(self.psnr or 0.0, 1),
            "worst": None if noise else dict(zip(("channel", "row", "column"), self.worst, strict=True)),
        }


def round_up(levels: float) -> float:
    """To thousandths of a level, up: a tolerance shown so would really have passed."""
    return math.ceil(levels * 1000) / 1000


def difference(expected: np.ndarray, result: np.ndarray, name: str) -> Difference:
    """Compare two pictures of one shape; values outside 0..1 count as clamped, NaN as the largest difference.

    `height` and `width` of the answer are those of the pictures compared.
    Raises ValueError when the shapes differ.
    """
    if expected.shape != result.shape:
        raise ValueError(f"the pictures have shapes {expected.shape} and {result.shape}")
    a = np.clip(expected.astype(np.float64), 0, 1)
    b = np.clip(result.astype(np.float64), 0, 1)
    gap = np.abs(a - b)
    gap[np.isnan(gap)] = 1.0
    place = np.unravel_index(int(gap.argmax()), gap.shape)
    mse = float(np.mean(gap**2))
    return Difference(
        name=name,
        height=int(a.shape[2]),
        width=int(a.shape[3]),
        max_levels=float(gap.max()) * LEVELS,
        mean_levels=float(gap.mean()) * LEVELS,
        psnr=None if mse == 0 else -10 * math.log10(mse),
        worst=(int(place[1]), int(place[2]), int(place[3])),
    )
