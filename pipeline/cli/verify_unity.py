"""pipeline verify-unity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.console import Console, output_options
from pipeline.support.plain_text import styled

if TYPE_CHECKING:
    from pipeline.unity.batch_tests import UnityVerdict


@click.command("verify-unity")
@click.option(
    "--unity",
    type=click.Path(path_type=Path),
    help="The Unity editor, as its program or folder. The default is the editor in Unity Hub that fits the "
    "project.",
)
@click.option(
    "-p",
    "--project",
    type=click.Path(path_type=Path),
    help="The Unity project.  [default: the one that contains the current folder, or ./UnityProject]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    help="Time limit in seconds, after which Unity is stopped.  [default: 1800]",
)
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    help="Only explain this results file of an earlier run, such as game-ci's.",
)
@click.option("--log", type=click.Path(path_type=Path), help="The editor's log of the run of --results.")
@output_options
def command(
    console: Console,
    unity: Path | None,
    project: Path | None,
    timeout: float | None,
    results: Path | None,
    log: Path | None,
) -> None:
    """Run Unity to check that each style computes what its source network computes.

    Starts Unity in batch mode, without a graphics device, and runs the bundle's edit mode test, which runs every
    style on its golden frame with the worker CSharpBurst. A project for another version than the editor's is
    tested in a copy, because opening it would upgrade it. Results and log go to Logs/StyleTransfer in the project.

    Exit code 0 if every style is right, 1 if one is not, 2 if the test could not run: no editor, no licence,
    scripts with errors, a crash or a timeout.

    \b
    Examples:
      pipeline verify-unity
      pipeline verify-unity --unity ~/Unity/Hub/Editor/2021.3.24f1/Editor/Unity --project ~/MyGame
      pipeline verify-unity --results artifacts/editmode-results.xml --json
    """
    from pipeline.support.errors import PipelineError
    from pipeline.unity import batch_tests, editors
    from pipeline.unity.project import find_project

    if results is not None:
        if unity or project or timeout:
            raise PipelineError(
                "conflicting-options",
                "--results reads the results of a finished run, so --unity, --project and --timeout do not apply",
                remedy="Omit --results, or the other options.",
            )
        verdict = batch_tests.verdict_of(results, log)
    else:
        place = project or find_project(Path.cwd()) or Path("UnityProject")
        required = editors.project_version(place)
        editor = editors.editor_at(unity) if unity else editors.choose(required)
        console.say(f"Unity {editor.version or 'of unknown version'}: {editor.path}")
        if editor.version and editor.version != required:
            console.note(f"the project is for {required or 'an unknown version'}, so it is tested in a copy")
        with console.working("Unity is importing the project and running its golden frames"):
            verdict = batch_tests.run_tests(place, editor, timeout=timeout or batch_tests.TIMEOUT)
    if console.as_json:
        console.data(verdict.as_dict())
    _print_results(console, verdict)
    click.get_current_context().exit(verdict.exit_code)


def _print_results(console: Console, verdict: UnityVerdict) -> None:
    for test in verdict.tests:
        good = test.outcome == "passed"
        head = styled(f"{test.outcome:<7}", fg="green" if good else "red")
        console.say(f"  {head} {test.argument or test.name}", level=0 if good else -1)
        if good:
            continue
        console.say(f"          {' '.join(test.message.split())}", level=-1)
        if "has no network" in test.message and verdict.importing:
            console.say(f"          The importer reported: {verdict.importing}", level=-1)
        if remedy := verdict.remedy(test):
            console.say(f"          {remedy}", level=-1)
    passed = len(verdict.tests) - len(verdict.failures)
    console.say(f"{passed} of {len(verdict.tests)} styles are right in Unity; see {verdict.results}")
