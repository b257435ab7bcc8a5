"""Runs programs that came from a file (TorchScript, torch.export) under limits of memory and time.

A checked program does nothing but arithmetic, and arithmetic can still run for ever or fill the memory. Its first
run happens in a copy of this process that may neither open a file nor a connection, and that a clock ends. The
runs that follow are held to the same memory, and to PIPELINE_TIME_LIMIT each.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.support import limits, memory
from pipeline.support.errors import LimitReached, PipelineError
from pipeline.support.untrusted import NO_MEMORY

WHAT = "running the program in the file"
_GOOD, _TOO_MUCH, _OPENED = 0, 3, 4
"""Exit codes of the copy: it ran or failed as a network may; it got no more memory; it tried to open a file."""


def first_run(path: Path, run: Callable[[], Any]) -> None:
    """Let a copy of this process do `run`, and see that it comes back.

    What `run` raises is not passed on: whoever runs it again here meets it. `run` cannot import a module that is
    not loaded yet. Does nothing where the system cannot copy processes. Raises LimitReached, and PipelineError
    `source-does-not-run` where the copy broke down or tried to open a file.
    """
    if not sys.platform.startswith("linux"):
        return
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of copying a process that has threads
        copy = os.fork()
    if copy == 0:
        _in_copy(run)
    status = _wait(copy, limits.run_seconds())
    if status is None or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
        raise limits.too_much_time(WHAT, limits.run_seconds())
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == _TOO_MUCH:
        raise limits.too_much_memory(WHAT, "more than the limit", limits.run_memory())
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == _OPENED:
        raise PipelineError(
            "source-does-not-run",
            "the program in the file needs to open a file while it runs, which it may not",
            subject=str(path),
            remedy="Save only the weights: torch.save(model.state_dict(), 'network.pth').",
        )
    if os.WIFSIGNALED(status):
        raise PipelineError(
            "source-does-not-run",
            "the program in the file crashes torch: the process that ran it ended with signal "
            f"{os.WTERMSIG(status)}",
            subject=str(path),
            remedy="Save only the weights: torch.save(model.state_dict(), 'network.pth').",
        )


def _in_copy(run: Callable[[], Any]) -> None:
    code = _GOOD
    try:
        import faulthandler

        import torch

        faulthandler.disable()
        torch.set_num_threads(1)  # the threads of the original are not copied
        for number in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        _restrict()
        run()
    except (OSError, ImportError):
        code = _OPENED
    except BaseException as error:
        code = _TOO_MUCH if isinstance(error, LimitReached) or _is_no_memory(error) else _GOOD
    finally:
        os._exit(code)


def _restrict() -> None:
    import resource

    wanted = (
        (resource.RLIMIT_AS, limits.address_space() + limits.run_memory()),
        (resource.RLIMIT_CPU, int(limits.run_seconds()) + 1),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_CORE, 0),
    )
    for kind, most in wanted:
        _, hard = resource.getrlimit(kind)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _wait(copy: int, seconds: float) -> int | None:
    """The status of the copy when it ends; None, and its end, where that takes longer."""
    deadline, pause = time.monotonic() + seconds, 0.001
    while True:
        ended, status = os.waitpid(copy, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() > deadline:
            os.kill(copy, signal.SIGKILL)
            os.waitpid(copy, 0)
            return None
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def _is_no_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or any(word in str(error)[:2000] for word in NO_MEMORY)


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Hold a run in this process to the limits; to time and memory where the process is the command line's own.

    Raises LimitReached where there is no more memory. Nothing can interrupt torch, so too long a run ends the
    process, with the error on stderr and exit code 2.
    """
    with contextlib.ExitStack() as stack:
        if memory.is_own_process():
            stack.enter_context(_clock())
            stack.enter_context(_memory_held())
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if _is_no_memory(error):
                raise limits.too_much_memory(WHAT, "more than the limit", limits.run_memory()) from None
            raise


@contextlib.contextmanager
def _clock() -> Iterator[None]:
    seconds = limits.time_limit()
    clock = threading.Timer(seconds, _end, (limits.too_much_time(WHAT, seconds).error,))
    clock.daemon = True
    clock.start()
    try:
        yield
    finally:
        clock.cancel()


def _end(error: PipelineError) -> None:
    print(f"error {error}", file=sys.stderr, flush=True)
    os._exit(error.exit_code)


@contextlib.contextmanager
def _memory_held() -> Iterator[None]:
    used = limits.address_space()
    try:
        import resource
    except ImportError:  # Windows
        used = 0
    if not used:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = used + limits.run_memory()
    if soft != resource.RLIM_INFINITY:
        most = min(most, soft)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
