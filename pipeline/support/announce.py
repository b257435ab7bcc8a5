"""Announces to the user that code from outside (their own Python module) is about to run."""

from __future__ import annotations

from collections.abc import Callable

_listener: Callable[[str], None] | None = None


def listen(listener: Callable[[str], None]) -> None:
    """Register the function that gets each announcement; the command line prints them on stderr, also with -q."""
    global _listener
    _listener = listener


def announce(text: str) -> None:
    """Pass a sentence to the listener. Used as a library there is none: the caller chose to run the module."""
    if _listener is not None:
        _listener(text)
