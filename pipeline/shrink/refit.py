"""Refits the layers that read narrowed tensors, by least squares on the original network's features.

`refit` goes through the narrowed network from the input to the output. Each convolution gets the weights with
which its output, for its inputs in the narrowed network, is closest to the output of the original's layer for the
same picture (He, Zhang, Sun, Channel Pruning, ICCV 2017; Luo, Wu, Lin, ThiNet, ICCV 2017). Before an instance
norm, the mean of each picture is subtracted from both sides first, as the norm does. Needs pictures and no
gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.channels import constants

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.graph.channels import Unit
    from pipeline.shrink.prunable import Prunable

RIDGE = 1e-4
"""Ridge added to the covariance of a layer's inputs, relative to their mean variance, so that it can be
inverted."""
PATCHES = 6000
"""Maximum number of positions of one picture at which a layer is observed."""
Progress = Callable[[str], None]
Values = dict[str, np.ndarray]
_NORMS = ("InstanceNormalization",)


@dataclass(frozen=True)
class Reader:
    """A convolution whose weights can be refitted: `axis` of the weights holds its input channels."""

    node: gs.Node
    weights: str
    bias: str | None
    tensor: str
    """The tensor that it reads."""
    output: str
    centred: bool
    """Whether an instance norm follows, which removes the mean of each picture and channel."""


def readers(graph: gs.Graph) -> list[Reader]:
    """The convolutions of a graph that can be refitted, in order; grouped and transposed ones cannot."""
    found = []
    for node in graph.nodes:
        if node.op != "Conv" or int(node.attrs.get("group", 1)) != 1 or n.value(node.inputs[1]) is None:
            continue
        if len(node.inputs[1].shape) != 4 or len(node.inputs[1].outputs) > 1:
            continue
        bias = n.given(node, 2)
        behind = node.outputs[0].outputs
        found.append(
            Reader(
                node,
                node.inputs[1].name,
                None if bias is None else bias.name,
                node.inputs[0].name,
                node.outputs[0].name,
                bool(behind) and all(reader.op in _NORMS for reader in behind),
            )
        )
    return found


def observe(graph: gs.Graph, names: Sequence[str], pictures: Sequence[np.ndarray]) -> list[Values]:
    """The values of these tensors of a graph for each picture: arrays (1, C, H, W)."""
    from pipeline.graph import to_model
    from pipeline.graph.runtime import free_size, session

    observed_graph = graph.copy()
    tensors = observed_graph.tensors()
    images = {image.name for image in graph.inputs}
    if images.issuperset(names):
        return [{name: picture for name in names} for picture in pictures]
    observed_graph.outputs = [tensors[name] for name in dict.fromkeys(names) if name not in images]
    observed_graph.cleanup(remove_unused_graph_inputs=False)
    opened = session(free_size(to_model(observed_graph)))
    fetched = [name for name in dict.fromkeys(names) if name not in images]
    observed = []
    for picture in pictures:
        outputs = dict(zip(fetched, opened.run(fetched, {opened.get_inputs()[0].name: picture}), strict=True))
        observed.append(outputs | {name: picture for name in names if name in images})
    return observed


def patches(values: np.ndarray, node: gs.Node, at: np.ndarray) -> np.ndarray:
    """The input patches of a convolution at the flat output positions `at`: (len(at), C * kh * kw) float32."""
    kernel = node.inputs[1].shape[2:]
    strides = n.ints(node, "strides") or (1, 1)
    dilations = n.ints(node, "dilations") or (1, 1)
    pads = n.ints(node, "pads") or (0, 0, 0, 0)
    padded = np.pad(values[0], ((0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    width = (padded.shape[2] - dilations[1] * (kernel[1] - 1) - 1) // strides[1] + 1
    rows, columns = at // width * strides[0], at % width * strides[1]
    down = rows[:, None] + np.arange(kernel[0]) * dilations[0]
    across = columns[:, None] + np.arange(kernel[1]) * dilations[1]
    seen = padded[:, down[:, :, None], across[:, None, :]]
    return np.ascontiguousarray(seen.transpose(1, 0, 2, 3)).reshape(len(at), -1)


def positions(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A random selection of the flat positions of a picture, at most `PATCHES`, in order."""
    count = height * width
    return np.arange(count) if count <= PATCHES else np.sort(rng.choice(count, PATCHES, replace=False))


class Moments:
    """Sums over patches for least squares: x^T x and x^T y, with a constant input as the last one."""

    def __init__(self, inputs: int, outputs: int, centred: bool) -> None:
        self.centred = centred
        self.gram = np.zeros((inputs + 1, inputs + 1))
        self.cross = np.zeros((inputs + 1, outputs))
        self.count = 0

    def add(self, seen: np.ndarray, targets: np.ndarray) -> None:
        """Add the patches (N, inputs) and outputs (N, outputs) of one picture."""
        if self.centred:
            seen, targets = seen - seen.mean(0), targets - targets.mean(0)
        seen = np.concatenate([seen, np.full((len(seen), 1), 0.0 if self.centred else 1.0, seen.dtype)], axis=1)
        self.gram += seen.T @ seen
        self.cross += seen.T @ targets
        self.count += len(seen)

    def ridge(self) -> np.ndarray:
        """The diagonal that is added to make the covariance invertible."""
        size = len(self.gram) - 1
        return np.full(size, RIDGE * max(float(np.trace(self.gram[:-1, :-1])) / size, 1e-12))

    def solve(self, towards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights (inputs, outputs) and constants (outputs,); the ridge pulls the weights towards `towards`."""
        ridge = self.ridge()
        gram, cross = self.gram.copy(), self.cross.copy()
        index = np.arange(len(ridge))
        gram[index, index] += ridge
        cross[:-1] += ridge[:, None] * towards
        if self.centred:
            return np.linalg.solve(gram[:-1, :-1], cross[:-1]), np.zeros(cross.shape[1])
        solved = np.linalg.solve(gram, cross)
        return solved[:-1], solved[-1]


def moments_of(
    reader: Reader,
    node: gs.Node,
    seen: Sequence[Values],
    targets: Sequence[Values],
    kept: Sequence[int],
    rng: np.random.Generator,
) -> Moments:
    """The sums for one reader: the inputs of `node` (the same layer in the narrowed graph) and the original's
    outputs.

    `seen` and `targets` are results of `observe` for the two graphs; `kept` are the remaining output channels.
    """
    moments = Moments(int(np.prod(node.inputs[1].shape[1:])), len(kept), reader.centred)
    for given, goal in zip(seen, targets, strict=True):
        output = goal[reader.output][0][kept]
        at = positions(output.shape[1], output.shape[2], rng)
        moments.add(
            patches(given[node.inputs[0].name], node, at).astype(np.float64),
            output.reshape(len(kept), -1)[:, at].T.astype(np.float64),
        )
    return moments


def original_outputs(network: Prunable, pictures: Sequence[np.ndarray]) -> list[Values]:
    """The outputs of the original network's layers for each picture: the targets of `refit`."""
    return observe(network.graph, [reader.output for reader in readers(network.graph)], pictures)


def refit(
    network: Prunable,
    units: Sequence[Unit],
    pictures: Sequence[np.ndarray],
    seed: int = 0,
    progress: Progress = lambda message: None,
    wanted: Sequence[Values] | None = None,
) -> Values:
    """New weights and biases for the graph without `units`, by the name of the constant.

    Layers are refitted from the input to the output, each with its inputs in the network that is narrowed and
    refitted so far. Layers before the first one that loses an input channel keep their values. `targets` is the
    result of `original_outputs` for the same pictures, if the caller already has it.
    """
    wanted = original_outputs(network, pictures) if wanted is None else wanted
    narrow = network.without(list(units))
    gone: dict[tuple[str, int], set[int]] = {}
    for unit in units:
        for name, axis, index in unit.slots:
            gone.setdefault((name, axis), set()).add(index)
    full = {name: np.asarray(tensor.values) for name, tensor in constants(network.graph).items()}
    changed: Values = {}
    todo = readers(network.graph)
    started = False
    for number, reader in enumerate(todo, start=1):
        started = started or bool(gone.get((reader.weights, 1)))
        if not started:
            continue
        progress(f"refitting layer {number} of {len(todo)}")
        outputs = len(full[reader.weights])
        kept = [i for i in range(outputs) if i not in gone.get((reader.weights, 0), ())]
        node = next(node for node in narrow.nodes if node.op == "Conv" and node.inputs[1].name == reader.weights)
        seen = observe(narrow, [node.inputs[0].name], pictures)
        moments = moments_of(reader, node, seen, wanted, kept, np.random.default_rng([seed, number]))
        now = constants(narrow)
        before = np.asarray(now[reader.weights].values)
        solved, constant = moments.solve(before.reshape(len(before), -1).T.astype(np.float64))
        changed[reader.weights] = solved.T.reshape(before.shape).astype(np.float32)
        now[reader.weights].values = changed[reader.weights]
        if not reader.centred and reader.bias is not None:
            changed[reader.bias] = constant.astype(np.float32)
            now[reader.bias].values = changed[reader.bias]
    return changed
