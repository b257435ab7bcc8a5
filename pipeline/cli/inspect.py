"""pipeline inspect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline import targets
from pipeline.cli.console import Console, output_options
from pipeline.cli.options import reading_options


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--target", default=targets.DEFAULT, show_default=True, help="The target that the cost is given for."
)
@reading_options
@output_options
def command(console: Console, file: Path, target: str, reading: dict[str, Any]) -> None:
    """Describe a model file: format, architecture, widths, weights, contract, operators, cost.

    The cost is that of the graph converted for the target: nodes before and after, multiply-adds, activation
    memory written and peak memory, at the usual sizes. No code in the file is run (docs/security.md). For a packed
    file: format version, tensors with their bits and bytes, and the checksum of the model in it.

    \b
    Examples:
      pipeline inspect mosaic.pth
      pipeline inspect model.onnx --json
    """
    from pipeline.build.inspection import inspect
    from pipeline.sources import ReadOptions

    facts = inspect(file, ReadOptions(**reading), target=target)
    if console.as_json:
        console.data(facts)
        return
    for key, value in facts.items():
        for number, line in enumerate(_lines(key, value)):
            console.data(f"{key.replace('_', ' ') if number == 0 else '':<14} {line}")


def _lines(key: str, value: object) -> list[str]:
    """A fact as lines of text: one line per entry for dictionaries and lists of sentences."""
    if key == "contract" and isinstance(value, dict):
        sides = [(side, value[side]) for side in ("input", "output")]
        texts = [f"{s['range']} {s['order'].upper()}, {s['channels']} channels, {s['layout']}" for _, s in sides]
        return [f"{sides[0][0]} {texts[0]}", f"{sides[1][0]} {texts[1]}", f"multiples of {value['size_multiple']}"]
    if key == "cost" and isinstance(value, dict):
        return _cost(value)
    if key == "graph" and isinstance(value, dict):
        return [f"{k.replace('_', ' ')} {_text(v)}" for k, v in value.items()]
    if key == "tensors" and isinstance(value, list):
        return _tensors(value)
    if key == "notes" and isinstance(value, list):
        return [str(v) for v in value] or ["none"]
    return [_text(value)]


def _tensors(tensors: list[dict[str, Any]]) -> list[str]:
    """The weights of a packed file, one line each."""
    lines = ["bits     bytes  scales  shape         of"]
    lines += [
        f"{t['bits']:>4}  {t['bytes']:>8,}  {t['scales']:>6}  {'x'.join(map(str, t['shape'])):<12}  "
        f"{t['of'] or t['name']}"
        for t in tensors
    ]
    return lines


def _cost(cost: dict[str, Any]) -> list[str]:
    """Two tables: nodes per operator before and after lowering, and the cost of a picture at each size."""
    operators, sizes = cost["operators"], cost["sizes"]
    width = max(len(op) for op in operators)
    lines = [f"{'lowered for ' + str(cost['target']):<{width}}  before  after"]
    lines += [f"{op:<{width}}  {n['before']:>6}  {n['after']:>5}" for op, n in operators.items()]
    lines += plan_lines(cost.get("plan", []))
    lines += ["", "picture     GMAC  written MB   peak MB"]
    lines += [
        f"{size:<9} {n['giga_macs']:>6.2f}  {n['activation_megabytes']:>10.0f}  {n['peak_megabytes']:>8.0f}"
        for size, n in sizes.items()
    ]
    return lines


def plan_lines(rows: list[dict[str, Any]]) -> list[str]:
    """The dispatches of a compiled network, one line each."""
    if not rows:
        return []
    cells = [
        (
            str(row["dispatch"]),
            row["does"],
            " + ".join(row["reads"]),
            " + ".join(row["writes"]),
            f"{row['channels']} x {row['width']}x{row['height']}" if row["channels"] else "",
            row["kernel"],
        )
        for row in rows
    ]
    heads = ("", "operation", "reads", "writes", "output", "kernel")
    widths = [max(len(line[place]) for line in (heads, *cells)) for place in range(len(heads))]
    return ["", *(_row(line, widths) for line in (heads, *cells))]


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k.replace('_', ' ')} {_text(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return "/".join(_text(v) for v in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
