"""Similarity of a student's output to its teacher's: PSNR, SSIM, and two measures of texture.

Outputs are float arrays (1, 3, H, W), RGB 0..1, clamped before they are compared. Needs only NumPy.

PSNR rewards blur: if the position of a stroke is uncertain, the average of all positions has the smallest error.
The two measures of texture do not depend on the positions of strokes. `detail` is the amount of fine structure
relative to the teacher's (1 is equal, a blur is far below 1). `texture` is the relative distance between the
correlations of 12 oriented filters on luma and two on chroma, at three scales, in tiles (0 is equal; two unrelated
pictures have about 1).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np

TILE = 64
"""Side of the tiles in which texture is compared, in pixels of the full picture."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Quality:
    """The measures for one picture; see the module."""

    psnr: float
    """dB over all channels; higher is better."""
    ssim: float
    """Structural similarity of luma, at most 1 (Wang et al. 2004: Gaussian window 11, sigma 1.5)."""
    detail: float
    """Amount of fine structure relative to the teacher's; 1 is equal."""
    texture: float
    """Distance of the texture; 0 is equal."""

    def as_dict(self) -> dict[str, float]:
        return {key: round(value, 4) for key, value in asdict(self).items()}


def quality(output: np.ndarray, reference: np.ndarray) -> Quality:
    """Compare a student's `output` with `reference`, the teacher's output for the same picture.

    Raises ValueError for other shapes than (1, 3, H, W), for shapes that differ, and for sides under 64.
    """
    if output.shape != reference.shape or output.ndim != 4 or output.shape[1] != 3 or min(output.shape[2:]) < TILE:
        raise ValueError(
            f"two pictures (1, 3, H, W) of at least {TILE} pixels, not {output.shape}, {reference.shape}"
        )
    a, b = (np.clip(np.asarray(image[0], np.float32), 0, 1) for image in (output, reference))
    return Quality(psnr(a, b), ssim(a, b), detail(a, b), texture(a, b))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two arrays 0..1 in dB, 100 where they are equal."""
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return 100.0 if error < 1e-10 else -10 * math.log10(error)


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity of the luma of two pictures (3, H, W) 0..1."""
    x, y = np.tensordot(_LUMA, a, 1), np.tensordot(_LUMA, b, 1)
    bell = np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2)).astype(np.float32)
    bell /= bell.sum()
    mx, my, xx, yy, xy = (_separable(v, bell, bell) for v in (x, y, x * x, y * y, x * y))
    vx, vy, cov = xx - mx * mx, yy - my * my, xy - mx * my
    c1, c2 = 0.01**2, 0.03**2
    return float(np.mean((2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))))


def detail(a: np.ndarray, b: np.ndarray) -> float:
    """Ratio of the RMS of `a` minus its 3-pixel blur to that of `b`."""

    def fine(image: np.ndarray) -> float:
        bell = np.array([0.25, 0.5, 0.25], np.float32)
        total = 0.0
        for channel in image:
            total += float(np.mean((channel[1:-1, 1:-1] - _separable(channel, bell, bell)) ** 2))
        return math.sqrt(total)

    return fine(a) / max(fine(b), 1e-6)


def texture(a: np.ndarray, b: np.ndarray) -> float:
    """Relative distance of the filter correlations of two pictures (3, H, W) 0..1, over tiles and three scales."""
    distances = []
    side = TILE
    for _ in range(3):
        ours, theirs = _correlations(a, side), _correlations(b, side)
        distances.append(float(np.linalg.norm(ours - theirs) / max(float(np.linalg.norm(theirs)), 1e-9)))
        a, b = _half(a), _half(b)
        side //= 2
    return float(np.mean(distances))


def _correlations(image: np.ndarray, side: int) -> np.ndarray:
    """(tiles, filters, filters): products of the filters' responses, averaged over tiles."""
    luma = np.tensordot(_LUMA, image, 1)
    chroma = (image[0] - image[1], image[2] - luma)
    responses = [_separable(luma, down, across) for down, across in _ORIENTED]
    # Diagonals are sums and differences of what is mixed of both directions.
    mixed, blob = responses[-2], responses[-1]
    responses += [mixed + blob, mixed - blob]
    responses += [_separable(plane, _RIDGE, _BELL) + _separable(plane, _BELL, _RIDGE) for plane in chroma]
    stack = np.stack(responses)
    rows, columns = (max(size // side, 1) for size in stack.shape[1:])
    tiles = []
    for band in np.array_split(stack, rows, axis=1):
        for tile in np.array_split(band, columns, axis=2):
            flat = tile.reshape(len(stack), -1)
            gram = flat @ flat.T / flat.shape[1]
            # Square roots, so that not only the strongest edges decide.
            tiles.append(np.sign(gram) * np.sqrt(np.abs(gram)))
    return np.stack(tiles)


_BELL = np.array([1, 4, 6, 4, 1], np.float32) / 16
_EDGE = np.array([-1, -2, 0, 2, 1], np.float32) / 6
_RIDGE = np.array([-1, 0, 2, 0, -1], np.float32) / 4
_WAVE = np.array([1, -4, 6, -4, 1], np.float32) / 16
_ORIENTED = (
    (_EDGE, _BELL),
    (_BELL, _EDGE),
    (_RIDGE, _BELL),
    (_BELL, _RIDGE),
    (_WAVE, _BELL),
    (_BELL, _WAVE),
    (_WAVE, _EDGE),
    (_EDGE, _WAVE),
    (_EDGE, _EDGE),
    (_RIDGE, _RIDGE),
)
"""Laws' texture energy filters (1980): level, edge, spot and ripple, down and across."""


def _separable(plane: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """A plane (H, W) filtered by the product of two short filters, where both lie inside."""
    height, width = plane.shape
    rows = height - len(down) + 1
    tall = np.asarray(
        sum((plane[i : i + rows] * weight for i, weight in enumerate(down) if weight), np.float32(0))
    )
    columns = width - len(across) + 1
    return np.asarray(
        sum((tall[:, i : i + columns] * weight for i, weight in enumerate(across) if weight), np.float32(0))
    )


def _half(image: np.ndarray) -> np.ndarray:
    """(3, H, W) at half the size, by averages of four."""
    height, width = (size // 2 * 2 for size in image.shape[1:])
    even = image[:, :height, :width]
    return (even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]) / 4
