"""Render verdicts as GitHub workflow commands: annotations on a commit, written to the log of a step.

Source: docs.github.com, "Workflow commands for GitHub Actions": `::error file=,line=,title=::message`, with `%`,
CR and LF escaped, in properties also `:` and `,`. GitHub shows at most ten annotations of each kind per step, so
findings with the same code and operator become one annotation, worst first.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.report.text import Group, groups, sentence, shown
from pipeline.support.plain_text import joined, plain
from pipeline.validation.files import Validation, Verdict
from pipeline.validation.findings import Severity


def render_github(result: Validation, *, verbosity: int = 0, folder: Path | None = None) -> str:
    """One workflow command per line.

    Findings that fail the step are errors, other findings down to `warning` are warnings, and the rest are
    notices; notes are shown only with `verbosity` above 0. A finding is placed at the user's Python line if that
    file is in `folder` (default: the current folder), else at the model file.
    """
    folder = folder or Path.cwd()
    ranked: list[tuple[int, str]] = []
    for verdicts in result.by_file().values():
        if verdicts[0].error is not None:
            error = verdicts[0].error
            message = f"{sentence(error.message)} {error.remedy}".strip()
            ranked.append((-1, _command("error", message, file=_file(verdicts[0], folder), title=error.code)))
        for group in groups(verdicts):
            if group.first.severity is not Severity.NOTE or verbosity > 0 or result.fail_on is Severity.NOTE:
                ranked.append((group.first.severity.rank, _annotation(group, verdicts[0], result, folder)))
    ranked.sort(key=lambda item: item[0])
    lines = [line for _, line in ranked]
    for waiver in result.unused:
        lines.append(
            _command(
                "warning",
                f"no finding matches this waiver: {waiver}",
                file=str(waiver.config),
                title="unused waiver",
            )
        )
    return "".join(f"{line}\n" for line in lines)


def _annotation(group: Group, verdict: Verdict, result: Validation, folder: Path) -> str:
    first = group.first
    place = group.line.below(folder) if group.line else None
    lines = [f"{group.place or 'The graph'}: {sentence(shown(first.reason, 300))}"]
    if first.console:
        lines.append(f"Unity says: {shown(first.console, 300)}")
    if group.line:
        lines.append(f"Python: {shown(str(group.line), 300)}")
    if group.waived:
        lines.append(f"Waived: {group.waived}")
    else:
        lines.append(f"Fix: {first.fix}")
    if place is not None:
        lines.append(f"In {shown(verdict.name, 300)}")
    kind = "notice"
    if not group.waived and first.severity.rank <= result.fail_on.rank:
        kind = "error"
    elif not group.waived and first.severity.rank <= Severity.WARNING.rank:
        kind = "warning"
    title = f"{first.severity} {first.code} ({', '.join(group.targets)})"
    if place is not None and group.line is not None:
        return _command(kind, "\n".join(lines), file=place, line=str(group.line.line), title=title)
    return _command(kind, "\n".join(lines), file=_file(verdict, folder), title=title)


def _file(verdict: Verdict, folder: Path) -> str:
    path = verdict.file if not verdict.file.is_absolute() else verdict.file.resolve()
    if path.is_absolute() and path.is_relative_to(folder.resolve()):
        path = path.relative_to(folder.resolve())
    return path.as_posix().encode("utf-8", "backslashreplace").decode()


def _command(kind: str, message: str, **properties: str) -> str:
    joined_properties = ",".join(f"{key}={_escape(plain(value), ':,')}" for key, value in properties.items())
    return f"::{kind} {joined_properties}::{_escape(joined(message.split(chr(10))))}"


def _escape(text: str, more: str = "") -> str:
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
