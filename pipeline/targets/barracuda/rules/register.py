"""The registers of the kinds of rules that only Barracuda's data files name."""

from __future__ import annotations

from pipeline.validation.graphs import GraphKind
from pipeline.validation.kinds import Kind, Register

kind: Register[Kind] = Register()
graph_kind: Register[GraphKind] = Register()
