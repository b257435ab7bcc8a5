"""The packages of a Unity project: requested, present, added to and removed from Packages/manifest.json."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.support.errors import PipelineError
from pipeline.support.parsing import from_json
from pipeline.support.resources import resource
from pipeline.unity import swap
from pipeline.unity.json_text import exchange, insert, insert_testable

LIST = "Packages/manifest.json"
LOCK = "Packages/packages-lock.json"

MODULES = {"com.unity.modules.imgui": "1.0.0", "com.unity.modules.jsonserialize": "1.0.0"}
"""Built-in modules that the C# of a bundle uses. A project may have them switched off."""

_MODULE = "com.unity.modules."


def requested(project: Path) -> dict[str, str]:
    """The packages listed in Packages/manifest.json: name -> version, path or URL. Empty without a list.

    Raises PipelineError `package-manifest-broken`.
    """
    text = _read(project / LIST)
    return {} if text is None else _dependencies_of(text, project / LIST)


def present(project: Path) -> dict[str, str]:
    """All packages of the project that can be known without Unity: name -> version, path or URL.

    Those listed, those that Unity resolved when it last opened the project (including dependencies), and those
    embedded in Packages/ as folders. Raises PipelineError `package-manifest-broken`.
    """
    found = requested(project)
    for name, entry in _object(project / LOCK, "dependencies").items():
        version = entry.get("version") if isinstance(entry, dict) else None
        if isinstance(version, str) and (name not in found or not version.startswith("file:")):
            found[name] = version
    for path in sorted((project / "Packages").glob("*/package.json")):
        embedded = _object(path)
        given, version = embedded.get("name"), embedded.get("version")
        if isinstance(given, str) and isinstance(version, str):
            found[given] = version
    return found


def add(project: Path, needed: Mapping[str, str], *, replace: bool = False, dry_run: bool = False) -> list[str]:
    """Add missing packages to the project's list; returns a line of text for each change.

    Each is one line, inserted where the list's order puts it; every other byte stays. Another version of a
    package is kept, unless `replace` asks for the one in `wanted`; modules of Unity are never replaced. A project
    without a list gets the bundled project's one: a list with only these packages would turn all built-in
    modules off. Raises `package-manifest-broken`, `destination-not-writable`, `disk-full`.
    """
    path = project / LIST
    text = _read(path)
    is_new = text is None
    if text is None:
        text = json.dumps({"dependencies": modules()}, indent=2) + "\n"
    listed = _dependencies_of(text, path)
    lines, changed = [], text
    for package, version in needed.items():
        there = listed.get(package)
        if there is None:
            changed = insert(changed, package, version)
            lines.append(f"added {package} {version} to {path}")
        elif replace and there != version and not package.startswith(_MODULE):
            changed = exchange(changed, package, version)
            lines.append(f"changed {package} from {there} to {version} in {path}")
    if (changed != text or is_new) and not dry_run:
        try:
            _replace(path, changed.encode("utf-8"))
        except OSError as error:
            raise swap.failure(error, path) from error
    return lines


def remove(project: Path, names: Iterable[str], *, dry_run: bool = False) -> list[str]:
    """Remove packages from the project's list; returns a line of text for each change.

    Only the lines of these packages are changed. Raises `package-manifest-broken`, `destination-not-writable`.
    """
    path = project / LIST
    text = _read(path)
    if text is None:
        return []
    listed, lines = _dependencies_of(text, path), []
    for name in names:
        if name not in listed:
            continue
        version = listed.pop(name)
        entry = re.escape(json.dumps(name)) + r"\s*:\s*" + re.escape(json.dumps(version))
        shorter, count = re.subn(rf"\s*{entry}\s*,|,\s*{entry}|\s*{entry}", "", text, count=1)
        if count != 1 or _dependencies_of(shorter, path) != listed:
            raise _broken(path, f"{name} cannot be removed from it")
        text = shorter
        lines.append(f"removed {name} {version} from {path}")
    if lines and not dry_run:
        try:
            _replace(path, text.encode("utf-8"))
        except OSError as error:
            raise swap.failure(error, path) from error
    return lines


def show_tests(project: Path, package: str, *, dry_run: bool = False) -> None:
    """Asks Unity to show a package's tests: it shows those in Assets and of packages that the list calls testable.

    Raises `package-manifest-broken`, `destination-not-writable`, `disk-full`.
    """
    path = project / LIST
    text = _read(path)
    if text is None:
        return
    _dependencies_of(text, path)
    testables = json.loads(text.removeprefix("\ufeff")).get("testables", [])
    if not isinstance(testables, list):
        raise _broken(path, '"testables" is not a list')
    if package not in testables and not dry_run:
        try:
            _replace(path, insert_testable(text, package).encode("utf-8"))
        except OSError as error:
            raise swap.failure(error, path) from error


def modules() -> dict[str, str]:
    """The test framework and all built-in modules, as the bundled project lists them."""
    listed = json.loads((resource("UnityProject") / LIST).read_text("utf-8"))["dependencies"]
    kept = {name: version for name, version in listed.items() if name.startswith(_MODULE)}
    return {"com.unity.test-framework": listed["com.unity.test-framework"]} | kept


def sorted_by_kind(listed: Mapping[str, str]) -> dict[str, str]:
    """Packages by name, built-in modules behind them, as Unity writes the list."""
    return dict(sorted(listed.items(), key=lambda entry: (entry[0].startswith(_MODULE), entry[0])))


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise _broken(path, "it is not UTF-8") from None
    except OSError as error:
        raise swap.failure(error, path) from error


def _object(path: Path, key: str = "") -> dict[str, Any]:
    """A JSON object, or its member; empty where the file cannot be read: Unity makes these itself."""
    try:
        content = from_json(path.read_text("utf-8-sig"))
    except (OSError, ValueError):
        return {}
    found = content.get(key) if key and isinstance(content, dict) else content
    return found if isinstance(found, dict) else {}


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


def _dependencies_of(text: str, path: Path) -> dict[str, str]:
    try:
        content = from_json(text.removeprefix("\ufeff"))
    except ValueError as error:
        raise _broken(path, str(error)) from None
    found = content.get("dependencies", {}) if isinstance(content, dict) else None
    if not isinstance(found, dict):
        raise _broken(path, 'it has no object "dependencies"')
    if not all(isinstance(version, str) for version in found.values()):
        raise _broken(path, "a version is not text")
    return found


def _broken(path: Path, reason: str) -> PipelineError:
    return PipelineError(
        "package-manifest-broken",
        f"the project's list of packages cannot be read: {reason}",
        subject=str(path),
        remedy="Fix the file; Unity cannot read it either.",
    )
