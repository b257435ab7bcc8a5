"""pipeline explain."""

from __future__ import annotations

import click

from pipeline.cli.console import Console, output_options


@click.command("explain")
@click.argument("codes", nargs=-1, metavar="[CODE]...")
@output_options
def command(console: Console, codes: tuple[str, ...]) -> None:
    """Say what a finding's code means and what to do about it; without CODE, list all.

    \b
    Example:
      pipeline explain unknown-operator
    """
    import difflib

    from pipeline.errors import PipelineError
    from pipeline.validate import codes as known_codes

    known = known_codes()
    for code in codes:
        if code not in known:
            near = difflib.get_close_matches(code, known, 1)
            raise PipelineError(
                "unknown-code",
                f"there is no finding with the code {code!r}",
                remedy=f"Did you mean {near[0]}?" if near else "`pipeline explain` lists them.",
            )
    chosen = {code: known[code] for code in codes or sorted(known)}
    if console.as_json:
        console.data(chosen)
        return
    for code, entry in chosen.items():
        if not codes:
            console.data(f"{code:<34} {entry['title']}")
            continue
        console.data(f"{code}: {entry['title']}\n\n{entry['explanation']}\n\nWhat to do: {entry['remedy']}\n")
