"""Run programs that came from a file (TorchScript, torch.export) under limits of memory and time.

A checked program contains only arithmetic, but arithmetic can run forever or exhaust memory. Its first run happens
in a forked process that may open neither files nor connections and that is killed after a time limit. Later runs
have the same memory limit, and PIPELINE_TIME_LIMIT each.
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
"""Exit codes of the forked process: it ran, or failed with an error that any network can have; it ran out of
memory; it tried to open a file."""


def first_run(path: Path, run: Callable[[], Any]) -> None:
    """Call `run` in a forked process, and check that it ends within the limits.

    Exceptions of `run` are not passed on: the caller meets them when it calls `run` itself. `run` cannot import a
    module that is not loaded yet. Does nothing on systems other than Linux. Raises LimitReached, and PipelineError
    `source-does-not-run` where the process crashed or tried to open a file.
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

    maxima = (
        (resource.RLIMIT_AS, limits.address_space() + limits.run_memory()),
        (resource.RLIMIT_CPU, int(limits.run_seconds()) + 1),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_CORE, 0),
    )
    for kind, most in maxima:
        _, hard = resource.getrlimit(kind)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _wait(copy: int, seconds: float) -> int | None:
    """The exit status of the forked process; None where it took longer than `seconds`, and was killed."""
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
    """Apply the limits to a run in this process; limits of time and memory only in the command-line program.

    Raises LimitReached where memory is exhausted. Nothing can interrupt torch, so a run that takes too long ends
    the process, with the error on stderr and exit code 2.
    """
    with contextlib.ExitStack() as stack:
        if memory.is_own_process():
            stack.enter_context(_clock())
            stack.enter_context(_memory_limit())
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
def _memory_limit() -> Iterator[None]:
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
