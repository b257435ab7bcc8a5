"""Instance normalisation as GPU workers compute it: the variance in one pass, in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.graph import Shapes


def in_one_pass(graph: gs.Graph, shapes: Shapes, stem: str) -> None:
    """Write every InstanceNormalization of opset 18 out, with the variance as E[x^2] - E[x]^2, in place.

    Those of unknown rank stay. `stem` stands in the names of what is made. A variance below -epsilon, as pictures
    of one colour may give, makes NaN.
    """
    for node in n.nodes_of(graph, "InstanceNormalization"):
        rank = shapes.rank(node.inputs[0])
        if rank is None or rank < 3:
            continue
        make = n.Builder(graph, node, stem)
        source, axes = node.inputs[0], list(range(2, rank))
        ones = [1] * (rank - 2)
        mean = _mean(make, source, axes)
        square = _mean(make, make.op("Mul", source, source), axes)
        variance = make.op("Sub", square, make.op("Mul", mean, mean))
        epsilon = make.const(np.float32(node.attrs.get("epsilon", 1e-5)), "epsilon")
        deviation = make.op("Sqrt", make.op("Add", variance, epsilon))
        scale, bias = (_per_channel(make, node.inputs[place], ones) for place in (1, 2))
        factor = make.op("Div", scale, deviation)
        shift = make.op("Sub", bias, make.op("Mul", mean, factor))
        make.op("Add", make.op("Mul", source, factor), shift, out=node.outputs[0])
        make.drop()


def _mean(make: n.Builder, tensor: gs.Tensor, axes: list[int]) -> gs.Tensor:
    return make.op("ReduceMean", tensor, axes=axes, keepdims=1)


def _per_channel(make: n.Builder, tensor: gs.Tensor, ones: list[int]) -> gs.Tensor:
    constant = n.value(tensor)
    if constant is not None:
        return make.const(constant.reshape(-1, *ones), "per_channel", constant.dtype)
    return make.op("Reshape", tensor, make.const([-1, *ones], "shape", np.int64))
