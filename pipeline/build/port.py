"""Converts the styles of a folder to another target, such as from Barracuda to Inference Engine.

A bundle contains all that is needed: its model, with the image contract baked in, and its report. The model is
raised to valid ONNX, lowered for the other target, and proven against the original; all styles are ready before
the first file is replaced. The reports' facts about the source, component, names and GUIDs stay, so that scenes
keep their references.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import targets
from pipeline.build.options import BuildOptions, Step
from pipeline.build.result import BuildResult
from pipeline.support.errors import PipelineError
from pipeline.support.parsing import from_json
from pipeline.support.plain_text import plural
from pipeline.support.size import Size

if TYPE_CHECKING:
    from pipeline.targets import Target

_MOST = 1 << 31
_LONGEST = 1 << 16


@dataclass(frozen=True)
class Style:
    """One existing style: its name, its report, and its model as valid ONNX."""

    name: str
    report: Mapping[str, Any]
    target: Target
    model: bytes


def _silent(name: str, found: str) -> None:
    pass


def port(
    where: str | Path,
    target: str,
    *,
    switch_package: bool = False,
    force: bool = False,
    dry_run: bool = False,
    step: Step = _silent,
) -> list[BuildResult]:
    """Rebuild every style below `where` for `target`, in place.

    `where` is a Unity project, its Assets, or any folder that holds StyleTransfer/. A project's list of packages
    loses the package of another target only with `switch_package`. Raises PipelineError `no-styles`,
    `bundle-broken`, and what `fit.check_switch` and `build_unity` raise; then nothing was changed.
    """
    from pipeline.build.installing import install_with_package
    from pipeline.build.job import make_parts
    from pipeline.build.parts import bundle
    from pipeline.unity import fit, package, packages, project_facts, writer
    from pipeline.unity.bundle import model_folder
    from pipeline.unity.destination import Destination
    from pipeline.unity.project import find_project

    chosen = targets.get(target)
    assets = _assets(Path(where))
    project, removed, replace = find_project(assets), [], False
    if project is not None:
        facts = project_facts.read(project)
        removed = fit.check_switch(facts, chosen, switch_package=switch_package)
        replace = switch_package and not fit.has_package(facts, chosen)
    styles = [_style(folder) for folder in _folders(assets)]
    built = []
    with tempfile.TemporaryDirectory() as scratch:
        for style in styles:
            step("port", f"{style.name}: from {style.target.name} to {chosen.name}")
            source = Path(scratch) / f"{style.name}.onnx"
            model, left = _plain(style)
            source.write_bytes(model)
            options, note = _options(style, chosen, left)
            parts, _ = make_parts(source, options, style.name, step, origin=style.report)
            files, report = bundle(parts, options, style.name), parts.report
            result = BuildResult(report, bundle=assets / model_folder(style.name))
            result.notes += [note] if note else []
            built.append((files, result))
    has_package = project is not None and package.NAME in packages.present(project)
    for style, (files, result) in zip(styles, built, strict=True):
        if has_package:
            place = Destination(assets, project, create=False)
            result.install = install_with_package(
                files, style.name, place, chosen, result, force=force, dry_run=dry_run
            )
        else:
            result.install = writer.install(files, assets, force=force, dry_run=dry_run)
    if project is not None:
        needed = chosen.family.packages(chosen) | packages.MODULES
        notes = packages.remove(project, removed, dry_run=dry_run)
        built[0][1].notes += notes + packages.add(project, needed, replace=replace, dry_run=dry_run)
        built[0][1].project = project
    return [result for _, result in built]


def _assets(where: Path) -> Path:
    """The folder that holds StyleTransfer/."""
    for folder in (where, where / "Assets", where.parent):
        if (folder / "StyleTransfer" / "Models").is_dir() and (
            folder is not where.parent or where.name == "StyleTransfer"
        ):
            return folder
    raise PipelineError(
        "no-styles",
        "it does not contain StyleTransfer/Models",
        subject=str(where),
        remedy="Name the Unity project, its Assets, or the folder that contains StyleTransfer.",
    )


def _folders(assets: Path) -> list[Path]:
    found = sorted(report.parent for report in (assets / "StyleTransfer" / "Models").glob("*/report.json"))
    if not found:
        raise PipelineError(
            "no-styles",
            "it contains no style with a report.json",
            subject=str(assets / "StyleTransfer" / "Models"),
            remedy="Build the styles with `pipeline build-unity --target`.",
        )
    return found


def _style(folder: Path) -> Style:
    """Read a style's report and model. Raises PipelineError `bundle-broken` and `several-styles`."""
    from pipeline.compress.packed import is_packed, unpack
    from pipeline.sources.failures import guarded

    try:
        report = from_json((folder / "report.json").read_text(encoding="utf-8"))
        name, target = str(report["target"]["name"]), folder.name
        width, height = report["model"]["width"], report["model"]["height"]
        assert all(type(side) is int and 0 < side <= _LONGEST for side in (width, height))
        assert report["source"]["digest"] and isinstance(report["source"], dict)
        assert all(isinstance(report.get(part) or {}, dict) for part in ("packed", "arranged"))
        assert isinstance((report.get("arranged") or {}).get("done") or [], list)
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise _broken(folder, f"its report cannot be read ({type(error).__name__})") from error
    old = targets.get(name)
    if report.get("styles"):
        raise PipelineError(
            "several-styles",
            "its model takes the style as a second input: several styles are bound, or the game gives them",
            subject=str(folder),
            remedy=f"Build it from its source ({report['source'].get('file', 'the checkpoint')}) for the other "
            "target with `pipeline build-unity --target`, or move it out of the folder.",
        )
    if report["model"].get("guides"):
        raise PipelineError(
            "several-inputs",
            "its model takes guides beside the colour",
            subject=str(folder),
            remedy=f"Build it from its source ({report['source'].get('file', 'the checkpoint')}) for the other "
            "target with `pipeline build-unity --target`, or move it out of the folder.",
        )
    file = next(
        (path for suffix in (*old.family.suffixes, ".bytes") if (path := folder / f"{target}{suffix}").is_file()),
        None,
    )
    if file is None or file.stat().st_size > _MOST:
        raise _broken(folder, "its model file is missing" if file is None else "its model file is too large")
    data = file.read_bytes()
    if is_packed(data):
        data = unpack(data, str(file)).model
    try:
        meaning = guarded(file, lambda: old.family.meaning(data, old))
    except PipelineError as error:
        if error.code != "plan-has-no-graph":
            raise
        raise PipelineError(
            "plan-has-no-graph",
            f"this style is compiled for {old.name}, and a compiled network cannot be turned back into a graph",
            subject=str(folder),
            remedy=f"Build it from its source ({report['source'].get('file', 'the checkpoint')}) for the other "
            "target with `pipeline build-unity --target`, or move it out of the folder.",
        ) from error
    return Style(target, report, old, meaning.SerializeToString(deterministic=True))


def _broken(folder: Path, why: str) -> PipelineError:
    return PipelineError(
        "bundle-broken",
        why,
        subject=str(folder),
        remedy="Build this style again with `pipeline build-unity`, or move it out of the folder.",
    )


def _plain(style: Style) -> tuple[bytes, int]:
    """The model with the rearrangements for a class of devices undone, and how many could not be undone."""
    done = (style.report.get("arranged") or {}).get("done") or []
    if not done:
        return style.model, 0
    import onnx

    from pipeline.graph import from_model, to_model
    from pipeline.rewrites.rearranged import undo

    held = onnx.load_from_string(style.model)
    graph = from_model(held)
    count = undo(graph)
    metadata = {entry.key: entry.value for entry in held.metadata_props}
    model = to_model(graph, metadata).SerializeToString(deterministic=True) if count else style.model
    return model, max(0, len(done) - count)


def _options(style: Style, target: Target, left: int) -> tuple[BuildOptions, str]:
    """The options that build the style for the other target, and a note on what changes.

    `left` is the number of rearranged layers that could not be undone.
    """
    from pipeline.compress.bundling import check_target
    from pipeline.compress.kinds import FLOAT

    weights, note = str(style.report.get("packed", {}).get("weights", FLOAT)), ""
    try:
        check_target(weights, target)
    except PipelineError as error:
        note = f"{style.name}: weights are stored as float, because {error.message}"
        weights = FLOAT
    arranged = style.report.get("arranged") or {}
    device = arranged.get("device")
    same_family = target.family is style.target.family
    if left and not same_family:
        note += f"{'; ' if note else style.name + ': '}its graph keeps {plural(left, 'layer')} arranged for "
        note += f"{style.target.name} on {device}; built from its source for {target.name} it may be faster"
    model = style.report["model"]
    options = BuildOptions(
        target=target.name,
        name=style.name,
        size=Size(int(model["width"]), int(model["height"])),
        input_range="0..1",
        output_range="0..1",
        weights=weights,
        device=device if same_family else None,
    )
    return options, note
