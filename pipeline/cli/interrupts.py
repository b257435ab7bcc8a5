"""Ctrl-C while the command line is still being imported: one word instead of a traceback.

Python raises KeyboardInterrupt wherever it is then, and nothing of this program could catch it yet.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

STOPPED = 130
"""Exit code of what Ctrl-C ended: 128 and the signal's number."""


def _stop(signal_number: int, frame: Any) -> None:
    os.write(2, b"stopped\n")
    os._exit(STOPPED)


def end_quietly() -> None:
    """Let Ctrl-C end the process at once, where this is the program `pipeline` and not a library in another."""
    program = os.path.basename(sys.argv[0]).removesuffix(".exe") if sys.argv else ""
    if (
        program in ("pipeline", "-m", "__main__.py")
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):
        try:
            signal.signal(signal.SIGINT, _stop)
        except ValueError:  # not in the main thread
            return


def as_usual() -> None:
    """Ctrl-C is KeyboardInterrupt again, from where on it is handled."""
    if signal.getsignal(signal.SIGINT) is _stop:
        signal.signal(signal.SIGINT, signal.default_int_handler)
