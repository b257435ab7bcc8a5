"""Findings: the places where a graph breaks a rule of a target."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any


class Severity(enum.StrEnum):
    """How bad a finding is, worst first."""

    ERROR = "error"
    """The import fails, or execution throws."""
    WRONG = "wrong"
    """It imports and computes something else."""
    WARNING = "warning"
    """The console warns; the reason says whether it is only cosmetic."""
    SLOW = "slow"
    """Right, but off the fast kernels."""
    NOTE = "note"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Severity).index(self)


@dataclass(frozen=True)
class Finding:
    """One place where a graph breaks one rule of one target.

    `code` is stable (kebab-case). `node` is the ONNX node name (or first output name when unnamed), empty for
    whole-graph findings. `where` names the attribute or input. `console` is the text that Unity's console is
    expected to show, empty when it stays silent. `source` cites the fact (`file:line@tag` or measured.md).
    """

    code: str
    severity: Severity
    target: str
    reason: str
    fix: str = ""
    node: str = ""
    operator: str = ""
    where: str = ""
    console: str = ""
    backends: tuple[str, ...] = ()
    source: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "severity": self.severity.value,
            "target": self.target,
            "node": self.node,
            "operator": self.operator,
            "where": self.where,
            "reason": self.reason,
            "fix": self.fix,
            "console": self.console,
            "backends": list(self.backends),
            "source": self.source,
        }
