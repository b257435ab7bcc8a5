"""What a player sees of a network's picture: blended over the camera's, in its own colours or the style's.

The same arithmetic as the pass `From network` of StyleTransferConvert.shader in a project of gamma colour space.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

LUMA = (0.299, 0.587, 0.114)
"""Luma of sRGB red, green and blue, ITU-R BT.601."""


def shown(camera: np.ndarray, picture: np.ndarray, strength: float = 1.0, keep_colors: float = 0.0) -> np.ndarray:
    """`picture` over `camera`, both (1, 3, H, W) sRGB in 0..1.

    `keep_colors` is the share of the camera's own colours: 1 takes only the luma from the picture, and the colour
    differences from the camera. `strength` 0 is the camera's picture.
    """
    weights = np.reshape(LUMA, (1, 3, 1, 1))
    luma = [np.sum(image * weights, axis=1, keepdims=True) for image in (camera, picture)]
    own = np.clip(camera + luma[1] - luma[0], 0, 1)
    colored = picture + (own - picture) * keep_colors
    return (camera + (colored - camera) * strength).astype(np.float32)


def of_style(camera: np.ndarray, picture: np.ndarray, look: Mapping[str, Any]) -> np.ndarray:
    """What is shown with the `strength` and `keep_colors` of a style.

    Grey pictures, masks and those of another size than the camera's stay as the network gives them.
    """
    if look["mask"] or camera.shape != picture.shape or picture.shape[1] != 3:
        return picture
    if (look["strength"], look["keep_colors"]) == (1, 0):
        return picture
    return shown(camera, picture, look["strength"], look["keep_colors"])
