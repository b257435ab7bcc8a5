"""Turn unexpected exceptions from work on untrusted files into one PipelineError.

A network may be valid and still contain something that no rewrite, rule or library expected. The user then gets
one line with what happened and where to report it (exit code 2), not a traceback. Exceptions that no file can
cause (an undefined name, a missing module) are passed on, and end as bugs.
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
"""Parts of the messages of numpy, torch and ONNX Runtime when memory is exhausted."""
_OURS = (NameError, ImportError, SyntaxError, NotImplementedError)


def on_a_file(function: F) -> F:
    """Decorator for a function whose first argument is a path: applies `reading` with that path."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with reading(args[0] if args else next(iter(kwargs.values()), "")):
            return function(*args, **kwargs)

    return cast("F", wrapped)


@contextmanager
def reading(subject: str | Path) -> Iterator[None]:
    """Turn exceptions inside the block into PipelineErrors about `subject`.

    Memory errors become `out-of-memory`, LimitReached becomes its own error, OSError and programming errors are
    passed on, and everything else becomes `not-handled`. A PipelineError without a subject gets `subject`.
    """
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
        detail = " ".join(str(error).split())[:200]
        raise _not_handled(named, f"{type(error).__name__}{': ' if detail else ''}{detail}") from error


def out_of_memory(subject: str) -> PipelineError:
    """The PipelineError for exhausted memory."""
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
