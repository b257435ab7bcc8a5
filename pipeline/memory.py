"""Gives freed memory back to the system."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys


def give_back() -> None:
    """Collect garbage and, with glibc, return free pages: weights pass through many short-lived copies here, and
    the next step would otherwise be counted on top of them. Does nothing elsewhere."""
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
