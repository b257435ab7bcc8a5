"""Gives freed memory back to the system, and spares the garbage collector what stays anyway."""

from __future__ import annotations

import contextlib
import gc
import sys

_own_process = False
_COLLECTED = (100_000, 20, 50)
"""Objects made, and collections of the younger generation, between collections: a graph of many nodes is millions
of objects that stay, and what is dropped between two steps is collected by `give_back`."""


def own_process() -> None:
    """Say that this process runs a command and nothing else, so that its collector is ours to set."""
    global _own_process
    _own_process = True
    gc.set_threshold(*_COLLECTED)


def is_own_process() -> bool:
    """Whether this process runs a command of ours and nothing else."""
    return _own_process


def keep_what_is_loaded() -> None:
    """Count what is loaded now (torch has a million objects) as staying: a collection then takes milliseconds
    instead of 80. Does nothing in somebody else's process."""
    if _own_process:
        gc.freeze()


def give_back() -> None:
    """Collect garbage and, with glibc, return free pages: weights pass through many short-lived copies here, and
    the next step would otherwise be counted on top of them. Does nothing elsewhere."""
    gc.collect()
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
