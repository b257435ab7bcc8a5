"""Shared by all commands: output, the options -v, -q and --json, and error handling."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from pipeline.cli.interrupts import STOPPED, restore_interrupt
from pipeline.support.announce import listen
from pipeline.support.errors import LimitReached, PipelineError, ProofFailed
from pipeline.support.limits import require_address_space
from pipeline.support.memory import own_process
from pipeline.support.plain_text import dump_json, line, plain, styled
from pipeline.support.untrusted import out_of_memory

F = TypeVar("F", bound=Callable[..., Any])

_LIGHT = ("validate", "explain", "targets")
"""Commands that load neither torch nor ONNX Runtime (validate --measure loads the latter in a separate
process)."""
BUG = 70
"""Exit code for a bug of this tool (EX_SOFTWARE of sysexits.h)."""


class Console:
    """Prints text for people on stderr and data on stdout.

    At `verbosity` 0 steps are shown, at 1 more details, at -1 only errors.
    """

    def __init__(self, verbosity: int = 0, as_json: bool = False) -> None:
        self.verbosity = verbosity
        self.as_json = as_json
        self._status: Any = None

    def say(self, text: str, *, level: int = 0, **style: Any) -> None:
        """Print one line for people, from verbosity `level` on; untrusted text is made safe (see plain_text)."""
        if self.verbosity >= level:
            _print(styled(text, **style) if style else text, err=True)

    def step(self, name: str, found: str) -> None:
        """Print a finished step of a build: its name and result."""
        self.say(f"  {styled(f'{name:<9}', fg='cyan')} {found}")

    def note(self, text: str) -> None:
        self.say(f"  {styled('note', fg='yellow')}      {text}")

    def data(self, value: Any) -> None:
        """Print data on stdout: JSON for dictionaries and lists, one line for text."""
        if isinstance(value, str):
            _print(value)
        else:
            click.echo(dump_json(value))

    def text(self, text: str, *, commands: bool = False) -> None:
        """Print several lines on stdout, from `plain_text.joined` or from plain texts."""
        for row in text.removesuffix("\n").split("\n") if text else ():
            _print(row, commands=commands)

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Show a spinner inside the block; nothing where stderr is not a terminal."""
        if self.verbosity < 0 or not sys.stderr.isatty():
            yield
            return
        from rich.console import Console as RichConsole
        from rich.markup import escape

        with RichConsole(stderr=True).status(escape(plain(what))):
            yield

    @contextmanager
    def counting(self, what: str) -> Iterator[Callable[[str, int, int | None], None]]:
        """Show a progress bar on a terminal, and nothing elsewhere.

        Yields a function to call after each piece of work: (name, number done, total number or None).
        """
        if self.verbosity < 0 or not sys.stderr.isatty():
            yield lambda name, done, total: None
            return
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=RichConsole(stderr=True), transient=True) as progress:
            task = progress.add_task(what, total=None)
            yield lambda name, done, total: progress.update(task, completed=done, total=total)


def _print(text: str, *, err: bool = False, commands: bool = False) -> None:
    """Write one line; the only place that does, so that each line goes through `plain_text.line`."""
    forced = _colour()
    stream = sys.stderr if err else sys.stdout
    colour = stream.isatty() if forced is None else forced
    click.echo(line(text, colour=colour, commands=commands), err=err, color=colour)


def _colour() -> bool | None:
    """False with NO_COLOR, True with FORCE_COLOR, None (decided by the terminal) otherwise."""
    if os.environ.get("NO_COLOR"):
        return False
    return True if os.environ.get("FORCE_COLOR") else None


def output_options(command: F) -> F:
    """Decorator that adds -v, -q and --json, and passes them on as a `console` argument."""
    import functools

    @click.option("-v", "--verbose", count=True, help="Print more; twice for tracebacks.")
    @click.option("-q", "--quiet", is_flag=True, help="Print only errors.")
    @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
    @functools.wraps(command)
    def wrapped(*args: Any, verbose: int, quiet: bool, as_json: bool, **kwargs: Any) -> Any:
        console = Console(-1 if quiet else verbose, as_json)
        context = click.get_current_context()
        context.find_root().obj = console
        return command(*args, console=console, **kwargs)

    return wrapped  # type: ignore[return-value]


def run(group: click.Group) -> int:
    """Run the command line and return the exit code. Tracebacks are shown only with -vv."""
    console = Console()
    own_process()
    listen(lambda message: console.say(f"  {styled('runs', fg='yellow')}      {message}"))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # names may contain characters that a code page lacks
    if "-vv" not in sys.argv:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # read as torch is imported: its C++ warns on stderr
    try:
        restore_interrupt()
        if sys.argv[1:2] and not sys.argv[1].startswith("-"):
            require_address_space(light=sys.argv[1] in _LIGHT)
        result = group.main(standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        console.say("stopped")
        return STOPPED
    except click.exceptions.NoArgsIsHelpError as error:
        for line in error.ctx.get_help().splitlines() if error.ctx is not None else ():
            console.say(line)
        return 2
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        if context is not None:
            console.say(context.get_usage())
        console.say(f"Error: {error.format_message()}")
        if context is not None:
            console.say(f"Try '{context.command_path} --help'.")
        return 2
    except PipelineError as error:
        _show_error(error)
        return error.exit_code
    except LimitReached as stop:
        _show_error(stop.error)
        return stop.error.exit_code
    except MemoryError:
        _show_error(out_of_memory(""))
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        _show_error(_from_os_error(error))
        return 2
    except Exception as error:
        if "-vv" in sys.argv:
            _show_trace()
        console.say(
            f"[bug] {type(error).__name__}: {' '.join(str(error).split())[:300]}. This is a bug of the pipeline: "
            "please report it with the output of the same command and -vv.",
            fg="red",
        )
        return BUG


def _show_error(error: PipelineError) -> None:
    if "--json" in sys.argv[1:]:
        extra = {"report": error.report} if isinstance(error, ProofFailed) and error.report else {}
        click.echo(dump_json({"error": error.as_dict(), **extra}))
    if "-vv" in sys.argv:
        _show_trace()
    Console().say(f"{styled('error', fg='red')} {error}")


def _show_trace() -> None:
    """Print the traceback of the current exception, with each line made plain."""
    import traceback

    for row in traceback.format_exc().splitlines():
        _print(row, err=True)


def _from_os_error(error: OSError) -> PipelineError:
    import errno

    subject = str(error.filename or "")
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return PipelineError("disk-full", "the disk is full", subject=subject, remedy="Free some.")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return PipelineError(
                "no-permission",
                "permission denied",
                subject=subject,
                remedy="Check its owner and permissions, or choose another location.",
            )
        case _:
            return PipelineError("system-error", error.strerror or str(error), subject=subject)
