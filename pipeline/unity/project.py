"""Unity projects: finding one, adding the inference package to it, and making one from the bundled project."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from json.decoder import JSONDecoder
from pathlib import Path

from pipeline.support.errors import PipelineError
from pipeline.support.resources import resource
from pipeline.unity import swap

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

    ProjectSettings/ is not asked for: Unity makes it anew when a project is opened without it.
    """
    if (path / "Assets").is_dir():
        return path
    if not path.exists():
        reason = "there is no such folder"
    elif not path.is_dir():
        reason = "it is a file"
    else:
        reason = "it has no Assets folder"
    inside = find_project(path)
    remedy = f"Did you mean {inside}?" if inside else "Name the folder that holds Assets/ and ProjectSettings/."
    raise PipelineError(
        "not-a-unity-project", f"this is no Unity project: {reason}", subject=str(path), remedy=remedy
    )


def create_project(destination: Path, *, dry_run: bool = False) -> bool:
    """Copies the bundled UnityProject to `destination`, as a whole or not at all.

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
                    ignore=_ignore_generated,
                    copy_function=_copy_to(destination),
                )
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


def _ignore_generated(folder: str, names: list[str]) -> set[str]:
    """Generated things lie at the top of a project; a folder Assets/Logs is somebody's own."""
    if Path(folder) != resource("UnityProject"):
        return set()
    return shutil.ignore_patterns(*_GENERATED)(folder, names)


def add_package(
    project: Path, package: str, version: str, *, replace: bool = False, dry_run: bool = False
) -> str | None:
    """Adds a package to the project's Packages/manifest.json if it is not there.

    One line is inserted where the list's order puts it; every other byte stays. Returns a note when something
    was done or should be known: that the package was added, or that the project has another version, which is
    kept, unless `replace` asks for this one. None when it is there already. A project without a
    manifest gets the bundled project's one: a manifest with this package alone would turn all built-in modules
    off. Raises `package-manifest-broken`, `destination-not-writable`, `disk-full`.
    """
    path = project / "Packages" / "manifest.json"
    try:
        try:
            text = path.read_bytes().decode("utf-8")
        except FileNotFoundError:
            text = (resource("UnityProject") / "Packages" / "manifest.json").read_bytes().decode("utf-8")
            text = _without(text, package)
        present = _dependencies(text, path).get(package)
        if present == version:
            return None
        if present is not None and not replace:
            return f"{path} has {package} {present}; the model was built for {version}. The project's is kept."
        changed = _insert(text, package, version) if present is None else _exchange(text, package, version)
        if not dry_run:
            _replace(path, changed.encode("utf-8"))
        if present is not None:
            return f"changed {package} from {present} to {version} in {path}"
        return f"added {package} {version} to {path}"
    except UnicodeDecodeError:
        raise _broken(path, "it is not UTF-8") from None
    except OSError as error:
        raise swap.failure(error, path) from error


def _replace(path: Path, data: bytes) -> None:
    """Writes a file so that a killed process leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path = Path(os.path.realpath(path))  # a manifest that is a link stays one
    draft = path.with_name(f".{path.name}.new~")
    try:
        draft.write_bytes(data)
        if path.exists():
            shutil.copymode(path, draft)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _dependencies(text: str, path: Path) -> dict[str, str]:
    try:
        content = json.loads(text.removeprefix("\ufeff"))
    except ValueError as error:
        raise _broken(path, str(error)) from None
    found = content.get("dependencies", {}) if isinstance(content, dict) else None
    if not isinstance(found, dict):
        raise _broken(path, 'it has no object "dependencies"')
    return found


def _broken(path: Path, reason: str) -> PipelineError:
    return PipelineError(
        "package-manifest-broken",
        f"the project's list of packages cannot be read: {reason}",
        subject=str(path),
        remedy="Repair it, or let Unity write it anew: Window > Package Manager.",
    )


def _without(text: str, package: str) -> str:
    content = json.loads(text)
    content["dependencies"].pop(package, None)
    return json.dumps(content, indent=2) + "\n"


def _exchange(text: str, package: str, version: str) -> str:
    """The JSON text with another value for the member `package` of `dependencies`; nothing else changes."""
    keys = dict(_members(text, text.index("{")))
    opening = text.index("{", _skip(text, _end_of_string(text, keys["dependencies"])) + 1)
    name = dict(_members(text, opening))[package]
    value = _skip(text, _skip(text, _end_of_string(text, name)) + 1)
    return f"{text[:value]}{json.dumps(version)}{text[_end_of_value(text, name) :]}"


def _insert(text: str, package: str, version: str) -> str:
    """The JSON text with one more member in `dependencies`: before the first name that sorts after it."""
    start = text.index("{")
    keys = dict(_members(text, start))
    if "dependencies" not in keys:
        return _insert(_into_object(text, start, None, '"dependencies": {}'), package, version)
    entry = f"{json.dumps(package)}: {json.dumps(version)}"
    opening = text.index("{", _skip(text, _end_of_string(text, keys["dependencies"])) + 1)
    later = [position for name, position in _members(text, opening) if name > package]
    return _into_object(text, opening, later[0] if later else None, entry)


def _into_object(text: str, opening: int, before: int | None, entry: str) -> str:
    """Inserts a member before the one at `before`, else as the last of the object at `opening`."""
    members = list(_members(text, opening))
    if before is not None:
        gap = _gap(text, max(text.rfind(",", opening, before), opening), before)
        return f"{text[:before]}{entry},{gap}{text[before:]}"
    if members:
        last = _end_of_value(text, members[-1][1])
        return f"{text[:last]},{_gap(text, opening)}{entry}{text[last:]}"
    line = text[text.rfind("\n", 0, opening) + 1 : opening]
    indent = line[: len(line) - len(line.lstrip())]
    newline = "\r\n" if "\r\n" in text else "\n"
    closing = text.index("}", opening)
    return f"{text[: opening + 1]}{newline}{indent}  {entry}{newline}{indent}{text[closing:]}"


def _gap(text: str, after: int, until: int | None = None) -> str:
    """The white space that follows the character at `after`: how this file separates members."""
    return text[after + 1 : _skip(text, after + 1) if until is None else until]


def _members(text: str, opening: int) -> list[tuple[str, int]]:
    """Names and their positions in the object whose brace is at `opening`, in well-formed JSON."""
    found = []
    position = _skip(text, opening + 1)
    while text[position] != "}":
        found.append((json.loads(text[position : _end_of_string(text, position)]), position))
        position = _skip(text, _end_of_value(text, position))
        if text[position] == ",":
            position = _skip(text, position + 1)
    return found


def _end_of_value(text: str, key: int) -> int:
    colon = _skip(text, _end_of_string(text, key))
    return JSONDecoder().raw_decode(text, _skip(text, colon + 1))[1]


def _end_of_string(text: str, quote: int) -> int:
    return JSONDecoder().raw_decode(text, quote)[1]


def _skip(text: str, position: int) -> int:
    while text[position] in " \t\r\n":
        position += 1
    return position
