"""pipeline paint."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from pipeline.cli.console import Console, output_options
from pipeline.cli.options import reading_options
from pipeline.support.errors import PipelineError
from pipeline.support.plain_text import plural
from pipeline.support.size import Size


@click.command("paint")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument(
    "sources", metavar="PICTURE|FOLDER|VIDEO...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File or folder to write; default: NAME.MODEL.png (.mp4 for a video) in the current folder.",
)
@click.option(
    "--size", metavar="WxH", help="Resize and crop to this size first; default: each picture's own size."
)
@click.option(
    "--guides",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Folder with the guides of the pictures, for a network with --input-channels: FOLDER/depth/NAME.png.",
)
@click.option("--side-by-side", is_flag=True, help="Put the source next to the output.")
@click.option("--target", metavar="TARGET", help="Run an .onnx file or bundle as this target computes it.")
@click.option("--force", is_flag=True, help="Replace existing files.")
@reading_options
@output_options
def command(
    console: Console,
    model: Path,
    sources: tuple[Path, ...],
    output: Path | None,
    size: str | None,
    guides: Path | None,
    side_by_side: bool,
    target: str | None,
    force: bool,
    reading: dict[str, Any],
) -> None:
    """Run a network on pictures, folders of pictures and videos.

    MODEL is whatever build-unity reads, or the folder of a bundle. Pictures are written as PNG, folders keep their
    names and subfolders, videos become H.264 without sound (needs the extra `video`). Nothing is resized unless
    --size says so or the network runs only at one size.

    \b
    Examples:
      pipeline paint mosaic.pth photo.jpg
      pipeline paint mosaic.pth frames --side-by-side -o painted
      pipeline paint net.onnx walk.mp4 --input-range 0..255 --output-range 0..255 --size 960x540
      pipeline paint adain.onnx photo.jpg --bind style=wave.jpg --input-range 0..1 --output-range 0..1
      pipeline paint few-shot.pth frames --input-channels rgb,depth --guides guides
      pipeline paint UnityProject/Assets/StyleTransfer/Models/Mosaic photo.jpg --target barracuda-3.0
    """
    from pipeline import targets
    from pipeline.comparison.painting import Painter, check_guides, paint, plan
    from pipeline.comparison.sides import model_file, read_side
    from pipeline.sources import ReadOptions
    from pipeline.support.files import check_writable

    requested = Size.parse(size).checked() if size is not None else None
    aim = targets.get(target) if target else None
    jobs = plan(list(sources), model_file(model).stem, output)
    for job in jobs:
        if job.output.exists() and not force:
            raise PipelineError(
                "file-exists",
                "a file or folder of that name exists",
                subject=str(job.output),
                remedy="Use --force to replace it, or --output for another name.",
            )
        check_writable(job.output / "picture.png" if job.kind == "folder" else job.output)
    side = read_side("the network", model, ReadOptions(**reading), aim, planes=True)
    painter = Painter(side)
    check_guides(painter, jobs, guides)
    if painter.fixed:
        console.note(f"this network runs only at {painter.fixed}: pictures are resized to that")
    report = []
    for job in jobs:
        started = time.monotonic()
        with console.counting(f"{job.source.name}") as report_progress:
            count = paint(painter, job, size=requested, beside=side_by_side, report=report_progress, guides=guides)
        seconds = time.monotonic() - started
        console.step("painted", f"{job.source.name}: {plural(count, 'picture')}, {seconds:.1f} s")
        report.append({"source": str(job.source), "output": str(job.output), "kind": job.kind, "pictures": count})
    if console.as_json:
        console.data({"schema": 1, "model": str(model), "computed_as": side.ran_as, "painted": report})
        return
    for entry in report:
        console.data(entry["output"])
