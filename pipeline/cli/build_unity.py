"""pipeline build-unity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.cli.console import Console, build_options, output_options, to_build_options


@click.command("build-unity", no_args_is_help=False)
@click.argument("sources", nargs=-1, metavar="[SOURCE]...", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="Name of the bundle and its classes; default from the file's name.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder that gets StyleTransfer/, to drag into Assets."
)
@click.option("-p", "--project", type=click.Path(path_type=Path), help="A Unity project to install into.")
@click.option(
    "--preview", type=click.Path(path_type=Path), help="Also write a PNG: the picture and what becomes of it."
)
@click.option(
    "--switch-package", is_flag=True, help="Give the project the Barracuda of --target if it has another one."
)
@click.option(
    "--weights",
    metavar="KIND",
    help="float (default), or packed: half, int8 to int4, or auto, which shares bits by their effect.",
)
@click.option("--min-psnr", type=float, help="What --weights auto keeps, in dB to the float network; default 40.")
@click.option(
    "--calibrate",
    multiple=True,
    metavar="PICTURE",
    type=click.Path(path_type=Path),
    help="A picture to round packed weights with; may be repeated. Without, drawn ones are used.",
)
@click.option("--no-cache", is_flag=True, help="Build anew even if nothing changed.")
@build_options
@output_options
def command(
    console: Console,
    sources: tuple[Path, ...],
    name: str | None,
    output: Path | None,
    project: Path | None,
    preview: Path | None,
    switch_package: bool,
    weights: str | None,
    min_psnr: float | None,
    calibrate: tuple[Path, ...],
    no_cache: bool,
    options: dict[str, Any],
    force: bool,
    dry_run: bool,
) -> None:
    """Turn a trained network into a folder that a Unity project can use.

    SOURCE is a checkpoint or model: .pth .pt .model .pt2 .safetensors .h5 .onnx. It is read without running
    anything in it, exported, rewritten until the target computes it right, checked against the target's rules,
    compared with the original, and packed with C#, shader, prefab and report. Without SOURCE the models of
    ./pipeline.toml are built.

    Without --output or --project the bundle goes into the Unity project around the current folder, else into
    ./UnityProject, which is made if it does not exist.

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
    from pipeline.support.errors import PipelineError

    packing = {"weights": weights, "min_psnr": min_psnr, "calibrate": calibrate or None}
    options |= {key: value for key, value in packing.items() if value is not None}
    if not sources:
        jobs = load_jobs(Path.cwd() / "pipeline.toml", options, output=output, project=project)
    else:
        jobs = [Job(source, name, output, project, options) for source in sources]
    if name is not None and len(jobs) > 1:
        raise PipelineError(
            "conflicting-options", "--name names one model, but there are several", remedy="Leave --name away."
        )
    check_jobs(jobs)
    results = []
    for job in jobs:
        console.say(click.style(f"{job.source}", bold=True))
        values = dict(job.options) | ({"name": job.name} if job.name else {})
        with console.working(f"building {job.source.name}"):
            result = build_unity(
                job.source,
                output=job.output,
                project=job.project,
                options=to_build_options(values),
                force=force,
                dry_run=dry_run,
                use_cache=not no_cache,
                switch_package=switch_package,
                preview=preview,
                step=console.step,
            )
        results.append(result)
        assert result.install is not None and result.bundle is not None
        counts = ", ".join(f"{len(v)} {k}" for k, v in result.as_dict()["install"].items() if v)
        console.step("dry run" if dry_run else "install", counts or "nothing to do")
        for kept in result.install.kept:
            console.note(f"{kept} was edited by you and stays; the new one is beside it. --force replaces it.")
        for note in result.notes:
            console.note(note)
        if not console.as_json:
            console.data(str(result.bundle))
        if result.project is not None and not dry_run:
            console.say(f"Open {result.project} in Unity; the prefab in {result.bundle.name} goes into any scene.")
    if console.as_json:
        console.data([r.as_dict() for r in results] if len(results) != 1 else results[0].as_dict())
