"""Builds ONNX graphs of opset 9 layer by layer: networks that are defined without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

OPSET = 9


class GraphBuilder:
    """Collects nodes and constants; each method appends nodes and returns the name of their result.

    Constants are float32, or int64 where the values are integers. `tensors` are the weights of the network.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray] | None = None) -> None:
        self.tensors = dict(tensors or {})
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._names: set[str] = set()

    def constant(self, name: str, values: np.ndarray) -> str:
        from onnx import numpy_helper

        if name not in self._names:
            dtype = np.int64 if values.dtype.kind in "iu" else np.float32
            self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype), name))
            self._names.add(name)
        return name

    def call(self, operator: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        name = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def conv(self, x: str, name: str, stride: int = 1) -> str:
        """A convolution with the weights `name`.weight and, if present, `name`.bias, behind reflection padding."""
        weight, bias = self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias")
        side = weight.shape[2] // 2
        if side:
            x = self.call("Pad", x, mode="reflect", pads=[0, 0, side, side] * 2)
        inputs = [x, self.constant(f"{name}.weight", weight)]
        if bias is not None:
            inputs.append(self.constant(f"{name}.bias", bias))
        return self.call("Conv", *inputs, kernel_shape=list(weight.shape[2:]), strides=[stride, stride])

    def norm(self, x: str, scale: np.ndarray, shift: np.ndarray, name: str) -> str:
        """Instance norm with an epsilon of 1e-5; `scale` and `shift` are (C,)."""
        names = [self.constant(f"{name}.{part}", v) for part, v in (("scale", scale), ("shift", shift))]
        return self.call("InstanceNormalization", x, *names, epsilon=1e-5)

    def twice(self, x: str) -> str:
        """Twice the height and width, by repeating pixels."""
        return self.call("Upsample", x, self.constant("twice", np.array([1.0, 1.0, 2.0, 2.0])), mode="nearest")

    def model(self, name: str, inputs: Mapping[str, tuple[int, list[int | str]]], result: str) -> onnx.ModelProto:
        """The model; `inputs` by name: ONNX element type and shape. The output, `output`, is (1, 3, H, W)."""
        from onnx import TensorProto, helper

        self.nodes.append(helper.make_node("Identity", [result], ["output"], name="output"))
        values = [helper.make_tensor_value_info(key, *value) for key, value in inputs.items()]
        output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 3, "height", "width"])
        graph = helper.make_graph(self.nodes, name, values, [output], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=4)
