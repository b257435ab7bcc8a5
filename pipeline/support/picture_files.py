"""Find and read picture files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from pipeline.support.errors import PipelineError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tga", ".tif", ".tiff")

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TGA", "TIFF")
"""Formats that are read, whatever the file's name says: Pillow would pass PostScript to Ghostscript, which runs
it."""

MOST_STILLS = 200
"""Most frames of a video that are used as training pictures."""


def picture_files(paths: Iterable[Path], exclude: Iterable[Path] = ()) -> list[Path]:
    """The picture files among `paths` and in the folders among them, without those in `exclude`.

    A folder's files are sorted. A video becomes `MOST_STILLS` frames at equal distances. Raises PipelineError:
    file-not-found, no-pictures, and for videos bad-video and MissingDependency.
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
    """Check that `open_picture` can read a picture file; returns (width, height).

    The whole file is decoded, because only that finds truncated files; a JPEG at an eighth of its size. Raises
    PipelineError `file-not-found`, `bad-picture`.
    """
    try:
        with _opened(file) as picture:
            size = picture.size
            picture.getexif()
            picture.draft("RGB", (size[0] // 8, size[1] // 8))
            picture.load()
            _check_mode(picture)
            return size
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises many kinds of exceptions for damaged files
        raise unreadable(file, error) from error


def _opened(file: Path) -> Image.Image:
    if file.exists() and not file.is_file():
        raise ValueError("it is not a regular file")
    return Image.open(file, formats=_FORMATS)


def _check_mode(picture: Image.Image) -> None:
    if picture.mode in ("I", "F"):
        raise ValueError(f"its pixel format {picture.mode} is not supported")


def open_picture(file: Path) -> Image.Image:
    """Read a picture file as 8-bit RGB, rotated as its EXIF data says.

    16-bit grey pictures, which Pillow's own conversion clips to white, are scaled: 65535 becomes 255. Pictures of
    32-bit integers or floats are refused, because their value of white is not known. Transparency is ignored.
    Raises PipelineError `file-not-found`, `bad-picture`.
    """
    try:
        with _opened(file) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode.startswith("I;16"):
                levels = np.rint(np.asarray(picture).astype(np.float64) / 257).astype(np.uint8)
                return Image.fromarray(levels).convert("RGB")
            _check_mode(picture)
            if "transparency" in picture.info:  # a palette with alpha: Pillow warns unless it becomes RGBA first
                picture = picture.convert("RGBA")
            return picture.convert("RGB")
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises many kinds of exceptions for damaged files
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
