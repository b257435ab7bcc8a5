"""What lies where a result is to go: a bundle of another source, or a file that this tool did not write."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from pipeline.build.cache import file_digest, folder
from pipeline.support.errors import PipelineError
from pipeline.support.parsing import from_json


def refuse_taken_name(assets: Path, name: str, source: Path, force: bool) -> None:
    """Two sources must not overwrite each other's bundle: PipelineError `name-taken`.

    A source of the same file name is the same one, trained on, unless this machine remembers that the bundle was
    built from another file that is still there.
    """
    place = assets / "StyleTransfer" / "Models" / name
    try:
        held = from_json((place / "report.json").read_text(encoding="utf-8"))["source"]
        file, digest = held["file"], held["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    other = str(file) if file != source.name else _other_source(assets, name, source, digest)
    if other and not force:
        raise PipelineError(
            "name-taken",
            f"the bundle {name} there was built from {other}, not from {source}",
            subject=str(place),
            remedy="Give this model another name with --name, or replace it with --force.",
        )


def refuse_output(written: Path, source: Path, is_model: bool, force: bool) -> None:
    """Refuses an output of `convert` that cannot be written, before any work.

    Raises PipelineError `file-exists` and what `check_writable` raises.

    A model that this tool wrote from the same source may be the very one that comes out again; that is seen
    afterwards (`is_model`: the target's files are ONNX, where that can be seen).
    """
    from pipeline.support.files import check_writable

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
    if written.exists() and not force and is_model and not _is_made_from(written, source):
        raise PipelineError(
            "file-exists",
            f"there is a file of that name, which was not made from {source.name}",
            subject=str(written),
            remedy="Use --force to replace it, or --output for another name.",
        )
    check_writable(written)


def _is_made_from(written: Path, source: Path) -> bool:
    """Whether this tool converted a file from a source of this name or these bytes, as its metadata says."""
    from pipeline.graph.model import PRODUCER

    content = written.read_bytes()
    names = (file_digest(source).encode(), source.name.encode("utf-8", "surrogateescape"))
    return PRODUCER.encode() in content and any(name in content for name in names)


def remember(assets: Path, name: str, source: Path) -> None:
    """Remembers on this machine which file a bundle was built from: the bundle itself says no path."""
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
