"""Batch normalisation is folded into the convolution before it: exact, and one layer less.

y = k * (x - mean) + beta with k = gamma / sqrt(var + eps): W' = k * W, b' = k * (b - mean) + beta
(recipes_measured.md, Conv + BatchNormalization and ConvTranspose + BatchNormalization; folded in float64).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.shape import Shapes
from pipeline.graph.shapes import LazyShapes
from pipeline.rewrites.base import Edit, Needed, Outcome, Rewrite

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target


class PictureStatistics(Rewrite):
    """BatchNormalization by the statistics of its batch is InstanceNormalization where the batch is one picture.

    Left alone: batches of more pictures, parameters that are computed, and statistics that others read; those are
    refused by `constants`.
    """

    name = "picture-statistics"
    summary = "BatchNormalization by the picture's own statistics becomes InstanceNormalization"
    reason = "for a batch of one picture, the batch statistics are those of the picture"

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        shapes = LazyShapes(graph)
        for node in n.nodes_of(graph, "BatchNormalization"):
            read = any(output.outputs or n.is_output(graph, output) for output in node.outputs[1:])
            if not node.attrs.get("training_mode") or read or not one_picture(node, shapes.here):
                continue
            make = n.Builder(graph, node, self.name)
            epsilon = float(node.attrs.get("epsilon", 1e-5))
            make.op("InstanceNormalization", *node.inputs[:3], epsilon=epsilon, out=node.outputs[0])
            make.drop()
            outcome.append(Edit(self.name, (node.name,), "became InstanceNormalization", self.reason))
        return outcome


def one_picture(node: gs.Node, shapes: Shapes) -> bool:
    """Whether what a node reads is one picture, or a batch of open size, which pictures come in one by one."""
    shape = shapes.of(node.inputs[0])
    return shape is not None and len(shape) >= 3 and shape[0] in (1, None)


class FoldBatchNorm(Rewrite):
    """BatchNormalization behind a Conv, ConvTranspose or Gemm of which it is the only reader joins its weights.

    Left alone: behind anything else (Barracuda runs it as ScaleBias, epsilon honoured), behind computed weights,
    with parameters that are computed, and in training mode.
    """

    name = "fold-batch-norm"
    summary = "BatchNormalization after a convolution is folded into its weights and bias"
    reason = "one layer less"

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        for node in n.nodes_of(graph, "BatchNormalization"):
            if len(node.outputs) > 1 or node.attrs.get("training_mode"):
                continue
            parameters = [n.value(tensor) for tensor in node.inputs[1:5]]
            if any(value is None for value in parameters):
                continue
            outcome += self._fold(graph, node, [np.asarray(value, np.float64) for value in parameters])
        return outcome

    def _fold(self, graph: gs.Graph, node: gs.Node, parameters: list[np.ndarray]) -> Outcome:
        before = n.producer(node.inputs[0])
        if before is None or before.op not in ("Conv", "ConvTranspose", "Gemm"):
            return []
        if not n.read_only_by(graph, node.inputs[0], node):
            return []
        weights, bias = n.value(before.inputs[1]), n.value(n.given(before, 2))
        if weights is None or (bias is None and n.given(before, 2) is not None):
            return []
        if before.op == "Gemm" and (before.attrs.get("alpha", 1.0) != 1.0 or before.attrs.get("beta", 1.0) != 1.0):
            return []
        gamma, beta, mean, variance = parameters
        factor = gamma / np.sqrt(variance + float(node.attrs.get("epsilon", 1e-5)))
        if bias is not None and bias.size not in (1, factor.size):
            return []
        old_bias = 0.0 if bias is None else bias.reshape(-1).astype(np.float64)
        make = n.Builder(graph, before, self.name)
        scaled = _scaled(before, weights.astype(np.float64), factor)
        before.inputs = [
            before.inputs[0],
            make.const(scaled, "weights"),
            make.const((old_bias - mean) * factor + beta, "bias"),
        ]
        output = node.outputs[0]
        node.outputs.clear()
        node.inputs.clear()
        before.outputs = [output]
        return self.edit((before.name, node.name), f"folded into the {before.op}", self.reason)


def _scaled(node: gs.Node, weights: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The weights times one factor per output channel."""
    if node.op == "Conv":
        return weights * factor.reshape(-1, *(1 for _ in weights.shape[1:]))
    if node.op == "Gemm":
        return weights * (factor[:, None] if node.attrs.get("transB") else factor[None, :])
    group = int(node.attrs.get("group", 1))
    split = weights.reshape(group, -1, *weights.shape[1:])
    return (split * factor.reshape(group, 1, -1, *(1 for _ in weights.shape[2:]))).reshape(weights.shape)
