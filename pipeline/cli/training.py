"""Shared by the commands that train: options, and the display of progress."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipeline.cli.console import Console

if TYPE_CHECKING:
    from pipeline.shrink.loop import History, LoopOptions

F = TypeVar("F", bound=Callable[..., Any])


def loop_options(steps: int) -> Callable[[F], F]:
    """Decorator that adds the options of LoopOptions as `loop`, and `threads`, `run`, `resume` and `force`.

    `steps` is the default length of the training.
    """

    def decorate(command: F) -> F:
        @click.option(
            "--steps",
            type=click.IntRange(1),
            default=steps,
            show_default=True,
            help="Length of the training, in steps.",
        )
        @click.option(
            "--minutes",
            type=click.FloatRange(0, min_open=True),
            help="Length of the training in minutes, instead of --steps.",
        )
        @click.option("--seed", type=int, default=1, show_default=True, help="Random seed.")
        @click.option("--rate", type=click.FloatRange(0, min_open=True), help="Peak learning rate.")
        @click.option(
            "--device", default="auto", show_default=True, help="Device for torch: auto, cpu, cuda, cuda:1 or mps."
        )
        @click.option(
            "--precision",
            type=click.Choice(["auto", "float32", "bfloat16"]),
            default="auto",
            show_default=True,
            help="auto uses bfloat16 for the first 85 % if the hardware supports it.",
        )
        @click.option("--threads", type=click.IntRange(1), help="Number of CPU threads; the default is torch's.")
        @click.option(
            "--every",
            type=click.IntRange(1),
            default=250,
            show_default=True,
            help="Number of steps between samples.",
        )
        @click.option(
            "--run",
            type=click.Path(path_type=Path),
            help="Folder for samples, checkpoint and history; default OUTPUT.run.",
        )
        @click.option("--resume", is_flag=True, help="Continue an interrupted run from its checkpoint.")
        @click.option("--force", is_flag=True, help="Start again, and replace an existing file.")
        @functools.wraps(command)
        def wrapped(*args: Any, **options: Any) -> Any:
            keys = ("steps", "minutes", "seed", "rate", "device", "every")
            loop = {key: options.pop(key) for key in keys}
            loop["half"] = {"auto": None, "float32": False, "bfloat16": True}[options.pop("precision")]
            return command(*args, loop=loop, **options)

        return wrapped  # type: ignore[return-value]

    return decorate


def to_loop(values: dict[str, Any], threads: int | None, purpose: str) -> LoopOptions:
    """Make LoopOptions from the option values. Imports torch and sets its number of threads.

    Raises MissingDependency.
    """
    from pipeline.shrink import require_training

    require_training(purpose)
    import torch

    from pipeline.shrink.loop import LoopOptions

    if threads is not None:
        torch.set_num_threads(threads)
    return LoopOptions(**values)


def say_trained(console: Console, report: dict[str, Any]) -> None:
    """Print the report (with --json) or the network's file on stdout; only in the first of several processes."""
    if os.environ.get("RANK", "0") == "0":
        console.data(report if console.as_json else report["student"]["file"])


@contextmanager
def progress(console: Console) -> Iterator[Callable[[History, float], None]]:
    """Yield a function to call after each step: (history, share done from 0 to 1).

    It shows a bar with the time left on a terminal, and one line per measurement elsewhere. Only the first of
    several processes prints.
    """
    if console.verbosity < 0 or os.environ.get("RANK", "0") != "0":
        yield lambda history, done: None
        return
    if not sys.stderr.isatty():
        yield lambda history, done: _line(console, history, done) if _measured(history) else None
        return
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("  step {task.fields[step]}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]} left  {task.fields[found]}"),
    )
    with Progress(*columns, console=RichConsole(stderr=True), transient=True) as display:
        task = display.add_task("", total=1.0, step=0, left="?", found="")

        def show(history: History, done: float) -> None:
            if _measured(history):
                _line(console, history, done)
            left, found = _left(history, done), _found(history)
            display.update(task, completed=done, step=history.steps, left=left, found=found)

        yield show


def _measured(history: History) -> bool:
    return bool(history.records) and history.records[-1]["step"] == history.steps


def _line(console: Console, history: History, done: float) -> None:
    status = f"{100 * done:3.0f} %, {history.minutes:.1f} min, {_left(history, done)} left: {_found(history)}"
    console.step(f"{history.steps:>7}", status)


def _found(history: History) -> str:
    if not history.records:
        return ""
    record = history.records[-1]
    loss = f"loss {sum(record['losses'].values()):.3f}"
    quality = record.get("quality") or []
    if not quality:
        return loss
    return (
        f"{loss}, {quality[0]['psnr']:.1f} dB, SSIM {quality[0]['ssim']:.2f}, detail {quality[0]['detail']:.2f}, "
        f"texture {quality[0]['texture']:.2f} away"
    )


def _left(history: History, done: float) -> str:
    if done <= 0:
        return "?"
    seconds = history.minutes * 60 * (1 - done) / done
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
