"""The proof's measurement on a picture of low contrast, with and without the rewrite `low-contrast`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.support.size import Size
from pipeline.verify.compare import difference

if TYPE_CHECKING:
    from pipeline.verify.guide_pictures import GuidePictures

Picture2Picture = Callable[[np.ndarray], np.ndarray]

CONTRAST = 0.01
"""What is left of the picture's contrast: as in a fade, dense fog or a loading screen."""
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 255.0)
"""Levels that are reported: rounding errors are not the same on another processor, but the step above them is."""


def measure(
    source: Picture2Picture,
    candidate: Picture2Picture,
    without: Picture2Picture | None,
    size: Size,
    channels: int,
    picture: Path | None,
    mean_taken_off: bool | None,
    guides: GuidePictures | None = None,
) -> dict[str, Any]:
    """The differences from `source` on the picture faded to white, at a size, as data.

    `without` is the built graph without the rewrite `low-contrast`, None if that changed nothing.
    `mean_taken_off` is None if the rewrite was skipped by an option. `levels` and `levels_without` are in 8-bit
    levels, rounded up to a step.
    """
    from pipeline.verify import pictures

    shown = pictures.load(picture, *size.hw, channels, guides).astype(np.float64)
    faded = (1 - CONTRAST * (1 - shown)).astype(np.float32)
    expected = source(faded)

    def levels_off(run: Picture2Picture) -> float:
        levels = difference(expected, run(faded), "low contrast").max_levels
        return next((step for step in _STEPS if levels <= step), _STEPS[-1])

    return {
        "contrast": CONTRAST,
        "height": size.height,
        "width": size.width,
        "levels": levels_off(candidate),
        "levels_without": None if without is None else levels_off(without),
        "mean_taken_off": mean_taken_off,
    }
