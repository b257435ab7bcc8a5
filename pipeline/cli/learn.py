"""pipeline learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.cli.console import Console, output_options
from pipeline.cli.training import loop_options, progress, say_trained, to_loop
from pipeline.support.plain_text import styled


@click.command("learn")
@click.option(
    "--frames",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder with frames of your game, or a video of it.",
)
@click.option(
    "--painted",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder with paintings of some of these frames, with the same file names.",
)
@click.option(
    "--student",
    default="few-shot:8,16,32x4",
    show_default=True,
    metavar="NETWORK",
    help="FAMILY:WIDTHSxBLOCKS, as for distill.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Default: PAINTED.pth in the current folder."
)
@click.option(
    "--holdout",
    multiple=True,
    metavar="NAME",
    help="A pair to measure with, which is not used for training; may be repeated.",
)
@click.option(
    "--guides",
    type=click.Path(path_type=Path),
    help="Folder with the guides of each frame: GUIDES/depth/0040.png, GUIDES/normals/0040.png and so on.",
)
@click.option(
    "--input-channels",
    metavar="LIST",
    help="Input channels of the network, in its order, with --guides: rgb,depth, or rgb,normals,mask.",
)
@click.option("--patch", type=click.IntRange(48), default=64, show_default=True, help="Side of a patch in pixels.")
@click.option("--batch", type=click.IntRange(1), default=16, show_default=True, help="Number of patches per step.")
@click.option(
    "--texture-weight",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="Weight of the texture loss, which compares the statistics of strokes.",
)
@click.option(
    "--critic-weight",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Weight of a discriminator that learns to distinguish paintings from the network's output; 0.1 is usual.",
)
@loop_options(steps=4_000)
@output_options
def command(
    console: Console,
    frames: Path,
    painted: Path,
    student: str,
    output: Path | None,
    holdout: tuple[str, ...],
    guides: Path | None,
    input_channels: str | None,
    patch: int,
    batch: int,
    texture_weight: float,
    critic_weight: float,
    threads: int | None,
    loop: dict[str, Any],
    **places: Any,
) -> None:
    """Train a network on a few frames that were painted by an artist or by an offline method.

    A painting has the same file name as its frame; frames without a painting are shown in the samples. Three to
    ten pairs of one level are a good start. No loss network is needed. Samples (frame, painting, output),
    checkpoint and history are written to OUTPUT.run; --resume continues from there. The network is written as a
    checkpoint that build-unity reads.

    \b
    Examples:
      pipeline learn --frames frames --painted painted
      pipeline learn --frames frames --painted painted --student few-shot:8,16,32x4 --holdout 0040 \\
          --minutes 20 -o level1.pth
      pipeline learn --frames frames --painted painted --guides guides --input-channels rgb,depth,normals
    """
    options = to_loop(loop, threads, "training")
    from pipeline.shrink.learn import LearnOptions, learn_file

    chosen = LearnOptions(options, batch, patch, texture_weight, critic_weight)
    console.say(styled(f"{painted}", bold=True))
    with progress(console) as show_progress:
        report = learn_file(
            frames,
            painted,
            student,
            chosen,
            output,
            guides=guides,
            input_channels=input_channels,
            holdout=holdout,
            started=lambda message: console.step("student", message),
            progress=show_progress,
            **places,
        )
    for note in report["notes"]:
        console.note(note)
    if input_channels is not None:
        console.note(f"declare the guides to other commands: --input-channels {input_channels}")
    say_trained(console, report)
