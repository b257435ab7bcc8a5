"""The dense networks of rrmina/fast-neural-style-pytorch:experimental.py: BGR pictures of 0..255.

Three convolutions down (9x9, two of 3x3 with stride 2) without biases, instance norm and ReLU behind each; a 1x1
convolution to half the width; layers of norm, ReLU, 1x1, norm, ReLU, 3x3 whose result is appended to their input.
`rrmina-densenet` enlarges with transposed convolutions. `rrmina-unet-densenet` enlarges by repeating pixels, adds
the results of the three convolutions on the way, and has no norms there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.architectures.base import Choice, Family, Parameters, Shapes, Tensors, Variant, dimension
from pipeline.architectures.rrmina import contract

if TYPE_CHECKING:
    from torch import nn

DENSE = Variant(
    "rrmina-densenet", "TransformerNetworkDenseNet: concatenating layers, transposed convolutions, BGR"
)
UNET = Variant("rrmina-unet-densenet", "TransformerNetworkUNetDenseNetResNet: the same with three long skips, BGR")
_DOWN = {DENSE.name: ("ConvBlock.0", "ConvBlock.2", "ConvBlock.4"), UNET.name: ("C1", "C2", "C3")}


def clean(tensors: Tensors) -> tuple[Tensors, list[str]]:
    """No change: all tensors are used."""
    return dict(tensors), []


def _infer(name: str, shapes: Shapes) -> Parameters:
    """`widths` of the three convolutions down; `reduced`, the width behind the 1x1 convolution; `inner` and
    `growth` of each concatenating layer."""
    layers = 0
    while f"DenseBlock.{layers + 1}.conv1.conv_layer.weight" in shapes:
        layers += 1
    places = range(1, (layers or 4) + 1)
    return {
        "widths": [
            dimension(shapes, f"{conv}.conv_layer.weight", 0, width)
            for conv, width in zip(_DOWN[name], (32, 64, 128), strict=True)
        ],
        "reduced": dimension(shapes, "DenseBlock.0.conv_layer.weight", 0, 64),
        "inner": [dimension(shapes, f"DenseBlock.{place}.conv1.conv_layer.weight", 0, 64) for place in places],
        "growth": [dimension(shapes, f"DenseBlock.{place}.conv3.conv_layer.weight", 0, 16) for place in places],
    }


def _shapes(name: str, params: Parameters) -> Shapes:
    """The tensors of a network with these parameters."""
    a, b, c = params["widths"]
    result: Shapes = {}

    def norm(key: str, width: int) -> None:
        result[f"{key}.norm_layer.weight"], result[f"{key}.norm_layer.bias"] = (width,), (width,)

    for key, (inputs, outputs, side) in zip(_DOWN[name], ((3, a, 9), (a, b, 3), (b, c, 3)), strict=True):
        result[f"{key}.conv_layer.weight"] = (outputs, inputs, side, side)
        norm(key, outputs)
    width = params["reduced"]
    norm("DenseBlock.0", c)
    result["DenseBlock.0.conv_layer.weight"], result["DenseBlock.0.conv_layer.bias"] = (width, c, 1, 1), (width,)
    for place, (inner, growth) in enumerate(zip(params["inner"], params["growth"], strict=True), start=1):
        norm(f"DenseBlock.{place}.conv1", width)
        result[f"DenseBlock.{place}.conv1.conv_layer.weight"] = (inner, width, 1, 1)
        norm(f"DenseBlock.{place}.conv3", inner)
        result[f"DenseBlock.{place}.conv3.conv_layer.weight"] = (growth, inner, 3, 3)
        width += growth
    if name == UNET.name:
        for key, inputs, outputs in (("D1", width, b), ("D2", b, a)):
            result[f"{key}.conv2d.weight"], result[f"{key}.conv2d.bias"] = (outputs, inputs, 3, 3), (outputs,)
        result["D3.conv_layer.weight"] = (3, a, 9, 9)
        return result
    for key, inputs, outputs in (("DeconvBlock.0", width, b), ("DeconvBlock.2", b, a)):
        result[f"{key}.conv_transpose.weight"] = (inputs, outputs, 3, 3)
        result[f"{key}.conv_transpose.bias"] = (outputs,)
        norm(key, outputs)
    result["DeconvBlock.4.conv_layer.weight"], result["DeconvBlock.4.conv_layer.bias"] = (3, a, 9, 9), (3,)
    return result


def _choose(name: str, params: Parameters) -> Choice:
    return Choice(
        (name,), f"names and shapes are those of rrmina's network with {len(params['inner'])} dense layers"
    )


def module(name: str, params: Parameters) -> nn.Module:
    """The torch module; x is (N, 3, H, W) float32, BGR in 0..255."""
    import torch
    from torch import nn
    from torch.nn import functional as f

    a, b, c = params["widths"]

    class Layer(nn.Module):
        """Reflection padding, a convolution, and an instance norm in front of it (with ReLU) or behind it."""

        def __init__(
            self, inputs: int, outputs: int, side: int, stride: int = 1, bias: bool = False, norm: str = "behind"
        ) -> None:
            super().__init__()
            self.order = norm
            if norm:
                self.norm_layer = nn.InstanceNorm2d(outputs if norm == "behind" else inputs, affine=True)
            self.reflection_pad = nn.ReflectionPad2d(side // 2)
            self.conv_layer = nn.Conv2d(inputs, outputs, side, stride, bias=bias)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.norm_layer(x)) if self.order == "front" else x
            x = self.conv_layer(self.reflection_pad(x))
            return self.norm_layer(x) if self.order == "behind" else x

    class Appending(nn.Module):
        def __init__(self, inputs: int, inner: int, growth: int) -> None:
            super().__init__()
            self.conv1 = Layer(inputs, inner, 1, norm="front")
            self.conv3 = Layer(inner, growth, 3, norm="front")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat((x, self.conv3(self.conv1(x))), 1)

    class Deconv(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.conv_transpose = nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1)
            self.norm_layer = nn.InstanceNorm2d(outputs, affine=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm_layer(self.conv_transpose(x))

    class Enlarged(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.reflection_pad = nn.ReflectionPad2d(1)
            self.conv2d = nn.Conv2d(inputs, outputs, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv2d(self.reflection_pad(f.interpolate(x, scale_factor=2.0, mode="nearest")))

    def dense_block() -> tuple[nn.Sequential, int]:
        width = params["reduced"]
        layers: list[nn.Module] = [Layer(c, width, 1, bias=True, norm="front")]
        for inner, growth in zip(params["inner"], params["growth"], strict=True):
            layers.append(Appending(width, inner, growth))
            width += growth
        return nn.Sequential(*layers), width

    class TransformerNetworkDenseNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            down = [Layer(3, a, 9), nn.ReLU(), Layer(a, b, 3, 2), nn.ReLU(), Layer(b, c, 3, 2), nn.ReLU()]
            self.ConvBlock = nn.Sequential(*down)
            self.DenseBlock, width = dense_block()
            last = Layer(a, 3, 9, bias=True, norm="")
            self.DeconvBlock = nn.Sequential(Deconv(width, b), nn.ReLU(), Deconv(b, a), nn.ReLU(), last)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.DeconvBlock(self.DenseBlock(self.ConvBlock(x)))

    class TransformerNetworkUNetDenseNetResNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.C1, self.C2, self.C3 = Layer(3, a, 9), Layer(a, b, 3, 2), Layer(b, c, 3, 2)
            self.DenseBlock, width = dense_block()
            self.D1, self.D2, self.D3 = Enlarged(width, b), Enlarged(b, a), Layer(a, 3, 9, norm="")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first = torch.relu(self.C1(x))
            second = torch.relu(self.C2(first))
            third = torch.relu(self.C3(second))
            x = torch.relu(third + self.DenseBlock(third))
            x = torch.relu(self.D1(x) + second)
            return self.D3(torch.relu(self.D2(x) + first))

    return TransformerNetworkUNetDenseNetResNet() if name == UNET.name else TransformerNetworkDenseNet()


def _family(variant: Variant) -> Family:
    def infer(shapes: Shapes) -> Parameters:
        return _infer(variant.name, shapes)

    def shapes(params: Parameters) -> Shapes:
        return _shapes(variant.name, params)

    def choose(params: Parameters, found: Shapes, classes: Mapping[str, str]) -> Choice:
        return _choose(variant.name, params)

    return Family((variant,), clean, infer, shapes, choose, module, contract)


DENSE_FAMILY, UNET_FAMILY = _family(DENSE), _family(UNET)
