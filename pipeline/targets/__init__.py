"""Targets: what each Unity inference package accepts, and how it computes.

One JSON file per package version lies beside this module; this is the one reader of them. A file holds the
operators with the line that registers them, the rules (rows of a dozen small kinds, each with its source), the
names of the whole-graph rules, and the names of the semantic differences that `pipeline.verify.emulation`
knows how to imitate. Adding a package version is adding a file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.support.errors import PipelineError

DEFAULT = "barracuda-3.0"
"""The target when the user names none: the last Barracuda."""

_FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Rule:
    """One row of a target's rules: one thing that the target demands of an operator or of a graph.

    `kind` names the function that evaluates the row (`pipeline.validate.kinds`), `options` are its arguments.
    `source` cites `file:line@tag` of the package, or `measured.md`. An empty `reason` means that the kind's
    own sentence is used; `console` is a template of the text that Unity prints.
    """

    kind: str
    code: str
    severity: str
    source: str
    options: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    fix: str = ""
    console: str = ""
    backends: tuple[str, ...] = ()


@dataclass(frozen=True)
class OperatorFacts:
    """What a target knows of one operator: where it is registered, the attributes it reads, its rules."""

    name: str
    source: str
    attributes: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Target:
    """A Unity inference package at a version.

    `operators` are those that the importer has a handler for; `graph_rules` look at more than one node.
    `semantics` names the ways in which the target computes something else than ONNX says. `constants` are the
    operators through which a constant stays one while nodes are imported; None means all operators.
    `max_rank` is the highest rank of a constant. `dtypes` are the ONNX element types read from raw data.
    """

    name: str
    package: str
    package_version: str
    version: tuple[int, int, int]
    unity: str
    opset: int
    operators: dict[str, OperatorFacts]
    graph_rules: tuple[Rule, ...]
    semantics: frozenset[str]
    constants: frozenset[str] | None
    max_rank: int
    dtypes: tuple[str, ...]
    sources: dict[str, str]

    def accepts(self, operator: str) -> bool:
        """Whether the importer has a handler for this operator type; its rules may still reject a use."""
        return operator in self.operators

    def rules(self) -> tuple[Rule, ...]:
        """All rows, graph rules first, then by operator."""
        rows = {id(rule): rule for rule in self.graph_rules}
        for facts in self.operators.values():
            rows.update((id(rule), rule) for rule in facts.rules)
        return tuple(rows.values())


_RULE_FIELDS = ("kind", "code", "severity", "source", "reason", "fix", "console", "backends", "operators")


def _rule(row: dict[str, Any]) -> Rule:
    return Rule(
        kind=row["kind"],
        code=row["code"],
        severity=row["severity"],
        source=row["source"],
        options={key: value for key, value in row.items() if key not in _RULE_FIELDS},
        reason=row.get("reason", ""),
        fix=row.get("fix", ""),
        console=row.get("console", ""),
        backends=tuple(row.get("backends", ())),
    )


def _read(path: Path) -> Target:
    data = json.loads(path.read_text(encoding="utf-8"))
    by_operator: dict[str, list[Rule]] = {name: [] for name in data["operators"]}
    for row in data["rules"]:
        rule = _rule(row)
        for operator in row["operators"]:
            by_operator[operator].append(rule)
    major, minor, patch = (int(part) for part in data["package_version"].split("."))
    return Target(
        name=data["name"],
        package=data["package"],
        package_version=data["package_version"],
        version=(major, minor, patch),
        unity=data["unity"],
        opset=data["opset"],
        operators={
            name: OperatorFacts(
                name, facts["source"], tuple(facts.get("attributes", ())), tuple(by_operator[name])
            )
            for name, facts in data["operators"].items()
        },
        graph_rules=tuple(_rule(row) for row in data["graph_rules"]),
        semantics=frozenset(data["semantics"]),
        constants=frozenset(data["constants"]) if data["constants"] is not None else None,
        max_rank=data["max_rank"],
        dtypes=tuple(data["dtypes"]),
        sources=dict(data["sources"]),
    )


def _order(name: str) -> tuple[str, list[int]]:
    family, _, version = name.rpartition("-")
    return family, [int(part) for part in re.findall(r"\d+", version)]


@cache
def names() -> tuple[str, ...]:
    """The names of all targets, oldest version first."""
    return tuple(sorted((path.stem for path in _FOLDER.glob("*.json")), key=_order))


@cache
def get(name: str) -> Target:
    """The target of that name. Raises PipelineError `unknown-target`, which lists the names."""
    if name not in names():
        raise PipelineError(
            "unknown-target",
            f"there is no target {name!r}",
            subject="--target",
            remedy=f"Use one of: {', '.join(names())}.",
        )
    return _read(_FOLDER / f"{name}.json")
