"""Compares the flicker of a student with its teacher's, and how similar their outputs are. Only NumPy.

Blur reduces flicker too, so the ratio alone says little: `detail` and `ssim` tell whether the student is steadier
at the same detail (pipeline.shrink.quality).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pipeline.shrink.quality import TILE, Quality, quality

if TYPE_CHECKING:
    from pipeline.flicker.measure import Stability

EVERY = 4
"""Every fourth frame of a clip is compared with the teacher's output."""


@dataclass(frozen=True)
class Comparison:
    """A model compared with the first one."""

    flicker: float
    """Flicker divided by the first model's, in each case beyond that of the frames themselves."""
    quality: Quality
    """Similarity of the outputs, as means over the compared frames."""

    def as_dict(self) -> dict[str, float]:
        return {"flicker": round(self.flicker, 4)} | self.quality.as_dict()


def compare(model: Stability, teacher: Stability, frames: Stability) -> Comparison | None:
    """Compare a model with the first one; None if the frames are too small for it (`quality.TILE`).

    `frames` is the flicker of the frames themselves: motion that is not tracked exactly, noise, and changes of
    light.
    """
    pairs = [
        pair
        for name, outputs in model.paintings.items()
        for pair in zip(outputs[::EVERY], teacher.paintings[name][::EVERY], strict=True)
    ]
    if min(pairs[0][0].shape[2:]) < TILE:
        return None
    found = [quality(output, reference) for output, reference in pairs]
    means = {name: sum(getattr(result, name) for result in found) / len(found) for name in asdict(found[0])}
    beyond = max(teacher.flicker - frames.flicker, 0.01)
    return Comparison(max(model.flicker - frames.flicker, 0.0) / beyond, Quality(**means))
