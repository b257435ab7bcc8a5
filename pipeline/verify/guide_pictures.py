"""Pictures of the guides: from a folder beside a picture, or synthetic ones.

A guide of the picture `frame.png` is `FOLDER/depth/frame.png` (any suffix of a picture), or `FOLDER/depth.png` for
one picture. Values are those of the file, 0..255 as 0..1, without any colour conversion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.contract import Guide
from pipeline.support.errors import PipelineError
from pipeline.support.picture_files import SUFFIXES, check_picture, open_picture

_ASPECT = 0.02
"""How much the proportions of a guide and of its picture may differ, as a share."""
_LEVELS = np.float32(255)
_HORIZON = 0.45
_SPHERES = ((0.32, 0.62, 0.2, 0.18), (0.7, 0.5, 0.26, 0.3))
"""x, y, radius (of the height) and depth of the spheres in the synthetic scene."""
_RELIEF = 6.0
"""How steep the synthetic depth is, for its normals."""


@dataclass(frozen=True)
class GuidePictures:
    """The guides of one picture. `folder` None: synthetic ones. `stem` names the picture's files in subfolders."""

    guides: tuple[Guide, ...]
    folder: Path | None = None
    stem: str = ""

    def check(self, picture: Path) -> None:
        """Raise PipelineError for files that are missing, unreadable, or of other proportions than `picture`.

        Codes: `guide-missing`, `guide-size-differs`, `bad-picture`.
        """
        if self.folder is None:
            return
        wide, tall = check_picture(picture)
        for file in self.files():
            width, height = check_picture(file)
            if abs(width * tall - wide * height) > _ASPECT * wide * height:
                raise PipelineError(
                    "guide-size-differs",
                    f"this guide is {width}x{height}, but its picture is {wide}x{tall}",
                    subject=str(file),
                    remedy="Render the guide with the same camera and the same proportions as the picture.",
                )

    def load(self, height: int, width: int) -> np.ndarray:
        """The guides as (1, channels, height, width) float32, 0..1 in exact 8-bit steps, cropped as pictures."""
        from PIL import Image, ImageOps

        planes: list[np.ndarray] = []
        for guide in self.guides:
            if self.folder is None:
                planes.append(synthetic(guide, height, width))
                continue
            opened = open_picture(self._file(self.folder, guide))
            fitted = ImageOps.fit(opened, (width, height), Image.Resampling.BILINEAR)
            levels = np.asarray(fitted, dtype=np.float32).transpose(2, 0, 1)
            planes.append(levels / _LEVELS if guide.channels == 3 else levels[:1] / _LEVELS)
        return np.ascontiguousarray(np.concatenate(planes)[None])

    def files(self) -> list[Path]:
        """The file of each guide; none for synthetic guides. Raises PipelineError `guide-missing`."""
        return [self._file(self.folder, guide) for guide in self.guides] if self.folder is not None else []

    def _file(self, folder: Path, guide: Guide) -> Path:
        places = [folder / guide.name / self.stem] if self.stem else []
        for place in (*places, folder / guide.name):
            for suffix in SUFFIXES:
                file = place.with_name(place.name + suffix)
                if file.is_file():
                    return file
        shown = " or ".join(f"{place}{SUFFIXES[0]}" for place in (folder / guide.name, *places))
        raise PipelineError(
            "guide-missing",
            f"there is no picture of the guide {guide.name}",
            subject=str(folder),
            remedy=f"Save it as {shown}; docs/guides.md says what its values mean.",
        )


def of_picture(guides: Sequence[Guide], folder: Path | None, picture: Path | None) -> GuidePictures | None:
    """The guides of a picture (None: the bundled photograph); None for a network without guides."""
    return GuidePictures(tuple(guides), folder, picture.stem if picture else "") if guides else None


def pngs(guides: Sequence[Guide], picture: np.ndarray) -> tuple[bytes, ...]:
    """The guides in a picture (1, C, H, W) in the bundle's order, each as the bytes of a PNG, grey or RGB."""
    from pipeline.verify.pictures import png

    found, first = [], picture.shape[1] - sum(guide.channels for guide in guides)
    for guide in guides:
        found.append(png(picture[:, first : first + guide.channels]))
        first += guide.channels
    return tuple(found)


def synthetic(guide: Guide, height: int, width: int) -> np.ndarray:
    """A guide of a scene with a floor and two spheres, (channels, height, width) float32 in exact 8-bit steps."""
    values = {
        "depth": lambda: _depth(height, width)[None],
        "normals": lambda: _normals(_depth(height, width)),
        "mask": lambda: _disc(height, width)[None],
        "texture": lambda: _bands(height, width),
    }[guide.name]()
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.float32) / _LEVELS


def _grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y of each pixel's middle, in units of the height, y downwards."""
    y, x = np.mgrid[0:height, 0:width]
    return (x + 0.5) / height, (y + 0.5) / height


def _depth(height: int, width: int) -> np.ndarray:
    x, y = _grid(height, width)
    depth = np.clip(0.9 - 1.4 * np.maximum(y - _HORIZON, 0), 0, 1)
    for middle, level, radius, near in _SPHERES:
        square = ((x - middle * width / height) ** 2 + (y - level) ** 2) / radius**2
        surface = near + 0.12 * (1 - np.sqrt(np.clip(1 - square, 0, 1)))
        depth = np.where(square < 1, np.minimum(depth, surface), depth)
    return depth


def _normals(depth: np.ndarray) -> np.ndarray:
    down, right = np.gradient(depth * depth.shape[0] / _RELIEF)
    normal = np.stack([right, -down, np.ones_like(depth)])
    return 0.5 * normal / np.linalg.norm(normal, axis=0) + 0.5


def _disc(height: int, width: int) -> np.ndarray:
    x, y = _grid(height, width)
    distance = np.hypot(x - 0.5 * width / height, y - 0.5)
    return np.clip((0.3 - distance) * 20 + 0.5, 0, 1)


def _bands(height: int, width: int) -> np.ndarray:
    x, y = _grid(height, width)
    return np.stack([0.5 + 0.5 * np.sin(9 * x), 0.5 + 0.5 * np.sin(7 * y), 0.5 + 0.5 * np.sin(5 * (x + y))])
