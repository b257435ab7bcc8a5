"""Tells the user, before it happens, that code from outside will run."""

from __future__ import annotations

from collections.abc import Callable

_listener: Callable[[str], None] | None = None


def listen(listener: Callable[[str], None]) -> None:
    """Let `listener` be told; the command line prints on stderr, also with --quiet."""
    global _listener
    _listener = listener


def announce(text: str) -> None:
    """Say a sentence; nobody is told where no command line runs, since the caller chose it in Python."""
    if _listener is not None:
        _listener(text)
