"""Checks a destination for a bundle of another source, or a file that this tool did not write."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from pipeline.build.cache import file_digest, folder
from pipeline.support.errors import PipelineError
from pipeline.support.parsing import from_json


def refuse_taken_name(assets: Path, name: str, source: Path, force: bool) -> None:
    """Raise PipelineError `name-taken` if the bundle would overwrite that of another source.

    A source of the same file name is the same one, trained on, unless this machine remembers that the bundle was
    built from another file that is still there.
    """
    place = assets / "StyleTransfer" / "Models" / name
    try:
        recorded = from_json((place / "report.json").read_text(encoding="utf-8"))["source"]
        file, digest = recorded["file"], recorded["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    other = str(file) if file != source.name else _other_source(assets, name, source, digest)
    if other and not force:
        raise PipelineError(
            "name-taken",
            f"the existing bundle {name} was built from {other}, not from {source}",
            subject=str(place),
            remedy="Choose another name with --name, or replace the bundle with --force.",
        )


def refuse_output(written: Path, source: Path, force: bool, known: bytes | None) -> None:
    """Refuses an output of `convert` that cannot be written, before any work.

    `known` are the bytes that will be written, where an earlier conversion tells them: a file that holds them may
    be there. Raises PipelineError `file-exists` and what `check_writable` raises.
    """
    from pipeline.support.files import check_absent

    if written.exists() and os.path.samefile(written, source):
        raise PipelineError(
            "file-exists",
            "this is the source itself",
            subject=str(written),
            remedy="Name another file with --output.",
        )
    if written.is_dir():
        raise PipelineError(
            "file-exists", "this is a folder", subject=str(written), remedy="Name a file in it with --output."
        )
    check_absent(written, force or (known is not None and written.is_file() and written.read_bytes() == known))


def remember(assets: Path, name: str, source: Path) -> None:
    """Store on this machine which file a bundle was built from; the bundle itself contains no path."""
    path = _memory(assets, name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(os.path.realpath(source), encoding="utf-8")
    except (OSError, UnicodeEncodeError):
        return


def _other_source(assets: Path, name: str, source: Path, digest: str) -> str:
    """The file that the bundle was built from, where that is another one than `source` and still there."""
    try:
        remembered = Path(_memory(assets, name).read_text(encoding="utf-8"))
        is_other = remembered.is_file() and not os.path.samefile(remembered, source)
        return str(remembered) if is_other and file_digest(source) != digest else ""
    except (OSError, ValueError):
        return ""


def _memory(assets: Path, name: str) -> Path:
    key = hashlib.sha256(f"{os.path.realpath(assets)}\0{name}".encode("utf-8", "surrogateescape")).hexdigest()
    return folder() / "sources" / key
