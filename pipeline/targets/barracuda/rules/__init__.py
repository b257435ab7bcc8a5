"""Barracuda's rules that need code: how its importer and its layers read a node."""

from __future__ import annotations

from pipeline.targets.barracuda.rules import (  # noqa: F401 - they register their kinds
    believed,
    broadcasting,
    convolutions,
    inherited_rank,
    operators,
    patterns,
    resizing,
    shaping,
    slicing,
)
from pipeline.targets.barracuda.rules.register import graph_kind, kind

KINDS, GRAPH_KINDS = dict(kind), dict(graph_kind)

__all__ = ["GRAPH_KINDS", "KINDS"]
