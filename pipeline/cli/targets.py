"""pipeline targets."""

from __future__ import annotations

import click

from pipeline.cli.console import Console, output_options


@click.command("targets")
@click.argument("operators", nargs=-1, metavar="[OPERATOR]...")
@output_options
def command(console: Console, operators: tuple[str, ...]) -> None:
    """List the targets and which operators each of them supports: yes, with limits, or no.

    \b
    Examples:
      pipeline targets                 every operator that one of the targets knows
      pipeline targets Resize Split    only these, with their limits
    """
    import difflib

    from pipeline.report.pages import all_targets, support
    from pipeline.validation.findings import Severity

    known = all_targets()
    names = {op.lower(): op for target in known for op in target.operators}
    operators_shown = [names.get(op.lower(), op) for op in operators] or sorted(names.values())
    matrix = {op: {target.name: support(target, op) for target in known} for op in operators_shown}
    limits = {
        op: {
            target.name: [
                {"code": rule.code, "severity": rule.severity, "source": rule.source}
                for rule in (target.operators[op].rules if target.accepts(op) else ())
            ]
            for target in known
        }
        for op in operators_shown
    }
    if console.as_json:
        console.data(
            {
                "targets": [{"name": t.name, "package": t.package, "version": t.package_version} for t in known],
                "operators": matrix,
                "limits": limits,
            }
        )
        return
    width = max(len(op) for op in operators_shown)
    console.data(" ".join([" " * width, *(f"{t.name:>13}" for t in known)]))
    for op, row in matrix.items():
        console.data(f"{op:<{width}} {' '.join(f'{row[t.name]:>13}' for t in known)}")
    for op in operators_shown if operators else ():
        targets_of: dict[tuple[str, str], list[str]] = {}
        for target, rules in limits[op].items():
            for rule in rules:
                with_limit = targets_of.setdefault((rule["code"], rule["severity"]), [])
                if target not in with_limit:
                    with_limit.append(target)
        if targets_of:
            console.text(f"\n{op}")
        ranked = sorted(targets_of.items(), key=lambda item: (Severity(item[0][1]).rank, item[0]))
        for (code, severity), where in ranked:
            console.data(f"  {severity:<8} {code:<30} {', '.join(where)}")
    for op in operators_shown:
        if op.lower() not in names:
            near = difflib.get_close_matches(op.lower(), names, 1)
            console.say(f"No target supports {op}." + (f" Did you mean {names[near[0]]}?" if near else ""))
    if operators:
        console.say("`pipeline explain CODE` says what a code means.")
