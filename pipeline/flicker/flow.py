"""Dense optical flow between two frames: iterative Lucas-Kanade from coarse to fine, in NumPy.

Tracks pixels between consecutive frames of a game for motion up to about a tenth of the picture. Where it fails
(occlusions, reflections, flat areas), forward and backward flow do not agree, and `reliable` is False. Lucas and
Kanade 1981; pyramids after Bouguet 2001.
"""

from __future__ import annotations

import numpy as np

SMALLEST = 20
"""Minimum side of the coarsest pyramid level, in pixels."""
WINDOW = 9
"""Side of the window in which the motion is assumed constant, in pixels of each level."""
ITERATIONS = 8
STIFFNESS = 0.001
"""Regularisation relative to the mean gradient energy: keeps the motion of areas without structure small."""
SPREAD = 15
"""Side of the window over which motion is propagated from areas with structure to those without, in pixels."""
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The displacement of each pixel of `first` in `second`: (2, H, W) float32, down and right in pixels.

    The frames are (1, 3, H, W) or (1, 1, H, W), 0..1, of one size.
    """
    pyramid = [(_luma(first), _luma(second))]
    while min(pyramid[-1][0].shape) >= 2 * SMALLEST:
        pyramid.append((_half(pyramid[-1][0]), _half(pyramid[-1][1])))
    moved = np.zeros((2, *pyramid[-1][0].shape), np.float32)
    for a, b in reversed(pyramid):
        if moved.shape[1:] != a.shape:
            moved = _larger(moved, a.shape) * 2
        moved = _refined(a, b, moved)
    return moved


def warp(picture: np.ndarray, moved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`picture` (1, C, H, W) sampled at each pixel plus `moved`, bilinear, and a mask (H, W) of samples inside
    it."""
    height, width = picture.shape[2:]
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    at_row, at_column = rows + moved[0], columns + moved[1]
    inside = (at_row >= 0) & (at_row <= height - 1) & (at_column >= 0) & (at_column <= width - 1)
    return fetch(picture[0], at_row, at_column)[None], inside


def reliable(there: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Mask (H, W) of pixels whose forward and backward flow agree within about a pixel (Sundaram et al. 2010)."""
    returned, inside = warp(back[None], there)
    miss = ((there + returned[0]) ** 2).sum(0)
    return inside & (miss <= 0.5 + 0.01 * ((there**2).sum(0) + (returned[0] ** 2).sum(0)))


def _refined(a: np.ndarray, b: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """The flow of one pyramid level after Gauss-Newton steps."""
    down, right = np.gradient(a)
    aa, ab, bb = (_box(v) for v in (down * down, down * right, right * right))
    stiff = STIFFNESS * float((aa + bb).mean()) + 1e-9
    aa, bb = aa + stiff, bb + stiff
    determinant = aa * bb - ab * ab
    # Near the smaller eigenvalue: large where there is structure in both directions.
    trust = determinant / (aa + bb)
    spread = _box(trust, SPREAD)
    rows, columns = np.mgrid[0 : a.shape[0], 0 : a.shape[1]].astype(np.float32)
    for _ in range(ITERATIONS):
        difference = a - fetch(b[None], rows + moved[0], columns + moved[1])[0]
        p, q = _box(difference * down), _box(difference * right)
        step = np.stack([(bb * p - ab * q) / determinant, (aa * q - ab * p) / determinant])
        moved = moved + np.clip(step, -1, 1)
        moved = np.stack([_box(plane * trust, SPREAD) / spread for plane in moved])
    return moved.astype(np.float32)


def _luma(frame: np.ndarray) -> np.ndarray:
    planes = frame[0].astype(np.float32)
    return planes[0] if len(planes) == 1 else np.tensordot(LUMA, planes, 1)


def _half(plane: np.ndarray) -> np.ndarray:
    even = _box(plane, 3)[: plane.shape[0] // 2 * 2, : plane.shape[1] // 2 * 2]
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def _larger(moved: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A flow resampled to another size; its values are not scaled."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    return fetch(moved, (rows - 0.5) / 2, (columns - 0.5) / 2)


def fetch(planes: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Planes (C, H, W) sampled at fractional positions, bilinear, clamped at the edge: (C, *rows.shape)
    float32."""
    height, width = planes.shape[1:]
    flat = planes.reshape(len(planes), -1).astype(np.float32, copy=False)
    rows, columns = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
    top, left = rows.astype(np.intp), columns.astype(np.intp)
    down, right = (rows - top).astype(np.float32), (columns - left).astype(np.float32)
    first = top * width + left
    if not down.any() and not right.any():
        return flat[:, first]
    below, beside = np.where(top < height - 1, width, 0), np.where(left < width - 1, 1, 0)
    upper = flat[:, first] * (1 - right) + flat[:, first + beside] * right
    lower = flat[:, first + below] * (1 - right) + flat[:, first + below + beside] * right
    return np.asarray(upper * (1 - down) + lower * down)


def _box(plane: np.ndarray, side: int = WINDOW) -> np.ndarray:
    """Mean over a square of odd side, clamped at the edge."""
    reach = side // 2
    padded = np.pad(plane.astype(np.float64), ((reach + 1, reach), (reach + 1, reach)), mode="edge")
    padded[0], padded[:, 0] = 0, 0
    sums = padded.cumsum(0).cumsum(1)
    whole = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return np.asarray(whole / side**2, np.float32)
