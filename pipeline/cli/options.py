"""Command-line options, generated from their declarations (`pipeline.build.options`)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from pipeline.build.options import Option, all_options, source_options

F = TypeVar("F", bound=Callable[..., Any])


def build_options(name: str) -> Callable[[F], F]:
    """Decorator that adds the options of the command `name`; those that are set are passed as `options`."""
    return _gathered("options", [option for option in all_options() if name in option.declaration.commands])


def reading_options(command: F) -> F:
    """Decorator that adds the options for reading a model; those that are set are passed as `reading`
    (ReadOptions).

    Every command that opens a model has all of them.
    """
    return _gathered("reading", list(source_options()))(command)


def _gathered(keyword: str, known: list[Option]) -> Callable[[F], F]:
    def decorate(command: F) -> F:
        @functools.wraps(command)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            values = {option.name: kwargs.pop(option.name) for option in known}
            set_values = {key: value for key, value in values.items() if value is not None and value != ()}
            return command(*args, **{keyword: set_values}, **kwargs)

        decorated: Any = wrapped
        for option in reversed(known):
            decorated = _click_option(option)(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


def _click_option(option: Option) -> Callable[[F], F]:
    words = [word for word in (option.declaration.short, option.flag, option.name) if word]
    if option.type is bool:
        return click.option(
            *words, flag_value=not option.default, is_flag=True, default=None, help=option.declaration.help
        )
    shown = f" [default: {option.default}]" if option.default not in (None, ()) else ""
    return click.option(
        *words,
        type=click.Path(path_type=Path) if option.is_path else option.item if option.item in (int, float) else str,
        metavar=option.declaration.metavar,
        multiple=option.repeated,
        default=None,
        help=option.declaration.help + shown,
    )
