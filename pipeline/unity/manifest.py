"""`bundle.json`, the list of the files that a build wrote: one for the shared folders, one in each model's folder.

With it, a later build distinguishes its own files, which it may replace or remove, from those that the user
edited.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from pipeline.support.parsing import from_json

MANIFEST = "bundle.json"
_FORMAT = 1


def digest(data: bytes) -> str:
    """SHA-256 of a file's bytes, as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def is_pristine(data: bytes, expected: str) -> bool:
    """Whether a file still holds the bytes with the digest `wanted`.

    For text, CRLF line ends count as LF: git for Windows converts them at checkout (core.autocrlf), and that
    is not an edit. Text is, as for git, what has no NUL in its first 8000 bytes.
    """
    if digest(data) == expected:
        return True
    is_text = b"\0" not in data[:8000]
    return is_text and b"\r\n" in data and digest(data.replace(b"\r\n", b"\n")) == expected


def manifest(files: Mapping[str, bytes], facts: Mapping[str, str] | None = None) -> bytes:
    """The text of `bundle.json` for these files: path from the folder that holds `StyleTransfer/` -> digest.

    `facts` are written before them.
    """
    listing = {path: digest(data) for path, data in sorted(files.items())}
    content = {"format": _FORMAT, **(facts or {}), "files": listing}
    return (json.dumps(content, indent=2) + "\n").encode("ascii")


def read_manifest(data: bytes) -> dict[str, str]:
    """Path -> digest. What is not a manifest of ours lists nothing, so that every file counts as the user's."""
    try:
        files = from_json(data)["files"]
        return {str(path): str(value) for path, value in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
