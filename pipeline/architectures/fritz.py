"""Fritz's style network, the "17 KB" one (Keras).

fritzlabs/fritz-style-transfer:style_transfer/style_transfer/{models,layers}.py. Three convolutions down, residual
blocks, two nearest-neighbour upsamplings each with a convolution, one last convolution; every convolution is
without bias and with instance norm (the last one too); tanh, then (x + 1) * 127.5. RGB 0..255 in and out.

Two things differ from PyTorch's habits and are kept exactly: padding 'same' with zeros, which for stride 2 and an
even size pads only below and to the right (for odd sizes on both sides), and keras_contrib's instance norm, which
divides by (std + 1e-3) instead of sqrt(var + eps). The norm is written with global average pooling, because
GlobalAveragePool is right in every Barracuda (recipes_measured.md), ReduceMean over H and W is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.architectures.base import Choice, Family, Parameters, Shapes, Tensors, Variant, dimension
from pipeline.architectures.fritz_graph import EPSILON, graph
from pipeline.contract import ImageContract, ImageSide

if TYPE_CHECKING:
    from torch import nn

FRITZ = Variant("fritz", "Fritz's Keras style network: zero padding, instance norm by std + 1e-3, tanh to 0..255")


def clean(tensors: Tensors) -> tuple[Tensors, list[str]]:
    """No change: the Keras reader already names the tensors `convN.weight`, `normN.weight`, `normN.bias`."""
    return dict(tensors), []


def infer(shapes: Shapes) -> Parameters:
    """`widths` of the first three convolutions, `blocks`; `decoder` and `inner` widths where they differ."""
    count = 0
    while f"conv{count + 1}.weight" in shapes:
        count += 1
    blocks = max((count - 6) // 2, 0)
    widths = [dimension(shapes, f"conv{i}.weight", 0, w) for i, w in ((1, 32), (2, 64), (3, 128))]
    params: Parameters = {"widths": widths, "blocks": blocks}
    decoder = [dimension(shapes, f"conv{3 + 2 * blocks + i}.weight", 0, widths[2 - i]) for i in (1, 2)]
    if decoder != [widths[1], widths[0]]:
        params["decoder"] = decoder
    inner = [dimension(shapes, f"conv{4 + 2 * i}.weight", 0, widths[2]) for i in range(blocks)]
    if any(width != widths[2] for width in inner):
        params["inner"] = inner
    return params


def layers(params: Parameters) -> list[tuple[int, int, int]]:
    """(inputs, outputs, kernel) of each convolution, in order."""
    a, b, c = params["widths"]
    d1, d2 = params.get("decoder", (b, a))
    result = [(3, a, 9), (a, b, 3), (b, c, 3)]
    for width in params.get("inner", [c] * params["blocks"]):
        result += [(c, width, 3), (width, c, 3)]
    return [*result, (c, d1, 3), (d1, d2, 3), (d2, 3, 9)]


def shapes(params: Parameters) -> Shapes:
    """The tensors of a network with these parameters, kernels as (outputs, inputs, k, k)."""
    result: Shapes = {}
    for i, (inputs, outputs, kernel) in enumerate(layers(params), start=1):
        result[f"conv{i}.weight"] = (outputs, inputs, kernel, kernel)
        result[f"norm{i}.weight"] = (outputs,)
        result[f"norm{i}.bias"] = (outputs,)
    return result


def choose(params: Parameters, found: Shapes, classes: Mapping[str, str]) -> Choice:
    return Choice(
        (FRITZ.name,), "layers and kernels are those of Fritz's Keras style network (fritz-style-transfer)"
    )


def contract(params: Parameters) -> ImageContract:
    """RGB 0..255 in (raw pixels) and out (the mapping is the last layer of the network itself)."""
    return ImageContract(ImageSide("0..255"), ImageSide("0..255"))


def module(name: str, params: Parameters) -> nn.Module:
    """The torch module; x is (N, 3, H, W) float32 0..255, NCHW where Keras has NHWC."""
    import torch
    from torch import nn
    from torch.nn import functional as f

    class SameConv(nn.Conv2d):
        """Keras 'same': as much zero padding as ceil(size / stride) outputs need, the odd one at the end."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            pads: list[int] = []
            for axis in (3, 2):
                kernel, stride, size = self.kernel_size[axis - 2], self.stride[axis - 2], int(x.shape[axis])
                total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
                pads += [total // 2, total - total // 2]
            if pads[0] == pads[1] and pads[2] == pads[3]:
                return f.conv2d(x, self.weight, None, self.stride, (pads[2], pads[0]))
            return f.conv2d(f.pad(x, pads), self.weight, None, self.stride)

    class StdNorm(nn.Module):
        """gamma * (x - mean) / (std + 1e-3) + beta over height and width (keras_contrib)."""

        def __init__(self, channels: int) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(channels))
            self.bias = nn.Parameter(torch.zeros(channels))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            centred = x - f.adaptive_avg_pool2d(x, 1)
            variance = f.adaptive_avg_pool2d(centred * centred, 1)
            normal = centred / (torch.sqrt(variance) + EPSILON)
            return normal * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)

    class FritzNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = params["blocks"]
            for i, (inputs, outputs, kernel) in enumerate(layers(params), start=1):
                stride = 2 if i in (2, 3) else 1
                self.add_module(f"conv{i}", SameConv(inputs, outputs, kernel, stride, bias=False))
                self.add_module(f"norm{i}", StdNorm(outputs))

        def layer(self, i: int, x: torch.Tensor) -> torch.Tensor:
            return self.get_submodule(f"norm{i}")(self.get_submodule(f"conv{i}")(x))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for i in (1, 2, 3):
                x = f.relu(self.layer(i, x))
            for block in range(self.blocks):
                i = 4 + 2 * block
                x = self.layer(i + 1, f.relu(self.layer(i, x))) + x
            i = 4 + 2 * self.blocks
            x = f.relu(self.layer(i, f.interpolate(x, scale_factor=2.0, mode="nearest")))
            x = f.relu(self.layer(i + 1, f.interpolate(x, scale_factor=2.0, mode="nearest")))
            return (torch.tanh(self.layer(i + 2, x)) + 1.0) * 127.5

    return FritzNet()


FAMILY = Family(
    variants=(FRITZ,),
    clean=clean,
    infer=infer,
    shapes=shapes,
    choose=choose,
    module=module,
    contract=contract,
    graph=graph,
)
