"""Fritz's style network as an ONNX graph, for machines without torch: what `fritz.module` computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.architectures.base import Parameters, Tensors
from pipeline.architectures.graph_builder import GraphBuilder

if TYPE_CHECKING:
    import onnx

EPSILON = 1e-3
"""Added to the standard deviation (keras_contrib InstanceNormalization's default, and in the shipped files)."""


def graph(params: Parameters, tensors: Tensors) -> onnx.ModelProto:
    """The network with these tensors, input and output (1, 3, H, W) in 0..255 at multiples of 4 pixels."""
    from onnx import TensorProto

    builder = GraphBuilder()
    epsilon, one, half = (
        builder.constant(name, np.array(v)) for name, v in (("eps", EPSILON), ("one", 1.0), ("half", 127.5))
    )
    twice = builder.constant("twice", np.array([1.0, 1.0, 2.0, 2.0]))

    def layer(number: int, x: str) -> str:
        weight = tensors[f"conv{number}.weight"]
        side = weight.shape[2]
        # Keras 'same' at multiples of 4: with stride 2 only below and to the right.
        pads = [0, 0, 1, 1] if number in (2, 3) else [side // 2] * 4
        kernel = builder.constant(f"conv{number}.weight", weight)
        stride = 2 if number in (2, 3) else 1
        x = builder.call("Conv", x, kernel, kernel_shape=[side, side], strides=[stride, stride], pads=pads)
        centred = builder.call("Sub", x, builder.call("GlobalAveragePool", x))
        variance = builder.call("GlobalAveragePool", builder.call("Mul", centred, centred))
        normal = builder.call("Div", centred, builder.call("Add", builder.call("Sqrt", variance), epsilon))
        scale, shift = (
            builder.constant(f"norm{number}.{kind}", tensors[f"norm{number}.{kind}"].reshape(1, -1, 1, 1))
            for kind in ("weight", "bias")
        )
        return builder.call("Add", builder.call("Mul", normal, scale), shift)

    x = "input"
    for number in (1, 2, 3):
        x = builder.call("Relu", layer(number, x))
    for block in range(params["blocks"]):
        inner = builder.call("Relu", layer(4 + 2 * block, x))
        x = builder.call("Add", layer(5 + 2 * block, inner), x)
    last = 6 + 2 * params["blocks"]
    for number in (last - 2, last - 1):
        x = builder.call("Relu", layer(number, builder.call("Upsample", x, twice, mode="nearest")))
    result = builder.call("Mul", builder.call("Add", builder.call("Tanh", layer(last, x)), one), half)
    return builder.model("fritz", {"input": (TensorProto.FLOAT, [1, 3, "height", "width"])}, result)
