"""Compares the families of targets for a network by predicted time, and recommends one, with reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline import targets
from pipeline.cost.model import at_size, class_for
from pipeline.support.size import Size

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

CLASSES = ("desktop", "laptop", "phone")
"""The classes of GPUs for which every family has a cost model."""
SIZE = Size(1280, 720)
_LITTLE = 1.15
"""Factor below which two predictions count as equal; then the target of the build is recommended."""


def advice(
    graph: gs.Graph, target: Target, size: Size | None = None, plain: gs.Graph | None = None
) -> dict[str, Any]:
    """Predicted milliseconds of a lowered graph for each family, and a recommendation, as data.

    `graph` was lowered for `target`, which represents its family; the others are represented by the default target
    or their newest one, and predicted from `plain`, the graph before it was rearranged for a device class of
    `target` (None: it was not). `classes` are device classes. `rows`: name of a target, `predicted` by class
    (empty without a cost model), the factor by which that may be off (`error`), `refused` (the first finding for
    the graph as it is now, or ""), and `needs`. `recommended` is a target's name, `reasons` are sentences.
    """
    size = size or SIZE
    own, plain = at_size(graph, size), plain or graph
    others = own if plain is graph else at_size(plain, size)
    rows: list[dict[str, Any]] = []
    for name in targets.families():
        candidate = target if name == target.family_name else targets.get(_representative(name))
        layers = own if candidate is target else others
        named = {device.name: device for device in candidate.family.devices()}
        on = {kind: named[its] for kind in CLASSES if (its := class_for(kind, candidate)) in named}
        rows.append(
            {
                "target": candidate.name,
                "predicted": {kind: round(on[kind].milliseconds(layers), 1) for kind in CLASSES if kind in on},
                "error": max((on[kind].error for kind in CLASSES if kind in on), default=0.0),
                "refused": "" if candidate is target else _refused(plain, candidate),
                "needs": candidate.family.needs,
            }
        )
    able = [row for row in rows if not row["refused"] and len(row["predicted"]) == len(CLASSES)]
    best = min(able, key=lambda row: _whole(row), default=None)
    mine = next((row for row in able if row["target"] == target.name), None)
    if mine is None or (best is not None and _whole(mine) <= _LITTLE * _whole(best)):
        best = mine
    chosen = target.name if best is None else best["target"]
    reasons = (
        [f"There is no cost model for {target.name}."] if best is None else _reasons(best, able, rows, target.name)
    )
    return {"size": str(size), "classes": list(CLASSES), "rows": rows, "recommended": chosen, "reasons": reasons}


def _representative(family: str) -> str:
    """The target that represents a family: the default one, or its newest."""
    names = targets.names(family)
    return targets.DEFAULT if targets.DEFAULT in names else names[-1]


def _whole(row: dict[str, Any]) -> float:
    """Geometric mean over the classes, so that a factor has the same weight on fast and slow devices."""
    product = 1.0
    for milliseconds in row["predicted"].values():
        product *= max(milliseconds, 0.01)
    return product ** (1 / len(row["predicted"]))


def _refused(graph: gs.Graph, target: Target) -> str:
    """The first error that a target finds in a graph in the valid form; "" if there is none."""
    from pipeline.validation import validate

    model = target.family.read(target.family.write(graph.copy(), target))
    broken = [finding for finding in validate(model, target) if finding.severity in ("error", "wrong")]
    return f"{broken[0].operator or 'the graph'}: {broken[0].reason}" if broken else ""


def _reasons(
    best: dict[str, Any], able: list[dict[str, Any]], rows: list[dict[str, Any]], built: str
) -> list[str]:
    others = sorted((row for row in able if row is not best), key=_whole)
    mine = best["predicted"]
    predicted = ", ".join(f"{mine[kind]:g} ms on a {kind}" for kind in CLASSES)
    reasons = [f"Predicted: {predicted}."]
    if others:
        other = others[0]
        theirs = "/".join(f"{other['predicted'][kind]:g}" for kind in CLASSES)
        off = max(best["error"], other["error"])
        reasons = [
            f"Predicted: {predicted}, compared with {theirs} ms for {other['target']}.",
            f"Predictions may be off by a factor of {off:g}: measure both.",
            f"They are predicted from the network as converted for {built}; a build for another target predicts "
            "from its own conversion.",
        ]
    reasons += [
        f"{row['target']} refuses this network as it is now ({row['refused']})." for row in rows if row["refused"]
    ]
    if best["needs"]:
        reasons.append(f"It needs {best['needs']}.")
    return reasons
