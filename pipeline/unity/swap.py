"""Replaces a folder atomically: at any moment either the old or the new one is there.

The new folder is first completed in `.<name>.new~` beside the old one (Unity imports nothing whose name starts
with a dot or ends with a tilde), then takes its place:

* nothing there yet: one rename;
* Linux and macOS: one exchange of the two (`renameat2`, `renamex_np`), after which the old one is deleted;
* Windows, and file systems that cannot exchange: the old one is renamed to `.<name>.old~`, the new one takes
  its name. A process killed between these two renames leaves no folder under the name; `recover`, which every
  later build calls first, puts the old one back.

What a killed process left is deleted by the next. "Killed" means the process: after a power failure the
file system decides.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.support.errors import PipelineError

_PATIENCE = 60.0
"""Seconds to wait for another build into the same folder."""


def staging(folder: Path, name: str) -> Path:
    """The folder in which the new content is completed before it becomes `folder/name`."""
    return folder / f".{name}.new~"


def backup(folder: Path, name: str) -> Path:
    """The folder of the old content between the two renames on a system without an atomic exchange."""
    return folder / f".{name}.old~"


def has_leftovers(folder: Path, name: str) -> bool:
    """Whether a killed process left folders that `recover` must handle."""
    return os.path.lexists(staging(folder, name)) or os.path.lexists(backup(folder, name))


def recover(folder: Path, name: str) -> None:
    """Restore or delete what a killed process left; requires the lock."""
    old = backup(folder, name)
    if os.path.lexists(old):
        if os.path.lexists(folder / name):
            delete_tree(old)
        else:
            _rename(old, folder / name)
    delete_tree(staging(folder, name))


def swap(new: Path, folder: Path, name: str) -> None:
    """Makes the folder `new`, inside `staging(folder, name)`, the content of `folder/name`.

    An old folder, if there is one, is afterwards inside the staging folder or deleted.
    """
    live, old = folder / name, backup(folder, name)
    if not os.path.lexists(live):
        _rename(new, live)
    elif not exchange(new, live):
        _rename(live, old)
        try:
            _rename(new, live)
        except BaseException:
            _rename(old, live)
            raise
        delete_tree(old, quietly=True)


def exchange(one: Path, other: Path) -> bool:
    """Exchanges two names in one step; False where the system or the file system cannot."""
    import ctypes

    if sys.platform == "win32":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(one), os.fsencode(other)
    if sys.platform == "darwin":
        call, arguments = "renamex_np", (*names, 2)  # RENAME_SWAP, sys/stdio.h
    else:
        here = -100  # AT_FDCWD, fcntl.h
        call, arguments = "renameat2", (here, names[0], here, names[1], 2)  # RENAME_EXCHANGE, linux/fs.h
    if not hasattr(libc, call):
        return False
    if getattr(libc, call)(*arguments) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP):
        return False
    raise OSError(code, os.strerror(code), str(other))


def _rename(source: Path, target: Path) -> None:
    """`os.rename`, with patience for the virus scanners and indexers of Windows."""
    attempts = 10 if sys.platform == "win32" else 1
    for attempt in range(attempts):
        try:
            os.rename(source, target)
            return
        except PermissionError:
            if attempt == attempts - 1:
                raise
            time.sleep(0.1)


def delete_tree(path: Path, *, quietly: bool = False) -> None:
    """Deletes a folder, also with read-only files in it; nothing there is fine. Links are not followed."""
    if not os.path.lexists(path):
        return
    try:
        if path.is_symlink():
            path.unlink()
        else:
            shutil.rmtree(path, ignore_errors=True)  # what it cannot delete, the second attempt can
            _make_deletable(path)
            shutil.rmtree(path)
    except FileNotFoundError:
        return
    except OSError:
        if not quietly:
            raise


def _make_deletable(path: Path) -> None:
    """Lets the owner delete what is in a folder. Files matter only on Windows, where none is a hard link."""
    if path.is_dir():
        os.chmod(path, stat.S_IRWXU)
    for folder, folders, names in os.walk(path):
        for name in (*folders, *names) if sys.platform == "win32" else folders:
            inside = os.path.join(folder, name)
            if not os.path.islink(inside):
                os.chmod(inside, stat.S_IRWXU)


@contextlib.contextmanager
def locked(folder: Path, name: str) -> Iterator[None]:
    """Holds the lock on `folder/name` against other builds; a killed process lets go of it.

    On POSIX the lock is on the folder itself, so no lock file stays behind; on Windows it is a file that the
    system deletes with the last handle. File systems without locks get none. Raises `destination-busy`.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            handle = _lock(folder, name)
            break
        except (BlockingIOError, FileExistsError):
            if time.monotonic() > deadline:
                raise PipelineError(
                    "destination-busy",
                    f"another build has been writing here for {_PATIENCE:.0f} seconds",
                    subject=str(folder),
                    remedy="Wait until it ends, or stop it.",
                ) from None
            time.sleep(0.05)
    try:
        yield
    finally:
        os.close(handle)


def _lock(folder: Path, name: str) -> int:
    if sys.platform == "win32":
        try:
            return os.open(folder / f".{name}.lock~", os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_TEMPORARY)
        except PermissionError as error:
            if os.access(folder, os.W_OK):  # being deleted by the one who held it
                raise FileExistsError(*error.args) from None
            raise
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise
    except OSError:
        pass
    return handle


def failure(error: OSError, place: Path) -> PipelineError:
    """Convert an error of the operating system to a PipelineError: `disk-full`, `destination-is-file`, ..."""
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return PipelineError(
            "disk-full",
            "the disk is full; nothing was changed",
            subject=str(place),
            remedy="Free some space and run the command again.",
        )
    if error.errno == errno.ENOTDIR:
        return PipelineError(
            "destination-is-file",
            f"{error.filename or place} is a file, but a folder is needed there",
            subject=str(place),
            remedy="Name another folder, or move the file away.",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PipelineError(
            "destination-not-writable",
            f"cannot write here ({reason}); nothing was changed",
            subject=str(place),
            remedy="Check the permissions and that no program has its files open, or name another folder.",
        )
    return PipelineError(
        "destination-not-writable",
        f"cannot write here ({reason}, {error.filename or place}); nothing was changed",
        subject=str(place),
        remedy="Name another folder.",
    )
