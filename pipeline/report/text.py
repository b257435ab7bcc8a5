"""Render verdicts as text: findings grouped by code and operator, and a matrix of files and targets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.support.plain_text import joined, plain, styled
from pipeline.validation.files import Validation, Verdict
from pipeline.validation.findings import Finding, Severity
from pipeline.validation.python_lines import PythonLine

COLOURS = {
    Severity.ERROR: "red",
    Severity.WRONG: "magenta",
    Severity.WARNING: "yellow",
    Severity.SLOW: "cyan",
    Severity.NOTE: "bright_black",
}
_CELLS = {"fails": "fails", "wrong": "computes wrong", "warns": "right, warns", "right": "right"}
_CELL_COLOURS = {"fails": "red", "wrong": "magenta", "warns": "yellow", "right": "green", "unreadable": "red"}
NAME = 80
"""Most characters of a node's name that are shown: some exporters write names of thousands of characters."""


@dataclass(frozen=True)
class Group:
    """Findings of one file with the same code and operator, on several nodes or targets; the first is shown."""

    findings: tuple[Finding, ...]
    waived: str = ""
    line: PythonLine | None = None

    @property
    def first(self) -> Finding:
        return self.findings[0]

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(f.target for f in self.findings))

    @property
    def more(self) -> int:
        """The number of further nodes."""
        return len({f.node for f in self.findings}) - 1

    @property
    def place(self) -> str:
        """Operator, node, and attribute or input of the first finding, and the number of further nodes."""
        parts = (shown(self.first.operator), shown(self.first.node), shown(self.first.where))
        place = " ".join(part for part in parts if part)
        return f"{place} and {self.more} more" if self.more else place


def groups(verdicts: Iterable[Verdict], *, separate: bool = False) -> list[Group]:
    """The findings of one file for all targets, grouped by severity, code and operator, worst first.

    With `separate`, each finding of each node is a group; only targets are combined.
    """
    grouped: dict[tuple[object, ...], list[Finding]] = {}
    waived: dict[tuple[object, ...], str] = {}
    lines: dict[str, PythonLine] = {}
    for verdict in verdicts:
        lines.update(verdict.lines)
        for finding in verdict.findings:
            waiver = verdict.waivers.get(finding)
            key: tuple[object, ...] = (finding.severity, finding.code, finding.operator, waiver)
            if separate:
                key += (finding.node, finding.where)
            grouped.setdefault(key, []).append(finding)
            waived[key] = waiver.reason if waiver is not None else ""
    result = [Group(tuple(found), waived[key], lines.get(found[0].node)) for key, found in grouped.items()]
    return sorted(result, key=lambda group: group.first.severity.rank)


def shown(name: str, limit: int = NAME) -> str:
    """A name for the terminal: control characters escaped, and the middle of a long name left out."""
    return plain(name, limit)


def render_text(result: Validation, *, verbosity: int = 0) -> str:
    """The findings of all files, coloured by severity (the caller strips unwanted colours).

    At verbosity 0, findings are grouped and notes left out; above 0, every finding is shown with its source; below
    0, only findings that fail.
    """
    lines: list[str] = []
    several = len(result.targets) > 1
    for verdicts in result.by_file().values():
        found = [
            line
            for group in groups(verdicts, separate=verbosity > 0)
            if _wanted(group, result, verbosity)
            for line in _group(group, several=several, full=verbosity > 0)
        ]
        if verbosity > 0:
            found += [text for verdict in verdicts if (text := _layers(verdict, several=several))]
        if found:
            lines += [styled(shown(verdicts[0].name, 300), bold=True), *found, ""]
    return joined(lines)


def _layers(verdict: Verdict, *, several: bool) -> str:
    """The number of layers that Unity makes of a file, as text; "" where it is not known."""
    if verdict.layers is None:
        return ""
    counted = f"{verdict.layers['imported']} when it is imported, {verdict.layers['optimised']} when it runs"
    return f"  {styled('layers', dim=True)} {counted}{f' ({verdict.target})' if several else ''}"


def _wanted(group: Group, result: Validation, verbosity: int) -> bool:
    if verbosity < 0:
        return group.first.severity.rank <= result.fail_on.rank and not group.waived
    return verbosity > 0 or group.first.severity is not Severity.NOTE or result.fail_on is Severity.NOTE


def _group(group: Group, *, several: bool, full: bool) -> Iterator[str]:
    first = group.first
    limit = 2000 if full else 300
    head = styled(str(first.severity), fg=COLOURS[first.severity])
    targets = f" ({', '.join(group.targets)})" if several else ""
    yield f"  {head} [{first.code}] {group.place or 'the graph'}{targets}"
    yield f"    {sentence(shown(first.reason, limit))}"
    details = {
        "Unity": shown(first.console, limit),
        "Python": shown(str(group.line), limit) if group.line else "",
        "Workers": ", ".join(first.backends),
        "Fix": first.fix if not group.waived else "",
        "Waived": shown(group.waived, limit),
        "Source": first.source if full else "",
    }
    for name, text in details.items():
        if text:
            yield f"    {styled(f'{name}:'.ljust(8), dim=True)} {text}"


def sentence(text: str) -> str:
    """The text with a full stop at its end."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def hidden_notes(result: Validation) -> int:
    """The number of notes that `render_text` leaves out at verbosity 0."""
    if result.fail_on is Severity.NOTE:
        return 0
    return sum(verdict.counts.get(Severity.NOTE, 0) for verdict in result.verdicts)


def render_summary(result: Validation) -> str:
    """One line for one file and one target, otherwise a matrix with a row per file and a column per target."""
    if len(result.verdicts) == 1:
        (verdict,) = result.verdicts
        for_target = f" for {verdict.target}" if verdict.target else ""
        return f"{styled(shown(verdict.name, 300), bold=True)}{for_target}: {verdict.summary}"
    rows = result.by_file()
    left = max(len(shown(verdicts[0].name, 60)) for verdicts in rows.values())
    cells = {(v.file, v.target): _cell(v, result) for v in result.verdicts}
    widths = [
        max([len(target), *(len(text) for (_, name), text in cells.items() if name == target)])
        for target in result.targets
    ]
    header = [" " * left, *(f"{t:<{w}}" for t, w in zip(result.targets, widths, strict=True))]
    lines = [styled("  ".join(header).rstrip(), bold=True)]
    for file, verdicts in rows.items():
        line = f"{shown(verdicts[0].name, 60):<{left}}"
        if verdicts[0].error is not None:
            line += "  " + styled(f"unreadable: {verdicts[0].error.code}", fg="red")
        else:
            colours = {v.target: _CELL_COLOURS[v.verdict] for v in verdicts}
            for target, width in zip(result.targets, widths, strict=True):
                cell = cells[file, target]
                last = target == result.targets[-1]
                line += "  " + styled(cell, fg=colours[target]) + " " * (0 if last else width - len(cell))
        lines.append(line)
    return joined(lines)


def _cell(verdict: Verdict, result: Validation) -> str:
    if verdict.error is not None:
        return ""
    text = _CELLS[verdict.verdict]
    counted = {"fails": Severity.ERROR, "wrong": Severity.WRONG}.get(verdict.verdict)
    failing = len(verdict.failing(result.fail_on))
    if counted is not None:
        text += f" ({verdict.counts[counted]})"
    elif failing:
        text += f", {failing} to fail on"
    if verdict.waivers:
        text += f", {len(verdict.waivers)} waived"
    return text


def advice_sentence(advice: Mapping[str, Any]) -> str:
    """The recommended target for a network and the reasons (`pipeline.cost.advice`), in one line."""
    return " ".join([f"Recommended: --target {advice['recommended']}.", *advice["reasons"]])
