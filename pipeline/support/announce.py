"""Tells the user, before it happens, that code from outside will run."""

from __future__ import annotations

from collections.abc import Callable

_listener: Callable[[str], None] | None = None


def listen(listener: Callable[[str], None]) -> None:
    """Have `listener` called with each sentence; the command line prints on stderr, also with --quiet."""
    global _listener
    _listener = listener


def announce(text: str) -> None:
    """Pass a sentence to the listener. Without a command line there is none: the caller chose it in Python."""
    if _listener is not None:
        _listener(text)
