"""Handle Ctrl-C while the command line is still being imported: print one word instead of a traceback.

Python would raise KeyboardInterrupt in the middle of an import, where this program cannot catch it yet.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

STOPPED = 130
"""Exit code after Ctrl-C: 128 plus the signal's number."""


def _stop(signal_number: int, frame: Any) -> None:
    os.write(2, b"stopped\n")
    os._exit(STOPPED)


def stop_on_interrupt() -> None:
    """Make Ctrl-C end the process at once, if this is the program `pipeline` (and not a library in another
    one)."""
    program = os.path.basename(sys.argv[0]).removesuffix(".exe") if sys.argv else ""
    if (
        program in ("pipeline", "-m", "__main__.py")
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):
        try:
            signal.signal(signal.SIGINT, _stop)
        except ValueError:  # not in the main thread
            return


def restore_interrupt() -> None:
    """Make Ctrl-C raise KeyboardInterrupt again, once it is handled."""
    if signal.getsignal(signal.SIGINT) is _stop:
        signal.signal(signal.SIGINT, signal.default_int_handler)
