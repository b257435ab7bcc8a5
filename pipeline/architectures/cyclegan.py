"""The ResNet generators of pytorch-CycleGAN-and-pix2pix and of CUT, `resnet_9blocks` and others: instance norm.

junyanz/pytorch-CycleGAN-and-pix2pix:models/networks.py, ResnetGenerator. One Sequential named `model`:
reflection padding and a convolution of 7x7, two of 3x3 with stride 2 and zero padding, n residual blocks with
reflection padding, two transposed convolutions of 3x3, one convolution of 7x7, tanh. Instance norm has no
weights, so only convolutions have tensors, all with biases. RGB -1..1 on both sides, sizes multiples of 4.

Files of 2018 hold running statistics of instance norm, which the repository's own test script does not use (it
leaves networks in training mode, and its loader drops them): they are left out here too. Networks with batch
norm have its weights, and are another network.

taesungp/contrastive-unpaired-translation:models/networks.py (CUT, FastCUT) halves behind convolutions of stride
1 with fixed filters of 3x3 ([1, 2, 1] in each direction), and enlarges in front of convolutions with filters of
4x4 ([1, 3, 3, 1]), which is bilinear enlarging, at the borders too. Its files hold the filters; either may be
left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from pipeline.architectures.base import (
    Choice,
    Family,
    Parameters,
    Shapes,
    Tensors,
    Variant,
    dimension,
    restore_prefix,
)
from pipeline.contract import ImageContract, ImageSide

if TYPE_CHECKING:
    from torch import nn

CYCLEGAN = Variant("cyclegan", "CycleGAN's ResNet generator: instance norm without weights, RGB -1..1")
CUT = Variant("cut", "CUT's ResNet generator: the same, with fixed filters where it halves or enlarges")
_STATISTICS = re.compile(r"\.(running_mean|running_var|num_batches_tracked)$")
_BLUR_NEXT = {"8.weight", "model.8.weight"}
"""The second halving convolution where a fixed filter stands in front of it."""
_BLOCKS = 10
"""The index of the first residual block."""


def clean(tensors: Tensors) -> tuple[Tensors, list[str]]:
    """Without the running statistics of instance norm, which belong to no norm with weights, and CUT's filters."""
    block = "12.conv_block.1.weight" if _BLUR_NEXT & tensors.keys() else "10.conv_block.1.weight"
    tensors = restore_prefix(tensors, f"model.{block}")
    filters = [name for name, value in tensors.items() if name.endswith(".filt") and _is_usual(value)]
    tensors = {name: value for name, value in tensors.items() if name not in filters}
    normed = {name.rpartition(".")[0] for name, value in tensors.items() if value.ndim == 1 and ".weight" in name}
    dropped = [name for name in tensors if _STATISTICS.search(name) and _STATISTICS.sub("", name) not in normed]
    kept = {name: value for name, value in tensors.items() if name not in dropped}
    if not dropped:
        return kept, []
    return kept, [
        f"{len(dropped)} running statistics of instance norm are ignored: the network uses those of each picture"
    ]


def infer(shapes: Shapes) -> Parameters:
    """`width` (ngf) and `blocks`; `inputs` and `outputs` where they are not 3; `dropout`, which moves names;
    `blurs_down` and `blurs_up` where CUT's filters halve and enlarge."""
    down = "model.8.weight" in shapes
    first, blocks = _BLOCKS + 2 * down, 0
    while f"model.{first + blocks}.conv_block.1.weight" in shapes:
        blocks += 1
    up = f"model.{first + blocks + 1}.weight" in shapes
    params: Parameters = {"width": dimension(shapes, "model.1.weight", 0, 64), "blocks": blocks}
    last = f"model.{first + blocks + 7 + 2 * up}.weight"
    for key, name, axis in (("inputs", "model.1.weight", 1), ("outputs", last, 0)):
        channels = dimension(shapes, name, axis, 3)
        if channels != 3:
            params[key] = channels
    if f"model.{first}.conv_block.6.weight" in shapes:
        params["dropout"] = True
    params |= {key: True for key, is_so in (("blurs_down", down), ("blurs_up", up)) if is_so}
    return params


def _is_usual(values: np.ndarray) -> bool:
    """Whether a fixed filter is the one of CUT: of 3x3 for halving, of 4x4 for enlarging."""
    for row, gain in (((1, 2, 1), 1 / 16), ((1, 3, 3, 1), 4 / 64)):
        expected = np.outer(row, row) * gain
        if values.shape[1:] == (1, *expected.shape):
            return bool(np.allclose(values, expected, atol=1e-6))
    return False


def _places(params: Parameters) -> tuple[int, int, tuple[int, int], int]:
    """Indices in `model`: the second halving convolution, the first block, the enlarging ones, the last one."""
    down, up = bool(params.get("blurs_down")), bool(params.get("blurs_up"))
    first = _BLOCKS + 2 * down
    end = first + params["blocks"]
    return 7 + down, first, (end + up, end + 3 + 2 * up), end + 7 + 2 * up


def shapes(params: Parameters) -> Shapes:
    """The tensors of a network with these parameters."""
    a, blocks = params["width"], params["blocks"]
    second = 6 if params.get("dropout") else 5
    result: Shapes = {}

    def conv(name: str, *shape: int, outputs: int) -> None:
        result[f"{name}.weight"], result[f"{name}.bias"] = shape, (outputs,)

    conv("model.1", a, params.get("inputs", 3), 7, 7, outputs=a)
    conv("model.4", 2 * a, a, 3, 3, outputs=2 * a)
    halves, first, enlarges, last = _places(params)
    conv(f"model.{halves}", 4 * a, 2 * a, 3, 3, outputs=4 * a)
    for index in range(first, first + blocks):
        for place in (1, second):
            conv(f"model.{index}.conv_block.{place}", 4 * a, 4 * a, 3, 3, outputs=4 * a)
    for index, width in zip(enlarges, (4 * a, 2 * a), strict=True):
        sides = (width // 2, width) if params.get("blurs_up") else (width, width // 2)
        conv(f"model.{index}", *sides, 3, 3, outputs=width // 2)
    outputs = params.get("outputs", 3)
    conv(f"model.{last}", outputs, a, 7, 7, outputs=outputs)
    return result


def choose(params: Parameters, found: Shapes, classes: Mapping[str, str]) -> Choice:
    blurs = bool(params.get("blurs_down") or params.get("blurs_up"))
    whose, name = ("CUT's", CUT.name) if blurs else ("CycleGAN's", CYCLEGAN.name)
    return Choice(
        (name,), f"names and shapes are those of {whose} ResNet generator with {params['blocks']} blocks"
    )


def contract(params: Parameters) -> ImageContract:
    """RGB -1..1 in and out (Normalize(0.5, 0.5), tanh)."""
    return ImageContract(
        ImageSide("-1..1", params.get("inputs", 3)), ImageSide("-1..1", params.get("outputs", 3)), size_multiple=4
    )


def module(name: str, params: Parameters) -> nn.Module:
    """The torch module; x is (N, 3, H, W) float32 in -1..1."""
    import torch
    from torch import nn
    from torch.nn import functional as f

    class Halved(nn.Module):
        kernel: torch.Tensor

        def __init__(self, channels: int) -> None:
            super().__init__()
            row = torch.tensor([1.0, 2.0, 1.0]) / 4
            self.register_buffer("kernel", torch.outer(row, row).repeat(channels, 1, 1, 1), persistent=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            padded = f.pad(x, (1, 1, 1, 1), mode="reflect")
            return f.conv2d(padded, self.kernel, stride=2, groups=self.kernel.shape[0])

    class ResnetBlock(nn.Module):
        def __init__(self, width: int, dropout: bool) -> None:
            super().__init__()
            first = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width), nn.ReLU()]
            middle = [nn.Dropout(0.5)] if dropout else []
            last = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
            self.conv_block = nn.Sequential(*first, *middle, *last)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.conv_block(x)

    class ResnetGenerator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            a = params["width"]
            layers: list[nn.Module] = [
                nn.ReflectionPad2d(3),
                nn.Conv2d(params.get("inputs", 3), a, 7),
                nn.InstanceNorm2d(a),
                nn.ReLU(),
            ]
            down, up = bool(params.get("blurs_down")), bool(params.get("blurs_up"))
            for width in (a, 2 * a):
                layers.append(nn.Conv2d(width, 2 * width, 3, 1 if down else 2, 1))
                layers += [nn.InstanceNorm2d(2 * width), nn.ReLU(), *([Halved(2 * width)] if down else [])]
            layers += [ResnetBlock(4 * a, bool(params.get("dropout"))) for _ in range(params["blocks"])]
            for width in (4 * a, 2 * a):
                if up:
                    enlarged = nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False)
                    layers += [enlarged, nn.Conv2d(width, width // 2, 3, 1, 1)]
                else:
                    layers.append(nn.ConvTranspose2d(width, width // 2, 3, 2, 1, output_padding=1))
                layers += [nn.InstanceNorm2d(width // 2), nn.ReLU()]
            layers += [nn.ReflectionPad2d(3), nn.Conv2d(a, params.get("outputs", 3), 7), nn.Tanh()]
            self.model = nn.Sequential(*layers)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.model(x)

    return ResnetGenerator()


FAMILY = Family((CYCLEGAN, CUT), clean, infer, shapes, choose, module, contract)
