"""Turn any exception of a parser of untrusted bytes into one PipelineError of one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pipeline.support.errors import PipelineError
from pipeline.support.untrusted import out_of_memory

T = TypeVar("T")


def guarded(path: Path, action: Callable[[], T]) -> T:
    """Run a parser of untrusted bytes, and turn whatever it raises into a PipelineError."""
    try:
        return action()
    except PipelineError:
        raise
    except MemoryError as error:
        raise out_of_memory(str(path)) from error
    except (EOFError, IndexError) as error:
        raise damaged(path, _first_line(error) or "it ends too early", "truncated-file") from error
    except Exception as error:
        # Any other exception means bytes that no real writer produces: the fault is in the file.
        raise damaged(path, _first_line(error) or type(error).__name__) from error


def _first_line(error: Exception) -> str:
    text = error.args[0] if error.args and isinstance(error.args[0], str) else ""
    if not text and isinstance(error, RecursionError):
        return "its parts are nested too deep"
    text = text or (str(error) if not error.args or len(error.args) < 3 else "")
    return text.splitlines()[0][:300] if text.strip() else ""


def damaged(path: Path, detail: str, code: str = "damaged-file") -> PipelineError:
    what = "the file is truncated" if code == "truncated-file" else "the file is damaged"
    return PipelineError(code, f"{what}: {detail}", subject=str(path), remedy="Download or export it again.")
