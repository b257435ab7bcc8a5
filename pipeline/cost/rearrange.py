"""Arranging a lowered graph for the class of devices that a build is for, where the cost model says that it pays.

Every place of every rearrangement (pipeline.rewrites.cheaper) is tried on a copy, lowered again, predicted,
validated, compared with the graph before it, and kept when it gains at least a hundredth of the whole and the file
grows by no more than that is worth. What was left as it is, and why, is reported too.
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
"""Part of the predicted time below which a gain is not worth a change of the graph."""
MOST_GROWTH = 10.0
"""How many hundredths of further weights a hundredth of the predicted time is worth."""
NONE = "none"
"""What `--device` takes beside the classes: the graph stays as it was lowered."""


@dataclass
class Arranged:
    """The graph, and what was done and left. Milliseconds are predicted, at `size`."""

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
    """The names of device classes that graphs are arranged for, of all families."""
    return [held.name for held in devices().values() if held.arranged]


def check_device(name: str | None) -> None:
    """Raise PipelineError `unknown-device` for what `--device` does not take."""
    if name is not None and name not in (NONE, *classes()):
        raise PipelineError(
            "unknown-device",
            f"graphs are not arranged for a device class named {name!r}",
            subject="--device",
            remedy=f"Use one of: {', '.join((*classes(), NONE))}.",
        )


def device_for(target: Target, name: str | None) -> Device | None:
    """The class of devices of the target's family with that name, for None its first one.

    None where the graph is not to be arranged: for the name `none`, and for a family that has no such class.
    """
    arranged = [held for held in target.family.devices() if held.arranged]
    return next((held for held in arranged if name in (None, held.name)), None)


def arrange(
    graph: gs.Graph,
    target: Target,
    device: Device,
    size: Size,
    runs_at: Sequence[Size] = (),
    cheaper: Sequence[Cheaper] = CHEAPER,
) -> Arranged:
    """A rearranged copy of a graph that is lowered for `target`; `graph` itself is not changed.

    `size` is that of the pictures that it should be fast at, `runs_at` are the sizes at which its
    output must keep its size.
    """
    found = at_size(graph, size)
    layers = {held.name: held for held in found}
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
    for gain, rewrite, place in sorted(tries, key=lambda held: -held[0]):
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
    """Do it at one place, and keep it if it is cheaper, accepted by the target, and proven."""
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
    told = {"rewrite": rewrite.name, "nodes": place.split(), "gain_ms": round(gain, 3), "why": why}
    result.left.append(told)


def _applied(graph: gs.Graph, rewrite: Cheaper, place: str, size: Size) -> tuple[gs.Graph, Edit]:
    """A copy in which it is done; a rewrite that needs sizes sees those at `size`."""
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
    """Predicted, before it is lowered again, which can only add to the cost."""
    candidate, _ = _applied(result.graph, rewrite, place, size)
    return result.before - result.device.milliseconds(at_size(candidate, size))


def _at_most(place: str, nodes: Mapping[str, gs.Node], layers: Mapping[str, Layer], device: Device) -> float:
    """More than a rearrangement can gain at a place: what its layer and the two in front of it cost.

    Infinite for a place that is no single layer.
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
    """Whether trying is worth it: the new convolution and the moving of its pixels against what is there."""
    becomes = getattr(rewrite, "becomes", None)
    if becomes is None or layer is None or layer.conv is None:
        return True
    made = becomes(layer.conv)
    conv = Layer(layer.name, layer.operator, made.macs, layer.read, layer.written, layer.behind, made)
    moved = Layer("", "DepthToSpace", 0, layer.written, layer.written)
    return device.of_layer(layer) - device.of_layer(conv) - device.of_layer(moved) >= least


def _output_shapes(graph: gs.Graph, sizes: Sequence[Size]) -> list[Any]:
    """The output's shape at each of the sizes; the declared input size is left as it was."""
    from pipeline.graph import infer

    image, found = graph.inputs[0], []
    declared = image.shape
    for size in sizes:
        image.shape = [1, declared[1], *size.hw]
        found.append(infer(graph).of(graph.outputs[0]))
    image.shape = declared
    return found


def _refused(graph: gs.Graph, target: Target) -> set[str]:
    """The codes of what the target would refuse or compute wrong."""
    from pipeline.validation import validate

    found = validate(target.family.read(target.family.write(graph, target)), target)
    return {finding.code for finding in found if finding.severity in ("error", "wrong")}
