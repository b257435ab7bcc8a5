"""MSG-Net: zhanghang1989/PyTorch-Multi-Style-Transfer:experiments/net.py, Net. BGR 0..255; the style is a picture.

Zhang and Dana 2017, "Multi-style generative network for real-time transfer". `model1` (a 7x7 convolution and
two halving bottlenecks) encodes the picture, and also the style. The Gram matrix G of the style's features,
divided by C * H * W, turns the picture's features x into (W G)^T x with a trained matrix W. Bottlenecks (1x1, 3x3
and 1x1 to four times the width, instance norm and ReLU before each), two that enlarge, and a 7x7 convolution
follow. Instance norm has no weights. The second input, `style`, is a picture (1, 3, 512, 512), as in training.

Files contain the tensors of `model1` and of the matrix twice, also as `model.0` and `model.1`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from pipeline.architectures.base import Choice, Family, Parameters, Shapes, Tensors, Variant, dimension
from pipeline.architectures.graph_builder import GraphBuilder
from pipeline.contract import ImageContract, ImageSide

if TYPE_CHECKING:
    import onnx

MSG_NET = Variant("msg-net", "MSG-Net: the Gram matrix of a style picture transforms the features, BGR 0..255")
STYLE = "style"
STYLE_SIDE = 512
"""experiments/option.py: style_size."""
_EXPANSION = 4
_STATISTICS = re.compile(r"\.(running_mean|running_var|num_batches_tracked)$")
_COPIES = (("model.0.", "model1."), ("model.1.", "ins."))


def clean(tensors: Tensors) -> tuple[Tensors, list[str]]:
    """Without the copies of `model1` and `ins`, and the running statistics that the scripts delete too."""
    kept: Tensors = {}
    for name, value in tensors.items():
        copied = next((own + name[len(copy) :] for copy, own in _COPIES if name.startswith(copy)), name)
        if not _STATISTICS.search(name) and (copied == name or copied not in tensors):
            kept[copied] = value
    return kept, []


def infer(shapes: Shapes) -> Parameters:
    """`first`, the width of the first convolution; `down`, `inner` and `up`, the widths inside the bottlenecks
    that halve, follow and enlarge; `blocks` that follow; `channels` in and out."""
    blocks = sum(re.fullmatch(r"model\.\d{1,3}\.conv_block\.2\.weight", name) is not None for name in shapes)
    blocks = blocks - 2 if blocks else 6
    inner = dimension(shapes, "ins.weight", 1, 512) // _EXPANSION
    return {
        "first": dimension(shapes, "model1.0.conv2d.weight", 0, 64),
        "down": dimension(shapes, "model1.3.conv_block.2.weight", 0, 32),
        "inner": inner,
        "blocks": blocks,
        "up": [
            dimension(shapes, f"model.{2 + blocks + number}.conv_block.2.weight", 0, width)
            for number, width in enumerate((32, 16))
        ],
        "channels": [
            dimension(shapes, "model1.0.conv2d.weight", 1, 3),
            dimension(shapes, f"model.{blocks + 6}.conv2d.weight", 0, 3),
        ],
    }


def shapes(params: Parameters) -> Shapes:
    """The tensors of a network with these parameters."""
    result: Shapes = {}
    first, width, blocks = params["first"], params["inner"] * _EXPANSION, params["blocks"]
    (given, made), (up1, up2) = params["channels"], params["up"]

    def conv(name: str, inputs: int, outputs: int, side: int) -> None:
        result[f"{name}.weight"], result[f"{name}.bias"] = (outputs, inputs, side, side), (outputs,)

    def bottleneck(name: str, inputs: int, inner: int, residual: str = "") -> None:
        if residual:
            conv(f"{name}.{residual}", inputs, inner * _EXPANSION, 1)
        conv(f"{name}.conv_block.2", inputs, inner, 1)
        conv(f"{name}.conv_block.5.conv2d", inner, inner, 3)
        conv(f"{name}.conv_block.8", inner, inner * _EXPANSION, 1)

    conv("model1.0.conv2d", given, first, 7)
    bottleneck("model1.3", first, params["down"], "residual_layer")
    bottleneck("model1.4", params["down"] * _EXPANSION, params["inner"], "residual_layer")
    result["ins.weight"] = (1, width, width)
    for number in range(2, 2 + blocks):
        bottleneck(f"model.{number}", width, params["inner"])
    bottleneck(f"model.{2 + blocks}", width, up1, "residual_layer.conv2d")
    bottleneck(f"model.{3 + blocks}", up1 * _EXPANSION, up2, "residual_layer.conv2d")
    conv(f"model.{6 + blocks}.conv2d", up2 * _EXPANSION, made, 7)
    return result


def choose(params: Parameters, found: Shapes, classes: Mapping[str, str]) -> Choice:
    return Choice((MSG_NET.name,), f"names and shapes are those of MSG-Net with {params['blocks']} blocks")


def contract(params: Parameters) -> ImageContract:
    """BGR 0..255 in and out (experiments/utils.py: preprocess_batch, tensor_save_bgrimage), multiples of 4."""
    given, made = (ImageSide("0..255", channels, order="bgr") for channels in params["channels"])
    return ImageContract(given, made, size_multiple=4)


def graph(params: Parameters, tensors: Tensors) -> onnx.ModelProto:
    """The network with a picture (1, 3, H, W) and a style (1, 3, 512, 512), both BGR 0..255, as inputs."""
    from onnx import TensorProto

    builder = GraphBuilder(tensors)
    width = params["inner"] * _EXPANSION
    widths: dict[str, int] = {}

    def normed(x: str, channels: int) -> str:
        norm = builder.norm(x, np.ones(channels), np.zeros(channels), f"norm{channels}")
        return builder.call("Relu", norm)

    def conv(x: str, name: str, stride: int = 1) -> str:
        x = builder.conv(x, name, stride)
        widths[x] = tensors[f"{name}.weight"].shape[0]
        return x

    def bottleneck(x: str, name: str, stride: int = 1, enlarges: bool = False) -> str:
        y = conv(normed(x, widths[x]), f"{name}.conv_block.2")
        y, channels = normed(y, widths[y]), widths[y]
        y = conv(builder.twice(y) if enlarges else y, f"{name}.conv_block.5.conv2d", stride)
        y = conv(normed(y, channels), f"{name}.conv_block.8")
        residual = x
        if enlarges:
            residual = conv(builder.twice(x), f"{name}.residual_layer.conv2d")
        elif f"{name}.residual_layer.weight" in tensors:
            residual = conv(x, f"{name}.residual_layer", stride)
        total = builder.call("Add", residual, y)
        widths[total] = widths[y]
        return total

    def encoded(x: str) -> str:
        x = conv(x, "model1.0.conv2d")
        first = normed(x, widths[x])
        widths[first] = widths[x]
        return bottleneck(bottleneck(first, "model1.3", 2), "model1.4", 2)

    def reshaped(x: str, name: str, shape: list[int]) -> str:
        return builder.call("Reshape", x, builder.constant(name, np.array(shape)))

    positions = (STYLE_SIDE // 4) ** 2
    features = reshaped(encoded(STYLE), "of_style", [1, width, positions])
    gram = builder.call("MatMul", features, builder.call("Transpose", features, perm=[0, 2, 1]))
    gram = builder.call("Mul", gram, builder.constant("share", np.array(1 / (width * positions))))
    product = builder.call("MatMul", builder.constant("ins.weight", tensors["ins.weight"]), gram)
    matrix = reshaped(builder.call("Transpose", product, perm=[0, 2, 1]), "as_kernel", [width, width, 1, 1])
    x = builder.call("Conv", encoded("input"), matrix, kernel_shape=[1, 1])
    widths[x] = width
    for number in range(2, 2 + params["blocks"]):
        x = bottleneck(x, f"model.{number}")
    for number in range(2 + params["blocks"], 4 + params["blocks"]):
        x = bottleneck(x, f"model.{number}", enlarges=True)
    x = builder.conv(normed(x, widths[x]), f"model.{6 + params['blocks']}.conv2d")
    channels = params["channels"][0]
    inputs: dict[str, tuple[int, list[int | str]]] = {
        "input": (TensorProto.FLOAT, [1, channels, "height", "width"]),
        STYLE: (TensorProto.FLOAT, [1, channels, STYLE_SIDE, STYLE_SIDE]),
    }
    return builder.model("msg_net", inputs, x)


FAMILY = Family((MSG_NET,), clean, infer, shapes, choose, None, contract, graph, style=STYLE)
