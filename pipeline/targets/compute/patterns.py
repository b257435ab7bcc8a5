"""Several nodes, or several steps, that are one operation on pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.shape import Shapes
from pipeline.targets.compute.reading import constant, required
from pipeline.targets.compute.steps import Step, Steps, Unsupported

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

# --- several nodes that are one step ---------------------------------------------------------------------------


def patterns(graph: gs.Graph, shapes: Shapes) -> tuple[dict[int, Step], set[int]]:
    """Steps that several nodes are, by the id of their middle node, and the ids of the nodes around these."""
    wholes: dict[int, Step] = {}
    parts: set[int] = set()
    for node in n.nodes_of(graph, "InstanceNormalization", "LayerNormalization", "Transpose"):
        before, after = n.producer(node.inputs[0]), n.only_consumer(graph, node.outputs[0])
        if before is None or after is None or not n.read_only_by(graph, before.outputs[0], node):
            continue
        try:
            step = _PATTERNS[node.op](before, node, after, shapes)
        except Unsupported:
            continue
        if step is not None:
            wholes[id(node)] = step
            parts |= {id(before), id(after)}
    return wholes, parts


def _grouped_norm(before: gs.Node, node: gs.Node, after: gs.Node, shapes: Shapes) -> Step | None:
    """Reshape to groups, instance norm, reshape back: group norm; with one group, layer norm."""
    shape, grouped = shapes.static(before.inputs[0]), shapes.static(node.inputs[0])
    if (before.op, after.op) != ("Reshape", "Reshape") or shape is None or grouped is None or len(shape) != 4:
        return None
    if len(grouped) < 3 or grouped[0] != 1 or shapes.static(after.outputs[0]) != shape or shape[1] % grouped[1]:
        return None
    each = shape[1] // grouped[1]
    gamma, beta = (np.repeat(required(node, place, "scale"), each) for place in (1, 2))
    epsilon = float(node.attrs.get("epsilon", 1e-5))
    held = {"gamma": gamma, "beta": beta, "epsilon": epsilon, "channels": each}
    return Step("norm", node.name, "GroupNormalization", (before.inputs[0].name,), after.outputs[0].name, held)


def _layer_norm(before: gs.Node, node: gs.Node, after: gs.Node, shapes: Shapes) -> Step | None:
    """Channels last, layer norm over them, channels first again."""
    turned = n.ints(before, "perm", ()) == (0, 2, 3, 1) and n.ints(after, "perm", ()) == (0, 3, 1, 2)
    if not turned or int(node.attrs.get("axis", -1)) not in (-1, 3) or len(node.outputs) > 1:
        return None
    gamma = required(node, 1, "scale")
    beta = constant(node, 2)
    held = {
        "gamma": gamma.reshape(-1),
        "beta": np.zeros(gamma.size) if beta is None else beta.reshape(-1).astype(np.float64),
        "epsilon": float(node.attrs.get("epsilon", 1e-5)),
    }
    return Step("layer", node.name, node.op, (before.inputs[0].name,), after.outputs[0].name, held)


def _channel_shuffle(before: gs.Node, node: gs.Node, after: gs.Node, shapes: Shapes) -> Step | None:
    """Reshape to groups of channels, groups and channels exchanged, reshape back."""
    shape, split = shapes.static(before.inputs[0]), shapes.static(node.inputs[0])
    if (before.op, after.op) != ("Reshape", "Reshape") or shape is None or split is None:
        return None
    if n.ints(node, "perm", ()) != (0, 2, 1, 3, 4) or len(split) != 5 or split[3:] != shape[2:]:
        return None
    if shapes.static(after.outputs[0]) != shape or split[1] * split[2] != shape[1]:
        return None
    held = {"groups": split[1]}
    return Step("mixed", node.name, "ChannelShuffle", (before.inputs[0].name,), after.outputs[0].name, held)


_PATTERNS = {
    "InstanceNormalization": _grouped_norm,
    "LayerNormalization": _layer_norm,
    "Transpose": _channel_shuffle,
}


# --- what several steps are together -------------------------------------------------------------------------


def recognise(found: Steps) -> None:
    """Operations that were exported in pieces: gated activations and normalisations."""
    makers = {step.output: step for step in found.steps}
    for step in list(found.steps):
        if step.kind == "binary" and step.held["combine"] == "Mul":
            if not _gated(found, step, makers):
                _gelu(found, step, makers)
        elif step.kind == "binary" and step.held["combine"] == "Div":
            _normalised(found, step, makers)


def _gated(found: Steps, step: Step, makers: dict[str, Step]) -> bool:
    """x * sigmoid(x) and x * hard_sigmoid(x, 1/6, 1/2) as one activation; whether it was one."""
    for place in (0, 1):
        gate = makers.get(step.inputs[1 - place])
        if gate is None or gate.kind != "act" or gate.inputs != (step.inputs[place],):
            continue
        kind = {"SIGMOID": "SILU", "HARD_SIGMOID": "HARD_SWISH"}.get(gate.held["act"])
        hard = gate.held["act"] == "HARD_SIGMOID"
        if kind is None or (hard and not np.allclose(gate.held["bounds"], (1 / 6, 0.5), atol=1e-4)):
            continue
        if len(found.readers(gate.output)) == 1 and gate.output != found.result:
            step.kind, step.inputs, step.held = "act", (step.inputs[place],), {"act": kind, "bounds": ()}
            found.steps.remove(gate)
            return True
    return False


def _gelu(found: Steps, step: Step, makers: dict[str, Step]) -> None:
    """x * (1 + erf(x / sqrt(2))), times 1/2 before or after it, as one activation."""

    def alone(tensor: str, kind: str) -> Step | None:
        held = makers.get(tensor)
        single = held is not None and held.kind == kind and len(found.readers(tensor)) == 1
        return held if single and tensor != found.result else None

    for place in (0, 1):
        one = alone(step.inputs[1 - place], "affine")
        erf = alone(one.inputs[0], "act") if one is not None and _is(one, 1.0, 1.0) else None
        inner = alone(erf.inputs[0], "affine") if erf is not None and erf.held["act"] == "ERF" else None
        if one is None or erf is None or inner is None or not _is(inner, 0.5**0.5, 0.0):
            continue
        before = alone(step.inputs[place], "affine")
        after = next((held for held in found.readers(step.output) if held.kind == "affine"), None)
        halved_before = before is not None and before.inputs == inner.inputs and _is(before, 0.5, 0.0)
        halved_after = after is not None and len(found.readers(step.output)) == 1 and _is(after, 0.5, 0.0)
        if halved_before:
            gone = [one, erf, inner, before]
        elif step.inputs[place] == inner.inputs[0] and halved_after and step.output != found.result:
            gone = [one, erf, inner, step]
            step = after  # type: ignore[assignment]
        else:
            continue
        step.kind, step.inputs, step.held = "act", inner.inputs, {"act": "GELU", "bounds": ()}
        found.steps[:] = [held for held in found.steps if not any(held is piece for piece in gone)]
        return


def _is(step: Step, scale: float, shift: float) -> bool:
    """Whether an affine step is this one for all channels."""
    near = np.allclose(step.held["scale"], scale, rtol=1e-5, atol=0)
    return bool(near and np.allclose(step.held["shift"], shift, rtol=1e-5, atol=0))


def _normalised(found: Steps, step: Step, makers: dict[str, Step]) -> None:
    """(x - mean) / (sqrt(mean((x - mean)^2) + e) + f): the normalisation of each channel, or of each pixel."""
    pieces = []

    def above(tensor: str, kind: str) -> Step | None:
        held = makers.get(tensor)
        if held is None or held.kind != kind:
            return None
        pieces.append(held)
        return held

    apart = above(step.inputs[0], "binary")
    if apart is None or apart.held["combine"] != "Sub":
        return
    over = getattr(makers.get(apart.inputs[1]), "kind", "")
    middle = above(apart.inputs[1], over) if over in ("mean", "pixel_mean") else None
    if middle is None or middle.inputs != (apart.inputs[0],):
        return
    tensor, outside, inside = step.inputs[1], 0.0, 0.0
    for root in (False, True):
        held = makers.get(tensor)
        if held is not None and held.kind == "affine" and np.all(held.held["scale"] == 1):
            shift = held.held["shift"]
            if np.any(shift != shift[0]):
                return
            pieces.append(held)
            tensor = held.inputs[0]
            outside, inside = (outside, float(shift[0])) if root else (float(shift[0]), inside)
        if not root:
            held = above(tensor, "act")
            if held is None or held.held["act"] != "SQUARE_ROOT":
                return
            tensor = held.inputs[0]
    variance = above(tensor, over)
    square = makers.get(variance.inputs[0]) if variance is not None else None
    if square is None:
        return
    product = square.kind == "binary" and square.held["combine"] == "Mul" and set(square.inputs) == {apart.output}
    power = square.kind == "act" and square.held["act"] == "SQUARE" and square.inputs == (apart.output,)
    if not (product or power):
        return
    pieces.append(square)
    if over == "pixel_mean" and outside:
        return
    gone = {piece.output for piece in pieces}
    for piece in pieces:
        readers = {id(reader) for reader in found.readers(piece.output)}
        if piece.output == found.result or not readers <= {id(p) for p in pieces} | {id(step)}:
            return
    ones = np.ones(found.shapes[step.output][0])
    step.kind, step.inputs = "norm" if over == "mean" else "layer", (apart.inputs[0],)
    step.held = {"gamma": ones, "beta": 0 * ones, "epsilon": inside, "outside": outside, "channels": 1}
    found.steps[:] = [held for held in found.steps if held.output not in gone]
