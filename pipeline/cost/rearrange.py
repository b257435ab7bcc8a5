"""Rearranges a lowered graph for the device class of a build, if the cost model predicts a gain.

Each rearrangement (pipeline.rewrites.cheaper) is tried at each place on a copy, lowered again, predicted,
validated, and compared with the graph before it. It is kept if it saves at least one per cent of the total time
and the file does not grow too much. Rejected rearrangements are reported with the reason.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.cost.model import Device, Layer, at_size, devices
from pipeline.graph import nodes as n
from pipeline.rewrites.base import Edit
from pipeline.rewrites.cheaper import CHEAPER
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx_graphsurgeon as gs

    from pipeline.rewrites.cheaper import Cheaper
    from pipeline.targets import Target

LEAST_GAIN = 0.01
"""Minimum gain, as a part of the predicted time."""
MOST_GROWTH = 10.0
"""Maximum relative growth of the weights per relative gain of time."""
NONE = "none"
"""The value of `--device` that disables rearranging."""


@dataclass
class Arranged:
    """The graph, and the rearrangements done and rejected. Milliseconds are predicted, at `size`."""

    graph: gs.Graph
    device: Device
    size: str
    before: float
    after: float
    edits: list[Edit] = field(default_factory=list)
    done: list[dict[str, Any]] = field(default_factory=list)
    left: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "device": self.device.name,
            "title": self.device.title,
            "size": self.size,
            "before_ms": round(self.before, 3),
            "after_ms": round(self.after, 3),
            "done": self.done,
            "left": self.left,
        }


def classes() -> list[str]:
    """The names of the device classes for which graphs are rearranged, of all families."""
    return [entry.name for entry in devices().values() if entry.arranged]


def check_device(name: str | None) -> None:
    """Raise PipelineError `unknown-device` for an invalid value of `--device`."""
    if name is not None and name not in (NONE, *classes()):
        raise PipelineError(
            "unknown-device",
            f"graphs are not arranged for a device class named {name!r}",
            subject="--device",
            remedy=f"Use one of: {', '.join((*classes(), NONE))}.",
        )


def device_for(target: Target, name: str | None) -> Device | None:
    """The device class of the target's family with that name, or its first one for None.

    Returns None, for no rearranging, for the name `none` and for a family without such a class.
    """
    arranged = [entry for entry in target.family.devices() if entry.arranged]
    return next((entry for entry in arranged if name in (None, entry.name)), None)


def arrange(
    graph: gs.Graph,
    target: Target,
    device: Device,
    size: Size,
    runs_at: Sequence[Size] = (),
    cheaper: Sequence[Cheaper] = CHEAPER,
) -> Arranged:
    """A rearranged copy of a graph that is lowered for `target`; `graph` itself is not changed.

    `size` is the picture size for which the cost is predicted; at the sizes `runs_at`, the size of the output must
    not change.
    """
    found = at_size(graph, size)
    layers = {entry.name: entry for entry in found}
    nodes = {node.name: node for node in graph.nodes}
    now = device.milliseconds(found)
    result = Arranged(graph, device, str(size), now, now)
    tries = []
    for rewrite in cheaper:
        if not all(map(target.can, rewrite.needs)):
            continue
        for place in rewrite.places(graph):
            if _at_most(place, nodes, layers, device) < LEAST_GAIN * now:
                continue  # so that a graph of many equal layers is not tried at each of them
            if _may_gain(rewrite, layers.get(place), device, LEAST_GAIN * now):
                tries.append((_gain(result, rewrite, place, size), rewrite, place))
    least = LEAST_GAIN * now
    for gain, rewrite, place in sorted(tries, key=lambda entry: -entry[0]):
        if place not in rewrite.places(result.graph):
            continue  # another rearrangement took this place
        _try(result, target, rewrite, place, size, runs_at) if gain >= least else _leave(
            result, rewrite, place, gain
        )
    return result


def _try(
    result: Arranged,
    target: Target,
    rewrite: Cheaper,
    place: str,
    size: Size,
    runs_at: Sequence[Size],
) -> None:
    """Apply a rearrangement at one place; keep it if it is cheaper, accepted by the target, and proven."""
    from pipeline.rewrites import lower
    from pipeline.verify.each_rewrite import compare

    candidate, edit = _applied(result.graph, rewrite, place, size)
    lower(candidate, target)
    gain = result.after - result.device.milliseconds(at_size(candidate, size))
    if gain < LEAST_GAIN * result.before:
        return _leave(result, rewrite, place, gain)
    growth = _weights(candidate) / max(1, _weights(result.graph)) - 1
    if growth > MOST_GROWTH * gain / result.before:
        return _leave(result, rewrite, place, gain, f"it would make the file {growth:.0%} larger")
    if _output_shapes(candidate, runs_at) != _output_shapes(result.graph, runs_at):
        return _leave(
            result, rewrite, place, gain, "the network also runs at sizes that are not multiples of the blocks"
        )
    if broken := _refused(candidate, target) - _refused(result.graph, target):
        return _leave(
            result, rewrite, place, gain, f"{target.name} would not compute it correctly ({min(broken)})"
        )
    outcome, reason = compare(result.graph, candidate)
    if outcome != "same":
        return _leave(result, rewrite, place, gain, f"not proven to compute the same: {reason}")
    result.graph, result.after = candidate, result.after - gain
    result.edits.append(Edit(rewrite.name, edit.nodes, edit.what, f"{edit.why}: {gain:.2f} ms predicted"))
    result.done.append({"rewrite": rewrite.name, "nodes": list(edit.nodes), "gain_ms": round(gain, 3)})
    return None


def _leave(result: Arranged, rewrite: Cheaper, place: str, gain: float, why: str = "no gain is predicted") -> None:
    refusal = {"rewrite": rewrite.name, "nodes": place.split(), "gain_ms": round(gain, 3), "why": why}
    result.left.append(refusal)


def _applied(graph: gs.Graph, rewrite: Cheaper, place: str, size: Size) -> tuple[gs.Graph, Edit]:
    """A copy with the rearrangement applied, with shapes for `size`."""
    candidate = graph.copy()
    image = candidate.inputs[0]
    declared, image.shape = image.shape, [1, image.shape[1], *size.hw]
    edit = rewrite.apply(candidate, place)
    image.shape = declared
    candidate.cleanup(remove_unused_graph_inputs=False).toposort()
    return candidate, edit


def _weights(graph: gs.Graph) -> int:
    from pipeline.graph.statistics import count

    return count(graph).weights


def _gain(result: Arranged, rewrite: Cheaper, place: str, size: Size) -> float:
    """The predicted gain before lowering again, which can only increase the cost."""
    candidate, _ = _applied(result.graph, rewrite, place, size)
    return result.before - result.device.milliseconds(at_size(candidate, size))


def _at_most(place: str, nodes: Mapping[str, gs.Node], layers: Mapping[str, Layer], device: Device) -> float:
    """An upper bound of the gain at a place: the cost of its layer and the two before it.

    Infinite for a place that is not a single layer.
    """
    node = nodes.get(place)
    if node is None:
        return math.inf
    cost = 0.0
    for _ in range(3):
        cost += device.of_layer(layers[node.name]) if node.name in layers else 0.0
        node = n.producer(node.inputs[0]) if node.inputs else None
        if node is None:
            break
    return cost


def _may_gain(rewrite: Cheaper, layer: Layer | None, device: Device, least: float) -> bool:
    """Whether the new convolution and the rearranging of its pixels are predicted to be cheaper by `least`."""
    becomes = getattr(rewrite, "becomes", None)
    if becomes is None or layer is None or layer.conv is None:
        return True
    made = becomes(layer.conv)
    conv = Layer(layer.name, layer.operator, made.macs, layer.read, layer.written, layer.behind, made)
    moved = Layer("", "DepthToSpace", 0, layer.written, layer.written)
    return device.of_layer(layer) - device.of_layer(conv) - device.of_layer(moved) >= least


def _output_shapes(graph: gs.Graph, sizes: Sequence[Size]) -> list[Any]:
    """The shape of the output at each of the sizes; the declared input size is restored afterwards."""
    from pipeline.graph import infer

    image, found = graph.inputs[0], []
    declared = image.shape
    for size in sizes:
        image.shape = [1, declared[1], *size.hw]
        found.append(infer(graph).of(graph.outputs[0]))
    image.shape = declared
    return found


def _refused(graph: gs.Graph, target: Target) -> set[str]:
    """The codes of the findings that the target would refuse or compute wrong."""
    from pipeline.validation import validate

    found = validate(target.family.read(target.family.write(graph, target)), target)
    return {finding.code for finding in found if finding.severity in ("error", "wrong")}
