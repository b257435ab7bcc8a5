"""pipeline bench."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline import targets
from pipeline.cli.console import Console, output_options
from pipeline.cli.options import reading_options
from pipeline.support.size import Size


@click.command("bench")
@click.argument("files", nargs=-1, required=True, metavar="MODEL...", type=click.Path(path_type=Path))
@click.option(
    "--size",
    "sizes",
    multiple=True,
    metavar="WxH",
    help="Picture size; may be repeated. Default: 720x540, 1280x720 and 1920x1080.",
)
@click.option(
    "--runs",
    type=click.IntRange(2, 1000),
    default=7,
    show_default=True,
    help="Number of timed runs of each model.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Number of threads of ONNX Runtime.",
)
@click.option(
    "--seconds", type=float, default=60.0, show_default=True, help="Time limit in seconds for each size."
)
@click.option(
    "--target", default=targets.DEFAULT, show_default=True, help="The target that the models are converted for."
)
@click.option("--gpu", is_flag=True, help="Also time the kernels of a compiled network on this machine's GPU.")
@click.option(
    "--device", metavar="CLASS", help="Rearrange the graphs for this class of devices, as build-unity does."
)
@click.option(
    "--no-memory",
    is_flag=True,
    help="Do not measure memory, which takes one more process for each model and size.",
)
@click.option(
    "--import",
    "measurements",
    type=click.Path(path_type=Path),
    help="A table written by the bundle's benchmark scene: shows Unity's measurements next to the other numbers.",
)
@click.option("--html", type=click.Path(path_type=Path), help="Also write an HTML page with charts.")
@reading_options
@output_options
def command(console: Console, files: tuple[Path, ...], reading: dict[str, Any], **options: Any) -> None:
    """Compare what models cost: counted, measured on this machine, and predicted for Unity.

    MODEL is whatever build-unity reads, or the folder of a bundle. The models are lowered as for Unity and take
    turns in ONNX Runtime: minimum, median and 95th percentile of the wall time, and the processor time, which a
    busy machine does not change. Also multiply-adds, activations written, peak memory of activations (with the
    weights), and predicted milliseconds on Unity's workers for classes of devices (docs/cost.md says how accurate
    they are).

    \b
    Examples:
      pipeline bench mosaic.pth small.pth
      pipeline bench *.onnx --size 1280x720 --runs 20 --html bench.html
      pipeline bench mosaic.pth small.pth --import StyleTransferBenchmark.csv
    """
    from pipeline.bench.job import BenchOptions, bench, merge_unity
    from pipeline.report.bench import render_html, render_text
    from pipeline.sources import ReadOptions
    from pipeline.support.files import check_writable, write_file

    if options["html"] is not None:
        check_writable(options["html"])
    if options["gpu"]:
        _check_gpu(options["target"])
    sizes = tuple(Size.parse(text) for text in options["sizes"])
    chosen = BenchOptions(
        **({"sizes": sizes} if sizes else {}),
        target=options["target"],
        runs=options["runs"],
        threads=options["threads"],
        seconds=options["seconds"],
        memory=not options["no_memory"],
        device=options["device"],
        gpu=_GPU_SECONDS if options["gpu"] else 0.0,
    )
    measured = None
    if options["measurements"] is not None:
        from pipeline.unity.measurements import read_measurements

        measured = read_measurements(options["measurements"])
    with console.working("measuring"):
        report = bench(
            files,
            chosen,
            ReadOptions(**reading),
            progress=lambda message: console.say(f"  {message}", level=1),
        )
    for style in merge_unity(report, measured) if measured is not None else ():
        console.note(f"the imported table contains {style}, which is not one of these models")
    if options["html"] is not None:
        write_file(options["html"], render_html(report))
        console.step("written", str(options["html"]))
    if console.as_json:
        console.data(report)
        return
    for line in render_text(report):
        console.data(line)
    console.say(
        "min, median and p95 are wall times in ms; cpu and predicted are processor times in ms per picture. The "
        "columns of device classes are predictions for Unity."
    )


_GPU_SECONDS = 3.0
"""Seconds for which each model is timed on the GPU at each size."""


def _check_gpu(target: str) -> None:
    """Raise PipelineError `no-kernels` for a target whose networks run only in Unity."""
    from pipeline.support.errors import PipelineError

    if not targets.get(target).family.has_kernels:
        able = [name for name in targets.names() if targets.get(name).family.has_kernels]
        raise PipelineError(
            "no-kernels",
            f"networks for {target} run only in Unity, so --gpu cannot time them",
            subject="--gpu",
            remedy=f"Add --target {able[0]}." if able else "Omit --gpu.",
        )
