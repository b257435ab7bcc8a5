"""Installs a bundle into a folder atomically, and never overwrites files that the user has edited.

A file counts as unedited if it still has the digest that the `bundle.json` there lists. Unedited files are
replaced, and removed when no longer generated; one in `Kernels/` only if no other model's `bundle.json` lists it.
Any other file stays, and the new version is written next to it as `<file>.new`, a suffix that no importer of Unity
takes. `StyleTransfer/` is swapped as one folder (`swap.py`), with everything in it that is not of this bundle,
other models and files of the user, carried over as hard links.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath

from pipeline.support.errors import PipelineError
from pipeline.support.files import check_writable
from pipeline.support.inside import check_all_inside, path_problem
from pipeline.unity import swap
from pipeline.unity.bundle import ROOT, SHARED
from pipeline.unity.manifest import MANIFEST, digest, is_pristine, read_manifest

_MODELS = f"{ROOT}/Models/"
BESIDE = ".new"
"""Suffix of the new version of a file that the user has edited."""


@dataclass(frozen=True)
class InstallResult:
    """The changes of an install or of a dry run: paths relative to the destination, POSIX style, sorted.

    `kept`: edited by the user and left alone. `beside`: the new versions of those. `unchanged` also contains
    metas that the Unity editor rewrote and whose content is not new.
    """

    written: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether the destination is not as it was."""
        return bool(self.written or self.removed)


def install(
    files: Mapping[str, bytes], destination: Path, *, force: bool = False, dry_run: bool = False, root: str = ROOT
) -> InstallResult:
    """Writes the files of `bundle.render` into `destination`, the folder that is to hold `StyleTransfer/`.

    `root` is the name of the one folder that all files lie in.

    `force` overwrites what the user has edited; `dry_run` only says what would be done. Raises PipelineError
    with the destination as it was: `destination-is-file`, `destination-is-symlink`, `destination-is-folder`,
    `destination-not-writable`, `destination-busy`, `disk-full`, `name-differs-in-case`; and `unsafe-path` for
    a name that leaves `root`, whoever made it.
    """
    check_all_inside(files, root)
    place = Path(os.path.realpath(destination))
    try:
        _check_folders(files, place)
        plan = _plan(files, place, force, root)
        if dry_run or (plan.is_empty and not swap.has_leftovers(place, root)):
            return plan.result()
        created = _make_folder(place)
        try:
            with swap.locked(place, root):
                swap.recover(place, root)
                _check_folders(files, place)
                plan = _plan(files, place, force, root)
                if not plan.is_empty:
                    _apply(plan, place, root)
        except BaseException:
            _remove_folders(created)
            raise
        return plan.result()
    except OSError as error:
        raise swap.failure(error, destination) from error


def together(parts: Iterable[InstallResult]) -> InstallResult:
    """The results of several installs combined."""
    results = list(parts)
    return InstallResult(
        *(tuple(path for part in results for path in getattr(part, kind.name)) for kind in fields(InstallResult))
    )


def check(paths: Iterable[str], destination: Path) -> None:
    """Refuse what `install` would refuse for files with these paths, as far as the paths alone determine it."""
    place, folders = Path(os.path.realpath(destination)), {}
    try:
        _check_folders(paths, place)
        for path in paths:
            _entry_at(place / path)
            folders[(place / path).parent] = place / path
        for file in folders.values():
            check_writable(file)
    except OSError as error:
        raise swap.failure(error, destination) from error


# What is to be done


@dataclass
class _Plan:
    write: dict[str, bytes] = field(default_factory=dict)
    drop: set[str] = field(default_factory=set)
    unchanged: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    beside: set[str] = field(default_factory=set)

    @property
    def is_empty(self) -> bool:
        return not (self.write or self.drop)

    def result(self) -> InstallResult:
        sets: tuple[Iterable[str], ...] = (self.write, self.unchanged, self.kept, self.beside, self.drop)
        return InstallResult(*(tuple(sorted(paths)) for paths in sets))


class _Link:
    """A symbolic link at the path of a file of the bundle; it belongs to the user and is not read."""


def _plan(files: Mapping[str, bytes], place: Path, force: bool, root: str) -> _Plan:
    plan = _Plan()
    used = _used_elsewhere(files, place)
    known = _known(files, place, root) | {path: used[path] for path in used.keys() & files.keys()}
    for path, data in files.items():
        there = _entry_at(place / path)
        if there is None:
            plan.write[path] = data
        elif _is(there, data):
            plan.unchanged.add(path)
        elif force or PurePosixPath(path).name == MANIFEST or _is_ours(there, known.get(path)):
            plan.write[path] = data
        elif path.endswith(".meta") and _is_rewritten_meta(there, data, known.get(path)):
            plan.unchanged.add(path)
        else:
            _keep(plan, path, data, place, known.get(path))
        if path not in plan.kept:
            _drop_new_version(plan, path, place, (digest(data), known.get(path)))
    _drop_obsolete(plan, {path: known[path] for path in known.keys() - files.keys() - used.keys()}, place, force)
    return plan


def _known(files: Mapping[str, bytes], place: Path, root: str) -> dict[str, str]:
    """Path -> digest of what earlier builds of these folders wrote.

    A manifest speaks for its own folder only, and that of a model for the shared files.
    """
    known: dict[str, str] = {}
    for path in files:
        folder, _, name = path.rpartition("/")
        if name != MANIFEST:
            continue
        there = _entry_at(place / path)
        for listed, value in read_manifest(there if isinstance(there, bytes) else b"").items():
            inside = listed == f"{folder}.meta" or listed.startswith(f"{folder}/")
            inside |= folder.startswith(_MODELS) and _is_shared(listed)
            other_unit = folder == root and re.match(f"{re.escape(root)}/(Models|Engines)/[^/]+/", listed)
            if inside and not other_unit and not path_problem(listed):
                known[listed] = value
    return known


def _is_shared(path: str) -> bool:
    return path == f"{SHARED}.meta" or path.startswith(f"{SHARED}/")


def _used_elsewhere(files: Mapping[str, bytes], place: Path) -> dict[str, str]:
    """Path -> digest of the shared files of the models that are there and not in `files`."""
    used: dict[str, str] = {}
    for there in sorted((place / _MODELS).glob(f"*/{MANIFEST}")):
        if there.relative_to(place).as_posix() in files or not there.is_file() or there.is_symlink():
            continue
        for listed, value in read_manifest(there.read_bytes()).items():
            if _is_shared(listed) and not path_problem(listed):
                used[listed] = value
    return used


def _entry_at(path: Path) -> bytes | _Link | None:
    """The bytes of a file, `_Link` for a symbolic link, None where nothing is."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(mode):
        return _Link()
    if stat.S_ISREG(mode):
        return path.read_bytes()
    raise PipelineError(
        "destination-is-folder",
        "the bundle needs a file here, but something else has its name",
        subject=str(path),
        remedy="Move it away and run the command again.",
    )


def _is(there: bytes | _Link, data: bytes) -> bool:
    return isinstance(there, bytes) and (there == data or is_pristine(there, digest(data)))


def _is_ours(there: bytes | _Link, known: str | None) -> bool:
    return isinstance(there, bytes) and known is not None and is_pristine(there, known)


def _is_rewritten_meta(there: bytes | _Link, data: bytes, known: str | None) -> bool:
    """A meta that the editor, or the user in the inspector, wrote again: same GUID, and ours is not new."""
    guid_line = data.split(b"\n", 2)[1]
    return isinstance(there, bytes) and digest(data) == known and guid_line in there.splitlines()


def _keep(plan: _Plan, path: str, data: bytes, place: Path, known: str | None) -> None:
    """Leaves an edited file, and puts the new version beside it unless that name is the user's as well.

    `known` is also the digest of the version that an earlier build put beside it.
    """
    plan.kept.add(path)
    beside = path + BESIDE
    there = _entry_at(place / beside)
    if there is None or (not _is(there, data) and _is_ours(there, known)):
        plan.write[beside] = data
    elif not _is(there, data):
        plan.kept.add(beside)
        return
    plan.beside.add(beside)


def _drop_new_version(plan: _Plan, path: str, place: Path, ours: tuple[str | None, ...]) -> None:
    beside = path + BESIDE
    if not os.path.lexists(place / beside):
        return
    there = _entry_at(place / beside)
    if any(_is_ours(there, value) for value in ours if there is not None):
        plan.drop.add(beside)
        if os.path.lexists(place / f"{beside}.meta"):  # written by the Unity editor
            plan.drop.add(f"{beside}.meta")


def _drop_obsolete(plan: _Plan, obsolete: Mapping[str, str], place: Path, force: bool) -> None:
    """Removes what an earlier build made and this one does not; metas go, and stay, with what they belong to."""
    for path, value in obsolete.items():
        if path.endswith(".meta"):
            continue
        there = _entry_at(place / path)
        if there is not None and (force or _is_ours(there, value)):
            plan.drop.add(path)
        elif there is not None:
            plan.kept.add(path)
        _drop_new_version(plan, path, place, (value,))
    for path in obsolete:
        owner = path.removesuffix(".meta")
        if owner != path and os.path.lexists(place / path) and _will_be_removed(plan, owner, place):
            plan.drop.add(path)


def _will_be_removed(plan: _Plan, path: str, place: Path) -> bool:
    if any(written.startswith(f"{path}/") for written in plan.write):
        return False
    if not (place / path).is_dir():
        return path in plan.drop or not os.path.lexists(place / path)
    return all(
        f"{path}/{inside.relative_to(place / path).as_posix()}" in plan.drop
        or inside.name.endswith(".meta")
        or (inside.is_dir() and not inside.is_symlink())
        for inside in (place / path).rglob("*")
    )


# Whether it can be done


def _check_folders(files: Iterable[str], place: Path) -> None:
    """Refuses links, files and look-alike names where the bundle's folders belong."""
    existing = next(folder for folder in (place, *place.parents) if os.path.lexists(folder))
    if not existing.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(existing))
    folders = {parent for path in files for parent in PurePosixPath(path).parents} - {PurePosixPath(".")}
    for folder in sorted(folders):
        path = place / folder
        _check_case(path)
        if not os.path.lexists(path):
            continue
        if _is_link(os.lstat(path)):
            raise PipelineError(
                "destination-is-symlink",
                "the bundle needs a folder here, but it is a link, and the build does not write through links",
                subject=str(path),
                remedy="Replace the link by a folder, or use the folder that it points to.",
            )
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(path))


def _is_link(status: os.stat_result) -> bool:
    """A symbolic link, or a junction of Windows."""
    junction = getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", None)
    tag = getattr(status, "st_reparse_tag", 0)
    return stat.S_ISLNK(status.st_mode) or (junction is not None and tag == junction)


def _check_case(path: Path) -> None:
    """Refuses `Mosaic` beside `mosaic`: one folder on Windows and macOS, two on Linux."""
    if not path.parent.is_dir():
        return
    for name in os.listdir(path.parent):
        if name != path.name and name.casefold() == path.name.casefold():
            raise PipelineError(
                "name-differs-in-case",
                f"{name} already exists, and on Windows and macOS {path.name} is the same name",
                subject=str(path),
                remedy=f"Choose another --name, or delete {name} first.",
            )


# Doing it


def _apply(plan: _Plan, place: Path, root: str) -> None:
    staging = swap.staging(place, root)
    try:
        staging.mkdir()
        if (place / root).is_dir():
            _carry(place / root, staging / root, root, plan.write.keys() | plan.drop)
        for path, data in plan.write.items():
            target = staging / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        meta = f"{root}.meta"
        is_new = not os.path.lexists(place / meta)
        if meta in plan.write:
            os.replace(staging / meta, place / meta)
        try:
            swap.swap(staging / root, place, root)
        except BaseException:
            if is_new:
                (place / meta).unlink(missing_ok=True)
            raise
    finally:
        swap.delete_tree(staging, quietly=True)


def _carry(source: Path, target: Path, relative: str, without: set[str]) -> bool:
    """Takes a folder over into the staged one, as hard links, without the paths that are replaced or removed.

    Returns whether the folder stays: it does unless all that was in it is removed.
    """
    target.mkdir()
    stays = not any(os.scandir(source))
    for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
        path = f"{relative}/{entry.name}"
        if path in without:
            continue
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode) and not _is_link(status):
            stays |= _carry(Path(entry.path), target / entry.name, path, without)
            continue
        stays = True
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(entry.path), target / entry.name, target_is_directory=entry.is_dir())
        else:
            _carry_file(entry.path, target / entry.name, status)
    if stays:
        shutil.copystat(source, target)
    else:
        target.rmdir()
    return stays


def _carry_file(source: str, target: Path, status: os.stat_result) -> None:
    """A hard link keeps inode and times, so Unity imports nothing again; a copy where there are no links.

    Read-only files are copied on Windows: to delete one name of them, the attribute of all must go.
    """
    if sys.platform == "win32" and not status.st_mode & stat.S_IWRITE:
        shutil.copy2(source, target)
        return
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _make_folder(place: Path) -> list[Path]:
    """Makes the destination; returns the folders that were made, innermost first."""
    missing = [folder for folder in (place, *place.parents) if not folder.exists()]
    place.mkdir(parents=True, exist_ok=True)
    return missing


def _remove_folders(folders: Iterable[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return
