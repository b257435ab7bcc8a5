"""pipeline validate."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.console import Console, output_options

SEVERITIES = ("error", "wrong", "warning", "slow", "note")


@click.command("validate")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--target", "targets", multiple=True, metavar="TARGET", help="May be given several times.")
@click.option(
    "--fail-on",
    type=click.Choice(SEVERITIES),
    default="wrong",
    show_default=True,
    help="The mildest severity that makes the exit code 1.",
)
@output_options
def command(console: Console, files: tuple[Path, ...], targets: tuple[str, ...], fail_on: str) -> None:
    """Say what Unity's console will say about .onnx files, before Unity is opened.

    FILE is an .onnx file, or a folder in which every .onnx file is meant. Needs no torch. Exit code 0 when
    nothing as bad as --fail-on was found, 1 when something was, 2 when a file cannot be read.

    \b
    Examples:
      pipeline validate model.onnx
      pipeline validate Assets/Models --target barracuda-1.0 --target barracuda-3.0
      pipeline validate model.onnx --json --fail-on warning
    """
    from pipeline.check import check_files

    verdicts = check_files(files, targets or None)
    failing = SEVERITIES[: SEVERITIES.index(fail_on) + 1]
    bad = False
    for verdict in verdicts:
        bad |= any(f.severity in failing for f in verdict.findings)
        if console.as_json:
            continue
        console.say(f"{click.style(str(verdict.file), bold=True)} for {verdict.target}: {verdict.summary}")
        for finding in verdict.findings:
            if finding.severity == "note" and console.verbosity < 1:
                continue
            console.data(f"{verdict.file}: {finding_line(finding)}")
    if console.as_json:
        console.data({"schema": 1, "files": [v.as_dict() for v in verdicts]})
    click.get_current_context().exit(1 if bad else 0)


def finding_line(finding: object) -> str:
    """One finding in one line: severity, code, place, reason, console text, fix."""
    from pipeline.findings import Finding

    assert isinstance(finding, Finding)
    place = " ".join(p for p in (finding.operator, finding.node, finding.where) if p)
    console = f' Unity says: "{finding.console}".' if finding.console else ""
    fix = f" Fix: {finding.fix}" if finding.fix else ""
    return f"{finding.severity} [{finding.code}] {place}: {finding.reason}{console}{fix}"
