"""A side-by-side picture: what goes in, and what the built model makes of it as the target computes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

    from pipeline.support.size import Size
    from pipeline.targets import Target
    from pipeline.verify.guide_pictures import GuidePictures

_GAP = 8
"""White pixels between the two pictures."""


def side_by_side(
    model: bytes,
    target: Target,
    picture: Path | None,
    size: Size,
    look: Mapping[str, Any],
    style: Sequence[float] | None = None,
    guides: GuidePictures | None = None,
) -> bytes:
    """PNG bytes: a picture at `size`, and beside it what Unity shows of it.

    `model` is the file of a bundle; `look` holds `mask`, `strength` and `keep_colors` of the style, and `style` is
    what the second input of a network of several styles takes. `guides` are those of the picture.
    """
    from PIL import Image

    from pipeline.verify import look as looks
    from pipeline.verify import pictures
    from pipeline.verify.proof import as_target_computes

    parsed = target.family.read(model)
    channels = parsed.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    given = pictures.load(picture, *size.hw, channels, guides)
    before = pictures.colour(given)
    run = as_target_computes(model, target, style, guides.guides if guides is not None else ())
    after = looks.of_style(before, run(given), look)
    images = [_image(p) for p in (before, after)]
    images[0] = images[0].resize(images[1].size, Image.Resampling.BICUBIC)
    both = Image.new("RGB", (images[0].width * 2 + _GAP, images[0].height), "white")
    both.paste(images[0], (0, 0))
    both.paste(images[1], (images[0].width + _GAP, 0))
    return pictures.png(np.asarray(both, dtype=np.float32).transpose(2, 0, 1)[None] / 255)


def _image(picture: np.ndarray) -> Image.Image:
    from PIL import Image

    levels = np.rint(np.clip(picture[0], 0, 1) * 255).astype(np.uint8)
    if levels.shape[0] == 1:
        levels = np.repeat(levels, 3, axis=0)
    return Image.fromarray(levels.transpose(1, 2, 0))
