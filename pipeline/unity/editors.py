"""Finds the Unity editors on this computer, their versions, and the one that fits a project.

Places: the default folders of Unity Hub on Linux, macOS and Windows, the second folder that can be chosen in the
Hub's preferences (secondaryInstallPath.json), and `/opt/unity/editors`, where the images of game-ci have theirs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline.support.errors import PipelineError
from pipeline.support.parsing import from_json

_EXECUTABLES = ("Editor/Unity", "Editor/Unity.exe", "Unity.app/Contents/MacOS/Unity", "Contents/MacOS/Unity")
"""From the folder of an installation, or from Unity.app, to the program."""

_VERSION = re.compile(r"\b(\d+)\.(\d+)\.(\d+)([abfpx])(\d+)\b")
_VERSION_TIMEOUT = 60
"""Seconds for `Unity -version`: it starts no project."""


@dataclass(frozen=True)
class Editor:
    """One installed editor. `version` is "" if it is unknown."""

    path: Path
    version: str


def project_version(project: Path) -> str:
    """The version that a project was last opened with (ProjectSettings/ProjectVersion.txt), or ""."""
    try:
        text = (project / "ProjectSettings" / "ProjectVersion.txt").read_text("utf-8", "replace")
    except OSError:
        return ""
    found = re.search(r"^m_EditorVersion:\s*(\S+)", text, re.MULTILINE)
    return found[1] if found else ""


def installed() -> list[Editor]:
    """The editors in the known places, oldest first; their version is the name of their folder."""
    found = {}
    for folder in _places():
        try:
            entries = sorted(folder.iterdir())
        except OSError:
            continue
        for entry in entries:
            program = _program_in(entry)
            if program is not None and _VERSION.fullmatch(entry.name):
                found[entry.name] = Editor(program, entry.name)
    return sorted(found.values(), key=lambda editor: _key(editor.version))


def editor_at(path: Path) -> Editor:
    """The editor that the user names: the program, the folder of an installation, or Unity.app.

    Raises PipelineError `unity-not-found` where there is none, `unity-does-not-start` where it is not a program.
    """
    program = path if path.is_file() else _program_in(path)
    if program is None:
        raise PipelineError(
            "unity-not-found",
            "no Unity editor was found there",
            subject=str(path),
            remedy="Name the editor's program, such as ~/Unity/Hub/Editor/2021.3.24f1/Editor/Unity.",
        )
    return Editor(program, _ask_version(program))


def choose(version: str) -> Editor:
    """The installed editor for a project of the version `wanted` ("" for any).

    The same version, else the nearest later one of the same stream (2021.3), else the nearest later one at all:
    Unity opens projects of older versions, not of newer ones. Raises PipelineError `unity-not-found`.
    """
    editors = installed()
    later = [editor for editor in editors if not version or _key(editor.version) >= _key(version)]
    if later:
        return later[0] if version else later[-1]
    versions = ", ".join(editor.version for editor in editors)
    raise PipelineError(
        "unity-not-found",
        f"the project needs Unity {version}, but only older versions are installed: {versions}"
        if editors
        else "no Unity editor was found where Unity Hub installs them",
        remedy=f"Install {version or 'one'} in Unity Hub, or name an editor with --unity.",
    )


def _places() -> list[Path]:
    home = Path.home()
    if sys.platform == "win32":
        programs = Path(os.environ.get("PROGRAMFILES", "C:/Program Files"))
        settings = Path(os.environ.get("APPDATA", home / "AppData" / "Roaming")) / "UnityHub"
        places = [programs / "Unity" / "Hub" / "Editor"]
    elif sys.platform == "darwin":
        settings = home / "Library" / "Application Support" / "UnityHub"
        places = [Path("/Applications/Unity/Hub/Editor")]
    else:
        settings = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "UnityHub"
        places = [home / "Unity" / "Hub" / "Editor", Path("/opt/unity/editors")]
    try:
        second = from_json((settings / "secondaryInstallPath.json").read_text("utf-8"))
    except (OSError, ValueError):
        second = ""
    if isinstance(second, str) and second:
        places.append(Path(second))
    return places


def _program_in(folder: Path) -> Path | None:
    return next((folder / name for name in _EXECUTABLES if (folder / name).is_file()), None)


def _key(version: str) -> tuple[int, ...]:
    """Orders 2021.3.4f1 before 2021.3.24f1, alphas before betas before releases before patches."""
    found = _VERSION.search(version)
    if found is None:
        return ()
    year, minor, update, kind, build = found.groups()
    return (int(year), int(minor), int(update), "abxfp".index(kind), int(build))


def _ask_version(program: Path) -> str:
    """The version in the path, as Unity Hub and game-ci name folders, else what `Unity -version` prints, or ""."""
    if found := _VERSION.search(str(program)):
        return found[0]
    try:
        done = subprocess.run(
            [program, "-version"], capture_output=True, timeout=_VERSION_TIMEOUT, stdin=subprocess.DEVNULL
        )
        text = done.stdout.decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        text = ""
    except OSError as error:
        raise PipelineError(
            "unity-does-not-start",
            f"this cannot be started: {error.strerror or error}",
            subject=str(program),
            remedy="Name the program of a Unity editor with --unity.",
        ) from error
    found = _VERSION.search(text)
    return found[0] if found else ""
