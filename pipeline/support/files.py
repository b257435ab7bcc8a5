"""Single files: found with a plain word where that fails, written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path

from pipeline.support.errors import PipelineError


def write_file(path: Path, content: bytes) -> None:
    """Replace or make the file at `path` in one rename; missing folders are made.

    Raises PipelineError `destination-is-folder`, `disk-full` or `destination-not-writable`, with whatever was
    at `path` untouched.
    """
    if path.is_dir():
        raise PipelineError(
            "destination-is-folder", "this is a folder", subject=str(path), remedy="Name the file in it."
        )
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise PipelineError(
                "disk-full", "there is no room on the disk", subject=str(path), remedy="Free some."
            ) from error
        raise PipelineError(
            "destination-not-writable",
            f"the file cannot be written ({error.strerror or error})",
            subject=str(path),
            remedy="Check the permissions, or choose another place.",
        ) from error


def write_new(path: Path, content: bytes, force: bool) -> None:
    """Make a file that is not there yet, or has the same bytes; with `force`, whatever is there.

    Raises PipelineError `file-exists`, and what `write_file` raises.
    """
    if path.is_file() and not force and path.read_bytes() != content:
        raise PipelineError(
            "file-exists",
            "there is a file of that name with other content",
            subject=str(path),
            remedy="Use --force to replace it, or --output for another name.",
        )
    write_file(path, content)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def existing_file(source: str | Path) -> Path:
    """`source` as a path to a file that can be read.

    Raises PipelineError `file-not-found`, `is-a-directory` or `unreadable-file`.
    """
    path = Path(source)
    try:
        with path.open("rb"):
            return path
    except IsADirectoryError as error:
        raise PipelineError(
            "is-a-directory", "this is a folder", subject=str(path), remedy="Give the model file itself."
        ) from error
    except FileNotFoundError as error:
        raise PipelineError(
            "file-not-found", "there is no such file", subject=str(path), remedy="Check the path."
        ) from error
    except (OSError, ValueError) as error:
        raise PipelineError(
            "unreadable-file", f"the file cannot be opened ({error})", subject=str(path)
        ) from error
