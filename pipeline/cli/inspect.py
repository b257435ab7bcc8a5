"""pipeline inspect."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.console import Console, output_options


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--architecture", metavar="NAME", help="Which known network it is, where the file cannot tell.")
@output_options
def command(console: Console, file: Path, architecture: str | None) -> None:
    """Say what a model file is: format, architecture, widths, weights, contract, operators.

    Nothing in the file is run.

    \b
    Examples:
      pipeline inspect mosaic.pth
      pipeline inspect model.onnx --json
    """
    from pipeline.build import inspect

    facts = inspect(file, architecture=architecture)
    if console.as_json:
        console.data(facts)
        return
    for key, value in facts.items():
        console.data(f"{key.replace('_', ' '):<14} {_text(value)}")


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_text(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return "/".join(_text(v) for v in value) if all(isinstance(v, int) for v in value) else "; ".join(
            _text(v) for v in value
        )
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
