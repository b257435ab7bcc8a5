"""Instance normalisation: re-fused where an exporter took it apart, split where its scale is computed.

(x - mean) / sqrt(var + eps), mean and biased variance over height and width, is one InstanceNormalization:
Barracuda computes it in one fused layer, with eps honoured, in every version (measured.md). What differs from
that formula in anything but the order of exact operations is left alone: Keras' (x - mean) / (std + eps) stays
GlobalAveragePool, Sub, Mul, Sqrt, Add, Div, which every version computes right (recipes_measured.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.forms import axes_of
from pipeline.graph.shape import Shapes
from pipeline.graph.shapes import LazyShapes
from pipeline.rewrites.base import Needed, Outcome, Refusal, Rewrite

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

_RESHAPING = ("Reshape", "Squeeze", "Unsqueeze", "Flatten")


class FuseInstanceNorm(Rewrite):
    """Finds instance normalisation written as mean, variance, square root and division, and fuses it.

    Matches the mean as GlobalAveragePool, ReduceMean over height and width (one node or two), or ReduceMean of a
    Reshape to rows (PyTorch 0.4 era exports, with their baked size); the square as Mul or Pow, also d * (d + t)
    whose t falls out because the mean of d is 0; the variance also as E[x^2] - E[x]^2 and times a constant
    n / (n - 1) (unbiased: the constant moves into scale and eps, exactly); the division as Div, or Mul by a
    reciprocal or a power of -0.5; TensorFlow's x * inv + (beta - mean * inv). Constant scale and bias per channel
    join it; computed ones (AdaIN) stay Mul and Add behind it.
    """

    name = "fuse-instance-norm"
    summary = "instance normalisation that an exporter decomposed becomes InstanceNormalization again"
    reason = "one fused layer instead of several, and no picture size in the graph"

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        if not any(True for _ in n.nodes_of(graph, "ReduceMean", "GlobalAveragePool")):
            return outcome
        found = _Finder(LazyShapes(graph))
        for node in n.nodes_of(graph, "Div", "Mul"):
            outcome += self._divided(graph, node, found)
        for node in n.nodes_of(graph, "Add"):
            outcome += self._tensorflow(graph, node, found)
        return outcome

    def _divided(self, graph: gs.Graph, node: gs.Node, found: _Finder) -> Outcome:
        for centred, divisor in orders(node):
            subtraction = n.producer(centred)
            if found.shapes.rank(divisor) != 4 or found.shapes.rank(centred) != 4:
                continue
            if subtraction is None or not any(
                source is subtraction.inputs[0] for source in found.centred(centred)
            ):
                continue
            for spread in found.spread(divisor, inverse=node.op == "Mul"):
                if spread.source is subtraction.inputs[0]:
                    return self._fuse(graph, node, spread, found, node.outputs[0])
        return []

    def _tensorflow(self, graph: gs.Graph, node: gs.Node, found: _Finder) -> Outcome:
        """x * inv + (beta - mean * inv), with inv = gamma / sqrt(var + eps)."""
        for product, shift in ((node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])):
            scaled, moved = n.producer(product), n.producer(shift)
            if scaled is None or moved is None or scaled.op != "Mul" or moved.op != "Sub":
                continue
            beta, back = found.per_channel(moved.inputs[0]), n.producer(moved.inputs[1])
            if beta is None or back is None or back.op != "Mul":
                continue
            for source, inverse in orders(scaled):
                means = [mean for mean, other in orders(back) if other is inverse]
                if not means or not found.is_mean(means[0], source):
                    continue
                gamma, core = np.ones(1, np.float32), inverse
                inverse_node = n.producer(inverse)
                if inverse_node is not None and inverse_node.op == "Mul":
                    for constant, rest in orders(inverse_node):
                        factor = found.per_channel(constant)
                        if factor is not None:
                            gamma, core = factor, rest
                for spread in found.spread(core, inverse=True):
                    if spread.source is source:
                        return self._fuse(graph, node, spread, found, node.outputs[0], gamma, beta)
        return []

    def _fuse(
        self,
        graph: gs.Graph,
        node: gs.Node,
        spread: _Spread,
        found: _Finder,
        output: gs.Tensor,
        gamma: np.ndarray | None = None,
        beta: np.ndarray | None = None,
    ) -> Outcome:
        channels = found.shapes.channels(spread.source)
        if channels is None or found.shapes.rank(spread.source) != 4:
            return []
        names = [node.name]
        scale = np.ones(channels) if gamma is None else np.broadcast_to(gamma, (channels,)).astype(np.float64)
        bias = np.zeros(channels) if beta is None else np.broadcast_to(beta, (channels,)).astype(np.float64)
        if gamma is None and beta is None:
            output, scale, bias, joined = absorb(graph, output, scale, bias)
            names += joined
        make = n.Builder(graph, node, self.name)
        make.op(
            "InstanceNormalization",
            spread.source,
            make.const(scale / math.sqrt(spread.factor), "scale"),
            make.const(bias, "bias"),
            epsilon=spread.epsilon / spread.factor,
            out=output,
        )
        if node.outputs and node.outputs[0] is not output:
            make.drop()
        return self.edit(tuple(names), "became InstanceNormalization", self.reason)


def orders(node: gs.Node) -> list[tuple[gs.Tensor, gs.Tensor]]:
    """The operands as (first, second), and swapped too where the operator does not mind."""
    if len(node.inputs) != 2:
        return []
    first, second = node.inputs
    return [(first, second), (second, first)] if node.op in ("Mul", "Add") else [(first, second)]


def absorb(
    graph: gs.Graph, output: gs.Tensor, scale: np.ndarray, bias: np.ndarray
) -> tuple[gs.Tensor, np.ndarray, np.ndarray, list[str]]:
    """Follow constant Mul and Add per channel behind `output`; where they end, and what they come to."""
    names: list[str] = []
    for operator in ("Mul", "Add"):
        reader = n.only_consumer(graph, output)
        if reader is None or reader.op != operator:
            continue
        values = next((_Finder.per_channel(other) for operand, other in orders(reader) if operand is output), None)
        if values is None:
            continue
        if values.size not in (1, scale.size):
            continue
        scale, bias = (scale * values, bias) if operator == "Mul" else (scale, bias + values)
        names.append(reader.name)
        output = reader.outputs[0]
    return output, scale, bias, names


@dataclass(frozen=True)
class _Spread:
    """sqrt(factor * var(source) + epsilon)."""

    source: gs.Tensor
    factor: float
    epsilon: float


def spreads_of(lazy: LazyShapes, centred: gs.Tensor, root: gs.Tensor) -> list[_Spread]:
    """The deviations that `root` may be of what `centred` is, less its mean."""
    finder, subtraction = _Finder(lazy), n.producer(centred)
    if finder.shapes.rank(root) != 4 or finder.shapes.rank(centred) != 4 or subtraction is None:
        return []
    if not any(source is subtraction.inputs[0] for source in finder.centred(centred)):
        return []
    return [spread for spread in finder.spread(root, inverse=False) if spread.source is subtraction.inputs[0]]


class _Finder:
    """Recognises means, centred values, variances and standard deviations over height and width."""

    def __init__(self, lazy: LazyShapes) -> None:
        self.shapes: Shapes = lazy.here

    @staticmethod
    def per_channel(tensor: gs.Tensor) -> np.ndarray | None:
        """A constant that is one number, or one per channel of a rank 4 tensor, flat."""
        values = n.value(tensor)
        if values is None or values.dtype.kind != "f":
            return None
        if values.size == 1:
            return values.reshape(-1)
        shape = (1,) * (4 - values.ndim) + values.shape
        return values.reshape(-1) if len(shape) == 4 and shape[1] == values.size else None

    def _bases(self, tensor: gs.Tensor) -> list[gs.Tensor]:
        """The tensors whose pictures this tensor holds: itself, and the rank 4 one that was reshaped to it."""
        shape, node = self.shapes.of(tensor), n.producer(tensor)
        if shape is None or len(shape) < 3:
            return []
        bases = [tensor]
        if node is not None and node.op in _RESHAPING:
            source = self.shapes.of(node.inputs[0])
            if source is not None and len(source) == 4 and source[:2] == shape[:2] and shape[1] is not None:
                bases.append(node.inputs[0])
        return bases

    def means(self, tensor: gs.Tensor) -> list[gs.Tensor]:
        """The tensors whose mean over all but batch and channels this is: one number per picture and channel.

        Reductions over axes from 2 on, whose result has no more numbers than batch times channels, have averaged
        everything; means of equally many numbers average to the mean of all.
        """
        node = n.producer(tensor)
        if node is not None and node.op == "Expand":
            tensor = node.inputs[0]
            node = n.producer(tensor)
        shape = self.shapes.of(tensor)
        if shape is None or len(shape) < 2 or any(size != 1 for size in shape[2:]):
            return []
        while node is not None and node.op in _RESHAPING:
            node = n.producer(node.inputs[0])
        if node is None or node.op not in ("GlobalAveragePool", "ReduceMean"):
            return []
        rows = node.inputs[0]
        while node is not None and node.op == "ReduceMean":
            rows, rank, axes = node.inputs[0], self.shapes.rank(node.inputs[0]), axes_of(node, self.shapes)
            if rank is None or not axes or min(axis % rank for axis in axes) < 2:
                return []
            node = n.producer(rows)
        rows_shape = self.shapes.of(rows)
        return self._bases(rows) if rows_shape is not None and rows_shape[:2] == shape[:2] else []

    def is_mean(self, tensor: gs.Tensor, source: gs.Tensor) -> bool:
        """Whether `tensor` is the mean of `source` over height and width."""
        return any(base is source for base in self.means(tensor))

    def _same_numbers(self, tensor: gs.Tensor, other: gs.Tensor) -> bool:
        """Whether both hold one number per picture and channel, [N, C] followed by ones."""
        first, second = self.shapes.of(tensor), self.shapes.of(other)
        if first is None or second is None or first[:2] != second[:2] or len(first[:2]) < 2:
            return False
        return all(size == 1 for size in (*first[2:], *second[2:]))

    def centred(self, tensor: gs.Tensor) -> list[gs.Tensor]:
        """The x of x - mean(x), where x may stand in rows."""
        node = n.producer(tensor)
        if node is None or node.op != "Sub":
            return []
        operand, mean = node.inputs
        if self.shapes.rank(operand) != self.shapes.rank(mean):
            return []
        return [base for base in self._bases(operand) if self.is_mean(mean, base)]

    def _squares(self, tensor: gs.Tensor) -> list[gs.Tensor]:
        """The b of b * b or b ** 2."""
        node = n.producer(tensor)
        if node is None or len(node.inputs) != 2:
            return []
        first, second = node.inputs
        if node.op == "Pow":
            return [first] if n.scalar(second) == 2.0 else []
        return [first] if node.op == "Mul" and first is second else []

    def _centred_squares(self, tensor: gs.Tensor) -> list[gs.Tensor]:
        """The x of d * d, d ** 2 or d * (d + constant), with d = x - mean(x), also where d stands there twice."""
        sources = [source for base in self._squares(tensor) for source in self.centred(base)]
        node = n.producer(tensor)
        if sources or node is None or node.op != "Mul":
            return sources
        for base, other in orders(node):
            addition = n.producer(other)
            if addition is not None and addition.op == "Add":
                other = next(
                    (operand for operand, shift in orders(addition) if n.scalar(shift) is not None), other
                )
            twice = self.centred(other)
            sources += [source for source in self.centred(base) if any(source is x for x in twice)]
        return sources

    def variance(self, tensor: gs.Tensor) -> list[tuple[gs.Tensor, float]]:
        """(x, factor) of factor * var(x), biased, over height and width."""
        found = [(source, 1.0) for squares in self.means(tensor) for source in self._centred_squares(squares)]
        node = n.producer(tensor)
        if found or node is None or (len(node.inputs) != 2 and node.op not in _RESHAPING):
            return found
        if node.op in _RESHAPING:
            return self.variance(node.inputs[0]) if self._same_numbers(tensor, node.inputs[0]) else []
        if node.op == "Sub" and self.shapes.rank(node.inputs[0]) == self.shapes.rank(node.inputs[1]):
            for squares in self.means(node.inputs[0]):
                for source in self._squares(squares):
                    if any(self.is_mean(mean, source) for mean in self._squares(node.inputs[1])):
                        found.append((source, 1.0))
        if node.op in ("Mul", "Div"):
            for inner, constant in orders(node):
                factor = n.scalar(constant)
                if factor is not None and factor > 0:
                    scale = factor if node.op == "Mul" else 1.0 / factor
                    found += [(source, inner_factor * scale) for source, inner_factor in self.variance(inner)]
        return found

    def spread(self, tensor: gs.Tensor, inverse: bool) -> list[_Spread]:
        """sqrt(var + eps), or with `inverse` its reciprocal."""
        node = n.producer(tensor)
        if node is None:
            return []
        if node.op == "Expand":
            return self.spread(node.inputs[0], inverse)
        if node.op in _RESHAPING:
            return self.spread(node.inputs[0], inverse) if self._same_numbers(tensor, node.inputs[0]) else []
        if inverse and node.op == "Reciprocal":
            return self.spread(node.inputs[0], inverse=False)
        if inverse and node.op == "Div" and n.scalar(node.inputs[0]) == 1.0:
            return self.spread(node.inputs[1], inverse=False)
        power = n.scalar(node.inputs[1]) if node.op == "Pow" else None
        if power != (-0.5 if inverse else 0.5) and (inverse or node.op != "Sqrt"):
            return []
        radicand = node.inputs[0]
        found = [_Spread(source, factor, 0.0) for source, factor in self.variance(radicand)]
        addition = n.producer(radicand)
        if not found and addition is not None and addition.op == "Add":
            for inner, constant in orders(addition):
                epsilon = n.scalar(constant)
                if epsilon is not None and epsilon >= 0:
                    found += [_Spread(source, factor, epsilon) for source, factor in self.variance(inner)]
        return found


class InstanceNormInputs(Rewrite):
    """InstanceNormalization with constant scale and bias, on a tensor whose channels Barracuda counts right.

    A computed scale or bias (AdaIN, conditional instance norm) becomes Mul and Add behind a plain one: Barracuda
    demands a constant scale and takes 0 for a computed bias. Behind Concat, Reshape, Slice and their like the
    importer's channel count is stale (ONNXTensor.cs:556@3.0.0): `Mul(1, x)`, constant first, resets it. In 1.0
    so for BatchNormalization, which warns of the count (ONNXModelImporter.cs:669@1.0.4).
    """

    name = "instance-norm"
    summary = "computed scales of InstanceNormalization become Mul and Add; wrong channel counts are reset"
    removes = ("stale-feature-count", "input-not-constant", "optional-input-dropped")
    after = ("group-norm",)

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        shapes = LazyShapes(graph)
        for node in n.nodes_of(graph, "InstanceNormalization", "BatchNormalization"):
            if not needed(node):
                continue
            if node.op == "BatchNormalization":
                outcome += self._stale(graph, node)
                continue
            outcome += self._computed(graph, node, shapes)
            if not outcome or outcome[-1].rewrite != self.name or node.outputs:
                outcome += self._stale(graph, node)
        return outcome

    def _computed(self, graph: gs.Graph, node: gs.Node, lazy: LazyShapes) -> Outcome:
        scale, bias = node.inputs[1], node.inputs[2]
        if n.value(scale) is not None and n.value(bias) is not None:
            return []
        shapes = lazy.here
        channels = shapes.channels(node.inputs[0])
        if channels is None or shapes.rank(node.inputs[0]) != 4:
            reason = "its scale is computed and its number of channels is not known"
            return [Refusal(self.name, "channels-unknown", node.name, node.op, reason)]
        make = n.Builder(graph, node, self.name)
        output = node.outputs[0]
        plain = make.op(
            "InstanceNormalization",
            node.inputs[0],
            make.const(np.ones(channels), "ones"),
            make.const(np.zeros(channels), "zeros"),
            epsilon=float(node.attrs.get("epsilon", 1e-5)),
        )
        scaled = make.op("Mul", plain, _as_map(make, scale, channels, shapes))
        make.op("Add", scaled, _as_map(make, bias, channels, shapes), out=output)
        make.drop()
        what = "scale and bias became Mul and Add after it"
        return self.edit(node, what)

    def _stale(self, graph: gs.Graph, node: gs.Node) -> Outcome:
        cause = _stale_cause(node.inputs[0])
        if cause is None or any(n.value(tensor) is None for tensor in node.inputs[1:]):
            return []  # what is still to be folded may show that it is a group norm
        make = n.Builder(graph, node, self.name)
        node.inputs[0] = make.op("Mul", make.const([1.0], "one"), node.inputs[0], leaf="reset")
        return self.edit(node, "Mul(1, x) inserted before it")


_STALE = {"Concat", "Reshape", "DepthToSpace", "SpaceToDepth", "Slice", "Split", "Gather", "Transpose", "Expand"}
_STALE |= {"Squeeze", "Unsqueeze", "Flatten", "Tile"}
_STALE |= {"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"}
_COUNTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


def _stale_cause(tensor: gs.Tensor) -> gs.Node | None:
    """The node behind which Barracuda's channel count of this tensor is wrong, or None."""
    while (node := n.producer(tensor)) is not None and node.inputs:
        if node.op in _STALE:
            return node
        if node.op in _COUNTED or n.value(node.inputs[0]) is not None:
            return None
        tensor = node.inputs[0]
    return None


def _as_map(make: n.Builder, vector: gs.Tensor, channels: int, shapes: Shapes) -> gs.Tensor:
    """A tensor of one number per channel as [1, C, 1, 1], from before the Reshape that flattened it if it can."""
    values = n.value(vector)
    if values is not None:
        return make.const(values.reshape(1, channels, 1, 1), "per_channel")
    node = n.producer(vector)
    while node is not None and node.op in _RESHAPING:
        if shapes.of(node.inputs[0]) == (1, channels, 1, 1):
            return node.inputs[0]
        node = n.producer(node.inputs[0])
    return make.op("Reshape", vector, make.const([1, channels, 1, 1], "shape", np.int64))
