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
        for number, line in enumerate(_lines(key, value)):
            console.data(f"{key.replace('_', ' ') if number == 0 else '':<14} {line}")


def _lines(key: str, value: object) -> list[str]:
    """A fact as lines: dictionaries and lists of sentences get a line for each entry."""
    if key == "contract" and isinstance(value, dict):
        sides = [(side, value[side]) for side in ("input", "output")]
        told = [f"{s['range']} {s['order'].upper()}, {s['channels']} channels, {s['layout']}" for _, s in sides]
        return [f"{sides[0][0]} {told[0]}", f"{sides[1][0]} {told[1]}", f"multiples of {value['size_multiple']}"]
    if key in ("graph", "cost") and isinstance(value, dict):
        return [f"{k.replace('_', ' ')} {_text(v)}" for k, v in value.items()]
    if key == "notes" and isinstance(value, list):
        return [str(v) for v in value] or ["none"]
    return [_text(value)]


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k.replace('_', ' ')} {_text(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return "/".join(_text(v) for v in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
