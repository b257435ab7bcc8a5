"""Targets that cover a range of package versions, and rows that apply to a part of it.

A data file with `oldest` covers all versions from there up to `package_version`, whose rules it has. A row
with `before_version` holds for the versions before that one: where that is a part of the range, its finding
becomes a warning that says so. A row, or an operator, with `from_version` holds from that version on. A file with
`like` inherits from that target all keys that it does not have itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.targets.version import order

Data = dict[str, Any]


def resolved(data: Data, other: Callable[[str], Data]) -> Data:
    """The data of a target with `like` followed (by `other`), and rows of other versions left out."""
    if "like" in data:
        data = {**other(data["like"]), **data}
    newest = order(data["package_version"])
    oldest = order(data.get("oldest") or data["package_version"])

    def kept(rows: list[Data]) -> list[Data]:
        result = []
        for row in rows:
            before, since = row.get("before_version"), row.get("from_version")
            if since is not None and newest < order(since):
                continue
            if before is not None and newest >= order(before):
                if oldest >= order(before):
                    continue
                row = {**row, "versions": f"in versions before {short(before)}"}
            result.append(row)
        return result

    operators, added = {}, []
    for name, facts in data["operators"].items():
        since = facts.get("from_version")
        if since is not None and newest < order(since):
            continue
        operators[name] = facts
        if since is not None and oldest < order(since):
            added.append({**_added(since, facts["source"]), "operators": [name]})
    rules = [
        {**row, "operators": named}
        for row in kept(data["rules"])
        if (named := [name for name in row["operators"] if name in operators])
    ]
    return {**data, "graph_rules": kept(data["graph_rules"]), "rules": rules + added, "operators": operators}


def _added(since: str, source: str) -> Data:
    return {
        "kind": "always",
        "code": "added-operator",
        "severity": "warning",
        "source": source,
        "reason": f"versions before {short(since)} do not know it",
    }


def short(version: str) -> str:
    """2.3.0 as 2.3."""
    return version.removesuffix(".0")
