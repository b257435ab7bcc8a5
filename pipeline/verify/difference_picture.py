"""A picture of a difference: A, B, and beside them how far they are apart, amplified."""

from __future__ import annotations

import numpy as np

from pipeline.verify import pictures

GAP = 8
"""White pixels between the parts."""


def difference_picture(a: np.ndarray, b: np.ndarray) -> tuple[bytes, float | None]:
    """PNG bytes of A | B | difference, and the factor by which the difference is amplified.

    `a` and `b` are pictures (1, 1 or 3, H, W) of one shape; values outside 0..1 are shown, and count, as clamped.
    The difference is grey: at each place the largest of the channels, as `verify.compare.difference` measures it,
    times the factor that makes the largest of all white. The factor is None, and the third part black, where the
    pictures are equal. The same pictures give the same bytes. Raises ValueError when the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"the pictures have shapes {a.shape} and {b.shape}")
    left, right = (np.clip(picture.astype(np.float64), 0, 1) for picture in (a, b))
    apart = np.abs(left - right)
    apart[np.isnan(apart)] = 1.0
    apart = apart.max(axis=1, keepdims=True)
    largest = float(apart.max())
    factor = 1 / largest if largest else None
    third = apart * (factor or 0.0)
    white = np.ones((1, 3, a.shape[2], GAP))
    parts = [np.broadcast_to(part, (1, 3, *part.shape[2:])) for part in (left, right, third)]
    return pictures.png(np.concatenate([parts[0], white, parts[1], white, parts[2]], axis=3)), factor


def difference_map(a: np.ndarray, b: np.ndarray, tolerance: float) -> bytes:
    """PNG bytes of the difference in grey, from black (none) to white (`tolerance` levels of 255 or more).

    Rounded down to sixteenths, so that the order of additions, which depends on the processor, does not show.
    Shapes and clamping as for `difference_picture`.
    """
    if a.shape != b.shape:
        raise ValueError(f"the pictures have shapes {a.shape} and {b.shape}")
    left, right = (np.clip(picture.astype(np.float64), 0, 1) for picture in (a, b))
    apart = np.abs(left - right).max(axis=1, keepdims=True) * 255 / tolerance
    apart[np.isnan(apart)] = 1.0
    return pictures.png(np.floor(np.minimum(apart, 1.0) * 16) / 16)
