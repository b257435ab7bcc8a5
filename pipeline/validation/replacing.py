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
    table = json.loads(path.read_text(encoding="utf-8"))
    return {operator: rewrite for rewrite, operators in table.items() for operator in operators}


def what_replaces(operator: str, domain: str) -> str:
    """What to do about a node whose operator the target lacks: a sentence or two."""
    if replaced().get(operator) == "reading":
        return "`pipeline convert` and `build-unity` replace it by simpler operators when they read the file."
    if rewrite := replaced().get(operator):
        floats = " by float ones" if rewrite == "quantised" else ""
        return f"`pipeline convert` and `build-unity` replace it{floats} (rewrite `{rewrite}`)."
    if operator in _CONTROL_FLOW:
        return "Control flow cannot be replaced: trace the network for pictures, without branches and loops."
    if domain.startswith("com.microsoft"):
        return "It was made by ONNX Runtime's optimiser: use the model from before the optimisation."
    return "No rewrite replaces it: change the network so that it uses operators listed by `pipeline targets`."
