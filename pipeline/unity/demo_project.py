"""Generates the files of a Unity project that are not written by hand: demo scene, materials, settings and metas.

`UnityProject/` of this repository is such a project with the example in it (`python dev.py bundle` calls `write`);
a user's new project is a copy of its hand-written files with what `overlay` makes for one style and one edition.
The C# under Assets/Demo is written by hand; Assets/StyleTransfer is a bundle.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pipeline.support.resources import resource
from pipeline.unity import demo_scene, editions, meta, packages
from pipeline.unity.bundle import BENCHMARK_SCENE, ROOT, model_folder
from pipeline.unity.demo_scene import MATERIALS, SCENE, material_path, project_guid
from pipeline.unity.editions import EDITIONS, Edition
from pipeline.unity.guid import guid
from pipeline.unity.templates import fill

EXAMPLE = "Mosaic"

_WRITTEN_BY_HAND = (".cs", ".asmdef")

_IGNORED = b"""/Library/
/Temp/
/Logs/
/UserSettings/
/obj/
/Build/
/Builds/
*.csproj
*.sln
"""
"""What Unity and code editors make in a project folder, for git."""


def write(project: Path) -> None:
    """Writes the files into `project`, which holds the C# of Assets/Demo and a built example.

    What an earlier version made there, and this one does not, is deleted.
    """
    prefab = (project / "Assets" / model_folder(EXAMPLE) / f"{EXAMPLE}Camera.prefab").read_text("ascii")
    by_hand = hand_written(project)
    files = render(by_hand, EXAMPLE, prefab, EDITIONS[0])
    for folder in ("Assets/Demo", "Assets/Scenes"):
        for path in sorted((project / folder).rglob("*")):
            name = path.relative_to(project).as_posix()
            if path.is_file() and name not in files and name not in by_hand:
                path.unlink()
    for name, data in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_bytes(data)


def show(project: Path, style: str, prefab: str) -> bool:
    """Make the demo scene show a style if the user has not edited it; returns whether it was changed."""
    path = project / SCENE
    try:
        there = path.read_bytes().replace(b"\r\n", b"\n")
    except OSError:
        return False
    expected = demo_scene.render(style, prefab)
    if there == expected:
        return False
    for candidate in sorted((project / "Assets" / ROOT / "Models").glob("*/*Camera.prefab")):
        other, text = candidate.parent.name, candidate.read_text("ascii", "replace")
        if candidate.name == f"{other}Camera.prefab" and there == demo_scene.render(other, text):
            path.write_bytes(expected)
            return True
    return False


def hand_written(project: Path) -> list[str]:
    """The hand-written files of a project's demo, from the project."""
    return [
        path.relative_to(project).as_posix()
        for path in sorted((project / "Assets" / "Demo").rglob("*"))
        if path.suffix in _WRITTEN_BY_HAND
    ]


def overlay(style: str, prefab: str, edition: Edition) -> dict[str, bytes]:
    """The generated files of a new project, without the bundle: path in the project -> bytes."""
    files = render(hand_written(resource("UnityProject")), style, prefab, edition)
    listed = packages.sorted_by_kind(packages.modules() | edition.packages)
    files[packages.LIST] = (json.dumps({"dependencies": listed}, indent=2) + "\n").encode("ascii")
    return files


def render(by_hand: Sequence[str], style: str, prefab: str, edition: Edition) -> dict[str, bytes]:
    """Path in the project -> bytes.

    `by_hand` are the files that get metas only; the scene shows the bundle `style`, `prefab` is its prefab's text.
    """
    files = {material_path(name): _material(name, edition) for name in MATERIALS}
    files[SCENE] = demo_scene.render(style, prefab)
    assets = [*files, *by_hand]
    for name in assets:
        files[f"{name}.meta"] = meta.file_meta(name, project_guid(name))
    folders = {parent.as_posix() for name in assets for parent in PurePosixPath(name).parents} - {".", "Assets"}
    for folder in folders:
        files[f"{folder}.meta"] = meta.folder_meta(project_guid(folder))
    scenes = [(SCENE, project_guid(SCENE)), (f"Assets/{BENCHMARK_SCENE}", guid(BENCHMARK_SCENE))]
    files |= editions.files(edition, scenes)
    files[".gitignore"] = _IGNORED
    return dict(sorted(files.items()))


def _material(name: str, edition: Edition) -> bytes:
    color, smoothness, metallic = MATERIALS[name]
    if edition.universal:
        return editions.lit_material(name, color, smoothness, metallic)
    return fill("yaml/material.j2", name=name, color=color, smoothness=smoothness, metallic=metallic)
