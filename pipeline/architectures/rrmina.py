"""The networks of rrmina/fast-neural-style-pytorch: transposed convolutions, BGR pictures of 0..255.

rrmina/fast-neural-style-pytorch:transformer.py and experimental.py. `ConvBlock`: 9x9, then two of 3x3 with
stride 2, reflection padding; `ResidualBlock`: n blocks; `DeconvBlock`: two transposed convolutions and 9x9
without a norm. All norms but that are instance norms with weights, all convolutions have biases. Blocks are of
two 3x3 (`rrmina`), the same with norm and ReLU in front (`rrmina-preactivation`), or a bottleneck of 1x1, 3x3,
1x1 (`rrmina-resnext`, and its pruned form with fewer blocks and widths). `rrmina-tanh` ends in tanh times 150.
The output's range is 0..255 for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.architectures.base import Choice, Family, Parameters, Shapes, Tensors, Variant, dimension
from pipeline.contract import ImageContract, ImageSide

if TYPE_CHECKING:
    from torch import nn

PLAIN = Variant("rrmina", "TransformerNetwork of rrmina/fast-neural-style-pytorch: norms behind convolutions")
TANH = Variant("rrmina-tanh", "TransformerNetworkTanh: the same, with tanh times 150 at the end")
BEFORE = Variant(
    "rrmina-preactivation", "TransformerNetworkV2: in blocks, norm and ReLU stand before convolutions"
)
RESNEXT = Variant("rrmina-resnext", "TransformerResNextNetwork: blocks of 1x1, 3x3 and 1x1 convolutions, BGR")
TANH_SCALE = 150
_NORM_FIRST = "norm_first"
"""Parameter: the file lists a block's norm before its convolution, as only the pre-activation network does."""


def clean(tensors: Tensors) -> tuple[Tensors, list[str]]:
    """No change: all tensors are used."""
    return dict(tensors), []


def infer(shapes: Shapes) -> Parameters:
    """`widths` of the three first convolutions, `blocks`, and `inner`, the width of bottlenecks (0 without)."""
    blocks = 0
    while f"ResidualBlock.{blocks}.conv1.conv_layer.weight" in shapes:
        blocks += 1
    widths = [dimension(shapes, f"ConvBlock.{at}.conv_layer.weight", 0, width) for at, width in _FIRST]
    third = "ResidualBlock.0.conv3.conv_layer.weight"
    params: Parameters = {"widths": widths, "blocks": blocks, "inner": dimension(shapes, third, 1, 0)}
    names = list(shapes)
    norm, conv = (f"ResidualBlock.0.conv1.{kind}.weight" for kind in ("norm_layer", "conv_layer"))
    if norm in shapes and conv in shapes and names.index(norm) < names.index(conv):
        params[_NORM_FIRST] = True
    return params


_FIRST = ((0, 32), (2, 64), (4, 128))
"""Index in ConvBlock and usual width."""


def shapes(params: Parameters) -> Shapes:
    """The tensors of a network with these parameters."""
    a, b, c = params["widths"]
    result: Shapes = {}

    def unit(name: str, inputs: int, outputs: int, side: int, kind: str = "conv_layer", normed: int = -1) -> None:
        kernel_channels = (inputs, outputs) if kind == "conv_transpose" else (outputs, inputs)
        conv = {f"{name}.{kind}.weight": (*kernel_channels, side, side), f"{name}.{kind}.bias": (outputs,)}
        width = outputs if normed < 0 else normed
        norm: Shapes = {f"{name}.norm_layer.{part}": (width,) for part in ("weight", "bias")} if width else {}
        first = params.get(_NORM_FIRST) and name.startswith("ResidualBlock")
        result.update({**norm, **conv} if first else {**conv, **norm})

    for (at, _), (inputs, outputs, side) in zip(_FIRST, ((3, a, 9), (a, b, 3), (b, c, 3)), strict=True):
        unit(f"ConvBlock.{at}", inputs, outputs, side)
    inner = params["inner"]
    sizes = ((c, inner, 1), (inner, inner, 3), (inner, c, 1)) if inner else ((c, c, 3), (c, c, 3))
    for block in range(params["blocks"]):
        for number, (inputs, outputs, side) in enumerate(sizes, start=1):
            unit(f"ResidualBlock.{block}.conv{number}", inputs, outputs, side)
    unit("DeconvBlock.0", c, b, 3, "conv_transpose")
    unit("DeconvBlock.2", b, a, 3, "conv_transpose")
    unit("DeconvBlock.4", a, 3, 9, normed=0)
    return result


def choose(params: Parameters, found: Shapes, classes: Mapping[str, str]) -> Choice:
    reason = f"names and shapes are those of rrmina's networks with {params['blocks']} blocks"
    if params["inner"]:
        return Choice((RESNEXT.name,), f"{reason} of 1x1, 3x3 and 1x1 convolutions")
    if params.get(_NORM_FIRST):
        return Choice((BEFORE.name,), f"{reason}, whose norms stand before their convolutions")
    return Choice((PLAIN.name, TANH.name, BEFORE.name), reason)


def contract(params: Parameters) -> ImageContract:
    """BGR 0..255 in and out (cv2.imread, no normalisation)."""
    side = ImageSide("0..255", order="bgr")
    return ImageContract(side, side, size_multiple=4)


def module(name: str, params: Parameters) -> nn.Module:
    """The torch module; x is (N, 3, H, W) float32, BGR in 0..255."""
    import torch
    from torch import nn

    a, b, c = params["widths"]

    class ConvLayer(nn.Module):
        def __init__(self, inputs: int, outputs: int, side: int, stride: int = 1, norm: bool = True) -> None:
            super().__init__()
            self.conv_layer = nn.Conv2d(inputs, outputs, side, stride)
            self.reflection_pad = nn.ReflectionPad2d(side // 2)
            self.norm_layer = nn.InstanceNorm2d(outputs, affine=True) if norm else nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm_layer(self.conv_layer(self.reflection_pad(x)))

    class NormReluConv(nn.Module):
        def __init__(self, inputs: int, outputs: int, side: int) -> None:
            super().__init__()
            self.norm_layer = nn.InstanceNorm2d(inputs, affine=True)
            self.reflection_pad = nn.ReflectionPad2d(side // 2)
            self.conv_layer = nn.Conv2d(inputs, outputs, side)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv_layer(self.reflection_pad(torch.relu(self.norm_layer(x))))

    class DeconvLayer(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.conv_transpose = nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1)
            self.norm_layer = nn.InstanceNorm2d(outputs, affine=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm_layer(self.conv_transpose(x))

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            inner = params["inner"]
            sizes = ((c, inner, 1), (inner, inner, 3), (inner, c, 1)) if inner else ((c, c, 3), (c, c, 3))
            kind = NormReluConv if name == BEFORE.name else ConvLayer
            for number, size in enumerate(sizes, start=1):
                self.add_module(f"conv{number}", kind(*size))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            value, layers = x, list(self.children())
            for layer in layers:
                value = layer(value)
                if layer is not layers[-1] and name != BEFORE.name:
                    value = torch.relu(value)
            return value + x

    class TransformerNetwork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            first = [ConvLayer(3, a, 9), nn.ReLU(), ConvLayer(a, b, 3, 2), nn.ReLU(), ConvLayer(b, c, 3, 2)]
            self.ConvBlock = nn.Sequential(*first, nn.ReLU())
            self.ResidualBlock = nn.Sequential(*(Residual() for _ in range(params["blocks"])))
            last = [DeconvLayer(c, b), nn.ReLU(), DeconvLayer(b, a), nn.ReLU()]
            self.DeconvBlock = nn.Sequential(*last, ConvLayer(a, 3, 9, norm=False))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            value = self.DeconvBlock(self.ResidualBlock(self.ConvBlock(x)))
            return torch.tanh(value) * TANH_SCALE if name == TANH.name else value

    return TransformerNetwork()


FAMILY = Family((PLAIN, TANH, BEFORE, RESNEXT), clean, infer, shapes, choose, module, contract)
