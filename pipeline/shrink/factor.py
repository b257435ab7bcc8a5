"""Factors convolutions: a k x k one becomes a vertical one (k x 1) to a few channels and a horizontal one (1 x k).

The kernels of a trained layer are nearly sums of a few products of a vertical and a horizontal profile
(Jaderberg, Vedaldi, Zisserman: Speeding up Convolutional Neural Networks with Low Rank Expansions, 2014). Unlike
the removal of channels, this keeps every norm and ReLU of the network as wide as it was. The kernels are fitted
by least squares to the original's output of the layer, from the input to the output, each on the current output
of the layers before it (Zhang et al.: Accelerating Very Deep Convolutional Networks, 2015). Needs pictures and
no gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from pipeline.graph import nodes as n
from pipeline.graph.channels import constants
from pipeline.shrink.choosing import error_scales
from pipeline.shrink.refit import (
    RIDGE,
    Moments,
    Progress,
    Reader,
    Values,
    moments_of,
    observe,
    original_outputs,
    readers,
)
from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    from pipeline.network import Network
    from pipeline.shrink.prunable import Prunable

ROUNDS, ITERATIONS = 3, 20
"""How often the vertical and the horizontal kernels are solved in turn, and steps of conjugate gradients for each
solution of the vertical ones."""
LEAST = 0.125
"""Smallest rank, as a part of the rank at which a factored layer has as many weights as before."""


MUCH = 0.6
"""Part of the largest saving by one layer from which on a layer is one of those that are factored first."""


@dataclass
class Factored:
    """A graph with factored layers, and the values that differ from the original's, by the names of constants."""

    graph: gs.Graph
    ranks: dict[str, int]
    """By the name of the layer's weights in the original graph."""
    changed: Values = field(default_factory=dict)
    """Refitted weights and biases of layers that are not factored, and biases of those that are."""
    kernels: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    """Vertical (rank, C, kh, 1) and horizontal (O, rank, 1, kw) kernels, by the same names as `ranks`."""


def factorable(graph: gs.Graph) -> dict[str, Reader]:
    """The convolutions of a graph that can be factored, by the names of their weights, in its order."""
    return {reader.weights: reader for reader in readers(graph) if min(reader.node.inputs[1].shape[2:]) > 1}


def whole_rank(shape: Sequence[int]) -> float:
    """The rank at which a factored layer has as many weights as the layer of weights (O, C, kh, kw) had."""
    outputs, inputs, height, width = shape
    return outputs * inputs * height * width / (inputs * height + outputs * width)


def choose_ranks(
    graph: gs.Graph, value: Callable[[gs.Graph], float], limit: float, step: int
) -> dict[str, int] | None:
    """Ranks with which the graph's `value` is at most `limit`, by the names of the layers' weights; None where
    factoring alone does not reach it.

    Only the layers with the largest savings are factored if that is enough, otherwise every layer that saves.
    """
    before = value(graph)
    saved = {}
    for name, reader in factorable(graph).items():
        half = max(1, int(whole_rank(reader.node.inputs[1].shape) / 2))
        saved[name] = before - value(shaped(graph, {name: half}))
    most = max(saved.values(), default=0.0)
    for part in (MUCH, 0.0):
        layers = [name for name, value_ in saved.items() if value_ > part * most]
        found = ranks_meeting(graph, layers, value, limit, step)
        if found is not None:
            return found
    return None


def discarded(weights: np.ndarray, rank: int) -> float:
    """Part of the squared weights (O, C, kh, kw) that no two factors of this rank can hold."""
    values = np.linalg.svd(_matrix(weights), compute_uv=False) ** 2
    return float(values[rank:].sum() / max(float(values.sum()), 1e-30))


def _matrix(weights: np.ndarray) -> np.ndarray:
    """(O, C, kh, kw) as the matrix (C * kh, kw * O) whose rank is that of the factored layer."""
    outputs, inputs, height, width = weights.shape
    return weights.transpose(1, 2, 3, 0).reshape(inputs * height, width * outputs)


def ranks_meeting(
    graph: gs.Graph, layers: Sequence[str], value: Callable[[gs.Graph], float], limit: float, step: int
) -> dict[str, int] | None:
    """Ranks of these layers, by the names of their weights, with which the graph's `value` is at most `limit`.

    All are the same part of their `whole_rank`, rounded down to multiples of `step`; what is left is given to the
    layers that lose most. None where the smallest ranks are too large, or no layer gets smaller.
    """
    weights = {name: np.asarray(graph.tensors()[name].values) for name in layers}

    def ranks(part: float) -> dict[str, int]:
        wishes = {name: part * whole_rank(values.shape) for name, values in weights.items()}
        return {name: max(1, int(wish) // step * step or min(int(wish), step)) for name, wish in wishes.items()}

    def meets(tried: Mapping[str, int]) -> bool:
        return value(shaped(graph, tried)) <= limit

    low, high = LEAST, 1.0
    if not layers or not meets(ranks(low)):
        return None
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if meets(ranks(middle)) else (low, middle)
    found = ranks(low)
    for name in sorted(found, key=lambda name: -discarded(weights[name], found[name])):
        more = found | {name: found[name] + step}
        if more[name] < whole_rank(weights[name].shape) and meets(more):
            found = more
    return found


def shaped(graph: gs.Graph, ranks: Mapping[str, int]) -> gs.Graph:
    """A copy of a graph with layers factored to these ranks, whose kernels are zeros."""
    made = graph.copy()
    constants(made)
    for node in list(made.nodes):
        if node.op == "Conv" and node.inputs[1].name in ranks:
            _split(made, node, ranks[node.inputs[1].name])
    made.cleanup(remove_unused_graph_inputs=False)
    return made


def _split(graph: gs.Graph, node: gs.Node, rank: int) -> tuple[gs.Constant, gs.Constant]:
    """Replace a convolution by a vertical and a horizontal one; their weights, zeros so far."""
    name = node.inputs[1].name
    outputs, inputs, height, width = node.inputs[1].shape
    down = n.ints(node, "strides") or (1, 1)
    apart = n.ints(node, "dilations") or (1, 1)
    top, left, bottom, right = n.ints(node, "pads") or (0, 0, 0, 0)
    vertical = gs.Constant(f"{name}.vertical", np.zeros((rank, inputs, height, 1), np.float32))
    horizontal = gs.Constant(f"{name}.horizontal", np.zeros((outputs, rank, 1, width), np.float32))
    between = gs.Variable(f"{name}.between", dtype=np.float32)
    first = {
        "kernel_shape": [height, 1],
        "strides": [down[0], 1],
        "dilations": [apart[0], 1],
        "pads": [top, 0, bottom, 0],
    }
    second = {
        "kernel_shape": [1, width],
        "strides": [1, down[1]],
        "dilations": [1, apart[1]],
        "pads": [0, left, 0, right],
    }
    made = gs.Node(
        "Conv", f"{node.name}/vertical", attrs=first, inputs=[node.inputs[0], vertical], outputs=[between]
    )
    graph.nodes.insert(graph.nodes.index(node), made)
    node.inputs = [between, horizontal, *node.inputs[2:]]
    node.attrs.clear()
    node.attrs.update(second)
    return vertical, horizontal


def factored(
    prunable: Prunable,
    ranks: Mapping[str, int],
    pictures: Sequence[np.ndarray],
    seed: int = 0,
    progress: Progress = lambda message: None,
) -> Factored:
    """The network's graph with layers factored to `ranks`, and every layer from the first of them on refitted.

    `pictures` are (1, C, H, W) in the network's own range.
    """
    wanted = original_outputs(prunable, pictures)
    graph = prunable.graph.copy()
    now = constants(graph)
    result = Factored(graph, dict(ranks))
    todo = readers(prunable.graph)
    first = min((i for i, reader in enumerate(todo) if reader.weights in ranks), default=len(todo))
    for number, reader in enumerate(todo[first:], start=first + 1):
        progress(f"factoring: layer {number} of {len(todo)}")
        node = next(node for node in graph.nodes if node.op == "Conv" and node.inputs[1].name == reader.weights)
        seen = observe(graph, [node.inputs[0].name], pictures)
        weights = np.asarray(now[reader.weights].values)
        rng = np.random.default_rng([seed, number])
        moments = moments_of(reader, node, seen, wanted, list(range(len(weights))), rng)
        if reader.weights in ranks:
            values = {name: np.asarray(tensor.values) for name, tensor in now.items()}
            scales = error_scales(reader, moments, values)
            *kernels, constant = fit(moments, weights, ranks[reader.weights], scales)
            vertical, horizontal = _split(graph, node, ranks[reader.weights])
            vertical.values, horizontal.values = kernels
            result.kernels[reader.weights] = (kernels[0], kernels[1])
        else:
            solved, constant = moments.solve(weights.reshape(len(weights), -1).T.astype(np.float64))
            result.changed[reader.weights] = solved.T.reshape(weights.shape).astype(np.float32)
            now[reader.weights].values = result.changed[reader.weights]
        if not reader.centred and reader.bias is not None:
            result.changed[reader.bias] = constant.astype(np.float32)
            now[reader.bias].values = result.changed[reader.bias]
    graph.cleanup(remove_unused_graph_inputs=False)
    return result


def fit(
    moments: Moments, weights: np.ndarray, rank: int, scales: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The kernels of this rank that come closest to a layer's outputs: vertical (rank, C, kh, 1), horizontal
    (O, rank, 1, kw), and constants (O,).

    `moments` are of the layer's patches and the original's outputs, `weights` (O, C, kh, kw) its own, `scales`
    (O,) the weight of an error of each output. The kernels start from a singular value decomposition of the
    refitted weights, weighted by the covariance of the inputs; then one of the two is solved for the other in
    turn.
    """
    outputs, inputs, height, width = weights.shape
    solved, _ = moments.solve(weights.reshape(outputs, -1).T.astype(np.float64))
    mean = moments.gram[:-1, -1] / moments.count
    target = moments.cross[-1] / moments.count
    gram = moments.gram[:-1, :-1] / moments.count - np.outer(mean, mean)
    cross = moments.cross[:-1] / moments.count - np.outer(mean, target)
    ridge = RIDGE * max(float(np.trace(gram)) / len(gram), 1e-12)
    gram[np.diag_indices(len(gram))] += ridge
    cross += ridge * weights.reshape(outputs, -1).T
    rows = inputs * height
    blocks = gram.reshape(rows, width, rows, width).transpose(1, 3, 0, 2)  # column of the kernel, column, row, row
    goals = cross.reshape(rows, width, outputs).transpose(1, 0, 2)
    root = np.linalg.cholesky(np.mean([blocks[i, i] for i in range(width)], axis=0))
    matrix = solved.reshape(rows, width, outputs) * scales
    left, sizes, _ = np.linalg.svd(root.T @ matrix.reshape(rows, -1), full_matrices=False)
    rank = min(rank, len(sizes))
    down = np.linalg.solve(root.T, left[:, :rank])
    across = _across(blocks, goals, down)
    for _ in range(ROUNDS):
        down = _down(blocks, goals, down, across, scales**2)
        down = down / np.maximum(np.sqrt(np.einsum("ir,ij,jr->r", down, root @ root.T, down)), 1e-12)
        across = _across(blocks, goals, down)
    balance = np.sqrt(np.sqrt(np.square(across).sum((0, 2)) / np.maximum(np.square(down).sum(0), 1e-30)))
    down, across = down * balance, across / np.maximum(balance, 1e-12)[:, None]
    whole = np.einsum("ir,wro->iwo", down, across).reshape(-1, outputs)
    vertical = down.T.reshape(rank, inputs, height, 1)
    horizontal = across.transpose(2, 1, 0)[:, :, None, :]
    constant = target - mean @ whole
    return vertical.astype(np.float32), np.ascontiguousarray(horizontal, np.float32), constant


def _across(blocks: np.ndarray, goals: np.ndarray, down: np.ndarray) -> np.ndarray:
    """The best horizontal kernels (kw, rank, O) for vertical ones (C * kh, rank)."""
    width, rank = len(goals), down.shape[1]
    gram = np.einsum("ir,uvij,js->urvs", down, blocks, down, optimize=True).reshape(width * rank, -1)
    gram[np.diag_indices(len(gram))] += 1e-9 * max(float(np.trace(gram)) / len(gram), 1e-12)
    cross = np.einsum("ir,uio->uro", down, goals, optimize=True).reshape(width * rank, -1)
    return np.linalg.solve(gram, cross).reshape(width, rank, -1)


def _down(
    blocks: np.ndarray, goals: np.ndarray, down: np.ndarray, across: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Better vertical kernels (C * kh, rank) for horizontal ones (kw, rank, O), by conjugate gradients.

    `weights` (O,) are what the squared errors of the outputs count.
    """
    mixed = np.einsum("uro,o,vso->uvrs", across, weights, across, optimize=True)

    def normal(kernels: np.ndarray) -> np.ndarray:
        return np.einsum("uvij,jr,vurs->is", blocks, kernels, mixed, optimize=True)

    residual = np.einsum("uio,o,uro->ir", goals, weights, across, optimize=True) - normal(down)
    direction, size = residual.copy(), float(np.square(residual).sum())
    for _ in range(ITERATIONS):
        if size < 1e-20:
            break
        turned = normal(direction)
        step = size / max(float((direction * turned).sum()), 1e-30)
        down, residual = down + step * direction, residual - step * turned
        size, before = float(np.square(residual).sum()), size
        direction = residual + size / before * direction
    return down


def as_network(prunable: Prunable, result: Factored) -> Network:
    """The network with these factored layers: a torch module of its own architecture, or an ONNX model.

    Raises PipelineError `cannot-prune` where the architecture has no factored layers.
    """
    from pipeline import architectures
    from pipeline.graph import to_model
    from pipeline.graph.statistics import held_weights
    from pipeline.sources.tensors import StateDict

    network = prunable.network
    if not prunable.places:
        model = to_model(result.graph)
        model.ir_version = max(model.ir_version, network.model.ir_version if network.model else 4)
        before, after = (sum(held.size for held in held_weights(g)) for g in (prunable.graph, result.graph))
        return replace(
            network, model=model, weights=network.weights - before + after, details=dict(network.details)
        )
    names = architectures.family_of(network.architecture).factors
    if names is None:
        raise PipelineError(
            "cannot-prune",
            f"{network.architecture} has no form with factored layers",
            subject=network.source.name,
            remedy="Use --method channels, or export it to ONNX (pipeline convert) and prune that.",
        )
    tensors = dict(prunable.tensors)
    for name, value in result.changed.items():
        key, _ = prunable.places[name]
        tensors[key] = value.reshape(tensors[key].shape)
    for name, kernels in result.kernels.items():
        key, _ = prunable.places[name]
        whole, bias = names(key)
        del tensors[key]
        tensors.update(zip(whole, kernels, strict=True))
        tensors[bias[1]] = tensors.pop(bias[0])
    found = architectures.recognise(StateDict(tensors, network.format, network.source.name), network.architecture)
    module = architectures.load(architectures.build(found.name, found.params), found.tensors)
    return replace(network, module=module, weights=found.weights, details=dict(found.params))
