"""Packed files for tests."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pipeline.compress.packed import HALVES, STEPS, Filling, pack


def filling(offset: int, integers: np.ndarray, scales: np.ndarray, inner: int) -> Filling:
    """Of kind STEPS."""
    return Filling(
        offset, STEPS, np.asarray(integers, np.int64).reshape(-1), np.asarray(scales, np.float32), inner
    )


def halves(offset: int, values: np.ndarray) -> Filling:
    """Of kind HALVES."""
    bits = np.asarray(values, np.float16).reshape(-1).view(np.uint16).astype(np.int64)
    integers = np.where(bits & 0x8000, -(bits & 0x7FFF), bits)
    return Filling(offset, HALVES, integers, np.zeros(0, np.float32))


def model_with(fillings_at: list[tuple[bytes, Filling]], tail: bytes = b"tail") -> tuple[bytes, list[Filling]]:
    """A model of pieces of text, each followed by the numbers of a filling (whose offset is set)."""
    model, placed = b"", []
    for text, one in fillings_at:
        model += text
        placed.append(Filling(len(model), one.kind, one.integers, one.scales, one.inner))
        model += one.real().astype("<f4").tobytes()
    return model + tail, placed


def mixed(seed: int = 0) -> tuple[bytes, bytes]:
    """A model with every kind of filling, and its packed file."""
    rng = np.random.default_rng(seed)
    model, placed = model_with(
        [
            (b"head " * 40, filling(0, np.rint(rng.normal(0, 30, 4000)), rng.uniform(1e-3, 1, 8), 500)),
            (b"", filling(0, rng.integers(-2, 3, 999), rng.uniform(1e-3, 1, 3), 1)),
            (b"x", halves(0, np.concatenate([rng.normal(0, 1, 200), [0, 6e-8, -6e-5, 65504, -65504]]))),
            (b"y" * 300, filling(0, [0, 1, -1, 2**24, -(2**24), 255], [1.5], 6)),
            (b"z", filling(0, np.zeros(3000), [0.25], 3000)),
        ]
    )
    return model, pack(model, placed)


def network(seed: int = 0, size: tuple[int, int] = (64, 64), channels: int = 8) -> onnx.ModelProto:
    """A small style network (opset 9), RGB 0..1 in and about 0..1 out, with weights spread as trained ones are."""
    rng = np.random.default_rng(seed)
    values: dict[str, np.ndarray] = {}
    nodes = []

    def conv(given: str, name: str, outputs: int, inputs: int, kernel: int, stride: int = 1) -> str:
        spread = rng.lognormal(0, 0.5, (outputs, 1, 1, 1)) * rng.lognormal(0, 0.5, (1, inputs, 1, 1))
        values[f"{name}.weight"] = (
            rng.laplace(0, 1 / kernel / inputs**0.5, (outputs, inputs, kernel, kernel)) * spread
        )
        pads = [kernel // 2] * 4
        stored = {"kernel_shape": [kernel] * 2, "pads": pads, "strides": [stride] * 2}
        nodes.append(helper.make_node("Conv", [given, f"{name}.weight"], [f"{name}.out"], name=name, **stored))
        return f"{name}.out"

    def norm(given: str, name: str, outputs: int, relu: bool = True) -> str:
        values[f"{name}.scale"] = rng.uniform(0.5, 1.5, outputs)
        values[f"{name}.shift"] = rng.normal(0, 0.3, outputs)
        inputs = [given, f"{name}.scale", f"{name}.shift"]
        nodes.append(helper.make_node("InstanceNormalization", inputs, [f"{name}.out"], name=name, epsilon=1e-5))
        if relu:
            nodes.append(helper.make_node("Relu", [f"{name}.out"], [f"{name}.relu"]))
        return f"{name}.relu" if relu else f"{name}.out"

    wide = 2 * channels
    x = norm(conv("image", "conv1", channels, 3, 5), "norm1", channels)
    x = norm(conv(x, "conv2", wide, channels, 3, 2), "norm2", wide)
    inner = norm(conv(x, "conv3", wide, wide, 3), "norm3", wide)
    inner = norm(conv(inner, "conv4", wide, wide, 3), "norm4", wide, relu=False)
    nodes.append(helper.make_node("Add", [x, inner], ["sum"]))
    values["scales"] = np.array([1, 1, 2, 2])
    nodes.append(helper.make_node("Upsample", ["sum", "scales"], ["up"], mode="nearest"))
    x = norm(conv("up", "conv5", channels, wide, 3), "norm5", channels)
    values["bias"] = np.full(3, 0.5)
    values["conv6.weight"] = rng.laplace(0, 0.015, (3, channels, 5, 5))
    stored = {"kernel_shape": [5, 5], "pads": [2] * 4}
    nodes.append(helper.make_node("Conv", [x, "conv6.weight", "bias"], ["painted"], name="conv6", **stored))
    shape = [1, 3, *size]
    graph = helper.make_graph(
        nodes,
        "style",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("painted", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4)


def initializers(model: bytes | onnx.ModelProto) -> dict[str, np.ndarray]:
    """Name -> values, in the order of the file."""
    proto = onnx.load_from_string(model) if isinstance(model, bytes) else model
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
