"""Remembers finished builds, so that an unchanged source costs no torch, no export and no proof.

An entry is one zip file named after a digest of the source's bytes, the options, this tool's own files and the
versions of the packages that do the work. It holds the files of the bundle and the report. Damaged or outdated
entries are ignored. The folder is `PIPELINE_CACHE`, else the user's cache folder of the platform.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

_REPORT = "report"
_COMPANIONS = "companions"
_ENGINES = ("torch", "onnx", "onnxruntime", "onnxsim", "onnx_graphsurgeon", "numpy", "pillow", "h5py")
_MAX_ENTRIES = 64
"""Entries kept; the least recently used go first."""


def folder() -> Path:
    """Where entries lie: $PIPELINE_CACHE, else the platform's place for caches."""
    if chosen := os.environ.get("PIPELINE_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "unity-bridge-pipeline"


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def key(source: Path, options: Mapping[str, Any]) -> str:
    """The name of the entry for this source with these options (JSON values), hex."""
    parts = {"source": file_digest(source), "file": source.name, "options": options, "engine": _engine()}
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _engine() -> dict[str, str]:
    """What does the work: the bytes of this package and its templates, and the versions of its libraries."""
    from pipeline.support.resources import resource

    digest = hashlib.sha256()
    for root in (Path(__file__).parents[1], resource("unity_templates")):
        for path in sorted(p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0")
            digest.update(path.read_bytes())
    versions = {"python": sys.version.split()[0], "package": digest.hexdigest()}
    for name in _ENGINES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    return versions


def load(name: str) -> tuple[dict[str, bytes], dict[str, Any]] | None:
    """The bundle's files and the report of the entry, or None when there is none that can be trusted."""
    path = folder() / f"{name}.zip"
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                return None
            contents = {entry: archive.read(entry) for entry in archive.namelist()}
        report = json.loads(contents.pop(_REPORT))
        companions = json.loads(contents.pop(_COMPANIONS))
        if any(file_digest(Path(file)) != digest for file, digest in companions.items()):
            return None
        os.utime(path)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    return contents, report


def store(
    name: str, files: Mapping[str, bytes], report: Mapping[str, Any], companions: Iterable[Path] = ()
) -> None:
    """Write an entry in one rename; a cache that cannot be written is no error.

    `companions` are files besides the source whose change makes the entry void.
    """
    try:
        folder().mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder(), suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                archive.writestr(_REPORT, json.dumps(report))
                archive.writestr(_COMPANIONS, json.dumps({str(c): file_digest(c) for c in companions}))
                for path, content in files.items():
                    archive.writestr(path, content)
            os.replace(temporary, folder() / f"{name}.zip")
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        entries = sorted(folder().glob("*.zip"), key=lambda p: p.stat().st_mtime, reverse=True)
        for old in entries[_MAX_ENTRIES:]:
            old.unlink(missing_ok=True)
    except OSError:
        return
