"""pipeline prune."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline import targets
from pipeline.cli.console import Console, output_options
from pipeline.cli.options import reading_options


@click.command("prune")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--goal", required=True, metavar="GOAL", help="The budget: '50%', '50 KB', '5 GMAC', '60 fps at 720x540'."
)
@click.option(
    "--device", default="desktop", show_default=True, help="Device class that ms and fps are predicted for."
)
@click.option(
    "--target",
    default=targets.DEFAULT,
    show_default=True,
    help="Target for whose kernels ms and fps are predicted.",
)
@click.option(
    "--method",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="factor: split convolutions into a vertical and a horizontal one; channels: remove channels; auto: the "
    "method with the smaller error.",
)
@click.option(
    "--criterion",
    default="reconstruction",
    show_default=True,
    metavar="NAME",
    help="How the importance of a channel is measured: reconstruction, ablation, activation, norm, l1, l2, "
    "geometric-median, random.",
)
@click.option(
    "--multiple",
    type=int,
    default=0,
    help="Round widths and ranks to multiples of this; 0 chooses what suits the kernels.",
)
@click.option(
    "--images", type=click.Path(path_type=Path), help="Folder with pictures of your game, a picture, or a video."
)
@click.option(
    "--refit/--no-refit",
    default=True,
    show_default=True,
    help="Refit the layers that read fewer channels, by least squares on --images or the bundled picture.",
)
@click.option(
    "--tune", metavar="TIME", help="Fine-tune on --images for this long ('20 min'), on the original's output."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Default: NAME.pruned.pth, or NAME.pruned.onnx for an .onnx file.",
)
@click.option("--seed", type=int, default=0, help="Seed for --criterion random and for fine-tuning.")
@click.option(
    "--run", type=click.Path(path_type=Path), help="Folder for the checkpoint of --tune; default OUTPUT.run."
)
@click.option("--resume", is_flag=True, help="Continue an interrupted --tune from its checkpoint.")
@click.option("--force", is_flag=True, help="Start again, and replace an existing file.")
@reading_options
@output_options
def command(console: Console, file: Path, reading: dict[str, Any], **options: Any) -> None:
    """Make a trained network smaller until it meets a budget.

    There are two methods. `factor` replaces convolutions by a vertical and a horizontal one with few channels
    between them, fitted by least squares to the original's layers. `channels` removes the channels that matter
    least, together with all that is coupled to them through additions, norms, concatenations and shuffles, and
    refits the layers that read them in the same way. The result is a network of the same kind, in a file that
    every other command reads; an architecture without a factored form only loses channels. --tune then trains the
    network on the original's output over --images. Masks (zeros among the weights) do not make anything faster;
    the command says so if the file has one.

    While --tune trains, its state is saved every minute and every 100 steps in the folder OUTPUT.run. The same
    command with --resume goes on from there; a --tune that is given in steps then ends with the same bytes as
    without the interruption.

    Budgets: a share or number of weights, bytes of the model in Unity, multiply-adds, or predicted milliseconds on
    a device class (here, desktop, laptop, phone, burst).

    \b
    Examples:
      pipeline prune candy.pth --goal 50%
      pipeline prune candy.pth --goal '60 fps at 720x540 on laptop' --images frames --tune '20 min'
      pipeline prune candy.pth --goal '60 fps at 720x540 on laptop' --images frames --tune '20 min' --resume
      pipeline prune net.onnx --goal '200 KB' --criterion norm -o smaller.onnx
    """
    from pipeline.shrink.job import prune_file
    from pipeline.sources import ReadOptions

    with console.working(f"pruning {file.name}"):
        report = prune_file(
            file, reading=ReadOptions(**reading), progress=lambda text: console.step("prune", text), **options
        )
    for note in report["notes"]:
        console.note(note)
    before, after = report["weights"]["before"], report["weights"]["after"]
    console.step("goal", f"{report['goal']['told_before']} -> {report['goal']['told_after']}")
    console.step("weights", f"{before:,} -> {after:,}")
    distance = report["apart"]
    quality = f"{distance['mean_levels']:.1f} levels of 255 from the original on average, {distance['psnr']} dB"
    console.step("quality", quality + ("" if report["tuned"] else "; not fine-tuned"))
    console.data(report if console.as_json else report["output"])
