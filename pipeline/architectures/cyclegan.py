"""The generators of pytorch-CycleGAN-and-pix2pix: `resnet_9blocks` and `resnet_6blocks`, with instance norm.

junyanz/pytorch-CycleGAN-and-pix2pix:models/networks.py, ResnetGenerator. One Sequential named `model`: reflection
padding and a convolution of 7x7, two of 3x3 with stride 2 and zero padding, n residual blocks with reflection
padding, two transposed convolutions of 3x3, one convolution of 7x7, tanh. Instance norm has no weights, so only
convolutions have tensors, all with biases. RGB -1..1 on both sides, sizes multiples of 4.

Files of 2018 hold running statistics of instance norm, which the repository's own test script does not use (it
leaves networks in training mode, and its loader drops them): they are left out here too. Networks with batch norm
have its weights, and are another network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.architectures.base import Choice, Family, Parameters, Shapes, Tensors, Variant, dimension, under
from pipeline.contract import ImageContract, ImageSide

if TYPE_CHECKING:
    from torch import nn

CYCLEGAN = Variant("cyclegan", "CycleGAN's ResNet generator: instance norm without weights, RGB -1..1")
_STATISTICS = re.compile(r"\.(running_mean|running_var|num_batches_tracked)$")
_BLOCKS = 10
"""The index of the first residual block."""


def clean(tensors: Tensors) -> tuple[Tensors, list[str]]:
    """Without the running statistics of instance norm, which belong to no norm with weights."""
    tensors = under(tensors, "model.10.conv_block.1.weight")
    normed = {name.rpartition(".")[0] for name, value in tensors.items() if value.ndim == 1 and ".weight" in name}
    dropped = [name for name in tensors if _STATISTICS.search(name) and _STATISTICS.sub("", name) not in normed]
    kept = {name: value for name, value in tensors.items() if name not in dropped}
    if not dropped:
        return kept, []
    return kept, [
        f"{len(dropped)} running statistics of instance norm are ignored: the network uses those of each picture"
    ]


def infer(shapes: Shapes) -> Parameters:
    """`width` (ngf) and `blocks`; `inputs` and `outputs` where they are not 3; `dropout`, which moves names."""
    blocks = 0
    while f"model.{_BLOCKS + blocks}.conv_block.1.weight" in shapes:
        blocks += 1
    params: Parameters = {"width": dimension(shapes, "model.1.weight", 0, 64), "blocks": blocks}
    for key, name, axis in (("inputs", "model.1.weight", 1), ("outputs", f"model.{17 + blocks}.weight", 0)):
        channels = dimension(shapes, name, axis, 3)
        if channels != 3:
            params[key] = channels
    if f"model.{_BLOCKS}.conv_block.6.weight" in shapes:
        params["dropout"] = True
    return params


def shapes(params: Parameters) -> Shapes:
    """The tensors of a network with these parameters."""
    a, blocks = params["width"], params["blocks"]
    second = 6 if params.get("dropout") else 5
    found: Shapes = {}

    def conv(name: str, *shape: int, outputs: int) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = shape, (outputs,)

    conv("model.1", a, params.get("inputs", 3), 7, 7, outputs=a)
    conv("model.4", 2 * a, a, 3, 3, outputs=2 * a)
    conv("model.7", 4 * a, 2 * a, 3, 3, outputs=4 * a)
    for index in range(_BLOCKS, _BLOCKS + blocks):
        for place in (1, second):
            conv(f"model.{index}.conv_block.{place}", 4 * a, 4 * a, 3, 3, outputs=4 * a)
    conv(f"model.{10 + blocks}", 4 * a, 2 * a, 3, 3, outputs=2 * a)
    conv(f"model.{13 + blocks}", 2 * a, a, 3, 3, outputs=a)
    outputs = params.get("outputs", 3)
    conv(f"model.{17 + blocks}", outputs, a, 7, 7, outputs=outputs)
    return found


def choose(params: Parameters, found: Shapes, classes: Mapping[str, str]) -> Choice:
    reason = f"names and shapes are those of CycleGAN's ResNet generator with {params['blocks']} blocks"
    return Choice((CYCLEGAN.name,), reason)


def contract(params: Parameters) -> ImageContract:
    """RGB -1..1 in and out (Normalize(0.5, 0.5), tanh)."""
    return ImageContract(
        ImageSide("-1..1", params.get("inputs", 3)), ImageSide("-1..1", params.get("outputs", 3)), size_multiple=4
    )


def module(name: str, params: Parameters) -> nn.Module:
    """The torch module; x is (N, 3, H, W) float32 in -1..1."""
    import torch
    from torch import nn

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
            for width in (a, 2 * a):
                layers += [nn.Conv2d(width, 2 * width, 3, 2, 1), nn.InstanceNorm2d(2 * width), nn.ReLU()]
            layers += [ResnetBlock(4 * a, bool(params.get("dropout"))) for _ in range(params["blocks"])]
            for width in (4 * a, 2 * a):
                layers += [
                    nn.ConvTranspose2d(width, width // 2, 3, 2, 1, output_padding=1),
                    nn.InstanceNorm2d(width // 2),
                    nn.ReLU(),
                ]
            layers += [nn.ReflectionPad2d(3), nn.Conv2d(a, params.get("outputs", 3), 7), nn.Tanh()]
            self.model = nn.Sequential(*layers)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.model(x)

    return ResnetGenerator()


FAMILY = Family((CYCLEGAN,), clean, infer, shapes, choose, module, contract)
