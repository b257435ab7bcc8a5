"""The checks of the destination before a build, and the installation of the bundle after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import targets
from pipeline.build import origin
from pipeline.support.errors import PipelineError
from pipeline.support.files import check_writable

if TYPE_CHECKING:
    from pipeline.build.options import BuildOptions, Placement
    from pipeline.build.result import BuildResult
    from pipeline.targets import Target
    from pipeline.unity.destination import Destination
    from pipeline.unity.editions import Edition
    from pipeline.unity.project_facts import ProjectFacts
    from pipeline.unity.writer import InstallResult


@dataclass(frozen=True)
class Site:
    """The destination of a bundle: a folder, an existing project, or a new project of an edition."""

    name: str
    source: Path
    place: Destination
    project: ProjectFacts | None = None
    edition: Edition | None = None
    as_package: bool = False
    """The shared runtime is, or is to be, a package of Unity's package manager."""


def prepare(
    source: Path, name: str, options: BuildOptions, to: Placement, *, target_is_chosen: bool
) -> tuple[Site, BuildOptions]:
    """Check the destination before any work is done, and refuse what would fail after it.

    Without a chosen target, the project's package decides it. Raises PipelineError: `bad-model-name`, `name-taken`
    and what `destination.choose`, `project_facts.read`, `fit`, `editions.choose` and `writer.check` raise.
    """
    from pipeline.unity import destination, editions, fit, package, project_facts, writer
    from pipeline.unity.bundle import check_name, known_paths

    place = destination.choose(to.output, to.project)
    project = project_facts.read(place.project) if place.project is not None and not place.create else None
    if project is not None and not target_is_chosen:
        options = replace(options, target=fit.choose_target(project))
    elif place.create and to.project_version is not None and not target_is_chosen:
        options = replace(options, target=editions.own_target(to.project_version))
    target = targets.get(options.target)
    if project is not None:
        fit.check(project, target, switch_package=to.switch_package)
        _check_list_of_packages(project.root, target, to)
    edition = editions.choose(options.target, to.project_version) if place.create else None
    if to.project_version is not None and edition is None:
        raise PipelineError(
            "conflicting-options",
            "--project-version applies only to a new project, and the bundle goes into an existing folder",
            subject=str(place.project or place.assets),
            remedy="Omit it, or run the command in a folder without a Unity project.",
        )
    has_package = project is not None and package.NAME in project.packages
    if to.package and (place.assets / "StyleTransfer" / "Runtime").is_dir():
        raise PipelineError(
            "runtime-twice",
            "the runtime is already in Assets, and a package with the same scripts would not compile",
            subject=str(place.assets / "StyleTransfer"),
            remedy="Delete Runtime, Editor, Engines and Benchmark there first; references to them stay valid.",
        )
    check_name(name)
    destination.refuse_other_package(place.assets, name, target)
    origin.refuse_taken_name(place.assets, name, source, to.force)
    writer.check(known_paths(name, target), place.assets)
    if to.preview is not None and not to.preview.absolute().parent.is_dir():
        raise PipelineError(
            "no-such-folder",
            "the folder for the preview does not exist",
            subject=str(to.preview.parent),
            remedy="Create it first, or name another file with --preview.",
        )
    if to.preview is not None:
        check_writable(to.preview)
    return Site(name, source, place, project, edition, to.package or has_package), options


def _check_list_of_packages(project: Path, target: Target, to: Placement) -> None:
    """Check, without writing, the changes that `install` will make to Packages/manifest.json."""
    from pipeline.unity import package, packages

    needed = target.family.packages(target) | packages.MODULES
    changes = packages.add(project, needed, replace=to.switch_package, dry_run=True)
    if to.package:
        packages.show_tests(project, package.NAME, dry_run=True)
    if changes or to.package:
        check_writable(project / packages.LIST)


def install(
    files: Mapping[str, bytes], site: Site, options: BuildOptions, to: Placement, result: BuildResult
) -> None:
    """Create the project if needed, write the bundle and add the packages; fills in `result`."""
    from pipeline.unity import demo_project, fit, package, packages, project_facts, writer
    from pipeline.unity.bundle import model_folder
    from pipeline.unity.project import create_project

    place, name, target = site.place, site.name, targets.get(options.target)
    prefab = f"{model_folder(name)}/{name}Camera.prefab"
    shown = files[prefab].decode("ascii")
    if site.edition is not None and not to.dry_run:
        overlay = demo_project.overlay(name, shown, site.edition)
        create_project(place.assets.parent, overlay)
        result.notes.append(f"created a new project for Unity {site.edition.editor}: {place.assets.parent}")
    if site.as_package:
        result.install = install_with_package(
            files, name, place, target, result, force=to.force, dry_run=to.dry_run
        )
    else:
        result.install = writer.install(files, place.assets, force=to.force, dry_run=to.dry_run)
    result.bundle = place.assets / model_folder(name)
    if not to.dry_run:
        origin.remember(place.assets, name, site.source)
    if place.project is None:
        result.next_step = f"Drag {place.assets / 'StyleTransfer'} into the Assets folder of a Unity project."
        if site.as_package:
            result.next_step += f" Move {package.NAME}, next to it, into Packages."
        result.next_step = f"{result.next_step} {targets.get(options.target).family.successor}".strip()
        return
    result.project = place.project
    needed = target.family.packages(target) | packages.MODULES
    replace = place.create or to.switch_package
    result.notes += packages.add(place.project, needed, replace=replace, dry_run=to.dry_run)
    if site.as_package and not to.dry_run:
        packages.show_tests(place.project, package.NAME)
    if site.project is None:
        result.next_step = f"Open {place.project} in Unity and press Play."
    else:
        if not to.dry_run and demo_project.show(place.project, name, shown):
            result.notes.append(f"the demo scene now shows {name}; the key N switches to the next style")
        result.next_step = fit.next_step(project_facts.read(place.project), Path(prefab).name)


def install_with_package(
    files: Mapping[str, bytes],
    name: str,
    place: Destination,
    target: Target,
    result: BuildResult,
    *,
    force: bool,
    dry_run: bool,
) -> InstallResult:
    """Write the models to Assets and the runtime to Packages/ of the project, or next to Assets."""
    from pipeline.unity import package, packages, writer
    from pipeline.unity.bundle import model_folder

    assets, shared = package.split(files, name)
    parts = [writer.install(assets, place.assets, force=force, dry_run=dry_run)]
    folder = place.assets if place.project is None else place.project / "Packages"
    listed = packages.requested(place.project) if place.project is not None else {}
    if package.NAME in listed:
        result.notes.append(
            f"the runtime is the package {package.NAME} {listed[package.NAME]}, which is not changed"
        )
    else:
        shown = files[f"{model_folder(name)}/{name}Camera.prefab"].decode("ascii")
        package_files = package.render(shared, target, name, shown)
        parts.append(writer.install(package_files, folder, force=force, dry_run=dry_run, root=package.NAME))
        result.notes.append(f"the runtime is the package {folder / package.NAME}")
    return writer.together(parts)
