"""Options on the command line, made from their declarations (`pipeline.build.options`)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from pipeline.build.options import Option, all_options, source_options

F = TypeVar("F", bound=Callable[..., Any])


def build_options(name: str) -> Callable[[F], F]:
    """The options that the command `name` has, as an `options` dictionary of those that were given."""
    return _gathered("options", [held for held in all_options() if name in held.declaration.commands])


def reading_options(command: F) -> F:
    """The options that say how a model is read, as a `reading` dictionary of those that were given (ReadOptions).

    Every command that opens a model has all of them.
    """
    return _gathered("reading", list(source_options()))(command)


def _gathered(keyword: str, known: list[Option]) -> Callable[[F], F]:
    def decorate(command: F) -> F:
        @functools.wraps(command)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            chosen = {held.name: kwargs.pop(held.name) for held in known}
            given = {key: value for key, value in chosen.items() if value is not None and value != ()}
            return command(*args, **{keyword: given}, **kwargs)

        made: Any = wrapped
        for held in reversed(known):
            made = _click_option(held)(made)
        return made  # type: ignore[no-any-return]

    return decorate


def _click_option(held: Option) -> Callable[[F], F]:
    words = [word for word in (held.declaration.short, held.flag, held.name) if word]
    if held.type is bool:
        return click.option(
            *words, flag_value=not held.default, is_flag=True, default=None, help=held.declaration.help
        )
    shown = f" [default: {held.default}]" if held.default not in (None, ()) else ""
    return click.option(
        *words,
        type=click.Path(path_type=Path) if held.is_path else held.item if held.item in (int, float) else str,
        metavar=held.declaration.metavar,
        multiple=held.repeated,
        default=None,
        help=held.declaration.help + shown,
    )
