"""The registers of the kinds of rules that only Barracuda's data files name."""

from __future__ import annotations

from pipeline.validate.graphs import GraphKind
from pipeline.validate.kinds import Kind, Register

kind: Register[Kind] = Register()
graph_kind: Register[GraphKind] = Register()
