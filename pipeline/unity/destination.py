"""Chooses the destination of a bundle: a folder, a Unity project, or a new one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.support.errors import PipelineError
from pipeline.support.parsing import from_json
from pipeline.unity.project import check_project, find_project

if TYPE_CHECKING:
    from pipeline.targets import Target


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
            "conflicting-options", "--output and --project cannot be used together", remedy="Use one of them."
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


def refuse_other_package(assets: Path, name: str, target: Target) -> None:
    """Raise PipelineError `packages-mixed` if the folder already has styles for another package.

    Two packages that import `.onnx` cannot be in one project: Unity lets neither import it (formats.md, 1.3).
    A model that is replaced, and targets without a package, do not matter.
    """
    for report in sorted((assets / "StyleTransfer" / "Models").glob("*/report.json")):
        recorded = _target_of(report)
        if (
            report.parent.name == name
            or not target.package
            or recorded.get("package") in ("", None, target.package)
        ):
            continue
        raise PipelineError(
            "packages-mixed",
            f"the existing style {report.parent.name} is for {recorded['package']}, but this one would be for "
            f"{target.package}, and a project cannot have both packages",
            subject=str(assets / "StyleTransfer"),
            remedy=f"Build for the existing package with --target {recorded.get('name', '?')}, or first convert "
            f"all existing styles for {target.package}: pipeline port {assets} --target {target.name}.",
        )


def _target_of(report: Path) -> dict[str, str]:
    try:
        target = from_json(report.read_text(encoding="utf-8"))["target"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return (
        {key: value for key, value in target.items() if isinstance(value, str)} if isinstance(target, dict) else {}
    )
