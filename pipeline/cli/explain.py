"""pipeline explain."""

from __future__ import annotations

import click

from pipeline.cli.console import Console, output_options


@click.command("explain")
@click.argument("codes", nargs=-1, metavar="[CODE]...")
@output_options
def command(console: Console, codes: tuple[str, ...]) -> None:
    """Say what a finding's code means, where it is known from, and what to do; without CODE, list all.

    \b
    Example:
      pipeline explain unknown-operator
    """
    import difflib

    from pipeline.report.pages import rules_of
    from pipeline.support.errors import PipelineError
    from pipeline.validation import codes as known_codes

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
        console.data({code: {**entry, "rules": rules_of(code)} for code, entry in chosen.items()})
        return
    for code, entry in chosen.items():
        if not codes:
            console.data(f"{code:<34} {entry['title']}")
            continue
        console.text(f"{code}: {entry['title']}\n\n{entry['explanation']}\n\nWhat to do: {entry['remedy']}\n\n")
        for rule in rules_of(code):
            workers = f" on {', '.join(rule['backends'])}" if rule["backends"] else ""
            operators = ", ".join(rule["operators"]) or "the graph"
            console.data(f"  {rule['target']}: {rule['severity']}{workers} for {operators}")
            if rule["console"]:
                console.data(f"    Unity:  {rule['console']}")
            console.data(f"    Source: {'; '.join(rule['sources'])}")
