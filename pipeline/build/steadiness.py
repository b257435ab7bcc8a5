"""How much a built style flickers, for the report: on small clips of known movement (pipeline.flicker.measure)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.build.lowering import Lowered

SIZE = (112, 192)
"""Height and width of the frames: multiples of 16."""
FRAMES = 3
LARGEST = 512 * 512
"""Pixels up to which a model that runs at one size alone is painted with a dozen times."""


def steadiness(lowered: Lowered, picture: Path | None) -> dict[str, Any] | None:
    """Warping errors in levels of 255, by clip, of the built graph and of the frames themselves.

    `lowered` takes and gives RGB 0..1. None for networks that are not from a colour picture to one of its size,
    and for those that run at one large size alone.
    """
    from pipeline.flicker.measure import clips_of_picture, stability, unpainted
    from pipeline.verify import pictures

    step = lowered.size_multiple
    height, width = lowered.fixed_size or tuple(max(1, round(side / step)) * step for side in SIZE)
    colour = (lowered.input_channels, lowered.output_channels) == (3, 3)
    if lowered.candidate is None or not colour or lowered.output_scale != 1 or height * width > LARGEST:
        return None
    clips = clips_of_picture(pictures.load(picture, height + 16, width + 32), (height, width), FRAMES)
    built, frames = stability("built", lowered.candidate, clips), unpainted(clips)
    return {
        name: {"painted": round(value, 1), "frames": round(frames.means[name], 1)}
        for name, value in built.means.items()
    }
