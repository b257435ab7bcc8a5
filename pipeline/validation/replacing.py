"""What becomes of operators that a target does not have: which rewrite replaces them, or what else to do."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

_CONTROL_FLOW = frozenset(["If", "Loop", "Scan", "SequenceMap", "Optional", "OptionalGetElement"])


@cache
def replaced() -> dict[str, str]:
    """Operators that the lowering replaces, and by which rewrite; all their forms or those in use."""
    path = Path(__file__).resolve().parent / "replaced.json"
    held = json.loads(path.read_text(encoding="utf-8"))
    return {operator: rewrite for rewrite, operators in held.items() for operator in operators}


def what_replaces(operator: str, domain: str) -> str:
    """What to do about a node whose operator the target lacks: a sentence or two."""
    if replaced().get(operator) == "reading":
        return "`pipeline convert` and `build-unity` compose it of simpler operators as they read the file."
    if rewrite := replaced().get(operator):
        floats = " by float ones" if rewrite == "quantised" else ""
        return f"`pipeline convert` and `build-unity` replace it{floats} (rewrite `{rewrite}`)."
    if operator in _CONTROL_FLOW:
        return "Nothing replaces control flow: trace the network for pictures, without branches and loops."
    if domain.startswith("com.microsoft"):
        return "ONNX Runtime's optimiser made it: use the model as it was before."
    return "Nothing replaces it: let the network compute this with operators of `pipeline targets`."
