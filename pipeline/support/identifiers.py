"""Identifiers (C# class and folder names) for the output built from a source file."""

from __future__ import annotations

import re

from pipeline.support.errors import PipelineError

_WORD = re.compile(r"[A-Za-z0-9]+")
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9]*\Z")
MAX_LENGTH = 60
"""Most characters of a name: longer ones lead to paths that Windows refuses inside a Unity project."""


def identifier(stem: str) -> str:
    """A C# class-name stem from a file stem: mosaic_nc8 -> MosaicNc8, 12_small -> Style12Small."""
    words = _WORD.findall(stem.encode("ascii", "ignore").decode())
    joined = "".join(w[0].upper() + w[1:] for w in words)[:MAX_LENGTH]
    if not joined:
        return "Style"
    return joined if joined[0].isalpha() else f"Style{joined}"


def checked(name: str) -> str:
    """`name` with an upper-case first letter, if it is valid as a C# identifier and as a folder name.

    Raises PipelineError `bad-name`.
    """
    if not _IDENTIFIER.match(name) or len(name) > MAX_LENGTH:
        raise PipelineError(
            "bad-name",
            f"{name!r} cannot be a C# class name and a folder name",
            subject="--name",
            remedy=f"Use at most {MAX_LENGTH} ASCII letters and digits, beginning with a letter, such as --name "
            f"{identifier(name)}.",
        )
    return name[0].upper() + name[1:]
