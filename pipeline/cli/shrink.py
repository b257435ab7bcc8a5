"""pipeline shrink."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline import targets
from pipeline.cli.console import Console, output_options
from pipeline.cli.options import reading_options
from pipeline.support.size import Size


@click.command("shrink")
@click.argument("teacher", type=click.Path(path_type=Path))
@click.option(
    "--goal", required=True, metavar="GOAL", help="The goal, such as '60 fps at 720x540 on laptop' or '50 KB'."
)
@click.option(
    "--images",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="Pictures of your game: files or folders; may be repeated.",
)
@click.option("--time", default="30 min", show_default=True, help="Total time for all trainings.")
@click.option(
    "--tries", type=click.IntRange(1, 20), default=3, show_default=True, help="Number of networks to train."
)
@click.option(
    "--device", default="desktop", show_default=True, help="Device class that fps and ms are predicted for."
)
@click.option(
    "--size",
    "sizes",
    multiple=True,
    metavar="WxH",
    help="Picture size to time; may be repeated. Three by default.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder for the result; default NAME-smaller."
)
@click.option(
    "--target", default=targets.DEFAULT, show_default=True, help="The target that the networks are converted for."
)
@click.option("--seed", type=int, default=0, help="Seed for initial weights and crops.")
@click.option("--resume", is_flag=True, help="Continue an interrupted search from the checkpoints in OUTPUT.")
@click.option("--force", is_flag=True, help="Start again, and replace the report of an earlier search.")
@reading_options
@output_options
def command(
    console: Console,
    teacher: Path,
    images: tuple[Path, ...],
    sizes: tuple[str, ...],
    reading: dict[str, Any],
    **options: Any,
) -> None:
    """Find smaller networks that meet a goal, train them from a teacher, and compare them.

    Students of every width and depth are filtered by their predicted cost; the most promising ones, and the
    teacher pruned to the goal, are trained on the teacher's output for your pictures. Then all are measured: size,
    multiply-adds, traffic, time, flicker, and the difference from the teacher's output on a picture that none was
    trained on (the last of several). The folder gets the checkpoints, which every other command reads, the
    pictures, and report.html. For comparison, masks and 8-bit weights are measured too; they do not make a network
    faster.

    While a network is trained, its state is saved every minute and every 100 steps in OUTPUT/runs. The same
    command with --resume repeats no finished training and continues the interrupted one; with a --time in steps
    the networks are the same bytes as without the interruption.

    \b
    Examples:
      pipeline shrink candy.pth --images frames --goal '60 fps at 720x540 on desktop'
      pipeline shrink net.onnx --input-range 0..1 --output-range 0..1 --images frames --goal '50 KB' --time '2 h'
      pipeline shrink candy.pth --images frames --goal '60 fps at 720x540 on desktop' --resume
    """
    from pipeline.report.shrink import render_text
    from pipeline.shrink.search import shrink_file
    from pipeline.sources import ReadOptions

    if sizes:
        options["sizes"] = [Size.parse(text) for text in sizes]
    with console.working(f"shrinking {teacher.name}"):
        report, place = shrink_file(
            teacher,
            images=images,
            reading=ReadOptions(**reading),
            progress=lambda message: console.say(f"  {message}"),
            **options,
        )
    for note in report["notes"]:
        console.note(note)
    if console.as_json:
        console.data(report)
        return
    for line in render_text(report):
        console.data(line)
    console.say("ms are processor times of one thread; * marks the best trade-offs.")
    console.step("written", str(place / "report.html"))
