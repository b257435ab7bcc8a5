"""`--optimize`: rearrange a lowered graph for a worker, where the cost model says that it pays.

Every place of every rearrangement (pipeline.rewrites.cheaper) is tried on a copy, lowered again, predicted,
validated, compared with the graph before it, and kept when it gains at least a hundredth of the whole. What was
left as it is, and why, is told too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.cost.model import Device, at_size, devices
from pipeline.rewrites.base import Edit
from pipeline.rewrites.cheaper import CHEAPER
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_graphsurgeon as gs

    from pipeline.rewrites.cheaper import Cheaper
    from pipeline.targets import Target

LEAST_GAIN = 0.01
"""Part of the predicted time below which a gain is not worth a change of the graph."""


@dataclass
class Optimized:
    """The graph, and what was done and left. Milliseconds are predicted, at `size`."""

    graph: gs.Graph
    worker: str
    device: str
    size: str
    before: float
    after: float
    edits: list[Edit] = field(default_factory=list)
    done: list[dict[str, Any]] = field(default_factory=list)
    left: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "worker": self.worker,
            "device": self.device,
            "size": self.size,
            "before_ms": round(self.before, 3),
            "after_ms": round(self.after, 3),
            "done": self.done,
            "left": self.left,
        }


def workers() -> dict[str, Device]:
    """What `--optimize` takes, and the device class whose predicted times decide."""
    return {held.optimize: held for held in devices().values() if held.optimize}


def device_for(worker: str) -> Device:
    """The device class of a worker. Raises PipelineError `unknown-worker`."""
    known = workers()
    if worker not in known:
        raise PipelineError(
            "unknown-worker",
            f"there is no worker named {worker!r} to optimise for",
            subject="--optimize",
            remedy=f"Use one of: {', '.join(known)}.",
        )
    return known[worker]


def optimize(
    graph: gs.Graph, target: Target, worker: str, size: Size, cheaper: Sequence[Cheaper] = CHEAPER
) -> Optimized:
    """A rearranged copy of a graph that is lowered for `target`; `graph` itself is not changed.

    `size` is that of the pictures that it shall be fast at. Raises PipelineError `unknown-worker`.
    """
    from pipeline.rewrites import lower
    from pipeline.verify.each_rewrite import compare

    on = device_for(worker)

    def cost(candidate: gs.Graph) -> float:
        return on.milliseconds(at_size(candidate, size))

    now = cost(graph)
    result = Optimized(graph, worker, on.name, str(size), now, now)
    for rewrite in cheaper:
        if not all(map(target.can, rewrite.needs)):
            continue
        for place in rewrite.places(result.graph):
            if place not in rewrite.places(result.graph):
                continue  # an earlier place took this one with it
            candidate = result.graph.copy()
            edit = rewrite.apply(candidate, place)
            candidate.cleanup(remove_unused_graph_inputs=False).toposort()
            lower(candidate, target)
            gain = result.after - cost(candidate)
            told = {"rewrite": rewrite.name, "nodes": list(edit.nodes), "gain_ms": round(gain, 3)}
            if gain < LEAST_GAIN * result.before:
                result.left.append(told | {"why": "it does not pay"})
                continue
            if broken := _refused(candidate, target) - _refused(result.graph, target):
                result.left.append(told | {"why": f"{target.name} would not compute it right ({min(broken)})"})
                continue
            outcome, reason = compare(result.graph, candidate)
            if outcome != "same":
                result.left.append(told | {"why": f"not proven to compute the same: {reason}"})
                continue
            result.graph, result.after = candidate, result.after - gain
            result.edits.append(Edit(rewrite.name, edit.nodes, edit.what, f"{edit.why}: {gain:.2f} ms predicted"))
            result.done.append(told)
    return result


def _refused(graph: gs.Graph, target: Target) -> set[str]:
    """The codes of what the target would refuse or compute wrong."""
    from pipeline.validation import validate

    found = validate(target.family.read(target.family.write(graph, target)), target)
    return {finding.code for finding in found if finding.severity in ("error", "wrong")}
