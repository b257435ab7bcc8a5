"""Pictures as tensors, and sheets of them. Imports torch: import it inside a function."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pipeline.support.picture_files import open_picture
from pipeline.support.size import Size

LARGEST = (540, 960)
"""Maximum height and width in pixels; larger pictures are downscaled."""
ROWS = 3
"""Maximum number of rows on a sheet."""


def as_tensor(path: Path, exactly: Size | None = None, multiple: int = 8) -> Tensor:
    """A picture as (1, 3, H, W) in grey levels 0..255: downscaled to fit `LARGEST` and cropped to multiples of
    `multiple`, or resized to the size `exactly`. Raises PipelineError `bad-picture`."""
    picture = open_picture(path)
    if exactly is not None:
        picture = picture.resize((exactly.width, exactly.height), Image.Resampling.LANCZOS)
    else:
        picture.thumbnail(LARGEST[::-1], Image.Resampling.LANCZOS)
        picture = picture.crop((0, 0, picture.width // multiple * multiple, picture.height // multiple * multiple))
    return torch.from_numpy(np.array(picture, np.float32)).permute(2, 0, 1)[None]


def sheet(rows: Sequence[Sequence[Tensor]]) -> bytes:
    """A JPEG with one row for each sequence of pictures (1, 3, H, W) in grey levels; at most `ROWS` rows."""
    joined = [torch.cat(list(row), 3)[0] for row in rows[:ROWS]]
    images = [Image.fromarray(row.round().byte().permute(1, 2, 0).contiguous().cpu().numpy()) for row in joined]
    whole = Image.new("RGB", (max(i.width for i in images), sum(i.height for i in images)), "white")
    top = 0
    for image in images:
        whole.paste(image, (0, top))
        top += image.height
    buffer = io.BytesIO()
    whole.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
