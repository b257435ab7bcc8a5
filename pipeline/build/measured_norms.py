"""Changes to normalisations that depend on measured activations, not only on the graph.

Two things, the first for targets that compute the variance in one pass, the second for those that compute
InstanceNormalization in one layer, whatever stands before it:

- A convolution directly in front of a normalisation may have any bias, since the mean is taken off again. Where
  the target computes the variance as E[x^2] - E[x]^2 in float32, a mean far from 0 costs digits: the bias is then
  chosen so that the mean is about 0. Exact.
- Keras' (x - mean) / (std + 0.001) is not an InstanceNormalization, but close to one whose scale is multiplied by
  std / (std + 0.001) for a usual std. It takes one layer instead of nine. Only where the picture stays within
  `_TOLERANCE` levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.contract import MOST_CHANNELS
from pipeline.graph import nodes as n
from pipeline.graph.shapes import LazyShapes
from pipeline.rewrites.base import Edit
from pipeline.rewrites.instance_norm import absorb, orders, spreads_of

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.contract import ImageContract
    from pipeline.targets import Target

_FAR = 8.0
"""Standard deviations from 0: from about 30 on, a difference could be seen."""
_TOLERANCE = 0.3
"""Largest difference in levels of 255, of the half level that the proof allows."""
_EPSILON = 1e-5
_SIZE = (96, 128)
_CHANNELS = (1, *range(3, MOST_CHANNELS + 1))
"""Input channels of pictures, with or without guides."""


def fuse(graph: gs.Graph, target: Target, contract: ImageContract | None) -> list[Edit]:
    """Fuse normalisations by std + epsilon. Changes the graph in place.

    `contract` says what the graph takes and gives; None: it is not known, and nothing is done. A graph that takes
    no picture, or does not run stays as it is, too.
    """
    if contract is None or contract.input.channels not in _CHANNELS or not target.can("native-instance-norm"):
        return []
    return _fuse(graph, _pictures(graph, contract), contract)


def centre(graph: gs.Graph, target: Target, contract: ImageContract | None) -> list[Edit]:
    """Choose biases in front of normalisations, where the target computes the variance in one pass; as `fuse`.

    Behind the rewrite `low-contrast`, which leaves out all that there are.
    """
    if contract is None or contract.input.channels not in _CHANNELS:
        return []
    return _centre(graph, _pictures(graph, contract)) if "variance-in-one-pass" in target.semantics else []


def _pictures(graph: gs.Graph, contract: ImageContract) -> list[np.ndarray]:
    """A photograph, a piece of it, and noise, as the graph takes them."""
    from pipeline.verify import pictures
    from pipeline.verify.proof import to_network

    channels = contract.input.channels
    whole = pictures.load(None, 4 * _SIZE[0], 4 * _SIZE[1], channels)
    noise = np.random.default_rng(0).random((1, channels, *_SIZE))
    samples = [
        pictures.load(None, *_SIZE, channels),
        whole[:, :, _SIZE[0] : 2 * _SIZE[0], _SIZE[1] : 2 * _SIZE[1]],
        noise,
    ]
    return [to_network(picture.astype(np.float64), contract.input).astype(np.float32) for picture in samples]


def _run(graph: gs.Graph, tensors: Sequence[gs.Tensor], pictures: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """The values of tensors for each picture; nothing for a graph that does not run."""
    from pipeline.graph import to_model
    from pipeline.graph.runtime import free_size, session

    copy = graph.copy()
    tensors_by_name = copy.tensors()
    for tensor in tensors:
        watched = tensors_by_name[tensor.name]
        watched.dtype = watched.dtype or np.dtype(np.float32)
    copy.outputs = [tensors_by_name[tensor.name] for tensor in tensors]
    try:
        opened = session(free_size(to_model(copy.cleanup())))
        return [opened.run(None, {graph.inputs[0].name: picture}) for picture in pictures]
    except Exception:  # whatever ONNX Runtime raises for a graph that does not run at this size
        return []


# --- the bias in front ---------------------------------------------------------------------------------------
def _centre(graph: gs.Graph, pictures: Sequence[np.ndarray]) -> list[Edit]:
    found = []
    for norm in n.nodes_of(graph, "InstanceNormalization"):
        conv = n.producer(norm.inputs[0])
        if conv is None or conv.op not in ("Conv", "ConvTranspose") or conv.domain not in (None, "", "ai.onnx"):
            continue
        known = n.value(n.given(conv, 1)) is not None and (
            n.given(conv, 2) is None or n.value(conv.inputs[2]) is not None
        )
        if known and n.read_only_by(graph, conv.outputs[0], norm):
            found.append(conv)
    results = _run(graph, [conv.outputs[0] for conv in found], pictures) if found else []
    edits = []
    for place, conv in enumerate(found if results else ()):
        values = [values[place].astype(np.float64) for values in results]
        mean = np.mean([value.mean(axis=(0, 2, 3)) for value in values], axis=0)
        spread = np.mean([value.std(axis=(0, 2, 3)) for value in values], axis=0)
        ratio = float((np.abs(mean) / np.maximum(spread, 1e-6)).max())
        if not np.isfinite(ratio) or ratio < _FAR:
            continue
        bias = n.value(n.given(conv, 2))
        make = n.Builder(graph, conv, "centre")
        centred = make.const((0.0 if bias is None else bias.astype(np.float64)) - mean, "bias")
        conv.inputs = [*conv.inputs[:2], centred]
        edits.append(
            Edit(
                "centred-norms",
                (conv.name,),
                "its bias now subtracts the usual mean",
                "the normalisation after it cancels any mean, and its variance loses precision where the mean is "
                f"{ratio:.0f} times the deviation",
            )
        )
    return edits


# --- std + epsilon -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _ByDeviation:
    """(source - mean) / (sqrt(factor * var + epsilon) + added), at the node that divides."""

    node: gs.Node
    source: gs.Tensor
    factor: float
    epsilon: float
    added: float


def _fuse(graph: gs.Graph, pictures: Sequence[np.ndarray], contract: ImageContract) -> list[Edit]:
    found = list(_by_deviation(graph))
    if not found:
        return []
    results = _run(graph, [graph.outputs[0], *(norm.source for norm in found)], pictures)
    if not results:
        return []
    before, edits = graph.copy(), []
    for place, norm in enumerate(found, 1):
        usual = [
            np.sqrt(norm.factor * values[place].astype(np.float64).var(axis=(2, 3)) + norm.epsilon).mean(axis=0)
            for values in results
        ]
        deviation = np.exp(np.mean(np.log(np.maximum(usual, 1e-6)), axis=0))
        scale = np.sqrt(deviation**2 + _EPSILON) / (deviation + norm.added)
        output, scale, bias, names = absorb(graph, norm.node.outputs[0], scale, np.zeros(scale.size))
        make = n.Builder(graph, norm.node, "deviation-norms")
        make.op(
            "InstanceNormalization",
            norm.source,
            make.const(scale / np.sqrt(norm.factor), "scale"),
            make.const(bias, "bias"),
            epsilon=_EPSILON / norm.factor,
            out=output,
        )
        if norm.node.outputs and norm.node.outputs[0] is not output:
            make.drop()
        edits.append((norm.node.name, *names))
    graph.cleanup(remove_unused_graph_inputs=False).toposort()
    after = _run(graph, graph.outputs[:1], pictures)
    off = (
        _levels([values[0] for values in results], [values[0] for values in after], contract) if after else np.inf
    )
    if off > _TOLERANCE:
        graph.nodes, graph.inputs, graph.outputs = before.nodes, before.inputs, before.outputs
        return []
    why = f"one layer instead of nine; the largest difference on three pictures is {off:.2f} of 255 levels"
    return [Edit("deviation-norms", names, "became InstanceNormalization", why) for names in edits]


def _by_deviation(graph: gs.Graph) -> list[_ByDeviation]:
    if not any(True for _ in n.nodes_of(graph, "ReduceMean", "GlobalAveragePool")):
        return []
    shapes, found = LazyShapes(graph), []
    for node in n.nodes_of(graph, "Div"):
        divisor = n.producer(node.inputs[1])
        for root, constant in orders(divisor) if divisor is not None and divisor.op == "Add" else ():
            added = n.scalar(constant)
            if added is None or added <= 0:
                continue
            for spread in spreads_of(shapes, node.inputs[0], root):
                found.append(_ByDeviation(node, spread.source, spread.factor, spread.epsilon, added))
    return found


def _levels(expected: list[np.ndarray], actual: list[np.ndarray], contract: ImageContract) -> float:
    from pipeline.verify.proof import from_network

    pairs = [
        [np.clip(from_network(value.astype(np.float64), contract.output), 0, 1) for value in pair]
        for pair in zip(expected, actual, strict=True)
    ]
    return max(float(np.abs(one - other).max()) * 255 for one, other in pairs)
