"""Single files: open them with clear errors, and write them atomically."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path

from pipeline.support.errors import PipelineError


def write_file(path: Path, content: bytes) -> None:
    """Create or replace the file at `path` atomically; missing folders are created.

    Raises PipelineError `destination-is-folder`, `disk-full` or `destination-not-writable`; the old file at `path`
    is then unchanged.
    """
    if path.is_dir():
        raise _is_folder(path)
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
        raise _not_written(path, error) from error


def _is_folder(path: Path) -> PipelineError:
    return PipelineError(
        "destination-is-folder", "this is a folder", subject=str(path), remedy="Name a file in it."
    )


def _not_written(path: Path, error: OSError) -> PipelineError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return PipelineError("disk-full", "the disk is full", subject=str(path), remedy="Free some.")
    return PipelineError(
        "destination-not-writable",
        f"the file cannot be written ({error.strerror or error})",
        subject=str(path),
        remedy="Check the permissions, or choose another location.",
    )


def check_writable(path: Path) -> None:
    """Check before long work that its result can be written to `path`. Leaves no file behind.

    Raises PipelineError `destination-is-folder`, `destination-not-writable` or `disk-full`.
    """
    if path.is_dir():
        raise _is_folder(path)
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{path.name[:40]}.")
        os.close(handle)
        os.unlink(temporary)
    except OSError as error:
        raise _not_written(path, error) from error


def check_absent(path: Path, force: bool) -> None:
    """Check before long work that no file would be overwritten at `path`, unless `force` is given.

    Raises PipelineError `file-exists`, and what `check_writable` raises.
    """
    if path.is_file() and not force:
        raise PipelineError(
            "file-exists",
            "a file of that name exists",
            subject=str(path),
            remedy="Use --force to replace it, or --output for another name.",
        )
    check_writable(path)


def write_new(path: Path, content: bytes, force: bool) -> None:
    """Write a file that does not exist yet or has the same content; with `force`, replace any file.

    Raises PipelineError `file-exists`, and what `write_file` raises.
    """
    if path.is_file() and not force and path.read_bytes() != content:
        raise PipelineError(
            "file-exists",
            "a different file of that name exists",
            subject=str(path),
            remedy="Use --force to replace it, or --output for another name.",
        )
    write_file(path, content)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def existing_file(source: str | Path) -> Path:
    """`source` as a Path, after checking that it is a readable file.

    Raises PipelineError `file-not-found`, `is-a-directory` or `unreadable-file`.
    """
    path = Path(source)
    try:
        with path.open("rb"):
            return path
    except IsADirectoryError as error:
        raise PipelineError(
            "is-a-directory", "this is a folder", subject=str(path), remedy="Name the model file itself."
        ) from error
    except FileNotFoundError as error:
        raise PipelineError(
            "file-not-found", "no such file exists", subject=str(path), remedy="Check the path."
        ) from error
    except (OSError, ValueError) as error:
        raise PipelineError(
            "unreadable-file",
            f"the file cannot be opened ({error})",
            subject=str(path),
            remedy="Check the path and its permissions.",
        ) from error
