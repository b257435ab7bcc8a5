"""Recognises operations that were exported as several nodes or read as several steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.shape import Shapes
from pipeline.targets.compute.reading import constant, required
from pipeline.targets.compute.steps import Step, Steps, Unsupported

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

# --- nodes to steps --------------------------------------------------------------------------------------------


def patterns(graph: gs.Graph, shapes: Shapes) -> tuple[dict[int, Step], set[int]]:
    """Match three nodes that are one step: the step by the id of the middle node, and the ids of the others."""
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
    attrs = {"gamma": gamma, "beta": beta, "epsilon": epsilon, "channels": each}
    return Step("norm", node.name, "GroupNormalization", (before.inputs[0].name,), after.outputs[0].name, attrs)


def _layer_norm(before: gs.Node, node: gs.Node, after: gs.Node, shapes: Shapes) -> Step | None:
    """Channels last, layer norm over them, channels first again."""
    turned = n.ints(before, "perm", ()) == (0, 2, 3, 1) and n.ints(after, "perm", ()) == (0, 3, 1, 2)
    if not turned or int(node.attrs.get("axis", -1)) not in (-1, 3) or len(node.outputs) > 1:
        return None
    gamma = required(node, 1, "scale")
    beta = constant(node, 2)
    attrs = {
        "gamma": gamma.reshape(-1),
        "beta": np.zeros(gamma.size) if beta is None else beta.reshape(-1).astype(np.float64),
        "epsilon": float(node.attrs.get("epsilon", 1e-5)),
    }
    return Step("layer", node.name, node.op, (before.inputs[0].name,), after.outputs[0].name, attrs)


def _channel_shuffle(before: gs.Node, node: gs.Node, after: gs.Node, shapes: Shapes) -> Step | None:
    """Reshape to groups of channels, groups and channels exchanged, reshape back."""
    shape, split = shapes.static(before.inputs[0]), shapes.static(node.inputs[0])
    if (before.op, after.op) != ("Reshape", "Reshape") or shape is None or split is None:
        return None
    if n.ints(node, "perm", ()) != (0, 2, 1, 3, 4) or len(split) != 5 or split[3:] != shape[2:]:
        return None
    if shapes.static(after.outputs[0]) != shape or split[1] * split[2] != shape[1]:
        return None
    attrs = {"groups": split[1]}
    return Step("mixed", node.name, "ChannelShuffle", (before.inputs[0].name,), after.outputs[0].name, attrs)


_PATTERNS = {
    "InstanceNormalization": _grouped_norm,
    "LayerNormalization": _layer_norm,
    "Transpose": _channel_shuffle,
}


# --- steps to steps ------------------------------------------------------------------------------------------


def recognise(steps: Steps) -> None:
    """Replace groups of steps by one: gated activations, GELU and normalisations. `steps` is changed in place."""
    producers = {step.output: step for step in steps.steps}
    for step in list(steps.steps):
        if step.kind == "binary" and step.attrs["combine"] == "Mul":
            if not _gated(steps, step, producers):
                _gelu(steps, step, producers)
        elif step.kind == "binary" and step.attrs["combine"] == "Div":
            _normalised(steps, step, producers)


def _gated(steps: Steps, step: Step, producers: dict[str, Step]) -> bool:
    """x * sigmoid(x) and x * hard_sigmoid(x, 1/6, 1/2) as one activation; whether it was one."""
    for place in (0, 1):
        gate = producers.get(step.inputs[1 - place])
        if gate is None or gate.kind != "act" or gate.inputs != (step.inputs[place],):
            continue
        kind = {"SIGMOID": "SILU", "HARD_SIGMOID": "HARD_SWISH"}.get(gate.attrs["act"])
        hard = gate.attrs["act"] == "HARD_SIGMOID"
        if kind is None or (hard and not np.allclose(gate.attrs["bounds"], (1 / 6, 0.5), atol=1e-4)):
            continue
        if len(steps.readers(gate.output)) == 1 and gate.output != steps.result:
            step.kind, step.inputs, step.attrs = "act", (step.inputs[place],), {"act": kind, "bounds": ()}
            steps.steps.remove(gate)
            return True
    return False


def _gelu(steps: Steps, step: Step, producers: dict[str, Step]) -> None:
    """x * (1 + erf(x / sqrt(2))), times 1/2 before or after it, as one activation."""

    def alone(tensor: str, kind: str) -> Step | None:
        step_above = producers.get(tensor)
        single = step_above is not None and step_above.kind == kind and len(steps.readers(tensor)) == 1
        return step_above if single and tensor != steps.result else None

    for place in (0, 1):
        one = alone(step.inputs[1 - place], "affine")
        erf = alone(one.inputs[0], "act") if one is not None and _is(one, 1.0, 1.0) else None
        inner = alone(erf.inputs[0], "affine") if erf is not None and erf.attrs["act"] == "ERF" else None
        if one is None or erf is None or inner is None or not _is(inner, 0.5**0.5, 0.0):
            continue
        before = alone(step.inputs[place], "affine")
        after = next((reader for reader in steps.readers(step.output) if reader.kind == "affine"), None)
        halved_before = before is not None and before.inputs == inner.inputs and _is(before, 0.5, 0.0)
        halved_after = after is not None and len(steps.readers(step.output)) == 1 and _is(after, 0.5, 0.0)
        if halved_before:
            gone = [one, erf, inner, before]
        elif step.inputs[place] == inner.inputs[0] and halved_after and step.output != steps.result:
            gone = [one, erf, inner, step]
            step = after  # type: ignore[assignment]
        else:
            continue
        step.kind, step.inputs, step.attrs = "act", inner.inputs, {"act": "GELU", "bounds": ()}
        steps.steps[:] = [kept for kept in steps.steps if not any(kept is piece for piece in gone)]
        return


def _is(step: Step, scale: float, shift: float) -> bool:
    """Whether an affine step has this scale and shift in all channels."""
    near = np.allclose(step.attrs["scale"], scale, rtol=1e-5, atol=0)
    return bool(near and np.allclose(step.attrs["shift"], shift, rtol=1e-5, atol=0))


def _normalised(steps: Steps, step: Step, producers: dict[str, Step]) -> None:
    """(x - mean) / (sqrt(mean((x - mean)^2) + e) + f): the normalisation of each channel, or of each pixel."""
    pieces = []

    def above(tensor: str, kind: str) -> Step | None:
        step_above = producers.get(tensor)
        if step_above is None or step_above.kind != kind:
            return None
        pieces.append(step_above)
        return step_above

    apart = above(step.inputs[0], "binary")
    if apart is None or apart.attrs["combine"] != "Sub":
        return
    over = getattr(producers.get(apart.inputs[1]), "kind", "")
    middle = above(apart.inputs[1], over) if over in ("mean", "pixel_mean") else None
    if middle is None or middle.inputs != (apart.inputs[0],):
        return
    tensor, outside, inside = step.inputs[1], 0.0, 0.0
    for root in (False, True):
        source = producers.get(tensor)
        if source is not None and source.kind == "affine" and np.all(source.attrs["scale"] == 1):
            shift = source.attrs["shift"]
            if np.any(shift != shift[0]):
                return
            pieces.append(source)
            tensor = source.inputs[0]
            outside, inside = (outside, float(shift[0])) if root else (float(shift[0]), inside)
        if not root:
            source = above(tensor, "act")
            if source is None or source.attrs["act"] != "SQUARE_ROOT":
                return
            tensor = source.inputs[0]
    variance = above(tensor, over)
    square = producers.get(variance.inputs[0]) if variance is not None else None
    if square is None:
        return
    product = square.kind == "binary" and square.attrs["combine"] == "Mul" and set(square.inputs) == {apart.output}
    power = square.kind == "act" and square.attrs["act"] == "SQUARE" and square.inputs == (apart.output,)
    if not (product or power):
        return
    pieces.append(square)
    if over == "pixel_mean" and outside:
        return
    gone = {piece.output for piece in pieces}
    for piece in pieces:
        readers = {id(reader) for reader in steps.readers(piece.output)}
        if piece.output == steps.result or not readers <= {id(p) for p in pieces} | {id(step)}:
            return
    ones = np.ones(steps.shapes[step.output][0])
    step.kind, step.inputs = "norm" if over == "mean" else "layer", (apart.inputs[0],)
    step.attrs = {"gamma": ones, "beta": 0 * ones, "epsilon": inside, "outside": outside, "channels": 1}
    steps.steps[:] = [kept for kept in steps.steps if kept.output not in gone]
