"""Finds Unity projects, and creates one from the bundled project."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.support.errors import PipelineError
from pipeline.support.resources import resource
from pipeline.unity import swap
from pipeline.unity.bundle import ROOT

_GENERATED = (
    "Library",
    "Temp",
    "Logs",
    "UserSettings",
    "obj",
    "Build",
    "Builds",
    "*.csproj",
    "*.sln",
    ".vs",
    ".idea",
    ".vscode",
)
"""What Unity and code editors make in a project folder; no part of a new project."""


def find_project(start: Path) -> Path | None:
    """The Unity project that `start` lies in: the nearest folder upwards with Assets/ and ProjectSettings/."""
    start = Path(os.path.abspath(start))
    for folder in (start, *start.parents):
        if (folder / "Assets").is_dir() and (folder / "ProjectSettings").is_dir():
            return folder
    return None


def check_project(path: Path) -> Path:
    """The project itself, or PipelineError `not-a-unity-project` when it has no Assets/ folder.

    ProjectSettings/ is not asked for: Unity makes it again when a project is opened without it.
    """
    if (path / "Assets").is_dir():
        return path
    if not path.exists():
        reason = "no such folder exists"
    elif not path.is_dir():
        reason = "it is a file"
    else:
        reason = "it has no Assets folder"
    inside = find_project(path)
    remedy = f"Did you mean {inside}?" if inside else "Name the folder that contains Assets/ and ProjectSettings/."
    raise PipelineError(
        "not-a-unity-project", f"this is not a Unity project: {reason}", subject=str(path), remedy=remedy
    )


def create_project(destination: Path, overlay: Mapping[str, bytes], *, dry_run: bool = False) -> bool:
    """Create a project atomically from the hand-written files of the bundled one, and `overlay`.

    The shared bundle and the example in the bundled project are left out: `writer.install` brings what was built.
    Returns whether it did (or would): False where a project is already. An empty folder is filled; one with
    something else in it is `not-a-unity-project`. Raises `destination-not-writable`, `disk-full`,
    `destination-is-file`.
    """
    place = Path(os.path.realpath(destination))
    parent, name = place.parent, place.name
    try:
        if not swap.has_leftovers(parent, name) and not _is_free(place):
            check_project(destination)
            return False
        if dry_run:
            return True
        parent.mkdir(parents=True, exist_ok=True)
        with swap.locked(parent, name):
            swap.recover(parent, name)
            if not _is_free(place):  # another build made it meanwhile
                check_project(destination)
                return False
            staging = swap.staging(parent, name)
            try:
                shutil.copytree(
                    resource("UnityProject"),
                    staging,
                    ignore=_left_out,
                    copy_function=_copy_to(destination),
                )
                for path, data in overlay.items():
                    (staging / path).parent.mkdir(parents=True, exist_ok=True)
                    (staging / path).write_bytes(data)
                if place.exists():
                    place.rmdir()
                swap.swap(staging, parent, name)
            finally:
                swap.delete_tree(staging, quietly=True)
        return True
    except shutil.Error as error:  # of copytree: a list of (source, destination, reason)
        raise PipelineError(
            "destination-not-writable",
            f"cannot copy the Unity project here ({error.args[0][0][2]}); nothing was changed",
            subject=str(destination),
            remedy="Check the permissions and the free space, or name another folder.",
        ) from error
    except OSError as error:
        raise swap.failure(error, destination) from error


def _copy_to(destination: Path) -> Callable[[str, str], object]:
    def copy(source: str, target: str) -> None:
        try:
            shutil.copyfile(source, target)
        except OSError as error:  # copytree would go on, and drop the number of the error
            raise swap.failure(error, destination) from error

    return copy


def _is_free(place: Path) -> bool:
    return not os.path.lexists(place) or (place.is_dir() and not any(place.iterdir()))


def _left_out(folder: str, names: list[str]) -> set[str]:
    """Generated things, at the top of a project alone: a folder Assets/Logs is somebody's own; and the bundle."""
    place = Path(folder).relative_to(resource("UnityProject")).as_posix()
    if place == ".":
        return shutil.ignore_patterns(*_GENERATED)(folder, names)
    return {ROOT, f"{ROOT}.meta"} & set(names) if place == "Assets" else set()
