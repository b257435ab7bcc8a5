"""Steps of y = scale * x + shift with constants, per channel or for all, become fewer layers.

Importers merge few of them into a convolution: Barracuda no factor per channel, Sentis and Inference Engine up to
2.3 only a BatchNormalization behind a Conv, 2.4 also sums and single factors; behind a ConvTranspose or a norm a
step stays a layer everywhere (importer.md of each; measured). A BatchNormalization is a factor and a shift in one
layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.shapes import LazyShapes
from pipeline.rewrites.base import Needed, Outcome, Rewrite

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

_STEPS = ("Add", "BatchNormalization", "Div", "Mul", "Sub")
_ROUNDING = ("Ceil", "Floor", "Round")
"""Layers that make a whole level of a difference in the last bit, which another order of products leaves."""
_LARGEST = 1e6
"""Largest factor that is folded: beyond it products with weights may leave float32."""


@dataclass
class _Chain:
    """Steps in a row, read only by the next one: y = scale * x + shift, one number or one per channel, float64."""

    source: gs.Tensor
    nodes: list[gs.Node] = field(default_factory=list)
    scale: np.ndarray = field(default_factory=lambda: np.ones(1))
    shift: np.ndarray = field(default_factory=lambda: np.zeros(1))

    @property
    def output(self) -> gs.Tensor:
        return self.nodes[-1].outputs[0]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.nodes)

    @property
    def per_channel(self) -> bool:
        return max(self.scale.size, self.shift.size) > 1

    def then(self, node: gs.Node, scale: np.ndarray, shift: np.ndarray) -> None:
        self.nodes.append(node)
        self.scale, self.shift = scale * self.scale, scale * self.shift + shift


class AffineSteps(Rewrite):
    """Constant factors and shifts go into the convolution or norm beside them; what is left becomes one layer.

    Behind a Conv, ConvTranspose or InstanceNormalization that only they read, in front of a Conv: a factor always,
    a shift where the Conv has no zeros at its borders. Two steps that stay, of which one is per channel, become a
    BatchNormalization. Left alone: tensors of another rank than 4, computed numbers, weights that others read, and
    graphs that round.
    """

    name = "affine-steps"
    summary = "factors and shifts per channel are folded into adjacent layers, or become one layer"
    reason = "one layer less"

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        if any(node.op in _ROUNDING for node in graph.nodes):
            return outcome
        shapes = LazyShapes(graph)
        seen: set[int] = set()
        for node in n.nodes_of(graph, *_STEPS):
            if id(node) in seen:
                continue
            chain = _chain_from(graph, node, shapes)
            seen.update(id(step) for step in chain.nodes)
            if not chain.nodes or _ends_gelu(chain):
                continue
            change = _taken_out(graph, chain) or _behind(graph, chain) or _in_front(graph, chain)
            if not change and target.can("batch-norm-of-any-channel-count"):
                change = _as_one(graph, chain, shapes, self.name)
            if change:
                outcome += self.edit(chain.names, change, self.reason)
        return outcome


def _ends_gelu(chain: _Chain) -> bool:
    """Whether a chain is the last step of a GELU that is spelled out, which importers know as a whole."""
    gate = n.producer(chain.source)
    if chain.per_channel or gate is None or gate.op != "Mul":
        return False
    producers = [n.producer(tensor) for tensor in gate.inputs]
    read = [
        n.producer(tensor) for node in producers if node is not None and node.op == "Add" for tensor in node.inputs
    ]
    return any(node is not None and node.op in ("Erf", "Tanh") for node in read)


def _chain_from(graph: gs.Graph, node: gs.Node, shapes: LazyShapes) -> _Chain:
    """The chain that begins at a node; empty where the node is no such step, or not the first of its chain."""
    step = _step(node, shapes)
    if step is None:
        return _Chain(node.outputs[0])
    source = step[0]
    before = n.producer(source)
    if (
        before is not None
        and before.op in _STEPS
        and n.read_only_by(graph, source, node)
        and _step(before, shapes)
    ):
        return _Chain(source)
    chain = _Chain(source)
    reader: gs.Node | None = node
    while reader is not None and step is not None:
        chain.then(reader, *step[1:])
        reader = n.only_consumer(graph, chain.output)
        step = None if reader is None or reader.op not in _STEPS else _step(reader, shapes, chain.output)
    return chain


def _step(
    node: gs.Node, shapes: LazyShapes, source: gs.Tensor | None = None
) -> tuple[gs.Tensor, np.ndarray, np.ndarray] | None:
    """What a node reads, and its scale and shift, float64; None where it is no such step on a rank 4 tensor."""
    if node.op == "BatchNormalization":
        parameters = [n.value(tensor) for tensor in node.inputs[1:5]]
        if len(node.outputs) > 1 or node.attrs.get("training_mode") or any(value is None for value in parameters):
            return None
        if shapes.here.rank(node.inputs[0]) != 4 or (source is not None and node.inputs[0] is not source):
            return None
        gamma, beta, mean, variance = (np.asarray(value, np.float64).reshape(-1) for value in parameters)
        factor = gamma / np.sqrt(variance + float(node.attrs.get("epsilon", 1e-5)))
        return node.inputs[0], factor, beta - factor * mean
    if len(node.inputs) != 2 or node.inputs[0] is node.inputs[1]:
        return None
    for position in (0, 1):
        data, constant = node.inputs[position], n.value(node.inputs[1 - position])
        if constant is None or n.value(data) is not None or (source is not None and data is not source):
            continue
        numbers = _numbers(constant, shapes.here.of(data))
        if numbers is None or (node.op == "Div" and (position == 1 or not numbers.all())):
            return None
        zero, one = np.zeros(1), np.ones(1)
        return {
            "Add": (data, one, numbers),
            "Sub": (data, one, -numbers) if position == 0 else (data, -one, numbers),
            "Mul": (data, numbers, zero),
            "Div": (data, 1 / np.where(numbers == 0, 1, numbers), zero),
        }[node.op]
    return None


def _numbers(constant: np.ndarray, shape: tuple[int | None, ...] | None) -> np.ndarray | None:
    """One number, or one per channel, flat and in float64, that does not broadcast a rank 4 tensor to more."""
    if shape is None or len(shape) != 4 or constant.dtype.kind != "f" or constant.ndim > 4:
        return None
    if constant.size != 1:
        padded_shape = (1,) * (4 - constant.ndim) + constant.shape
        if padded_shape[1] != constant.size or shape[1] != constant.size:
            return None
    values = constant.reshape(-1).astype(np.float64)
    return values if np.isfinite(values).all() and np.abs(values).max(initial=0) <= _LARGEST else None


# --- into the layer before it --------------------------------------------------------------------------------
def _behind(graph: gs.Graph, chain: _Chain) -> str:
    """Fold a chain into the layer that makes what it reads; what was done, or nothing."""
    before = n.producer(chain.source)
    if before is None or before.domain not in (None, "", "ai.onnx") or len(before.outputs) != 1:
        return ""
    if not n.read_only_by(graph, chain.source, chain.nodes[0]):
        return ""
    fold = _INTO.get(before.op)
    if fold is None or not fold(graph, before, chain):
        return ""
    output = chain.output
    for node in chain.nodes:
        node.outputs.clear()
    before.outputs = [output]
    return f"folded into the {before.op} before it"


def _into_convolution(graph: gs.Graph, conv: gs.Node, chain: _Chain) -> bool:
    weights, bias_tensor = n.value(n.given(conv, 1)), n.given(conv, 2)
    bias = n.value(bias_tensor)
    if weights is None or weights.ndim != 4 or (bias_tensor is not None and bias is None):
        return False
    group = int(conv.attrs.get("group", 1))
    outputs = weights.shape[0] if conv.op == "Conv" else weights.shape[1] * group
    scale, shift = np.broadcast_to(chain.scale, outputs), np.broadcast_to(chain.shift, outputs)
    if conv.op == "Conv":
        scaled = weights.astype(np.float64) * scale[:, None, None, None]
    else:
        split = weights.reshape(group, -1, *weights.shape[1:]).astype(np.float64)
        scaled = (split * scale.reshape(group, 1, -1, 1, 1)).reshape(weights.shape)
    old = np.zeros(outputs) if bias is None else bias.reshape(-1).astype(np.float64)
    make = n.Builder(graph, conv, AffineSteps.name)
    new = scale * old + shift
    bias_inputs = [make.const(new, "bias")] if bias is not None or new.any() else []
    conv.inputs = [conv.inputs[0], make.const(scaled, "weights"), *bias_inputs]
    return True


def _into_norm(graph: gs.Graph, norm: gs.Node, chain: _Chain) -> bool:
    scale, bias = (n.value(n.given(norm, place)) for place in (1, 2))
    if scale is None or bias is None:
        return False
    make = n.Builder(graph, norm, AffineSteps.name)
    old_scale, old_bias = scale.reshape(-1).astype(np.float64), bias.reshape(-1).astype(np.float64)
    norm.inputs = [
        norm.inputs[0],
        make.const(old_scale * chain.scale, "scale"),
        make.const(old_bias * chain.scale + chain.shift, "bias"),
    ]
    return True


_INTO: dict[str, Callable[[gs.Graph, gs.Node, _Chain], bool]] = {
    "Conv": _into_convolution,
    "ConvTranspose": _into_convolution,
    "InstanceNormalization": _into_norm,
}


# --- into the convolution behind it --------------------------------------------------------------------------
def _in_front(graph: gs.Graph, chain: _Chain) -> str:
    """Fold a chain into the Conv that reads it; what was done, or nothing."""
    conv = n.only_consumer(graph, chain.output)
    if conv is None or conv.op != "Conv" or conv.inputs[0] is not chain.output:
        return ""
    weights, bias_tensor = n.value(n.given(conv, 1)), n.given(conv, 2)
    bias = n.value(bias_tensor)
    if weights is None or weights.ndim != 4 or (bias_tensor is not None and bias is None):
        return ""
    padded = any(n.ints(conv, "pads", ())) or n.text(conv, "auto_pad", "NOTSET").startswith("SAME")
    if chain.shift.any() and padded:
        return ""
    group = int(conv.attrs.get("group", 1))
    inputs = weights.shape[1] * group
    scale, shift = (
        np.broadcast_to(numbers, inputs).reshape(group, 1, -1, 1, 1) for numbers in (chain.scale, chain.shift)
    )
    split = weights.reshape(group, -1, *weights.shape[1:]).astype(np.float64)
    make = n.Builder(graph, conv, AffineSteps.name)
    added = (split * shift).sum(axis=(2, 3, 4)).reshape(-1)
    old = np.zeros(weights.shape[0]) if bias is None else bias.reshape(-1).astype(np.float64)
    bias_inputs = [make.const(old + added, "bias")] if bias is not None or added.any() else []
    conv.inputs = [chain.source, make.const((split * scale).reshape(weights.shape), "weights"), *bias_inputs]
    return "folded into the Conv after it"


# --- into one layer ------------------------------------------------------------------------------------------
def _as_one(graph: gs.Graph, chain: _Chain, shapes: LazyShapes, name: str) -> str:
    """Write a chain of several steps, some of them per channel, as one layer; what was done, or nothing."""
    channels = shapes.here.channels(chain.source)
    if len(chain.nodes) < 2 or not chain.per_channel or channels is None:
        return ""
    make = n.Builder(graph, chain.nodes[0], name)
    scale, shift = (np.broadcast_to(numbers, channels) for numbers in (chain.scale, chain.shift))
    output = chain.output
    for node in chain.nodes:
        node.outputs.clear()
    if not shift.any():
        make.op("Mul", chain.source, make.const(scale.reshape(-1, 1, 1), "scale"), out=output)
        return "became one factor per channel"
    if (scale == 1).all():
        make.op("Add", chain.source, make.const(shift.reshape(-1, 1, 1), "shift"), out=output)
        return "became one shift per channel"
    zeros, ones = np.zeros(channels), np.ones(channels)
    parts = ((scale, "scale"), (shift, "shift"), (zeros, "mean"), (ones, "variance"))
    constants = [make.const(values, leaf) for values, leaf in parts]
    make.op("BatchNormalization", chain.source, *constants, epsilon=0.0, out=output)
    return "became one BatchNormalization, which is a factor and a shift per channel in one layer"


def _taken_out(graph: gs.Graph, chain: _Chain) -> str:
    """Take out steps that come to a factor of 1 and a shift of 0; what was done, or nothing."""
    if (chain.scale != 1).any() or chain.shift.any() or not chain.nodes:
        return ""
    return "removed: a factor of 1 and a shift of 0" if n.bypass(graph, chain.nodes[-1], chain.source) else ""
