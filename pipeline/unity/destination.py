"""Where a bundle goes: a folder, a Unity project, or a new one; and whether the name there is another model's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pipeline.support.errors import PipelineError
from pipeline.unity.project import check_project, find_project


@dataclass(frozen=True)
class Destination:
    """Where `StyleTransfer/` goes."""

    assets: Path
    """The folder that holds, or will hold, StyleTransfer/."""
    project: Path | None
    """The Unity project around it; None for a plain folder."""
    create: bool
    """The project does not exist yet."""


def choose(output: str | Path | None, project: str | Path | None) -> Destination:
    """The folder `output`, or `project`, or the project around the current folder, or a new ./UnityProject.

    Raises PipelineError `conflicting-options`, `not-a-unity-project`.
    """
    if output is not None and project is not None:
        raise PipelineError(
            "conflicting-options", "--output and --project exclude each other", remedy="Give one of them."
        )
    if output is not None:
        return Destination(Path(output), None, False)
    if project is not None:
        root = Path(project)
        check_project(root)
        return Destination(root / "Assets", root, False)
    found = find_project(Path.cwd())
    if found is not None:
        check_project(found)
        return Destination(found / "Assets", found, False)
    root = Path.cwd() / "UnityProject"
    if root.exists():
        check_project(root)
        return Destination(root / "Assets", root, False)
    return Destination(root / "Assets", root, True)


def refuse_taken_name(assets: Path, name: str, source: str, force: bool) -> None:
    """Two sources must not overwrite each other's bundle: PipelineError `name-taken`."""
    report = assets / "StyleTransfer" / "Models" / name / "report.json"
    try:
        held = json.loads(report.read_text(encoding="utf-8"))["source"]["file"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if held != source and not force:
        raise PipelineError(
            "name-taken",
            f"the bundle {name} there was built from {held}, not from {source}",
            subject=str(report.parent),
            remedy="Give this model another name with --name, or replace it with --force.",
        )
