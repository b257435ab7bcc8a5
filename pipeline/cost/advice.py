"""Which family of targets would be how fast with a network, and which one is recommended, with the reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline import targets
from pipeline.cost.model import at_size, class_for
from pipeline.support.size import Size

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

CLASSES = ("desktop", "laptop", "phone")
"""The classes of GPUs that every family has a cost model for."""
SIZE = Size(1280, 720)
_LITTLE = 1.15
"""Below this factor two predictions are the same: then the target that was built for stays."""


def advice(
    graph: gs.Graph, target: Target, size: Size | None = None, plain: gs.Graph | None = None
) -> dict[str, Any]:
    """Predicted milliseconds of a lowered graph for each family, and a recommendation, as data.

    `graph` was lowered for `target`, which stands for its family; the others are represented by the default target
    or by the newest of theirs, and predicted from `plain`, the graph before it was arranged for a class of
    devices of `target` (None: it was not). `classes` are those of devices. `rows`: name of a target, `predicted`
    by class (empty without a cost model), the factor by which that may be off (`error`), `refused`, what it does
    not take of the graph as it is now ("" where it takes all), and `needs`. `recommended` is a target's name,
    `reasons` are sentences.
    """
    size = size or SIZE
    own, plain = at_size(graph, size), plain or graph
    others = own if plain is graph else at_size(plain, size)
    rows: list[dict[str, Any]] = []
    for name in targets.families():
        held = target if name == target.family_name else targets.get(_representative(name))
        layers = own if held is target else others
        named = {device.name: device for device in held.family.devices()}
        on = {kind: named[its] for kind in CLASSES if (its := class_for(kind, held)) in named}
        rows.append(
            {
                "target": held.name,
                "predicted": {kind: round(on[kind].milliseconds(layers), 1) for kind in CLASSES if kind in on},
                "error": max((on[kind].error for kind in CLASSES if kind in on), default=0.0),
                "refused": "" if held is target else _refused(plain, held),
                "needs": held.family.needs,
            }
        )
    able = [row for row in rows if not row["refused"] and len(row["predicted"]) == len(CLASSES)]
    best = min(able, key=lambda row: _whole(row), default=None)
    mine = next((row for row in able if row["target"] == target.name), None)
    if mine is None or (best is not None and _whole(mine) <= _LITTLE * _whole(best)):
        best = mine
    chosen = target.name if best is None else best["target"]
    reasons = [f"There is no cost model for {target.name}."] if best is None else _reasons(best, able, rows)
    return {"size": str(size), "classes": list(CLASSES), "rows": rows, "recommended": chosen, "reasons": reasons}


def _representative(family: str) -> str:
    """The target that a family is judged by: the default one, or its newest."""
    names = targets.names(family)
    return targets.DEFAULT if targets.DEFAULT in names else names[-1]


def _whole(row: dict[str, Any]) -> float:
    """One number for all classes: a factor counts the same on a fast and on a slow device."""
    product = 1.0
    for milliseconds in row["predicted"].values():
        product *= max(milliseconds, 0.01)
    return product ** (1 / len(row["predicted"]))


def _refused(graph: gs.Graph, target: Target) -> str:
    """The first thing that a target does not take of a graph in the valid form; "" where it takes all."""
    from pipeline.validation import validate

    model = target.family.read(target.family.write(graph.copy(), target))
    broken = [held for held in validate(model, target) if held.severity in ("error", "wrong")]
    return f"{broken[0].operator or 'the graph'}: {broken[0].reason}" if broken else ""


def _reasons(best: dict[str, Any], able: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[str]:
    others = sorted((row for row in able if row is not best), key=_whole)
    mine = best["predicted"]
    told = ", ".join(f"{mine[kind]:g} ms on a {kind}" for kind in CLASSES)
    reasons = [f"Predicted: {told}."]
    if others:
        other = others[0]
        theirs = "/".join(f"{other['predicted'][kind]:g}" for kind in CLASSES)
        off = max(best["error"], other["error"])
        reasons = [
            f"Predicted: {told}, compared with {theirs} ms for {other['target']}.",
            f"Predictions may be off by a factor of {off:g}: measure both.",
        ]
    reasons += [
        f"{row['target']} refuses this network as it is now ({row['refused']})." for row in rows if row["refused"]
    ]
    if best["needs"]:
        reasons.append(f"It needs {best['needs']}.")
    return reasons
