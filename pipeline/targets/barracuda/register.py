"""The emulations of Barracuda's semantic differences, by their names under `semantics` in its data files."""

from __future__ import annotations

from pipeline.verify.scene import Register

EMULATIONS = Register()
emulation = EMULATIONS.named
