"""pipeline validate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.console import Console, output_options
from pipeline.support.plain_text import plural, styled

if TYPE_CHECKING:
    from pipeline.validation.files import Validation

SEVERITIES = ("error", "wrong", "warning", "slow", "note")
FORMATS = ("text", "json", "junit", "sarif", "github")


@click.command("validate")
@click.argument("files", nargs=-1, metavar="[FILE|DIR|GLOB]...", type=click.Path(path_type=Path))
@click.option(
    "--target", "targets", multiple=True, metavar="TARGET", help="A target to check against; may be repeated."
)
@click.option(
    "--fail-on",
    type=click.Choice(SEVERITIES),
    help="The lowest severity that leads to exit code 1.  [default: wrong]",
)
@click.option("--format", "form", type=click.Choice(FORMATS), help="Format of the output.  [default: text]")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write the output to this file instead of stdout."
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Read [validate] from this file.  [default: pipeline.toml, if there is one]",
)
@click.option(
    "--measure", is_flag=True, help="Measure how large the error of a `wrong` finding is in the picture."
)
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), help="Number of processes; the default depends on the files."
)
@output_options
def command(
    console: Console,
    files: tuple[Path, ...],
    targets: tuple[str, ...],
    fail_on: str | None,
    form: str | None,
    output: Path | None,
    config: Path | None,
    measure: bool,
    jobs: int | None,
) -> None:
    """Check .onnx files against targets, and show what Unity's console would show.

    For a folder, every .onnx file in it is checked. Files, targets, --fail-on and waivers with reasons can be set
    in pipeline.toml. Neither Unity nor torch is needed. Exit code 0 if no finding is as severe as --fail-on, 1 if
    one is, 2 if a file cannot be read.

    \b
    Examples:
      pipeline validate model.onnx
      pipeline validate Assets/Models --target barracuda-1.0 --target barracuda-3.0
      pipeline validate "Assets/**/*.onnx" --fail-on warning --format sarif -o validate.sarif
    """
    from pipeline.support.errors import PipelineError
    from pipeline.support.files import check_writable
    from pipeline.validation.files import check_files
    from pipeline.validation.findings import Severity
    from pipeline.validation.waivers import load_settings

    if console.as_json and form not in (None, "json"):
        raise PipelineError(
            "conflicting-options",
            f"--json and --format {form} cannot be used together",
            remedy="Omit one of them.",
        )
    form = "json" if console.as_json else form or "text"
    settings = load_settings(config or Path("pipeline.toml"), required=config is not None)
    if not files and not settings.files:
        raise PipelineError(
            "nothing-to-validate",
            "no file is given, and pipeline.toml has no `files` under [validate]",
            remedy="Name a file or folder, such as pipeline validate Assets",
        )
    if output is not None:
        check_writable(output)
    result = check_files(
        files or settings.files,
        targets or settings.targets or None,
        waivers=settings.waivers,
        fail_on=Severity(fail_on) if fail_on else settings.fail_on or Severity.WRONG,
        measure=measure,
        jobs=jobs,
    )
    _write(console, render(result, form, console.verbosity), form, output)
    _print_summary(console, result, form, output)
    click.get_current_context().exit(result.exit_code)


def render(result: Validation, form: str, verbosity: int = 0) -> str:
    """Render the result in one of FORMATS; only text has colours."""
    match form:
        case "json":
            from pipeline.support.plain_text import dump_json

            return dump_json(result.as_dict()) + "\n"
        case "junit":
            from pipeline.report.junit import render_junit

            return render_junit(result)
        case "sarif":
            from pipeline.report.sarif import render_sarif

            return render_sarif(result)
        case "github":
            from pipeline.report.github import render_github

            return render_github(result, verbosity=verbosity)
        case _:
            from pipeline.report.text import render_text

            return render_text(result, verbosity=verbosity)


def _write(console: Console, text: str, form: str, output: Path | None) -> None:
    if output is None and form in ("text", "github"):
        console.text(text, commands=form == "github")
    elif output is None:
        click.echo(text, nl=False)
    else:
        from pipeline.support.files import write_file
        from pipeline.support.plain_text import unstyled

        write_file(output, unstyled(text).encode("utf-8", "backslashreplace"))


def _print_summary(console: Console, result: Validation, form: str, output: Path | None) -> None:
    """Print errors and unused waivers, and for people the summary."""
    from pipeline.report.text import hidden_notes, render_summary

    for verdict in result.verdicts:
        if verdict.error is not None:
            console.say(f"{styled('error', fg='red')} {verdict.error}", level=-1)
    for waiver in result.unused:
        head = styled("warning", fg="yellow")
        console.say(f"{head} [unused-waiver] {waiver.config}: no finding matches this waiver: {waiver}")
    if form in ("text", "github") or output is not None:
        for row in render_summary(result).split("\n"):
            console.say(row)
        hidden = hidden_notes(result)
        if hidden and form == "text" and console.verbosity == 0:
            console.say(f"{plural(hidden, 'note')} not shown; -v shows everything.")
