"""pipeline compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.console import Console, output_options
from pipeline.cli.options import reading_options
from pipeline.support.plain_text import styled
from pipeline.support.size import Size

if TYPE_CHECKING:
    from pipeline.comparison import Comparison
    from pipeline.verify.compare import Difference


@click.command("compare")
@click.argument("a", metavar="A", type=click.Path(path_type=Path))
@click.argument("b", metavar="B", type=click.Path(path_type=Path))
@click.option("--target", metavar="TARGET", help="Run B as this target computes it (see `pipeline targets`).")
@click.option(
    "--both", is_flag=True, help="With --target: also run A as the target computes it, if it is an .onnx file."
)
@click.option("--bisect", is_flag=True, help="Name the first node where the two diverge.")
@click.option(
    "--difference",
    metavar="FILE.png",
    type=click.Path(path_type=Path),
    help="Write a PNG that shows A, B and their difference.",
)
@click.option(
    "--tolerance",
    type=float,
    default=0.5,
    show_default=True,
    help="Largest difference that passes, in levels of 255.",
)
@click.option("--size", metavar="WxH", help="Size in pixels; by default close to 320x180, as both models allow.")
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    help="The picture to use; the default is a bundled photograph.",
)
@reading_options
@output_options
def command(console: Console, a: Path, b: Path, size: str | None, reading: dict[str, Any], **options: Any) -> None:
    """Measure how much the outputs of two models differ, in levels of 255.

    A and B are each a checkpoint, an .onnx file or the folder of a bundle (StyleTransfer/Models/NAME). Both get a
    picture and noise, converted to their value ranges. Exit code 0 if the largest difference is within
    --tolerance, 1 if it is not, 2 if the models cannot be compared. With --target, B is run as that target
    computes it; comparing a file with itself then shows how the target's result differs.

    \b
    Examples:
      pipeline compare mosaic.pth UnityProject/Assets/StyleTransfer/Models/Mosaic --target barracuda-3.0
      pipeline compare net.onnx net.onnx --target barracuda-1.0 --bisect
      pipeline compare net.onnx other.onnx --input-range 0..255 --output-range 0..255 --difference apart.png
    """
    from pipeline.comparison import CompareOptions, compare
    from pipeline.sources import ReadOptions

    if size is not None:
        options["size"] = Size.parse(size)
    with console.working(f"comparing {a.name} with {b.name}"):
        result = compare(a, b, CompareOptions(reading=ReadOptions(**reading), **options))
    if console.as_json:
        console.data(result.as_dict())
    else:
        _show(console, result)
    click.get_current_context().exit(0 if result.passed else 1)


def _show(console: Console, result: Comparison) -> None:
    from pipeline.build.facts import describe

    for side in (result.a, result.b):
        as_what = f" as {side.ran_as} computes it" if side.target else ""
        console.say(f"{styled(side.label, bold=True)} {side.path}{as_what}: {describe(side.network)}")
    for note in result.notes:
        console.note(note)
    for difference in result.differences:
        console.data(f"{difference.name:<8} {_line(difference)}")
    if result.difference_file is not None:
        factor = (
            "they are identical" if result.amplification is None else f"difference x{result.amplification:.3f}"
        )
        console.data(f"{'written':<8} {result.difference_file}: A, B, {factor}")
    if result.bisected_at is not None:
        where = result.divergence.sentence if result.divergence else "no node differs: the graphs compute the same"
        console.data(f"{'bisect':<8} {where} (at {result.bisected_at})")
    worst = result.as_dict()["would_have_passed_at"]
    if result.passed:
        console.say(f"within {result.tolerance:g} levels of 255", fg="green")
    else:
        console.say(
            f"the difference is more than {result.tolerance:g} levels of 255; --tolerance {worst} would have "
            "passed",
            fg="red",
        )


def _line(difference: Difference) -> str:
    channel, row, column = difference.worst
    psnr = "equal" if difference.psnr is None else f"{difference.psnr:.1f} dB"
    return (
        f"{difference.width}x{difference.height}: largest {difference.max_levels:.4f}, "
        f"mean {difference.mean_levels:.5f} levels, {psnr}; "
        f"worst at channel {channel}, row {row}, column {column}"
    )
