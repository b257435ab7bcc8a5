"""Targets: what each Unity inference package accepts, and how it computes.

A family of targets is a folder here, with one JSON file per package version and the code in `family.py`
(`pipeline.targets.family` documents its methods). Only this module reads the JSON files. A file holds the
operators with the line that registers them, the rules (rows of small kinds, each with its source), the names of
the whole-graph rules, the capabilities, and the names of the semantic differences that the family's emulation
implements. Adding a package version is adding a file; adding a family is adding a folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from pipeline.support.errors import PipelineError
from pipeline.targets.family import Family
from pipeline.targets.ranges import resolved
from pipeline.targets.version import order

DEFAULT = "barracuda-3.0"
"""The target when the user names none."""
PRECISIONS = ("float", "half")
"""What a target may store activations as: float32, or float16. The first is the default."""


@dataclass(frozen=True)
class Rule:
    """One row of a target's rules: one thing that the target requires of an operator or of a graph.

    `kind` names the function that evaluates the row (`pipeline.validation.kinds`, or the family's own), `options`
    are its arguments. `source` cites `file:line@tag` of the package, or `measured.md`. An empty `reason` means
    that the kind's own sentence is used; `console` is a template of the text that Unity prints.
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
    versions: str = ""
    """For which part of the target's versions it holds, in words; empty: for all."""


@dataclass(frozen=True)
class OperatorFacts:
    """What a target's data says about one operator: where it is registered, the attributes it reads, its rules."""

    name: str
    source: str
    attributes: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Capability:
    """Whether a target has a named property, and the source of that fact."""

    can: bool
    source: str


@dataclass(frozen=True)
class Target:
    """What a bundle is made for: a Unity inference package at a version, or a compiler of this pipeline.

    `package` is "" where no package is needed; `package_version` is that of the package or of the compiler, and
    `oldest` the first one that the same data holds for.
    `operators` are those that the importer has a handler for; `graph_rules` look at more than one node.
    `semantics` names the ways in which the target computes something else than ONNX says. `constants` are the
    operators through which a constant stays one while nodes are imported; None means all operators.
    `max_rank` is the highest rank of a constant. `dtypes` are the ONNX element types read from raw data.
    """

    name: str
    family_name: str
    package: str
    package_version: str
    oldest: str
    unity: str
    opset: int
    operators: dict[str, OperatorFacts]
    graph_rules: tuple[Rule, ...]
    semantics: frozenset[str]
    capabilities: Mapping[str, Capability]
    constants: frozenset[str] | None
    max_rank: int
    dtypes: tuple[str, ...]
    sources: dict[str, str]
    own: Mapping[str, Any]
    """What only the code of the family reads."""

    @property
    def family(self) -> Family:
        """The object that implements the family's dialect, emulation, packaging and engine."""
        return family_of(self.family_name)

    def accepts(self, operator: str) -> bool:
        """Whether the importer has a handler for this operator type; its rules may still reject a use."""
        return operator in self.operators

    def can(self, capability: str) -> bool:
        """Whether the target has a capability; False where its file does not mention it.

        Raises ValueError for a name that is not in capabilities.json, which says what each of them means.
        """
        if capability not in capabilities():
            raise ValueError(f"{capability!r} is not in capabilities.json")
        entry = self.capabilities.get(capability)
        return entry is not None and entry.can

    def rules(self) -> tuple[Rule, ...]:
        """All rows, graph rules first, then by operator."""
        rows = {id(rule): rule for rule in self.graph_rules}
        for facts in self.operators.values():
            rows.update((id(rule), rule) for rule in facts.rules)
        return tuple(rows.values())


@cache
def capabilities() -> dict[str, str]:
    """Every capability that code may ask for: name -> what it means."""
    meanings: dict[str, str] = json.loads(
        Path(__file__).with_name("capabilities.json").read_text(encoding="utf-8")
    )
    return meanings


# --- finding them --------------------------------------------------------------------------------------------


@cache
def families() -> tuple[str, ...]:
    """The names of all families: the folders here that hold a `family.py`."""
    return tuple(sorted(path.parent.name for root in __path__ for path in Path(root).glob("*/family.py")))


@cache
def family_of(name: str) -> Family:
    """The family of that name: the object `FAMILY` of its `family.py`."""
    family: Family = import_module(f"{__name__}.{name}.family").FAMILY
    if family.name != name:
        raise ValueError(f"{family.name!r} is in the folder {name!r}; a family has the name of its folder")
    return family


@cache
def _files() -> dict[str, tuple[str, dict[str, Any]]]:
    """Name of each target -> its family and what its JSON file holds, by family, oldest version first."""
    found: list[tuple[str, dict[str, Any]]] = []
    for family_name in families():
        for root in __path__:
            for path in (Path(root) / family_name).glob("*.json"):
                data = json.loads(path.read_text(encoding="utf-8"))
                if "package_version" not in data:
                    continue
                found.append((family_name, {"name": f"{family_name}-{path.stem}"} | data))
    found.sort(key=lambda entry: (entry[0], order(entry[1]["package_version"])))
    files: dict[str, tuple[str, dict[str, Any]]] = {}
    for family_name, data in found:
        if data["name"] in files:
            raise ValueError(f"two data files describe the target {data['name']}: remove `name` from the copy")
        files[data["name"]] = family_name, data
    return files


@cache
def names(family_name: str | None = None, *, narrow: bool = False) -> tuple[str, ...]:
    """The names of all targets, or of one family's, by family, oldest version first.

    With `narrow`, also those that cover a part of another target's versions (`like` in their data file).
    """
    return tuple(
        name
        for name, (family, data) in _files().items()
        if family_name in (None, family) and (narrow or "like" not in data)
    )


@cache
def get(name: str) -> Target:
    """The target of that name. Raises PipelineError `unknown-target`, which lists the names."""
    if name not in names(narrow=True):
        raise PipelineError(
            "unknown-target",
            f"there is no target {name!r}",
            subject="--target",
            remedy=_advice(name) or f"Use one of: {', '.join(names())}.",
        )
    family_name, data = _files()[name]
    return _read(family_name, resolved(data, lambda other: _files()[other][1]))


def at_precision(name: str, precision: str) -> str:
    """The name of the target that stores activations as `float` or `half` where target `name` runs.

    Raises PipelineError `bad-precision` where there is none, or for another word, and `unknown-target`.
    """
    target = get(name)
    found = target.family.at_precision(target, precision) if precision in PRECISIONS else None
    if found is None:
        capable = [other for other in names() if get(other).family.at_precision(get(other), PRECISIONS[-1])]
        raise PipelineError(
            "bad-precision",
            f"{name} cannot store activations as {precision!r}",
            subject="--precision",
            remedy=f"Omit --precision for float32; half is supported by --target {' or '.join(capable)}.",
        )
    return found


def precision_of(name: str) -> str:
    """The precision in which a target stores activations: one of `PRECISIONS`."""
    target = get(name)
    return next(precision for precision in PRECISIONS if target.family.at_precision(target, precision) == name)


def _advice(name: str) -> str:
    """The first family's remedy for a target name that does not exist; "" if there is none."""
    return next((text for family in families() if (text := family_of(family).advice(name))), "")


def forget() -> None:
    """Clear the caches, after a family or target was added or removed while the program runs."""
    for cached in (families, family_of, _files, names, get, capabilities):
        cached.cache_clear()


# --- reading a file ------------------------------------------------------------------------------------------

# fmt: off
_RULE_FIELDS = (
    "kind", "code", "severity", "source", "reason", "fix", "console", "backends", "operators", "versions",
    "before_version", "from_version",
)
# fmt: on


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
        versions=row.get("versions", ""),
    )


def _read(family_name: str, data: dict[str, Any]) -> Target:
    by_operator: dict[str, list[Rule]] = {name: [] for name in data["operators"]}
    for row in data["rules"]:
        rule = _rule(row)
        for operator in row["operators"]:
            by_operator[operator].append(rule)
    return Target(
        name=data["name"],
        family_name=family_name,
        package=data.get("package", ""),
        package_version=data["package_version"],
        oldest=data.get("oldest", data["package_version"]),
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
        capabilities={name: Capability(**fields) for name, fields in data.get("capabilities", {}).items()},
        constants=frozenset(data["constants"]) if data["constants"] is not None else None,
        max_rank=data["max_rank"],
        dtypes=tuple(data["dtypes"]),
        sources=dict(data["sources"]),
        own=data.get("own", {}),
    )
