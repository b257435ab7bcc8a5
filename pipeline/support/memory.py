"""Return freed memory to the system, and tune the garbage collector for graphs of many nodes."""

from __future__ import annotations

import contextlib
import gc
import sys

_own_process = False
_COLLECTED = (100_000, 20, 50)
"""Thresholds for gc.set_threshold: a large graph is millions of long-lived objects, so collections are rare;
garbage between two steps is collected by `release_memory`."""


def own_process() -> None:
    """Declare that this process only runs a command of this tool, so that the garbage collector may be tuned."""
    global _own_process
    _own_process = True
    gc.set_threshold(*_COLLECTED)


def is_own_process() -> bool:
    """Whether this process only runs a command of this tool."""
    return _own_process


def freeze_loaded_objects() -> None:
    """Exclude all objects that exist now (torch has a million) from garbage collection, which becomes much faster.

    Does nothing where this package is used as a library.
    """
    if _own_process:
        gc.freeze()


def release_memory() -> None:
    """Collect garbage and, with glibc, return free pages to the system: rewriting makes many short-lived copies of
    the weights, which would add to the memory of the next step."""
    gc.collect()
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
