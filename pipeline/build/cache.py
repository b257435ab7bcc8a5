"""Caches finished builds, so that an unchanged source needs no torch, no export and no proof.

An entry is one zip file named after a digest of the source's bytes, the options, this tool's own files and the
versions of the libraries that it uses. It holds the results: the model, pictures and the report, and an index with
the digest of each. Files of a bundle, with the C# that Unity runs, are never taken from it: they are generated
again from the templates of this tool. Damaged or outdated entries are ignored. The folder is `PIPELINE_CACHE`,
else the user's cache folder of the platform; for a shared folder, entries are signed with `PIPELINE_CACHE_KEY`.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import json
import os
import stat
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.support.inside import path_problem

KEY = "PIPELINE_CACHE_KEY"
"""Environment variable with the secret that entries are signed with, for a folder that others can write to."""
_INDEX = "index"
_REPORT = "report"
_COMPANIONS = "companions"
_MOST_MEMBERS = 256
_LARGEST = 4 << 30
"""Bytes of a member that is read."""
_ENGINES = ("torch", "onnx", "onnxruntime", "onnxsim", "onnx_graphsurgeon", "numpy", "pillow", "h5py")
_MAX_ENTRIES = 64
"""Entries kept; the least recently used go first."""


def folder() -> Path:
    """The folder of the entries: $PIPELINE_CACHE, else the platform's folder for caches."""
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


@functools.cache
def _engine() -> dict[str, str]:
    """Identifies the code: a digest of this package and its templates, and the versions of its libraries."""
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
    """The parts and the report of an entry, or None if there is none that can be trusted.

    An entry is trusted if it is a plain file, names the key that it was stored under and the digest of each
    member, and contains exactly these members; if PIPELINE_CACHE_KEY is set, its index must be signed with it.
    Anything else is ignored and never raises.
    """
    path = folder() / f"{name}.zip"
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return None
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            index = json.loads(_member(archive, _INDEX))
            digests = index["members"]
            if index["key"] != name or not hmac.compare_digest(index["signature"], _signature(name, digests)):
                return None
            if len(members) > _MOST_MEMBERS or sorted(m.filename for m in members) != sorted([*digests, _INDEX]):
                return None
            contents = {member: _member(archive, member) for member in digests}
        if any(path_problem(member) or digest(content) != digests[member] for member, content in contents.items()):
            return None
        report = json.loads(contents.pop(_REPORT))
        companions = json.loads(contents.pop(_COMPANIONS))
        if not isinstance(report, dict) or not all(
            _is_same(Path(file), content) for file, content in companions.items()
        ):
            return None
        os.utime(path)
    except (Exception, RecursionError):  # whatever a damaged or forged file leads to: it is not an entry
        return None
    return contents, report


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Read an uncompressed member; entries are not compressed, so no member is larger than the file."""
    info = archive.getinfo(name)
    if (
        info.compress_type != zipfile.ZIP_STORED
        or info.file_size != info.compress_size
        or info.file_size > _LARGEST
    ):
        raise ValueError("not in the form that this tool writes")
    return archive.read(info)


def _is_same(file: Path, digest: str) -> bool:
    return stat.S_ISREG(os.stat(file).st_mode) and file_digest(file) == digest


def digest(content: bytes) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(content).hexdigest()


def _signature(name: str, digests: Mapping[str, str]) -> str:
    """The signature of an index with PIPELINE_CACHE_KEY; without the key, nobody can forge an entry."""
    signed = json.dumps([name, dict(sorted(digests.items()))]).encode()
    return hmac.new(os.environ.get(KEY, "").encode(), signed, "sha256").hexdigest()


def store(
    name: str, files: Mapping[str, bytes], report: Mapping[str, Any], companions: Iterable[Path] = ()
) -> None:
    """Write an entry in one rename; a cache that cannot be written is not an error.

    `companions` are files besides the source whose change makes the entry void.
    """
    try:
        folder().mkdir(parents=True, exist_ok=True)
        members = {
            **files,
            _REPORT: json.dumps(report).encode(),
            _COMPANIONS: json.dumps({str(Path(c).resolve()): file_digest(c) for c in companions}).encode(),
        }
        digests = {member: digest(content) for member, content in members.items()}
        index = {"key": name, "members": digests, "signature": _signature(name, digests)}
        handle, temporary = tempfile.mkstemp(dir=folder(), suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                archive.writestr(_INDEX, json.dumps(index))
                for member, content in members.items():
                    archive.writestr(member, content)
            os.replace(temporary, folder() / f"{name}.zip")
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        entries = sorted(folder().glob("*.zip"), key=lambda p: p.lstat().st_mtime, reverse=True)
        for old in entries[_MAX_ENTRIES:]:
            old.unlink(missing_ok=True)
    except OSError:
        return
