"""The edge around work on files from somewhere else: whatever it stumbles over becomes one error of one line.

A network may be valid and still hold what no rewrite, rule or library expected. That is the file's matter for who
runs the command (exit code 2, with what happened and where to report it), and never a traceback. Faults that no
file can cause (a name that does not exist, a module that is missing) go on and end as bugs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from pipeline.support import limits
from pipeline.support.errors import LimitReached, PipelineError

F = TypeVar("F", bound=Callable[..., Any])

NO_MEMORY = (
    *("bad_alloc", "bad allocation", "Failed to allocate", "MemoryError", "Unable to allocate"),
    *("can't allocate memory", "not enough memory"),
)
"""What numpy, torch and ONNX Runtime say where they get no memory."""
_OURS = (NameError, ImportError, SyntaxError, NotImplementedError)


def on_a_file(function: F) -> F:
    """`function`, whose first argument is a path, with errors about the file in place of what it stumbles over.

    LimitReached becomes the PipelineError that it stands for. A PipelineError without a subject gets the path.
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with reading(args[0] if args else next(iter(kwargs.values()), "")):
            return function(*args, **kwargs)

    return cast("F", wrapped)


@contextmanager
def reading(subject: str | Path) -> Iterator[None]:
    """The same for a part of a function: PipelineError `out-of-memory`, `not-handled`, or what was raised."""
    named = str(subject) if isinstance(subject, (str, Path)) else ""
    try:
        yield
    except PipelineError as error:
        error.subject = error.subject or named
        raise
    except LimitReached as stop:
        stop.error.subject = stop.error.subject or named
        raise stop.error from stop
    except (OSError, *_OURS):
        raise
    except MemoryError as error:
        raise out_of_memory(named) from error
    except RecursionError as error:
        raise _not_handled(named, "its parts are nested too deep") from error
    except Exception as error:
        if any(word in str(error)[:2000] for word in NO_MEMORY):
            raise out_of_memory(named) from error
        told = " ".join(str(error).split())[:200]
        raise _not_handled(named, f"{type(error).__name__}{': ' if told else ''}{told}") from error


def out_of_memory(subject: str) -> PipelineError:
    """The system gave no more memory."""
    return PipelineError(
        "out-of-memory",
        "there is not enough memory (on this machine, or within its limit)",
        subject=subject,
        remedy=f"Close other programs, or raise the limit (ulimit -v, the container's, {limits.MEMORY}).",
    )


def _not_handled(subject: str, what: str) -> PipelineError:
    return PipelineError(
        "not-handled",
        f"the file contains something unexpected ({what})",
        subject=subject,
        remedy="Export it again; if ONNX Runtime or torch can load it, please report it with the output of -vv.",
    )
