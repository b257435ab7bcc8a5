"""Small source files for the tests of this room."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from pipeline.architectures import fritz


def fritz_h5(path: Path, *, blocks: int = 1, config: Any = True, **changes: np.ndarray) -> dict[str, np.ndarray]:
    """Write a Keras file of Fritz's network as Keras 2.2 does; gives its tensors in the pipeline's names."""
    import h5py

    params = {"widths": [4, 6, 8], "blocks": blocks}
    random = np.random.default_rng(0)
    tensors = {k: random.normal(0, 0.3, s).astype(np.float32) for k, s in fritz.shapes(params).items()}
    tensors.update(changes)
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights")
        names = []
        for i in range(1, 7 + 2 * blocks):
            conv, norm = f"conv2d_{i}", f"instance_normalization_{i}"
            names += [conv, norm]
            kernel = tensors[f"conv{i}.weight"].transpose(2, 3, 1, 0)
            layers = {
                conv: {"kernel": kernel},
                norm: {"gamma": tensors[f"norm{i}.weight"], "beta": tensors[f"norm{i}.bias"]},
            }
            for layer, leaves in layers.items():
                inside = group.create_group(layer)
                inside.attrs["weight_names"] = [f"{layer}/{leaf}:0".encode() for leaf in leaves]
                for leaf, values in leaves.items():
                    inside[f"{layer}/{leaf}:0"] = values
        group.attrs["layer_names"] = [b"input_1", *[name.encode() for name in names]]
        group.create_group("input_1").attrs["weight_names"] = np.array([], "S1")
        if config:
            layers_config = fritz_config(blocks) if config is True else config
            file.attrs["model_config"] = json.dumps({"config": {"layers": layers_config}}).encode()
    return tensors


def fritz_config(blocks: int) -> list[dict[str, Any]]:
    """The layers of model_config, written down by hand from the real files."""

    def conv(stride: int, kernel: int) -> dict[str, Any]:
        return {
            "class_name": "Conv2D",
            "config": {
                "strides": [stride, stride],
                "kernel_size": [kernel, kernel],
                "padding": "same",
                "use_bias": False,
                "activation": "linear",
                "dilation_rate": [1, 1],
            },
        }

    norm = {"class_name": "InstanceNormalization", "config": {"axis": -1, "epsilon": 0.001}}
    relu = {"class_name": "Activation", "config": {"activation": "relu"}}
    tanh = {"class_name": "Activation", "config": {"activation": "tanh"}}
    add: dict[str, Any] = {"class_name": "Add", "config": {}}
    up = {"class_name": "UpSampling2D", "config": {"size": [2, 2]}}
    layers = [{"class_name": "InputLayer", "config": {"batch_input_shape": [None, 256, 256, 3]}}]
    for stride, kernel in ((1, 9), (2, 3), (2, 3)):
        layers += [conv(stride, kernel), norm, relu]
    for _ in range(blocks):
        layers += [conv(1, 3), norm, relu, conv(1, 3), norm, add]
    layers += [up, conv(1, 3), norm, relu, up, conv(1, 3), norm, relu, conv(1, 9), norm, tanh]
    layers.append({"class_name": "DeprocessStylizedImage", "config": {}})
    return [{**layer, "name": f"layer_{i}"} for i, layer in enumerate(layers)]


def conv_model(
    *,
    opset: int = 9,
    ir_version: int = 4,
    shape: tuple[Any, ...] = (1, 3, 16, 24),
    listed: bool = False,
    weight: np.ndarray | None = None,
    before: list[onnx.NodeProto] | None = None,
    after: list[onnx.NodeProto] | None = None,
    out_shape: tuple[Any, ...] | None = None,
) -> onnx.ModelProto:
    """x -> [before: x -> a] -> Conv 3x3 (a -> b) -> [after: b -> y] -> y."""
    if weight is None:
        weight = np.random.default_rng(0).normal(0, 0.2, (3, 3, 3, 3)).astype(np.float32)
    start = "a" if before else "x"
    end = "b" if after else "y"
    conv = helper.make_node("Conv", [start, "w", "bias"], [end], pads=[1, 1, 1, 1], kernel_shape=[3, 3])
    initializers = [
        onnx.numpy_helper.from_array(weight, "w"),
        onnx.numpy_helper.from_array(np.arange(weight.shape[0], dtype=np.float32), "bias"),
    ]
    inputs = [helper.make_tensor_value_info("x", 1, shape)]
    if listed:
        inputs = [helper.make_tensor_value_info(t.name, 1, t.dims) for t in initializers] + inputs
    graph = helper.make_graph(
        [*(before or []), conv, *(after or [])],
        "g",
        inputs,
        [helper.make_tensor_value_info("y", 1, out_shape or shape)],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
