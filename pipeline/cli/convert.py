"""pipeline convert."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.cli.console import Console, output_options
from pipeline.cli.options import build_options
from pipeline.support.plain_text import styled


@click.command("convert")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The .onnx file; default NAME.TARGET.onnx.")
@click.option("--explain", is_flag=True, help="Show the operators before and after, and what each rewrite did.")
@build_options("convert")
@output_options
def command(
    console: Console,
    source: Path,
    output: Path | None,
    explain: bool,
    options: dict[str, Any],
) -> None:
    """Turn a trained network into an .onnx file that the target imports and computes correctly.

    Does the same as build-unity, but writes only the model, for projects that have their own C# code. The network
    keeps its value ranges, unless --input-range and --output-range are given: then its input and output are RGB
    0..1.

    With --style-input there are two networks: NAME.onnx takes a picture and the vector of a style, and
    NAME.predictor.onnx computes this vector once per style.

    A file for Barracuda has the form that Barracuda's importer reads, which is not always valid ONNX: ONNX
    Runtime and other tools may refuse it or compute something else. To check such a file, use
    `pipeline compare`.

    \b
    Examples:
      pipeline convert mosaic.pth -o mosaic.onnx
      pipeline convert quantised.onnx --target barracuda-1.0
      pipeline convert net.onnx --explain --check --skip activations
      pipeline convert adain.onnx --style-input style --input-range 0..1 --output-range 0..1
      pipeline compare mosaic.pth mosaic.onnx --target barracuda-3.0
    """
    from pipeline.build.job import convert
    from pipeline.report.rewriting import explanation
    from pipeline.support.errors import ProofFailed

    def show(report: dict[str, Any] | None) -> None:
        for line in explanation(report) if explain and report else ():
            console.say(line)

    console.say(styled(f"{source}", bold=True))
    try:
        with console.working(f"converting {source.name}"):
            result = convert(source, output, step=console.step, **options)
    except ProofFailed as failure:
        show(failure.report)
        raise
    show(result.report)
    for note in result.notes:
        console.note(note)
    console.data(result.as_dict() if console.as_json else str(result.bundle))
