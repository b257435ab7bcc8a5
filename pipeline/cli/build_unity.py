"""pipeline build-unity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.console import Console, output_options
from pipeline.cli.options import build_options
from pipeline.support.plain_text import styled

if TYPE_CHECKING:
    from pipeline.build.result import BuildResult


@click.command("build-unity", no_args_is_help=False)
@click.argument("sources", nargs=-1, metavar="[SOURCE]...", type=click.Path(path_type=Path))
@build_options("build-unity")
@output_options
def command(
    console: Console,
    sources: tuple[Path, ...],
    options: dict[str, Any],
) -> None:
    """Turn a trained network into a folder that a Unity project can use.

    SOURCE is a checkpoint or model: .pth .pt .model .pt2 .safetensors .h5 .onnx. No code in it is run
    (docs/security.md). The network is exported, rewritten so that the target computes it correctly, checked
    against the target's rules, compared with the original, and written with C# scripts, shaders, a prefab and a
    report. Without SOURCE, the models listed in ./pipeline.toml are built.

    Without --output or --project, the bundle goes into the Unity project that contains the current folder, or
    otherwise into ./UnityProject, which is created if it does not exist.

    \b
    Examples:
      pipeline build-unity mosaic.pth
      pipeline build-unity mosaic.pth --project ~/MyGame --target barracuda-2.0 --switch-package
      pipeline build-unity mosaic.pth --weights auto --min-psnr 45
      pipeline build-unity net.onnx --input-range 0..255 --output-range 0..255 --output bundle
      pipeline build-unity weights.pth --architecture mynets:Generator --input-range -1..1 --output-range -1..1
    """
    from pipeline.build.config import Job, check_jobs, load_jobs
    from pipeline.build.job import build_unity
    from pipeline.report.text import advice_sentence
    from pipeline.support.errors import PipelineError

    name, output, project = (options.pop(key, None) for key in ("name", "output", "project"))
    if not sources:
        jobs = load_jobs(Path.cwd() / "pipeline.toml", options, output=output, project=project)
    else:
        jobs = [Job(source, name, output, project, options) for source in sources]
    if name is not None and len(jobs) > 1:
        raise PipelineError(
            "conflicting-options",
            "--name applies to one model, but several sources are given",
            remedy="Omit --name.",
        )
    dry_run = bool(options.get("dry_run"))
    check_jobs(jobs)
    results = []
    for job in jobs:
        console.say(styled(f"{job.source}", bold=True))
        with console.working(f"building {job.source.name}"):
            result = build_unity(
                job.source,
                step=console.step,
                name=job.name or name,
                output=job.output,
                project=job.project,
                **job.options,
            )
        results.append(result)
        assert result.install is not None and result.bundle is not None
        console.step("dry run" if dry_run else "install", _counted(result, dry_run))
        for kept in result.install.kept:
            console.note(
                f"you edited {kept}, so it was kept; the new version is next to it, with the ending .new. --force "
                "overwrites it."
            )
        for note in result.notes:
            console.note(note)
        if not dry_run:
            console.step("report", str(result.bundle / "report.html"))
        advice = result.report.get("advice")
        if advice and advice["recommended"] != result.report["target"]["name"]:
            console.step("advice", advice_sentence(advice))
        if result.preview is not None:
            console.step("preview", str(result.preview))
        if not console.as_json:
            console.data(str(result.bundle))
        if not dry_run:
            console.say(result.next_step)
    if console.as_json:
        console.data([r.as_dict() for r in results] if len(results) != 1 else results[0].as_dict())


_DONE = {
    "written": "written",
    "unchanged": "unchanged",
    "kept": "kept",
    "beside": "written as .new next to edited files",
    "removed": "removed",
}
_TO_DO = _DONE | {
    "written": "to write",
    "beside": "to write as .new next to edited files",
    "removed": "to remove",
}


def _counted(result: BuildResult, dry_run: bool) -> str:
    """The numbers of files that were (or would be) written, kept and removed, as text."""
    words = _TO_DO if dry_run else _DONE
    assert result.install is not None
    counts = [
        f"{len(paths)} file{'s' if len(paths) > 1 else ''} {words[key]}"
        for key, paths in result.as_dict()["install"].items()
        if paths
    ]
    if not dry_run and len(counts) == 1 and result.install.unchanged:
        return f"nothing to write: all {len(result.install.unchanged)} files are unchanged"
    return f"{', '.join(counts) or 'nothing to do'}{'; nothing was changed' if dry_run else ''}"
