"""The U-Net generators of pytorch-CycleGAN-and-pix2pix: `unet_256` and `unet_128`.

junyanz/pytorch-CycleGAN-and-pix2pix:models/networks.py, UnetGenerator. Levels lie inside each other: each halves
the picture with a convolution of 4x4 and stride 2, calls the next level, and doubles it again with a transposed
one; what comes back is joined to what went in. RGB -1..1 on both sides; sizes are multiples of 2 to the power of
the levels.

With batch norm a file does not say which statistics count. The repository's test script keeps networks in training
mode, where a single picture is normalised by its own (`pix2pix-picture`), which is what its users have seen;
networks that were evaluated with `--eval` use the running ones (`pix2pix`). Dropout has no tensors: left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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
    import torch
    from torch import nn

RUNNING = Variant("pix2pix", "pix2pix's U-Net with --eval: batch norm by running statistics, or instance norm")
PICTURE = Variant(
    "pix2pix-picture", "pix2pix's U-Net as run by its test.py: batch norm by each picture's statistics"
)


def _inside(level: int) -> str:
    """What the names of a level's layers begin with; level 1 is the outermost."""
    return "model.model" if level == 1 else "model.model.1" + ".model.3" * (level - 2) + ".model"


def clean(tensors: Tensors) -> tuple[Tensors, list[str]]:
    """Restore the prefix of the names."""
    return restore_prefix(tensors, "model.model.1.model.1.weight"), []


def infer(shapes: Shapes) -> Parameters:
    """`width` (ngf), `levels`, `batch_norm`; `inputs` and `outputs` where they are not 3."""
    levels = 2
    while f"{_inside(levels + 1)}.1.weight" in shapes:
        levels += 1
    params: Parameters = {
        "width": dimension(shapes, "model.model.0.weight", 0, 64),
        "levels": levels,
        "batch_norm": f"{_inside(2)}.2.weight" in shapes,
    }
    for key, name in (("inputs", "model.model.0.weight"), ("outputs", "model.model.3.weight")):
        channels = dimension(shapes, name, 1, 3)
        if channels != 3:
            params[key] = channels
    return params


def _widths(params: Parameters) -> list[int]:
    """Channels that each level gives to the next: ngf, 2, 4, 8, 8, ... ngf."""
    return [params["width"] * min(2**level, 8) for level in range(params["levels"])]


def shapes(params: Parameters) -> Shapes:
    """The tensors of a network with these parameters."""
    widths, levels, batch = _widths(params), params["levels"], params["batch_norm"]
    result: Shapes = {}

    def conv(name: str, *shape: int, bias: int) -> None:
        result[f"{name}.weight"] = shape
        if bias:
            result[f"{name}.bias"] = (bias,)

    def norm(name: str, channels: int) -> None:
        if batch:
            for part in ("weight", "bias", "running_mean", "running_var"):
                result[f"{name}.{part}"] = (channels,)
            result[f"{name}.num_batches_tracked"] = ()

    def level(number: int) -> None:
        name, outer, own = _inside(number), widths[number - 2], widths[number - 1]
        innermost = number == levels
        conv(f"{name}.1", own, outer, 4, 4, bias=0 if batch else own)
        if innermost:
            conv(f"{name}.3", own, outer, 4, 4, bias=0 if batch else outer)
            norm(f"{name}.4", outer)
            return
        norm(f"{name}.2", own)
        level(number + 1)
        conv(f"{name}.5", 2 * own, outer, 4, 4, bias=0 if batch else outer)
        norm(f"{name}.6", outer)

    conv("model.model.0", widths[0], params.get("inputs", 3), 4, 4, bias=0 if batch else widths[0])
    level(2)
    outputs = params.get("outputs", 3)
    conv("model.model.3", 2 * widths[0], outputs, 4, 4, bias=outputs)
    return result


def choose(params: Parameters, found: Shapes, classes: Mapping[str, str]) -> Choice:
    reason = f"names and shapes are those of pix2pix's U-Net with {params['levels']} levels"
    if not params["batch_norm"]:
        return Choice((RUNNING.name,), reason)
    return Choice((PICTURE.name, RUNNING.name), f"{reason} and batch norm")


def contract(params: Parameters) -> ImageContract:
    """RGB -1..1 in and out (Normalize(0.5, 0.5), tanh); each level halves the size."""
    return ImageContract(
        ImageSide("-1..1", params.get("inputs", 3)),
        ImageSide("-1..1", params.get("outputs", 3)),
        size_multiple=2 ** params["levels"],
    )


def module(name: str, params: Parameters) -> nn.Module:
    """The torch module of a variant; x is (N, 3, H, W) float32 in -1..1."""
    import torch
    from torch import nn
    from torch.nn import functional as f

    widths, levels, batch = _widths(params), params["levels"], params["batch_norm"]

    class PictureNorm(nn.BatchNorm2d):
        """Batch norm in training mode on one picture: its own mean and biased variance."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return f.instance_norm(x, weight=self.weight, bias=self.bias, use_input_stats=True, eps=self.eps)

    def norm(channels: int) -> nn.Module:
        if not batch:
            return nn.InstanceNorm2d(channels)
        return PictureNorm(channels) if name == PICTURE.name else nn.BatchNorm2d(channels)

    def down(inputs: int, outputs: int) -> nn.Module:
        return nn.Conv2d(inputs, outputs, 4, 2, 1, bias=not batch)

    def up(inputs: int, outputs: int, bias: bool = not batch) -> nn.Module:
        return nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=bias)

    class Level(nn.Module):
        def __init__(self, number: int) -> None:
            super().__init__()
            outer, own = widths[number - 2], widths[number - 1]
            layers: list[Any] = [nn.LeakyReLU(0.2), down(outer, own)]
            if number < levels:
                layers += [norm(own), Level(number + 1), nn.ReLU(), up(2 * own, outer), norm(outer)]
            else:
                layers += [nn.ReLU(), up(own, outer), norm(outer)]
            self.model = nn.Sequential(*layers)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x, self.model(x)], 1)

    class Outermost(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            last = up(2 * widths[0], params.get("outputs", 3), True)
            self.model = nn.Sequential(
                down(params.get("inputs", 3), widths[0]), Level(2), nn.ReLU(), last, nn.Tanh()
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.model(x)

    class UnetGenerator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = Outermost()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.model(x)

    return UnetGenerator()


FAMILY = Family((RUNNING, PICTURE), clean, infer, shapes, choose, module, contract)
