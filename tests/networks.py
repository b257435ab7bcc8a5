"""Small networks that tests make themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def style_checkpoint(path: Path, widths: tuple[int, int, int] = (4, 6, 8), blocks: int = 1, seed: int = 1) -> Path:
    """A fast_neural_style state dict with random weights, all norms distinct, output spread over 0..255."""
    import torch

    from pipeline.architectures import build

    torch.manual_seed(seed)
    network = build("fast-neural-style", {"widths": list(widths), "blocks": blocks})
    with torch.no_grad():
        for value in network.parameters():
            value.add_(torch.randn_like(value) * 0.05)
        network.deconv3.conv2d.weight.mul_(60)
        network.deconv3.conv2d.bias.fill_(128)
    torch.save(network.state_dict(), path)
    return path


def style_onnx(path: Path, size: tuple[int, int] = (32, 48), seed: int = 3, channels: int = 4) -> Path:
    """A two-convolution ONNX network (opset 9), 0..1 in and about 0..1 out, reflect padding, nearest x2."""
    rng = np.random.default_rng(seed)
    weights = {
        "w1": rng.normal(0, 0.3, (channels, 3, 3, 3)),
        "b1": rng.normal(0, 0.3, channels),
        "g": rng.uniform(0.5, 1.5, channels),
        "h": rng.normal(0, 0.3, channels),
        "w2": rng.normal(0, 0.08, (3, channels, 3, 3)),
        "b2": np.full(3, 0.5),
        "s": np.array([1, 1, 2, 2]),
    }
    pads = {"mode": "reflect", "pads": [0, 0, 1, 1, 0, 0, 1, 1]}
    nodes = [
        helper.make_node("Pad", ["image"], ["p1"], **pads),
        helper.make_node("Conv", ["p1", "w1", "b1"], ["c1"], kernel_shape=[3, 3], strides=[2, 2]),
        helper.make_node("InstanceNormalization", ["c1", "g", "h"], ["n1"], epsilon=1e-5),
        helper.make_node("Relu", ["n1"], ["r1"]),
        helper.make_node("Upsample", ["r1", "s"], ["u1"], mode="nearest"),
        helper.make_node("Pad", ["u1"], ["p2"], **pads),
        helper.make_node("Conv", ["p2", "w2", "b2"], ["painted"], kernel_shape=[3, 3]),
    ]
    graph = helper.make_graph(
        nodes,
        "style",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *size])],
        [helper.make_tensor_value_info("painted", TensorProto.FLOAT, [1, 3, *size])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4), path)
    return path
