"""What the shaders promise, once more, in NumPy and float64."""

from __future__ import annotations

import numpy as np


def coordinates(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Texture coordinates u and v of the pixels' middles, for a size of (height, width)."""
    height, width = size
    u, v = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    return u, v


def texels(picture: np.ndarray, column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Texels by their indices, clamped at the borders."""
    height, width = picture.shape[:2]
    return picture[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]


def nearest(picture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The texel that holds a place."""
    height, width = picture.shape[:2]
    return texels(picture, np.floor(u * width).astype(int), np.floor(v * height).astype(int))


def bilinear(picture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Between the middles of four texels."""
    height, width = picture.shape[:2]
    x, y = u * width - 0.5, v * height - 0.5
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    right, up = (x - column)[..., None], (y - row)[..., None]
    low = texels(picture, column, row) * (1 - right) + texels(picture, column + 1, row) * right
    high = texels(picture, column, row + 1) * (1 - right) + texels(picture, column + 1, row + 1) * right
    return low * (1 - up) + high * up


def inside(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Whether places lie in the picture."""
    return (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)


def srgb_from_linear(x: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, for 0..1."""
    return np.where(x <= 0.0031308, x * 12.92, 1.055 * np.maximum(x, 1e-9) ** (1 / 2.4) - 0.055)


def linear_from_srgb(x: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, for 0..1."""
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def number(x: np.ndarray) -> np.ndarray:
    """NaN is 0, infinity the largest number of half precision."""
    return np.clip(np.nan_to_num(x, nan=0.0, posinf=65504.0, neginf=-65504.0), -65504, 65504)


def tap_offset(source: int, extent: int) -> float:
    """PictureConverter.TapOffset."""
    return 0.25 * min(max(source / extent - 1, 0), 1) / extent


def shrunk(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What the network is to see of a camera's picture, before the colour curve: each texel cut to 0..1, then four
    bilinear taps around the middle of each new pixel.
    """
    u, v = coordinates(size)
    du, dv = tap_offset(picture.shape[1], size[1]), tap_offset(picture.shape[0], size[0])
    cut = np.clip(number(picture[..., :3].astype(np.float64)), 0, 1)
    return sum(bilinear(cut, u + x * du, v + y * dv) for x in (-1, 1) for y in (-1, 1)) / 4


def eye_depth(near: float, far: float, orthographic: bool, reversed_: bool) -> tuple[float, float, float, float]:
    """EyeDepth.Of, by solving for the two planes: depth is 0 and 1 there, in either order."""
    at_near, at_far = (1.0, 0.0) if reversed_ else (0.0, 1.0)
    if orthographic:
        slope = (far - near) / (at_far - at_near)
        return slope, near - slope * at_near, 0.0, 1.0
    # 1 / distance is linear in depth.
    slope = (1 / far - 1 / near) / (at_far - at_near)
    factor = near * far
    return 0.0, factor, slope * factor, (1 / near - slope * at_near) * factor


def raw_depth(distance: np.ndarray, near: float, far: float, orthographic: bool, reversed_: bool) -> np.ndarray:
    """What a depth texture holds at distances along the camera's axis."""
    x, y, z, w = eye_depth(near, far, orthographic, reversed_)
    return (y - distance * w) / (distance * z - x)
