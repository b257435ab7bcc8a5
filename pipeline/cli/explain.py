"""pipeline explain."""

from __future__ import annotations

import click

from pipeline.cli.console import Console, output_options


@click.command("explain")
@click.argument("codes", nargs=-1, metavar="[CODE]...")
@output_options
def command(console: Console, codes: tuple[str, ...]) -> None:
    """Explain the code of a finding or an error, its source, and what to do; without CODE, list the findings.

    \b
    Examples:
      pipeline explain unknown-operator
      pipeline explain truncated-file
    """
    import difflib

    from pipeline.report.pages import rules_of
    from pipeline.support.errors import PipelineError
    from pipeline.validation import codes as known_codes

    known = known_codes()
    errors = _errors() if codes else {}
    for code in codes:
        if code not in known and code not in errors:
            near = difflib.get_close_matches(code, [*known, *errors], 1)
            raise PipelineError(
                "unknown-code",
                f"no finding or error has the code {code!r}",
                remedy=f"Did you mean {near[0]}?"
                if near
                else "`pipeline explain` lists the codes of findings, docs/errors.md those of errors.",
            )
    chosen = {code: known[code] for code in codes or sorted(known) if code in known}
    only_errors = {code: errors[code] for code in codes if code not in known}
    if console.as_json:
        found = {code: {**entry, "rules": rules_of(code)} for code, entry in chosen.items()}
        console.data(
            {**found, **{code: {"explanation": meaning, "rules": []} for code, meaning in only_errors.items()}}
        )
        return
    for code, meaning in only_errors.items():
        console.data(f"{code}: {meaning}")
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


def _errors() -> dict[str, str]:
    """The meaning of each error code, from the tables in docs/errors.md."""
    import re

    from pipeline.support.resources import resource

    found = {}
    for line in resource("docs/errors.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            found.update(dict.fromkeys(re.findall(r"`([a-z0-9-]+)`", cells[0]), "; ".join(cells[1:])))
    return found
