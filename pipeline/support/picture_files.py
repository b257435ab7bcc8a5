"""Picture files: which there are, and reading one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from pipeline.support.errors import PipelineError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tga", ".tif", ".tiff")

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TGA", "TIFF")
"""What may be in a file, whatever its name says: Pillow gives PostScript to Ghostscript, which runs it."""

MOST_STILLS = 200
"""Frames of a video that count as pictures to learn from."""


def picture_files(paths: Iterable[Path], exclude: Iterable[Path] = ()) -> list[Path]:
    """The picture files among `paths` and inside the folders among them, sorted, without those of `exclude`.

    Of a video among `paths`, frames from all of it (`MOST_STILLS`). Raises PipelineError: file-not-found,
    no-pictures, and for videos bad-video and MissingDependency.
    """
    from pipeline.support import video

    left_out = {path.resolve() for path in exclude}
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise PipelineError(
                "file-not-found", "no such file or folder exists", subject=str(path), remedy="Check the path."
            )
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        if path.is_file() and video.is_video(path):
            inside = list(video.stills(path.resolve(), MOST_STILLS, True))
        found += [
            p for p in inside if p.suffix.lower() in SUFFIXES and p.is_file() and p.resolve() not in left_out
        ]
    if not found:
        raise PipelineError(
            "no-pictures",
            "no pictures were found",
            subject=", ".join(map(str, paths)) or "--images",
            remedy=f"Use files or folders with {', '.join(SUFFIXES)}, or a video; frames of your own game are "
            "best.",
        )
    return list(dict.fromkeys(found))


def check_picture(file: Path) -> tuple[int, int]:
    """(width, height) of a picture file that `open_picture` can read to its end.

    Raises PipelineError `file-not-found`, `bad-picture`.
    Every byte is decoded, as only that finds a file that is cut off; of JPEG at an eighth of the size.
    """
    try:
        with _opened(file) as opened:
            size = opened.size
            opened.getexif()
            opened.draft("RGB", (size[0] // 8, size[1] // 8))
            opened.load()
            _check_mode(opened)
            return size
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers stumble over damaged files in many ways
        raise unreadable(file, error) from error


def _opened(file: Path) -> Image.Image:
    if file.exists() and not file.is_file():
        raise ValueError("it is not a regular file")
    return Image.open(file, formats=_FORMATS)


def _check_mode(picture: Image.Image) -> None:
    if picture.mode in ("I", "F"):
        raise ValueError(f"its pixel format {picture.mode} is not supported")


def open_picture(file: Path) -> Image.Image:
    """A picture file as 8-bit RGB, turned upright (EXIF). Raises PipelineError `bad-picture`.

    Grey pictures of 16 bits, which Pillow's own conversion clips to white, are scaled: 65535 becomes 255. Pictures
    of 32-bit integers or floats say nothing about what is white and are refused. Transparency is left out.
    """
    try:
        with _opened(file) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode.startswith("I;16"):
                levels = np.rint(np.asarray(picture).astype(np.float64) / 257).astype(np.uint8)
                return Image.fromarray(levels).convert("RGB")
            _check_mode(picture)
            if "transparency" in picture.info:  # a palette with alpha, of which Pillow warns otherwise
                picture = picture.convert("RGBA")
            return picture.convert("RGB")
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers stumble over damaged files in many ways
        raise unreadable(file, error) from error


def unreadable(file: Path, error: Exception) -> PipelineError:
    """The error for a picture that cannot be read: `file-not-found` or `bad-picture`."""
    if isinstance(error, FileNotFoundError):
        return PipelineError(
            "file-not-found", "there is no such file", subject=str(file), remedy="Check the path."
        )
    return PipelineError(
        "bad-picture",
        f"this picture cannot be read ({error})",
        subject=str(file),
        remedy="Replace or remove it; PNG and JPEG files of 8 or 16 bits are supported.",
    )
