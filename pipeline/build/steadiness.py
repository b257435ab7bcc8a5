"""How much a built style flickers, for the report: the clips of `pipeline flicker`, with fewer frames."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.build.lowering import Lowered
    from pipeline.flicker.measure import Clip
    from pipeline.support.size import Size

FRAMES = 2
"""Frames of each movement; `pipeline flicker` takes 8, of the same movements, at the same size."""
LARGEST = 512 * 512
"""Pixels up to which a model that runs only at one size is run half a dozen times."""


def steadiness(lowered: Lowered, picture: Path | None) -> dict[str, Any] | None:
    """Warping errors in levels of 255, by clip, of the built graph and of the frames themselves.

    `lowered` takes and gives RGB 0..1. None for networks that are not from a colour picture to one of its size,
    and for those that run only at one large size.
    """
    from pipeline.flicker.measure import SIZE, stability

    usual = SIZE.rounded(lowered.size_multiple)
    size = lowered.fixed_size or usual
    colour = (lowered.input_channels, lowered.output_channels) == (3, 3)
    if lowered.candidate is None or not colour or lowered.output_scale != 1:
        return None
    if lowered.fixed_size and size.pixels > LARGEST:
        return None
    clips, frames = _of_photograph(size) if picture is None else _moved(picture, size)
    built = stability("built", lowered.candidate, clips)
    return {
        "size": str(size),
        "frames": FRAMES,
        "clips": {
            name: {"painted": round(value, 1), "frames": round(frames[name], 1)}
            for name, value in built.means.items()
        },
    }


def _moved(picture: Path | None, size: Size) -> tuple[tuple[Clip, ...], dict[str, float]]:
    """The clips over a picture, and the errors of their frames."""
    from pipeline.flicker.measure import clips_of_file, unpainted

    clips = clips_of_file(picture, size, FRAMES)
    return clips, unpainted(clips).means


@functools.lru_cache(maxsize=1)
def _of_photograph(size: Size) -> tuple[tuple[Clip, ...], dict[str, float]]:
    """The same over the bundled photograph: the same for every model of a build of several."""
    return _moved(None, size)
