"""The command line: one module per command, imported only when that command runs.

Text for people goes to stderr, data to stdout. Exit codes: 0 success, 1 findings or a failed proof, 2 bad input,
70 a bug of this tool, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import sys
from typing import Any

from pipeline.cli.interrupts import stop_on_interrupt

stop_on_interrupt()

import click  # noqa: E402

from pipeline.support.version import __version__  # noqa: E402

COMMANDS = {
    "bench": "Compare the cost of models: counted, measured, predicted.",
    "build-unity": "Turn a trained network into a folder for a Unity project.",
    "compare": "Measure how much the outputs of two models differ, and where they diverge.",
    "compress": "Pack an .onnx file by storing its weights as small integers.",
    "convert": "Turn a trained network into an .onnx file that the target imports.",
    "decompress": "Restore the .onnx file from a packed file.",
    "distill": "Train a small network to reproduce the output of a large one.",
    "explain": "Explain the code of a finding or an error, and what to do about it.",
    "flicker": "Measure how much the output of models flickers in motion.",
    "inspect": "Describe a model file: format, architecture, weights, image contract.",
    "learn": "Train a network on a few painted frames.",
    "paint": "Run a network on pictures, folders of pictures and videos.",
    "port": "Convert the styles of a Unity project for another inference package.",
    "prune": "Remove channels from a trained network until it meets a budget.",
    "shrink": "Find and train smaller networks that meet a goal.",
    "targets": "List the targets and the operators that each of them supports.",
    "train": "Train a style transfer network from a style picture.",
    "validate": "Check .onnx files against a target, as Unity's importer would.",
    "verify-unity": "Run Unity to check the output of each style.",
}
"""Every command with its line in `pipeline --help`; the module is pipeline.cli.<name with underscores>."""


class _LazyGroup(click.Group):
    """A group that imports the module of a command only when the command runs or prints its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        command: click.Command = import_module(f"pipeline.cli.{cmd_name.replace('-', '_')}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean {near[0]}?" if near else f" The commands are: {', '.join(COMMANDS)}."
            raise click.UsageError(f"There is no command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "PIPELINE"},
    epilog="Each option can also be set by an environment variable, such as PIPELINE_BUILD_UNITY_TARGET for "
    "build-unity --target. NO_COLOR turns colours off, PIPELINE_CACHE sets the folder for the cache of finished "
    "builds.",
)
@click.version_option(__version__, prog_name="pipeline", message="%(prog)s %(version)s")
def cli() -> None:
    """Build a Unity bundle from a trained image-to-image network: export, convert, validate, prove, package.

    \b
    Start here:
      pipeline build-unity mosaic.pth        build a folder for Unity's Assets, verified against the original
      pipeline validate model.onnx           check a model before Unity imports it
      pipeline paint mosaic.pth photo.jpg    run a network on a picture
    """


def main() -> None:
    """The entry point: `pipeline`."""
    from pipeline.cli.console import run

    sys.exit(run(cli))
