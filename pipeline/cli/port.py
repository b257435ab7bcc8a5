"""pipeline port."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.console import Console, output_options
from pipeline.support.plain_text import styled


@click.command("port")
@click.argument("where", type=click.Path(path_type=Path, exists=True), default=".", metavar="[FOLDER]")
@click.option("--target", required=True, metavar="TARGET", help="The target to convert to.")
@click.option(
    "--switch-package",
    is_flag=True,
    help="Replace the inference package in the project's list of packages by the target's.",
)
@click.option("--force", is_flag=True, help="Also replace files that you edited.")
@click.option("--dry-run", is_flag=True, help="Build and verify, without changing anything.")
@output_options
def command(console: Console, where: Path, target: str, switch_package: bool, force: bool, dry_run: bool) -> None:
    """Convert the styles of a Unity project for another package: Barracuda, Sentis, Inference Engine.

    FOLDER is a Unity project, its Assets, or a folder that contains StyleTransfer; default: the current folder.
    The model of each style is converted for the other target and compared with the existing one; nothing is
    replaced until all are ready. Scenes keep their references. A project can have only one of these packages:
    --switch-package replaces it in Packages/manifest.json; without it, a project with another package is refused
    before any work.

    \b
    Examples:
      pipeline port MyGame --target inference-2 --switch-package
      pipeline port MyGame --target barracuda-3.0 --switch-package
    """
    from pipeline.build.port import port

    with console.working("porting"):
        results = port(
            where, target, switch_package=switch_package, force=force, dry_run=dry_run, step=console.step
        )
    for result in results:
        for note in result.notes:
            console.note(note)
    if console.as_json:
        console.data([result.as_dict() for result in results])
        return
    for result in results:
        proof = result.report["proof"]
        console.say(f"{styled(result.report['name'], bold=True)}: within {proof['would_have_passed_at']:g} levels")
        console.data(str(result.bundle))
