"""Generate docs/targets.md and docs/findings.md from the targets' data files.

python -m pipeline.report.pages          # writes both
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline import targets
from pipeline.targets import Rule, Target
from pipeline.validation import codes

_MADE = "<!-- Made by `python -m pipeline.report.pages` from pipeline/targets and the files codes.json. -->"
_WORDS = {"yes": "yes", "limits": "limits", "no": "—"}
_TARGETS = """\
The operators that Unity's inference packages import. `pipeline targets` prints the same table, `pipeline targets
Resize` the limits of one operator. *yes*: no limits are known. *limits*: some uses are rejected, computed
differently, slow, or cause a warning in the console; `pipeline validate` says which. Operators that are not listed
are not imported by any target. `pipeline convert` and `pipeline build-unity` replace many operators that a target
lacks by others."""
_FINDINGS = """\
The findings of `pipeline validate`, by code; `pipeline explain CODE` prints one of these sections. The severity of
a finding is one of: **error** (the import fails, or execution throws), **wrong** (the model imports, but computes
something else), **warning** (the console warns; the reason says whether that is only cosmetic), **slow** (correct,
but not on the fast kernels) and **note**. Some rules have a lower severity for uses whose result is correct."""


def support(target: Target, operator: str) -> str:
    """`no` where the target does not import the operator, `limits` where a rule above a note applies, else
    `yes`."""
    if not target.accepts(operator):
        return "no"
    rules = target.operators[operator].rules
    return "limits" if any(rule.severity != "note" for rule in rules) else "yes"


def rules_of(code: str) -> list[dict[str, Any]]:
    """The rules with a finding code, oldest target first.

    Rules with equal target, severity, backends and console text are one row, with all their operators (none for a
    rule about the whole graph) and sources.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}

    def add(target: Target, rule: Rule, operator: str) -> None:
        if rule.code != code:
            return
        key = (target.name, rule.severity, rule.backends, rule.console)
        row = found.setdefault(
            key,
            {
                "target": target.name,
                "severity": rule.severity,
                "backends": list(rule.backends),
                "console": rule.console,
                "operators": [],
                "sources": [],
            },
        )
        for values, value in ((row["operators"], operator), (row["sources"], rule.source)):
            if value and value not in values:
                values.append(value)

    for target in all_targets():
        for rule in target.graph_rules:
            add(target, rule, "")
        for name, facts in sorted(target.operators.items()):
            for rule in facts.rules:
                add(target, rule, name)
    return list(found.values())


def all_targets() -> list[Target]:
    """Every target, oldest first."""
    return [targets.get(name) for name in targets.names()]


def targets_page() -> str:
    """docs/targets.md: a table of operators and targets, and the limits of each operator with links to
    findings."""
    known = all_targets()
    operators = sorted({name for target in known for name in target.operators})
    counts = {t.name: [support(t, name) for name in operators] for t in known}
    lines = [
        "# Targets and their operators",
        "",
        _MADE,
        "",
        *_TARGETS.splitlines(),
        "",
        _row(["target", "package", "version", "Unity", "yes", "limits", "no"]),
        _row(["---"] * 7),
    ]
    for target in known:
        support_levels = counts[target.name]
        numbers = [str(support_levels.count(word)) for word in ("yes", "limits", "no")]
        cells = [f"`{target.name}`", target.package, target.package_version, f"{target.unity} or newer", *numbers]
        lines.append(_row(cells))
    lines += ["", "## Operators", "", _row(["operator", *(f"`{t.name}`" for t in known), "limits"])]
    lines.append(_row(["---"] * (len(known) + 2)))
    for name in operators:
        links = [f"[{code}](findings.md#{code})" for code in _codes(known, name)]
        lines.append(_row([name, *(_WORDS[support(t, name)] for t in known), ", ".join(links)]))
    return "\n".join(lines) + "\n"


def _codes(known: Iterable[Target], operator: str) -> list[str]:
    return sorted(
        {
            rule.code
            for target in known
            if target.accepts(operator)
            for rule in target.operators[operator].rules
            if rule.severity != "note"
        }
    )


def findings_page() -> str:
    """docs/findings.md: a section per code with meaning, remedy, targets, operators and sources."""
    entries = codes()
    lines = [
        "# Findings",
        "",
        _MADE,
        "",
        *_FINDINGS.splitlines(),
        "",
        *(
            f"Sources for {family.title}: {family.sources}"
            for family in map(targets.family_of, targets.families())
        ),
        "",
    ]
    lines += [f"- [{code}](#{code}): {entry['title']}" for code, entry in sorted(entries.items())]
    for code, entry in sorted(entries.items()):
        lines += ["", f"## {code}", "", f"**{entry['title']}.** {entry['explanation']}"]
        lines += ["", f"What to do: {entry['remedy']}", ""]
        lines += [_row(["target", "operators", "severity", "Unity's console", "source"]), _row(["---"] * 5)]
        for row in rules_of(code):
            workers = f" on {', '.join(row['backends'])}" if row["backends"] else ""
            console = f"`{row['console'].replace('`', chr(39))}`" if row["console"] else ""
            operators = ", ".join(row["operators"]) or "the graph"
            cells = (
                f"`{row['target']}`",
                operators,
                row["severity"] + workers,
                console,
                "; ".join(row["sources"]),
            )
            lines.append(_row(cells))
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


PAGES = {"targets.md": targets_page, "findings.md": findings_page}


def write_pages(folder: Path) -> list[Path]:
    """Write the pages into a folder; returns their paths."""
    paths = []
    for name, page in PAGES.items():
        path = folder / name
        path.write_text(page(), encoding="utf-8", newline="\n")
        paths.append(path)
    return paths


if __name__ == "__main__":
    for written in write_pages(Path(__file__).resolve().parents[2] / "docs"):
        print(written)
