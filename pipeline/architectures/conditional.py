"""The network of pytorch/examples with conditional instance norm: several styles in one file.

Dumoulin et al. 2016, "A learned representation for artistic style": styles share the convolutions, and each has
its own scale and shift of the norms. Three layouts of the tensors are known:

    in1.inns.<style>.weight, .bias   kewellcjj/pytorch-multiple-style-transfer: an instance norm for each style
    in1.embed.weight                 Aftaab99/pytorch-multiple-style-transfer: [styles, 2 C], scales before shifts
    cin1.gamma, cin1.beta            mistake0316/pytorch-conditional-instance-normalization-style-transfer:
                                     [styles, C, 1, 1], also in the blocks and behind the last convolution, whose
                                     result is 255 * sigmoid; no convolution has a bias

The first two condition only the norms outside the blocks and end with a convolution. RGB 0..255 in and out. The
second input, `style`, is the number of the style, int64 of shape (1,).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from pipeline.architectures import fast_neural_style
from pipeline.architectures.base import Choice, Family, Parameters, Shapes, Tensors, Variant, dimension
from pipeline.architectures.graph_builder import GraphBuilder
from pipeline.contract import ImageContract

if TYPE_CHECKING:
    import onnx

CONDITIONAL = Variant(
    "conditional-instance-norm",
    "the network of pytorch/examples with scale and shift of its norms for each of several styles",
)
_ONE_OF_MANY = re.compile(r"^(in\d+)\.inns\.(\d{1,4})\.(weight|bias)$")
_EMBEDDED = re.compile(r"^(in\d+)\.embed\.weight$")
_NAMED = re.compile(r"^((?:res\d+\.)?)cin(\d+)\.(gamma|beta)$")
_PARTS = {"gamma": "weight", "beta": "bias"}
STYLE = "style"


def clean(tensors: Tensors) -> tuple[Tensors, list[str]]:
    """The norms of all layouts as `in1.weight` and `in1.bias` of shape (styles, C)."""
    kept: Tensors = {}
    rows: dict[str, dict[int, np.ndarray]] = {}
    for name, value in tensors.items():
        if match := _ONE_OF_MANY.match(name):
            rows.setdefault(f"{match[1]}.{match[3]}", {})[int(match[2])] = value
        elif (match := _EMBEDDED.match(name)) and value.ndim == 2:
            kept[f"{match[1]}.weight"], kept[f"{match[1]}.bias"] = np.array_split(value, 2, axis=1)
        elif match := _NAMED.match(name):
            kept[f"{match[1]}in{match[2]}.{_PARTS[match[3]]}"] = value.reshape(value.shape[:2])
        else:
            kept[name] = value
    for name, styles in rows.items():
        if sorted(styles) == list(range(len(styles))) and len({value.shape for value in styles.values()}) == 1:
            kept[name] = np.stack([styles[number] for number in range(len(styles))])
    return kept, []


def infer(shapes: Shapes) -> Parameters:
    """The parameters of `fast_neural_style.infer`, and `styles`; `conditioned`, the norms that depend on the
    style; `biases` of the convolutions; `last_norm` behind the last convolution, followed by 255 * sigmoid."""
    params = fast_neural_style.infer(shapes)
    norms = [norm for _, norm, *_ in fast_neural_style.layers(params) if norm] + ["in6"]
    conditioned = [norm for norm in norms if len(shapes.get(f"{norm}.weight", ())) == 2]
    return params | {
        "styles": dimension(shapes, f"{(conditioned or ['in1'])[0]}.weight", 0, 2),
        "conditioned": conditioned or ["in1", "in2", "in3", "in4", "in5"],
        "biases": "conv1.conv2d.bias" in shapes or not shapes,
        "last_norm": "in6.weight" in shapes,
    }


def shapes(params: Parameters) -> Shapes:
    """The tensors of a network with these parameters."""
    result: Shapes = {}
    for conv, norm, inputs, outputs, kernel in fast_neural_style.layers(params):
        result[f"{conv}.conv2d.weight"] = (outputs, inputs, kernel, kernel)
        if params["biases"]:
            result[f"{conv}.conv2d.bias"] = (outputs,)
        norm = norm or ("in6" if params["last_norm"] else "")
        for part in ("weight", "bias") if norm else ():
            styled = norm in params["conditioned"]
            result[f"{norm}.{part}"] = (params["styles"], outputs) if styled else (outputs,)
    return result


def choose(params: Parameters, found: Shapes, classes: Mapping[str, str]) -> Choice:
    reason = f"its norms have {params['styles']} rows of scales and shifts, one for each style"
    return Choice((CONDITIONAL.name,), reason)


def contract(params: Parameters) -> ImageContract:
    """RGB 0..255 in and out, multiples of 4."""
    return fast_neural_style.contract(params)


def graph(params: Parameters, tensors: Tensors) -> onnx.ModelProto:
    """The network with a picture (1, 3, H, W) in 0..255 and the number of a style as inputs."""
    from onnx import TensorProto

    builder = GraphBuilder(tensors)

    def layer(x: str, conv: str, norm: str, stride: int = 1) -> str:
        x = builder.conv(x, f"{conv}.conv2d", stride)
        if not norm:
            return x
        scale, shift = tensors[f"{norm}.weight"], tensors[f"{norm}.bias"]
        if norm not in params["conditioned"]:
            return builder.norm(x, scale, shift, norm)
        channels = scale.shape[1]
        x = builder.norm(x, np.ones(channels), np.zeros(channels), f"{norm}.plain")
        for operator, part, rows in (("Mul", "weight", scale), ("Add", "bias", shift)):
            table = builder.constant(f"{norm}.{part}", rows.reshape(-1, channels, 1, 1))
            x = builder.call(operator, x, builder.call("Gather", table, STYLE, axis=0))
        return x

    x = "input"
    for number in (1, 2, 3):
        x = builder.call("Relu", layer(x, f"conv{number}", f"in{number}", 1 if number == 1 else 2))
    for block in (f"res{number}" for number in range(1, params["blocks"] + 1)):
        inner = builder.call("Relu", layer(x, f"{block}.conv1", f"{block}.in1"))
        x = builder.call("Add", layer(inner, f"{block}.conv2", f"{block}.in2"), x)
    for number in (1, 2):
        x = builder.call("Relu", layer(builder.twice(x), f"deconv{number}", f"in{number + 3}"))
    x = layer(x, "deconv3", "in6" if params["last_norm"] else "")
    if params["last_norm"]:
        x = builder.call("Mul", builder.call("Sigmoid", x), builder.constant("range", np.array(255.0)))
    inputs: dict[str, tuple[int, list[int | str]]] = {
        "input": (TensorProto.FLOAT, [1, 3, "height", "width"]),
        STYLE: (TensorProto.INT64, [1]),
    }
    return builder.model("conditional", inputs, x)


FAMILY = Family((CONDITIONAL,), clean, infer, shapes, choose, None, contract, graph, style=STYLE)
