"""The register of Barracuda's semantic differences, by the name that its data files list among `semantics`."""

from __future__ import annotations

from pipeline.verify.scene import Register

EMULATIONS = Register()
emulation = EMULATIONS.named
