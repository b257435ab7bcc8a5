"""pipeline train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.cli.console import Console, output_options
from pipeline.cli.training import loop_options, progress, say_trained, to_loop
from pipeline.support.plain_text import styled


@click.command("train")
@click.option("--style", required=True, type=click.Path(path_type=Path), help="The style picture.")
@click.option(
    "--images",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="Folder with pictures to train on: frames of your game, or COCO 2014; may be repeated.",
)
@click.option(
    "--vgg",
    required=True,
    type=click.Path(path_type=Path),
    help="The loss network: vgg16-397923af.pth of torchvision, as .pth or .safetensors.",
)
@click.option(
    "--student",
    default="fast-neural-style:8,16,32x5",
    show_default=True,
    metavar="NETWORK",
    help="FAMILY:WIDTHSxBLOCKS, as for distill.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Default: STYLE.trained.pth in the current folder."
)
@click.option("--content-weight", type=float, default=1e5, show_default=True, help="Weight of the content loss.")
@click.option("--style-weight", type=float, default=1e10, show_default=True, help="Weight of the style loss.")
@click.option(
    "--variation-weight",
    type=float,
    default=0.0,
    show_default=True,
    help="Weight of the total variation loss (smoothness).",
)
@click.option(
    "--flicker-weight",
    type=float,
    default=0.0,
    show_default=True,
    help="Weight of the loss on flicker: the difference between the outputs for two views of a moving scene.",
)
@click.option(
    "--sequence",
    "sequences",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder with consecutive frames of your game, or a video of it, for --flicker-weight; may be repeated.",
)
@click.option(
    "--style-size",
    type=click.IntRange(32),
    help="Resize the style picture so that its longer side has this many pixels; by default it is not resized.",
)
@click.option("--batch", type=click.IntRange(1), default=4, show_default=True, help="Pictures per step.")
@click.option(
    "--side",
    type=click.IntRange(64),
    default=256,
    show_default=True,
    help="Side of these square pictures in pixels.",
)
@click.option(
    "--holdout",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A picture for the samples; may be repeated. The default is a bundled photograph.",
)
@loop_options(steps=40_000)
@output_options
def command(
    console: Console,
    style: Path,
    images: tuple[Path, ...],
    vgg: Path,
    student: str,
    output: Path | None,
    content_weight: float,
    style_weight: float,
    variation_weight: float,
    flicker_weight: float,
    sequences: tuple[Path, ...],
    style_size: int | None,
    batch: int,
    side: int,
    holdout: tuple[Path, ...],
    threads: int | None,
    loop: dict[str, Any],
    **places: Any,
) -> None:
    """Train a style transfer network from a style picture, as fast_neural_style does.

    Needs a loss network, which this tool neither contains nor downloads: VGG16 of torchvision
    (https://download.pytorch.org/models/vgg16-397923af.pth, 528 MB). The command checks whether your file has its
    checksum; nothing in it is run. The usual training is 40,000 steps of four pictures, which needs a GPU. If you
    already have a network in that style, `pipeline distill` needs only minutes.

    Samples, checkpoint and history are written to OUTPUT.run; --resume continues from there. The network is
    written as a checkpoint that build-unity reads.

    \b
    Examples:
      pipeline train --style candy.jpg --images frames --vgg vgg16-397923af.pth
      pipeline train --style candy.jpg --images frames --vgg vgg16-397923af.pth --student fritz:0.3 \\
          --style-weight 5e10 --style-size 512 -o candy.pth
    """
    options = to_loop(loop, threads, "training")
    from pipeline.shrink.train import StyleOptions, train_file
    from pipeline.support.errors import PipelineError

    if side % 8:
        raise PipelineError(
            "bad-size",
            f"{side} is not a multiple of 8",
            subject="--side",
            remedy=f"Use {side // 8 * 8} or {side // 8 * 8 + 8}.",
        )
    chosen = StyleOptions(
        options, content_weight, style_weight, variation_weight, flicker_weight, batch, side, style_size
    )
    console.say(styled(f"{style}", bold=True))
    with progress(console) as show_progress:
        report = train_file(
            style,
            images,
            vgg,
            student,
            chosen,
            output,
            sequences=sequences,
            holdout=holdout,
            started=lambda message: console.step("student", message),
            progress=show_progress,
            **places,
        )
    say_trained(console, report)
