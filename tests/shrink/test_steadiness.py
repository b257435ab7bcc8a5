"""A student's flicker compared with its teacher's, beside the similarity of their outputs."""

from __future__ import annotations

import numpy as np

from pipeline.flicker.measure import Stability
from pipeline.shrink.steadiness import compare


def result(flicker: float, outputs: list[np.ndarray]) -> Stability:
    return Stability("", {"pan": [flicker]}, {"pan": outputs})


def test_flicker_is_compared_beyond_that_of_the_frames():
    sharp = [np.random.default_rng(n).random((1, 3, 64, 64)).astype(np.float32) for n in range(5)]
    flat = [np.full_like(output, 0.5) for output in sharp]
    frames, teacher = result(2.0, sharp), result(6.0, sharp)
    same, blurred = compare(result(4.0, sharp), teacher, frames), compare(result(1.0, flat), teacher, frames)
    assert same is not None and blurred is not None
    assert (same.flicker, same.quality.ssim, same.quality.detail) == (0.5, 1.0, 1.0)
    assert blurred.flicker == 0 and blurred.quality.detail < 0.01 and blurred.quality.ssim < 0.1


def test_small_frames_are_not_compared():
    small = result(1.0, [np.zeros((1, 3, 32, 64), np.float32)])
    assert compare(small, small, small) is None
