"""Normalisations over other axes than a picture's: group, layer, and mean-variance normalisation.

Barracuda has none of them, and the reshaped InstanceNormalization that torch exports for GroupNorm throws
(measured). Means over groups of channels are a 1x1 convolution of GlobalAveragePool with a constant matrix:
    m = A GAP(x), d = x - m, v = A GAP(d * d), y = d / sqrt(v + eps) * gamma + beta, A = G / C inside a group
(recipes_measured.md, normalisation: right to 2e-6 in 1.0.4, 2.0.0 and 3.0.0, at any picture size and batch).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.shapes import LazyShapes
from pipeline.rewrites.base import Needed, Outcome, Rewrite

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

_RESHAPING = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")

_CODE = "norm-not-supported"


class GroupNorms(Rewrite):
    """Reshape-InstanceNormalization-Reshape, LayerNormalization (17), RMSNormalization (23) and
    MeanVarianceNormalization as global pooling and 1x1 convolutions.

    The first is what group norm is in the one valid form (`graph.older` writes GroupNormalization so).

    Refused: computed scales, unknown channel numbers, layer norms over other axes than channels, height and
    width of a picture, its channels between two transposes, or the last axis of a vector.
    """

    name = "group-norm"
    summary = "group, layer and mean-variance normalisation become pooling and 1x1 convolutions"
    removes = (
        "unknown-operator",
        "stale-feature-count",
        "shape-is-not-read",
        "input-does-not-fold",
        "reshape-of-memory",
        "layer-norm-axis",
    )
    after = ("constants",)

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        shapes = LazyShapes(graph)
        outcome: Outcome = []
        for node in n.nodes_of(graph, "InstanceNormalization"):
            around = (n.producer(node.inputs[0]), n.only_consumer(graph, node.outputs[0]))
            if needed(node, *(other for other in around if other is not None)):
                outcome += self._reshaped(graph, node, shapes)
        for node in n.nodes_of(graph, "LayerNormalization"):
            if needed(node):
                outcome += self._layer(graph, node, target, shapes)
        for node in n.nodes_of(graph, "MeanVarianceNormalization"):
            if needed(node):
                outcome += self._mean_variance(graph, node, shapes)
        return outcome

    def _reshaped(self, graph: gs.Graph, node: gs.Node, shapes: LazyShapes) -> Outcome:
        """torch's GroupNorm: rows of groups, normalised as if they were channels, and back."""
        before, after = n.producer(node.inputs[0]), n.only_consumer(graph, node.outputs[0])
        if before is None or after is None or before.op not in _RESHAPING or after.op not in _RESHAPING:
            return []
        source = before.inputs[0]
        shape, rows = shapes.here.of(source), shapes.here.of(node.inputs[0])
        if shape is None or rows is None or len(shape) != 4 or len(rows) < 3:
            return []
        channels, groups = shape[1], rows[1]
        scale, bias = n.value(node.inputs[1]), n.value(node.inputs[2])
        if channels is None or groups is None or rows[0] != shape[0] or channels % groups or scale is None:
            return []
        if bias is None or not _returns(after, source, shapes):
            return []
        make = n.Builder(graph, node, self.name)
        epsilon = float(node.attrs.get("epsilon", 1e-5))
        result = _normalised(make, source, channels, groups, epsilon)
        repeated = [np.repeat(values, channels // groups).reshape(1, -1, 1, 1) for values in (scale, bias)]
        result = _affine(make, result, *repeated)
        n.replace_output(result, after.outputs[0])
        make.drop()
        names = (before.name, node.name, after.name)
        return self.edit(names, f"composed over {groups} groups of {channels} channels")

    def _layer(self, graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
        source = node.inputs[0]
        rank, channels = shapes.here.rank(source), shapes.here.channels(source)
        read = any(tensor.outputs or n.is_output(graph, tensor) for tensor in node.outputs[1:])
        if rank is None or read:
            return self.refuse(node, _CODE, "the rank of its input is not known, or its statistics are read")
        scale = n.value(n.given(node, 1))
        bias = n.value(n.given(node, 2)) if n.given(node, 2) is not None else None
        if scale is None or (bias is None and n.given(node, 2) is not None):
            return self.refuse(node, _CODE, "its scale or bias is computed")
        axis = int(node.attrs.get("axis", -1)) % rank
        epsilon = float(node.attrs.get("epsilon", 1e-5))
        make = n.Builder(graph, node, self.name)
        before, after = n.producer(source), n.only_consumer(graph, node.outputs[0])
        if rank == 4 and axis == 3 and before is not None and after is not None:
            to_last = before.op == "Transpose" and n.ints(before, "perm") == (0, 2, 3, 1)
            if to_last and after.op == "Transpose" and n.ints(after, "perm") == (0, 3, 1, 2):
                return self._channels(make, node, before, after, scale, bias, epsilon)
        if rank == 4 and axis == 1 and channels is not None:
            result = _normalised(make, source, channels, 1, epsilon, centre=_centres(node))
            size = shapes.here.static(source)
            if (scale.size != 1 or bias is not None) and size is None:
                return self.refuse(node, _CODE, "it scales every pixel, and the picture's size is not declared")
            shape = None if size is None else (1, *size[1:])
            factors = [
                None if values is None else np.broadcast_to(values, shape or (1,)) for values in (scale, bias)
            ]
            result = _affine(make, result, factors[0], factors[1])
        elif axis == rank - 1 and (rank == 4 or target.can("reduce-over-any-axis")):
            centred = source
            if _centres(node):
                centred = make.op("Sub", source, make.op("ReduceMean", source, axes=[axis], keepdims=1))
            variance = make.op("ReduceMean", make.op("Mul", centred, centred), axes=[axis], keepdims=1)
            result = make.op("Div", centred, make.op("Sqrt", make.op("Add", variance, epsilon)))
            result = _affine(make, result, scale, bias)
        else:
            return self.refuse(node, _CODE, f"it normalises the axes from {axis} on of {rank}")
        n.replace_output(result, node.outputs[0])
        make.drop()
        return self.edit(node, "composed of means and differences")

    def _channels(
        self,
        make: n.Builder,
        node: gs.Node,
        before: gs.Node,
        after: gs.Node,
        scale: np.ndarray,
        bias: np.ndarray | None,
        epsilon: float,
    ) -> Outcome:
        """Per pixel over its channels, between a transpose to channels last and one back: 1x1 convolutions."""
        source, channels = before.inputs[0], scale.size
        n.room(channels, channels, item=8)
        average = make.const(np.full((channels, channels, 1, 1), 1 / channels), "average")
        centred = source
        if _centres(node):
            centred = make.op("Sub", source, make.op("Conv", source, average, kernel_shape=[1, 1]))
        variance = make.op("Conv", make.op("Mul", centred, centred), average, kernel_shape=[1, 1])
        result = make.op("Div", centred, make.op("Sqrt", make.op("Add", variance, epsilon)))
        factors = [None if values is None else values.reshape(1, -1, 1, 1) for values in (scale, bias)]
        result = _affine(make, result, factors[0], factors[1])
        n.replace_output(result, after.outputs[0])
        make.drop()
        return self.edit((before.name, node.name, after.name), "composed over the channels of each pixel")

    def _mean_variance(self, graph: gs.Graph, node: gs.Node, shapes: LazyShapes) -> Outcome:
        """(x - mean) / (sqrt(var) + 1e-9), as the ONNX function of that name computes it."""
        source = node.inputs[0]
        shape, axes = shapes.here.of(source), sorted(n.ints(node, "axes", (0, 2, 3)) or ())
        if shape is None or len(shape) != 4 or shape[1] is None:
            return self.refuse(node, _CODE, "its channels are not known")
        if axes[-2:] != [2, 3] or (0 in axes and shape[0] != 1):
            return self.refuse(node, _CODE, f"it normalises over axes {axes} of batch {shape[0] or 'unknown'}")
        make = n.Builder(graph, node, self.name)
        groups = 1 if 1 in axes else shape[1]
        result = _normalised(make, source, shape[1], groups, 1e-9, outside=True)
        n.replace_output(result, node.outputs[0])
        make.drop()
        return self.edit(node, "composed of means and differences")


def _centres(node: gs.Node) -> bool:
    """Whether the mean is taken away: RMSNormalization only divides by the root of the mean square."""
    return node.op != "RMSNormalization"


def _returns(after: gs.Node, source: gs.Tensor, shapes: LazyShapes) -> bool:
    """Whether the reshape behind gives the source's shape again, at every picture size."""
    shape = n.given(after, 1)
    maker = n.producer(shape)
    if maker is not None and maker.op == "Shape" and maker.inputs[0] is source:
        return True
    here = shapes.here.static(after.outputs[0])
    return here is not None and here == shapes.here.static(source)


def _normalised(
    make: n.Builder,
    source: gs.Tensor,
    channels: int,
    groups: int,
    epsilon: float,
    outside: bool = False,
    centre: bool = True,
) -> gs.Tensor:
    """(x - mean) / sqrt(var + epsilon) over each group, or / (sqrt(var) + epsilon) with `outside`.

    Without `centre` no mean is taken away, and the mean square stands for the variance.
    """
    if groups == channels and not outside and centre:
        parameters = (make.const(np.ones(channels), "ones"), make.const(np.zeros(channels), "zeros"))
        return make.op("InstanceNormalization", source, *parameters, epsilon=epsilon)
    average = None
    if groups != channels:
        n.room(channels, channels, item=8)
        share = channels // groups
        blocks = np.kron(np.eye(groups), np.full((share, share), 1 / share))
        average = make.const(blocks[:, :, None, None], "average")

    def mean(tensor: gs.Tensor) -> gs.Tensor:
        pooled = make.op("GlobalAveragePool", tensor)
        return pooled if average is None else make.op("Conv", pooled, average, kernel_shape=[1, 1])

    centred = make.op("Sub", source, mean(source)) if centre else source
    variance = mean(make.op("Mul", centred, centred))
    if outside:
        return make.op("Div", centred, make.op("Add", make.op("Sqrt", variance), epsilon))
    return make.op("Div", centred, make.op("Sqrt", make.op("Add", variance, epsilon)))


def _affine(make: n.Builder, tensor: gs.Tensor, scale: np.ndarray | None, bias: np.ndarray | None) -> gs.Tensor:
    """times scale plus bias, leaving out ones and zeros."""
    if scale is not None and not np.all(scale == 1):
        tensor = make.op("Mul", tensor, make.const(scale, "scale"))
    if bias is not None and math.fsum(np.abs(bias).reshape(-1)):
        tensor = make.op("Add", tensor, make.const(bias, "bias"))
    return tensor
