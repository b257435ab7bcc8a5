"""pipeline distill."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from pipeline import targets
from pipeline.cli.console import Console, output_options
from pipeline.cli.options import reading_options
from pipeline.cli.training import loop_options, progress, to_loop
from pipeline.support.errors import PipelineError
from pipeline.support.plain_text import styled


@click.command("distill")
@click.argument("teacher", metavar="TEACHER", type=click.Path(path_type=Path))
@click.option(
    "--images",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="Folder with frames of your game, or a picture; may be repeated.",
)
@click.option(
    "--student",
    default="",
    metavar="NETWORK",
    help="FAMILY:WIDTHSxBLOCKS, such as fast-neural-style:8,16,32x5, or the file of a small network to train "
    "further. The default is the largest that meets the goal.",
)
@click.option(
    "--goal",
    default="",
    metavar="GOAL",
    help="Requirement in Unity that the student must meet, such as '60 fps at 720x540 on laptop' or '50 KB'.",
)
@click.option(
    "--target",
    default=targets.DEFAULT,
    show_default=True,
    help="Target for whose kernels the cost of the student is predicted.",
)
@click.option(
    "--start",
    type=click.Choice(["auto", "teacher", "noise"]),
    default="auto",
    show_default=True,
    help="Initial weights of a student that is not a file: taken from the teacher (if the layers correspond), or "
    "random (noise).",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Default: TEACHER.student.pth in the current folder."
)
@click.option(
    "--holdout",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A picture to measure with, which is not used for training; may be repeated. The default is a bundled "
    "photograph.",
)
@click.option(
    "--weight",
    "weights",
    multiple=True,
    metavar="LOSS=NUMBER",
    help="Weight of a loss: pixels, fine, energy, gram, strokes, hints, features, statistics, critic, flicker, "
    "steady.",
)
@click.option(
    "--steady",
    type=click.FloatRange(0),
    metavar="WEIGHT",
    help="Weight of the loss on flicker: the difference between the outputs for two views of a moving scene. The "
    "motion is that of a synthetic camera over each picture, and that of --sequence. 10 is usual.",
)
@click.option(
    "--sequence",
    "sequences",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder with consecutive frames of your game, or a video of it, for --steady; may be repeated. The "
    "motion is estimated.",
)
@click.option("--pixels", type=click.IntRange(4096), help="Approximate pixels per step; default 65536.")
@loop_options(steps=6000)
@reading_options
@output_options
def command(
    console: Console,
    teacher: Path,
    images: tuple[Path, ...],
    student: str,
    goal: str,
    target: str,
    start: str,
    output: Path | None,
    holdout: tuple[Path, ...],
    weights: tuple[str, ...],
    steady: float | None,
    sequences: tuple[Path, ...],
    pixels: int | None,
    threads: int | None,
    loop: dict[str, Any],
    run: Path | None,
    resume: bool,
    force: bool,
    reading: dict[str, Any],
) -> None:
    """Train a small network to reproduce the output of a large one, on your own frames.

    TEACHER is whatever build-unity reads. Only pictures are needed: no style picture, no data set, no loss
    network. Three pictures are enough to begin with; frames of your game are best. The student is written as a
    checkpoint that build-unity reads.

    Students: fast-neural-style:8,16,32x5 (widths of the three stages, and residual blocks), its variant
    fast-neural-style-skips:8,12,24x4r5 for the smallest networks (long skips, and convolutions factored to 5
    channels), fritz:0.3 or fritz:0.3,small (alpha), few-shot-instance-norm:8,16,32x4. docs/distill.md shows the
    results of each.

    The folder OUTPUT.run gets samples (picture, teacher, student), a checkpoint that --resume continues from, and
    history.json. With torchrun --nproc-per-node N -m pipeline distill ... it trains on N GPUs or CPUs.

    \b
    Examples:
      pipeline distill candy.pth --images frames --student fast-neural-style:8,16,32x5 --minutes 20
      pipeline distill candy.pth --images frames --student fritz:0.3 --holdout shot.png -o small.pth
      pipeline distill candy.pth --images frames --steady 10 --sequence walk.mp4 --student small.pth
      pipeline distill candy.pth --images frames --target compute --goal '60 fps at 960x540 on laptop'
      pipeline distill net.onnx --input-range 0..255 --output-range 0..255 --images frames \\
          --student few-shot-instance-norm:8,16,32x4 --device cuda
      pipeline distill candy.pth --images frames --student small.pth --steps 2000 -o better.pth
    """
    options = to_loop(loop, threads, "distilling")
    from dataclasses import replace

    from pipeline.shrink.distill import STEADY, DistillOptions, Weights
    from pipeline.shrink.teaching import distill_file
    from pipeline.sources import ReadOptions

    given = _weights(weights, Weights)
    if steady is not None or (sequences and not given.get("steady")):
        given["steady"] = STEADY if steady is None else steady
    chosen = DistillOptions(options)
    if pixels is not None:
        chosen = replace(chosen, pixels=pixels)
    console.say(styled(f"{teacher}", bold=True))
    with progress(console) as show_progress:
        report = distill_file(
            teacher,
            images,
            student,
            output,
            chosen,
            weights=given,
            reading=ReadOptions(**reading),
            sequences=sequences,
            holdout=holdout,
            run=run,
            resume=resume,
            force=force,
            start=start,
            goal=goal,
            target=target,
            started=lambda message: console.step("student", message),
            progress=show_progress,
        )
    if os.environ.get("RANK", "0") != "0":
        return
    for quality in report["quality"]:
        console.step(
            "quality",
            f"{quality['picture']}: {quality['psnr']:.1f} dB, SSIM {quality['ssim']:.3f}; "
            f"detail {quality['detail']:.2f} of the teacher's, texture {quality['texture']:.2f} away",
        )
    console.data(report if console.as_json else report["student"]["file"])


def _weights(texts: tuple[str, ...], kinds: Any) -> dict[str, float]:
    from dataclasses import fields

    known = [field.name for field in fields(kinds)]
    result = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            if name not in known:
                raise ValueError
            result[name] = float(number)
        except ValueError:
            raise PipelineError(
                "bad-weight",
                f"{text!r} does not set the weight of a loss",
                subject="--weight",
                remedy=f"Use NAME=NUMBER, such as critic=0. The losses are: {', '.join(known)}.",
            ) from None
    return result
