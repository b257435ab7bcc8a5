"""Checks whether a target fits a Unity project, chooses one that does, and names the next step in Unity."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline import targets
from pipeline.support.errors import PipelineError
from pipeline.targets import Target
from pipeline.unity.project_facts import BUILT_IN, HIGH_DEFINITION, UNIVERSAL, ProjectFacts, renderers

Version = tuple[int, ...]


def choose_target(project: ProjectFacts) -> str:
    """The name of the target for the inference package that the project has; the default one where it has none.

    Raises PipelineError `onnx-importers-collide` where it has several, `package-too-old`.
    """
    installed = sorted(set(project.packages) & _importers())
    if len(installed) > 1:
        raise PipelineError(
            "onnx-importers-collide",
            f"the project has {' and '.join(installed)}; with more than one such package, Unity lets none of them "
            "import .onnx files",
            subject=str(project.root),
            remedy="Remove all but one of them in Window > Package Manager.",
        )
    if not installed:
        return targets.DEFAULT
    fitting = _fitting(installed[0], project.packages[installed[0]])
    if fitting is None:
        raise _too_old(project, installed[0])
    return fitting.name


def check(project: ProjectFacts, target: Target, *, switch_package: bool = False) -> None:
    """Refuse a target that cannot work in the project.

    Raises PipelineError `editor-too-old`, `onnx-importers-collide`, `package-too-old`, `package-differs`.
    """
    _check_editor(project, target)
    if not target.package:
        return
    others = _other_importers(project, target)
    if others:
        fitting = _fitting(others[0], project.packages[others[0]])
        for_it = (
            f"Build for the project's package with --target {fitting.name}, or remove" if fitting else "Remove"
        )
        raise PipelineError(
            "onnx-importers-collide",
            f"the project has {others[0]}; with {target.package} as well, Unity would let neither import .onnx "
            "files",
            subject=str(project.root),
            remedy=f"{for_it} {others[0]} in Window > Package Manager.",
        )
    there = project.packages.get(target.package)
    if there is None or switch_package or _covers(target, there):
        return
    fitting = _fitting(target.package, there)
    if fitting is None:
        raise _too_old(project, target.package)
    raise PipelineError(
        "package-differs",
        f"the project has {target.package} {there}, but {target.name} is for {target.package_version}",
        subject=str(project.root),
        remedy=f"Use --target {fitting.name}, or --switch-package to change the project to "
        f"{target.package_version}.",
    )


def check_switch(project: ProjectFacts, target: Target, *, switch_package: bool) -> list[str]:
    """The packages that must be removed from a project whose styles are ported to `target`.

    Raises PipelineError what `check` does, and `onnx-importers-collide` only where `switch_package` does not allow
    it, or where such a package is not in the list but in the folder Packages.
    """
    from pipeline.unity import packages

    _check_editor(project, target)
    others = _other_importers(project, target)
    listed = packages.requested(project.root)
    fixed = [name for name in others if name not in listed]
    if others and (fixed or not switch_package):
        old = " and ".join(fixed or others)
        remedy = (
            f"Remove {old} in Window > Package Manager, or its folder in Packages, then port again."
            if fixed
            else f"Use --switch-package to replace {old} by {target.package} in Packages/manifest.json. You then "
            f"have to change your own scripts that use {old}."
        )
        raise PipelineError(
            "onnx-importers-collide",
            f"the project has {old}; with {target.package} as well, Unity would let neither import .onnx files",
            subject=str(project.root),
            remedy=remedy,
        )
    if not others:
        check(project, target, switch_package=switch_package)
    return others


def has_package(project: ProjectFacts, target: Target) -> bool:
    """Whether the project has a version of the target's package that the target is meant for."""
    return target.package in project.packages and _covers(target, project.packages[target.package])


def _check_editor(project: ProjectFacts, target: Target) -> None:
    needed = _version(target.unity)
    if project.editor is not None and project.editor < needed:
        editor = ".".join(map(str, project.editor))
        raise PipelineError(
            "editor-too-old",
            f"the project is for Unity {editor}, but {target.name} needs {target.unity}",
            subject=str(project.root),
            remedy=_for_older_editors(target, project.editor),
        )


def _other_importers(project: ProjectFacts, target: Target) -> list[str]:
    """The packages of the project that import .onnx files and are not the target's; none where it needs none."""
    return sorted((set(project.packages) & _importers()) - {target.package}) if target.package else []


def next_step(project: ProjectFacts, prefab: str) -> str:
    """The next step in Unity, in one sentence; `prefab` is the file name of the camera's prefab."""
    show = f"drag {prefab} into a scene and press Play"
    if project.pipelines == (BUILT_IN,):
        return f"Open {project.root} in Unity, {show}."
    steps = []
    if UNIVERSAL in project.pipelines:
        found = [path.relative_to(project.root).as_posix() for path in renderers(project.root)]
        where = f"the renderer {found[0]}" if len(found) == 1 else "the renderer that the project uses"
        steps.append(f"in {where}, Add Renderer Feature > Style Transfer Feature")
    if HIGH_DEFINITION in project.pipelines:
        steps.append("in the scene, add a Custom Pass Volume with a Style Transfer Custom Pass")
    if len(steps) > 1:
        steps = [f"URP: {steps[0]}; HDRP: {steps[1]}"]
    return (
        f"Open {project.root} in Unity, {show}. This project renders with {' or '.join(project.pipelines)}: "
        + (f"{steps[0]}.")
    )


def _importers() -> set[str]:
    """The packages that import .onnx files: at most one of them can be in a project."""
    return {target.package for target in _all() if target.package}


def _all() -> Iterator[Target]:
    return map(targets.get, targets.names())


def _fitting(package: str, version: str) -> Target | None:
    """The newest target that supports a version of a package, None if the version is too old for all of them.

    A path or the address of a repository, which says no version, counts as the newest one.
    """
    installed = _version(version)
    found = [
        target
        for target in _all()
        if target.package == package and (not installed or _version(target.oldest) <= installed)
    ]
    return max(found, key=lambda target: _version(target.package_version), default=None)


def _covers(target: Target, version: str) -> bool:
    """Whether a target supports this version of its package; True for a path or URL, whose version is unknown."""
    installed, fitting = _version(version), _fitting(target.package, version)
    within = _version(target.oldest) <= installed <= _version(target.package_version)
    return not installed or within or (fitting is not None and fitting.name == target.name)


def _too_old(project: ProjectFacts, package: str) -> PipelineError:
    oldest = min((target for target in _all() if target.package == package), key=lambda it: _version(it.oldest))
    return PipelineError(
        "package-too-old",
        f"the project has {package} {project.packages[package]}; the oldest supported version is {oldest.oldest}",
        subject=str(project.root),
        remedy=f"Update it in Window > Package Manager, or with --target {oldest.name} --switch-package.",
    )


def _for_older_editors(target: Target, editor: Version) -> str:
    newer = f"first open the project with Unity {target.unity} or later"
    able = [other for other in _all() if other.package and _version(other.unity) <= editor]
    if not able:
        return f"{newer[0].upper()}{newer[1:]}."
    best = max(able, key=lambda other: (other.package == target.package, _version(other.package_version)))
    return f"Use --target {best.name}, or {newer}."


def _version(text: str) -> Version:
    """(2, 4, 0) of 2.4.0-preview; empty for what does not begin with a number."""
    found = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, found[0].split("."))) if found else ()
