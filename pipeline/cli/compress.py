"""pipeline compress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.cli.console import Console, output_options
from pipeline.cli.options import reading_options
from pipeline.support.plain_text import styled


@click.command("compress")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The packed file; default MODEL.bytes.")
@click.option("--weights", default="auto", show_default=True, help="half, int8, int7, int6, int5, int4 or auto.")
@click.option("--min-psnr", type=float, default=40.0, show_default=True, help="The PSNR that auto keeps, in dB.")
@click.option(
    "--calibrate",
    multiple=True,
    metavar="PICTURE",
    type=click.Path(path_type=Path),
    help="A picture to calibrate the rounding with; may be repeated. By default, synthetic ones are used.",
)
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    help="The picture to measure quality with; the default is a bundled photograph.",
)
@click.option("--table", is_flag=True, help="Also show size and quality of the other kinds of --weights.")
@click.option("--force", is_flag=True, help="Replace an existing file that differs.")
@reading_options
@output_options
def command(
    console: Console,
    model: Path,
    output: Path | None,
    weights: str,
    min_psnr: float,
    calibrate: tuple[Path, ...],
    picture: Path | None,
    table: bool,
    force: bool,
    reading: dict[str, Any],
) -> None:
    """Pack an .onnx file: weights as small integers, rounded so that the picture changes least.

    int8 to int4 store every weight in that many bits. auto measures how visible each layer's rounding is and
    distributes the bits so that the picture stays within --min-psnr of the float network's output. This saves
    bytes in the download and on disk, not time: Unity computes with floats, which are rebuilt when the model is
    loaded. A quantised file keeps its own integers. pipeline decompress restores the .onnx file.

    \b
    Examples:
      pipeline compress mosaic.onnx -o mosaic.bytes
      pipeline compress mosaic.onnx --weights auto --min-psnr 45 --calibrate frame1.png --calibrate frame2.png
      pipeline compress net.onnx --weights int8 --input-range 0..255 --output-range 0..255 --table
    """
    from pipeline.compress.files import compress_file
    from pipeline.compress.job import CompressOptions
    from pipeline.sources import ReadOptions
    from pipeline.support.files import check_absent, write_new

    destination = output or model.with_suffix(".bytes")
    check_absent(destination, force)
    options = CompressOptions(weights, min_psnr, calibrate, picture, table)
    console.say(styled(f"{model}", bold=True))
    with console.working(f"compressing {model.name}"):
        done = compress_file(
            model,
            options,
            ReadOptions(**reading),
            lambda what: console.say(f"  {what}", level=1),
        )
    write_new(destination, done.packed, force)
    for line in summary(done.facts):
        console.say(f"  {line}")
    for note in done.facts["notes"]:
        console.note(note)
    console.data({**done.facts, "packed": str(destination)} if console.as_json else str(destination))


def summary(facts: dict[str, Any]) -> list[str]:
    """Lines of text with the sizes and the quality of a packed model."""
    quality = "not measured" if not facts["measured"] else _db(facts["psnr"])
    lines = [f"{facts['float_bytes']:,} bytes as floats, {facts['bytes']:,} packed; {quality}"]
    lines += [
        f"{row['weights']:<6} {row['bytes']:>12,} bytes  {_db(row['psnr'])}" for row in facts.get("table", ())
    ]
    return lines


def _db(psnr: float | None) -> str:
    return "the same picture" if psnr is None else f"{psnr:.1f} dB"
