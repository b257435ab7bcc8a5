"""The MobileNetV2 style network of mmalotin/pytorch-fast-neural-style-mobilenetV2: RGB 0..255.

mmalotin/pytorch-fast-neural-style-mobilenetV2:fnst_modules.py, TransformerMobileNet. 9x9, two bottlenecks with
stride 2, n bottlenecks, two of nearest enlarging and a bottleneck, 9x9. A bottleneck is 1x1, depthwise 3x3
behind reflection padding, 1x1, each with an instance norm with weights, ReLU6 behind the first two; the input
is added where it fits. No convolution has a bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.architectures.base import Choice, Family, Parameters, Shapes, Tensors, Variant, dimension
from pipeline.contract import ImageContract, ImageSide

if TYPE_CHECKING:
    from torch import nn

MOBILE = Variant("mobilenet-style", "TransformerMobileNet: bottlenecks of depthwise convolutions, RGB 0..255")


def clean(tensors: Tensors) -> tuple[Tensors, list[str]]:
    """No change: all tensors are used."""
    return dict(tensors), []


def infer(shapes: Shapes) -> Parameters:
    """`widths` of the three stages, `blocks`, and `expansion` of the bottlenecks."""
    blocks = 0
    while f"res{blocks + 1}.conv1.weight" in shapes:
        blocks += 1
    a = dimension(shapes, "conv1.weight", 0, 32)
    rest = [dimension(shapes, f"conv{number}.conv3.weight", 0, a * number) for number in (2, 3)]
    inner = dimension(shapes, "conv2.conv1.weight", 0, a)
    return {"widths": [a, *rest], "blocks": blocks, "expansion": max(1, inner // max(1, a))}


def shapes(params: Parameters) -> Shapes:
    """The tensors of a network with these parameters."""
    a, b, c = params["widths"]
    result: Shapes = {}

    def norm(name: str, width: int) -> None:
        result[f"{name}.weight"], result[f"{name}.bias"] = (width,), (width,)

    def bottleneck(name: str, inputs: int, outputs: int) -> None:
        inner = params["expansion"] * inputs
        sizes = ((inner, inputs, 1, 1), (inner, 1, 3, 3), (outputs, inner, 1, 1))
        for number, size in enumerate(sizes, start=1):
            result[f"{name}.conv{number}.weight"] = size
            norm(f"{name}.in{number}", size[0])

    result["conv1.weight"] = (a, 3, 9, 9)
    norm("in1", a)
    bottleneck("conv2", a, b)
    bottleneck("conv3", b, c)
    for number in range(1, params["blocks"] + 1):
        bottleneck(f"res{number}", c, c)
    bottleneck("upconv1.conv1", c, b)
    bottleneck("upconv2.conv1", b, a)
    result["conv4.weight"] = (3, a, 9, 9)
    return result


def choose(params: Parameters, found: Shapes, classes: Mapping[str, str]) -> Choice:
    reason = f"names and shapes are those of the MobileNetV2 style network with {params['blocks']} blocks"
    return Choice((MOBILE.name,), reason)


def contract(params: Parameters) -> ImageContract:
    """RGB 0..255 in and out."""
    return ImageContract(ImageSide("0..255"), ImageSide("0..255"), size_multiple=4)


def module(name: str, params: Parameters) -> nn.Module:
    """The torch module; x is (N, 3, H, W) float32, RGB in 0..255."""
    import torch
    from torch import nn
    from torch.nn import functional as f

    a, b, c = params["widths"]

    class Bottleneck(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
            super().__init__()
            inner = params["expansion"] * inputs
            self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
            self.in1 = nn.InstanceNorm2d(inner, affine=True)
            self.conv2 = nn.Conv2d(inner, inner, 3, stride, groups=inner, bias=False)
            self.in2 = nn.InstanceNorm2d(inner, affine=True)
            self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
            self.in3 = nn.InstanceNorm2d(outputs, affine=True)
            self.adds = stride == 1 and inputs == outputs

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = f.relu6(self.in1(self.conv1(x)))
            y = f.relu6(self.in2(self.conv2(f.pad(y, (1, 1, 1, 1), mode="reflect"))))
            y = self.in3(self.conv3(y))
            return x + y if self.adds else y

    class Enlarged(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.conv1 = Bottleneck(inputs, outputs)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.conv1(f.interpolate(x, scale_factor=2.0, mode="nearest")))

    class TransformerMobileNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, a, 9, bias=False)
            self.in1 = nn.InstanceNorm2d(a, affine=True)
            self.conv2, self.conv3 = Bottleneck(a, b, 2), Bottleneck(b, c, 2)
            for number in range(1, params["blocks"] + 1):
                self.add_module(f"res{number}", Bottleneck(c, c))
            self.upconv1, self.upconv2 = Enlarged(c, b), Enlarged(b, a)
            self.conv4 = nn.Conv2d(a, 3, 9, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.relu(self.in1(self.conv1(f.pad(x, (4, 4, 4, 4), mode="reflect"))))
            y = self.conv3(self.conv2(y))
            for number in range(1, params["blocks"] + 1):
                y = getattr(self, f"res{number}")(y)
            y = self.upconv2(self.upconv1(y))
            return self.conv4(f.pad(y, (4, 4, 4, 4), mode="reflect"))

    return TransformerMobileNet()


FAMILY = Family((MOBILE,), clean, infer, shapes, choose, module, contract)
