"""pipeline targets."""

from __future__ import annotations

import click

from pipeline.cli.console import Console, output_options


@click.command("targets")
@click.argument("operators", nargs=-1, metavar="[OPERATOR]...")
@output_options
def command(console: Console, operators: tuple[str, ...]) -> None:
    """List the targets and which operators each of them takes.

    \b
    Examples:
      pipeline targets                 every operator that one of the targets knows
      pipeline targets Resize Split    only these
    """
    from pipeline import targets

    known = [targets.get(name) for name in targets.names()]
    wanted = operators or sorted({op for target in known for op in target.operators})
    matrix = {op: {target.name: target.accepts(op) for target in known} for op in wanted}
    if console.as_json:
        console.data(
            {
                "targets": [{"name": t.name, "package": t.package, "version": t.package_version} for t in known],
                "operators": matrix,
            }
        )
        return
    width = max(len(op) for op in wanted)
    console.data(" ".join([" " * width, *(f"{t.name:>13}" for t in known)]))
    for op, row in matrix.items():
        cells = " ".join(f"{'yes' if row[t.name] else '-':>13}" for t in known)
        console.data(f"{op:<{width}} {cells}")
