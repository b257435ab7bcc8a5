"""The exceptions for everything that the user can fix.

Every error has a stable `code` (kebab-case, listed in docs/errors.md), a `subject` (the file, node or option that
it is about) and a `remedy`. The command line prints it as one line and exits with `exit_code`: 2 for bad input, 1
for a failed proof. Any other exception that reaches the command line is a bug of this tool.
"""

from __future__ import annotations

from typing import Any

from pipeline.support.plain_text import plain


class PipelineError(Exception):
    """Bad input, options or environment: something that the user can fix. Exit code 2."""

    exit_code = 2

    def __init__(self, code: str, message: str, *, subject: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.subject = subject
        self.remedy = remedy

    def __str__(self) -> str:
        """One line: `[code] subject: message. remedy`."""
        head = f"{self.subject}: " if self.subject else ""
        tail = f" {self.remedy}" if self.remedy else ""
        message = self.message.rstrip(".")
        end = "" if message.endswith("?") else "."
        return plain(" ".join(f"[{self.code}] {head}{message}{end}{tail}".split()))

    def __reduce__(self) -> Any:
        return _again, (type(self), dict(self.__dict__), self.args)

    def as_dict(self) -> dict[str, str]:
        """The error as data for `--json`."""
        return {
            "code": self.code,
            "subject": self.subject,
            "message": self.message,
            "remedy": self.remedy,
        }


def _again(kind: type[PipelineError], attributes: dict[str, Any], args: tuple[Any, ...]) -> PipelineError:
    """Restore an error from its pickle, so that it can cross from one process to another."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    error.args = args
    return error


class ProofFailed(PipelineError):
    """The built graph does not compute what the source network computes, or violates a rule. Exit code 1.

    `report` has the facts found so far, in the form of `BuildResult.report`.
    """

    exit_code = 1

    def __init__(
        self, code: str, message: str, *, subject: str = "", remedy: str = "", report: dict[str, Any] | None = None
    ) -> None:
        super().__init__(code, message, subject=subject, remedy=remedy)
        self.report = report or {}


class MissingDependency(PipelineError):
    """An optional package that this input needs is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            "missing-dependency",
            f"{purpose} needs the Python package {package}, which is not installed",
            subject=package,
            remedy="The CPU build is sufficient: pip install torch --index-url "
            "https://download.pytorch.org/whl/cpu."
            if package == "torch"
            else f"Install it with: pip install 'unity-bridge-pipeline[{extra}]'.",
        )


class LimitReached(BaseException):
    """A network from a file needs more memory or time than the limits allow; ends the command with exit code 2.

    It is not an Exception, for the same reason as KeyboardInterrupt: code that tries whether a network runs at
    some size catches every Exception, and must not go on to the next size. The command line, and
    `untrusted.on_a_file` around the public functions, raise `error` in its place.
    """

    def __init__(self, error: PipelineError) -> None:
        super().__init__(str(error))
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.error,)
