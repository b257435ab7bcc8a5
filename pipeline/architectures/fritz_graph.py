"""Fritz's style network as an ONNX graph, for machines without torch: what `fritz.module` computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.architectures.base import Parameters, Tensors

if TYPE_CHECKING:
    import onnx

OPSET = 9
EPSILON = 1e-3
"""Added to the standard deviation (keras_contrib InstanceNormalization's default, and in the shipped files)."""


class _GraphBuilder:
    """Collects nodes and constants; `call` appends a node with one output and returns that output's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, values: np.ndarray) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        return name

    def call(self, operator: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        name = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name


def graph(params: Parameters, tensors: Tensors) -> onnx.ModelProto:
    """The network with these tensors, input and output (1, 3, H, W) in 0..255 at multiples of 4 pixels."""
    from onnx import TensorProto, helper

    builder = _GraphBuilder()
    epsilon, one, half = (
        builder.constant(name, np.array(v)) for name, v in (("eps", EPSILON), ("one", 1), ("half", 127.5))
    )
    twice = builder.constant("twice", np.array([1, 1, 2, 2]))

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
    builder.call("Identity", result)
    builder.nodes[-1].output[0] = "output"
    sides = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, "height", "width"])
        for name in ("input", "output")
    ]
    onnx_graph = helper.make_graph(builder.nodes, "fritz", sides[:1], sides[1:], builder.constants)
    return helper.make_model(onnx_graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=4)
