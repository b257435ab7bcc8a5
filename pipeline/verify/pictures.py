"""Pictures to verify with: the bundled photograph or the user's own, and noise."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.support.picture_files import open_picture
from pipeline.support.resources import resource

if TYPE_CHECKING:
    from PIL import Image

    from pipeline.verify.guide_pictures import GuidePictures

NOISE_SEED = 20201


def load(
    path: Path | None, height: int, width: int, channels: int = 3, guides: GuidePictures | None = None
) -> np.ndarray:
    """A picture as (1, channels, height, width) float32, RGB 0..1 in exact 8-bit steps.

    The centre of the file at `path` (None: the bundled photograph), cropped to the aspect of height x width and
    resized with a bicubic filter. One channel is the average of red, green and blue, as Barracuda's
    `Tensor(texture, 1)` makes it (TextureUtils.compute:101@3.0.0). With more than three, the first three are the
    picture and each further one is the average, shifted by eight pixels more: stand-ins for depth, a mask etc.
    With `guides`, the channels after the first three are these.
    Raises PipelineError `bad-picture` when Pillow cannot read the file.
    """
    from PIL import Image, ImageOps

    if guides is not None:
        return np.concatenate([load(path, height, width), guides.load(height, width)], axis=1)
    opened = _photograph() if path is None else open_picture(path)
    picture = ImageOps.fit(opened, (width, height), Image.Resampling.BICUBIC)
    levels = np.asarray(picture, dtype=np.float32).transpose(2, 0, 1)[None]
    if channels != 3:
        grey = np.rint(levels.mean(axis=1, keepdims=True))
        further = [np.roll(grey, 8 * number, axis=3) for number in range(1, channels - 2)]
        levels = grey if channels == 1 else np.concatenate([levels, *further], axis=1)[:, :channels]
    return np.ascontiguousarray(levels / np.float32(255))


@functools.cache
def _photograph() -> Image.Image:
    """The bundled photograph, 8-bit RGB."""
    return open_picture(resource("examples/picture.jpg"))


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Uniform noise as (1, channels, height, width) float32 in 0..1, the same on each call."""
    rng = np.random.default_rng([NOISE_SEED, height, width, channels])
    return rng.random((1, channels, height, width), dtype=np.float32)


def colour(picture: np.ndarray) -> np.ndarray:
    """The channels of a picture (1, C, H, W) that can be shown: without guides."""
    return picture[:, :3] if picture.shape[1] > 3 else picture


def png(picture: np.ndarray) -> bytes:
    """A picture (1, 1 or 3, H, W) with values 0..1 as the bytes of an 8-bit PNG, rounded to the nearest level."""
    buffer = io.BytesIO()
    _image(picture).save(buffer, "PNG", optimize=False, compress_level=9)
    return buffer.getvalue()


def jpeg(picture: np.ndarray) -> bytes:
    """The same as a JPEG for people to look at: a tenth of the bytes."""
    buffer = io.BytesIO()
    _image(picture).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def _image(picture: np.ndarray) -> Image.Image:
    from PIL import Image

    levels = np.rint(np.clip(np.nan_to_num(picture[0]), 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(levels[0]) if levels.shape[0] == 1 else Image.fromarray(levels.transpose(1, 2, 0))
