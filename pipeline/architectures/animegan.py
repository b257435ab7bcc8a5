"""AnimeGAN v2 in PyTorch: bryandlee/animegan2-pytorch:model.py, Generator.

Units of reflection padding, a convolution without bias, group norm of one group and LeakyReLU 0.2: two halvings, a
trunk of inverted residual blocks, two bilinear enlargements, a 1x1 convolution and tanh. RGB -1..1 on both sides,
sizes multiples of 4. Every width is read from its tensor.

How it enlarges is an argument of its forward(), not in the file: with corners aligned (the default, and what
torch.hub's face2paint does; `animegan2-aligned`) or not (the default of its test.py; `animegan2`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

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

PLAIN = Variant("animegan2", "AnimeGAN v2, upsampling without aligned corners, as its test.py does")
ALIGNED = Variant("animegan2-aligned", "AnimeGAN v2, upsampling with aligned corners, as face2paint does")
_UNITS = {"block_a": (7, 3, 3), "block_b": (3, 3), "block_c": (3,), "block_d": (3, 3), "block_e": (3, 3, 7)}
"""Kernels of the units of each block; block_c goes on with inverted residual blocks, and ends with one more."""
_STRIDED = ("block_a.1", "block_b.0")
_RESIDUALS = 4


def clean(tensors: Tensors) -> tuple[Tensors, list[str]]:
    """Restore the prefix of the names."""
    return restore_prefix(tensors, "block_a.0.1.weight"), []


def _units() -> list[str]:
    """The names of the plain units in the order of the network."""
    names = [f"{block}.{number}" for block, kernels in _UNITS.items() for number in range(len(kernels))]
    names.insert(names.index("block_d.0"), f"block_c.{_RESIDUALS + 1}")
    return names


def infer(shapes: Shapes) -> Parameters:
    """`widths` of the plain units in order, `inner` and `outer` widths of the inverted residual blocks."""
    usual = [32, 64, 64, 128, 128, 128, 128, 128, 128, 64, 64, 32]
    names = [f"block_c.{number}.layers" for number in range(1, _RESIDUALS + 1)]
    return {
        "widths": [
            dimension(shapes, f"{name}.1.weight", 0, width) for name, width in zip(_units(), usual, strict=True)
        ],
        "inner": [dimension(shapes, f"{name}.0.1.weight", 0, 512) for name in names],
        "outer": [dimension(shapes, f"{name}.2.weight", 0, 256) for name in names],
    }


def _kernel(name: str) -> int:
    block, _, number = name.partition(".")
    kernels = _UNITS[block]
    return kernels[int(number)] if int(number) < len(kernels) else 3


def shapes(params: Parameters) -> Shapes:
    """The tensors of a network with these parameters."""
    result: Shapes = {}

    def norm(name: str, width: int) -> None:
        result[f"{name}.weight"], result[f"{name}.bias"] = (width,), (width,)

    inputs = 3
    for name, width in zip(_units(), params["widths"], strict=True):
        if name == f"block_c.{_RESIDUALS + 1}":
            for number, (inner, outer) in enumerate(zip(params["inner"], params["outer"], strict=True), start=1):
                inside = f"block_c.{number}.layers"
                result[f"{inside}.0.1.weight"] = (inner, inputs, 1, 1)
                norm(f"{inside}.0.2", inner)
                result[f"{inside}.1.1.weight"], result[f"{inside}.1.1.bias"] = (inner, 1, 3, 3), (inner,)
                norm(f"{inside}.1.2", inner)
                result[f"{inside}.2.weight"] = (outer, inner, 1, 1)
                norm(f"{inside}.3", outer)
                inputs = outer
        result[f"{name}.1.weight"] = (width, inputs, _kernel(name), _kernel(name))
        norm(f"{name}.2", width)
        inputs = width
    result["out_layer.0.weight"] = (3, inputs, 1, 1)
    return result


def choose(params: Parameters, found: Shapes, classes: Mapping[str, str]) -> Choice:
    return Choice((PLAIN.name, ALIGNED.name), "names and shapes are those of AnimeGAN v2's generator")


def contract(params: Parameters) -> ImageContract:
    """RGB -1..1 in and out (ToTensor() * 2 - 1, tanh)."""
    return ImageContract(ImageSide("-1..1"), ImageSide("-1..1"), size_multiple=4)


def module(name: str, params: Parameters) -> nn.Module:
    """The torch module of a variant; x is (N, 3, H, W) float32 in -1..1."""
    from torch import nn
    from torch.nn import functional as f

    aligned = name == ALIGNED.name

    def unit(inputs: int, outputs: int, kernel: int, strided: bool = False, groups: int = 1) -> nn.Sequential:
        pads = (0, 1, 0, 1) if strided else (kernel // 2,) * 4
        conv = nn.Conv2d(inputs, outputs, kernel, 2 if strided else 1, groups=groups, bias=groups > 1)
        return nn.Sequential(nn.ReflectionPad2d(pads), conv, nn.GroupNorm(1, outputs), nn.LeakyReLU(0.2))

    class InvertedResBlock(nn.Module):
        def __init__(self, inputs: int, inner: int, outputs: int) -> None:
            super().__init__()
            self.added = inputs == outputs
            self.layers = nn.Sequential(
                unit(inputs, inner, 1),
                unit(inner, inner, 3, groups=inner),
                nn.Conv2d(inner, outputs, 1, bias=False),
                nn.GroupNorm(1, outputs),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.layers(x)
            return x + y if self.added else y

    class Generator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            blocks: dict[str, list[nn.Module]] = {block: [] for block in _UNITS}
            inputs = 3
            for unit_name, width in zip(_units(), params["widths"], strict=True):
                if unit_name == f"block_c.{_RESIDUALS + 1}":
                    for inner, outer in zip(params["inner"], params["outer"], strict=True):
                        blocks["block_c"].append(InvertedResBlock(inputs, inner, outer))
                        inputs = outer
                blocks[unit_name.partition(".")[0]].append(
                    unit(inputs, width, _kernel(unit_name), unit_name in _STRIDED)
                )
                inputs = width
            sequences = [nn.Sequential(*blocks[block]) for block in _UNITS]
            self.block_a, self.block_b, self.block_c, self.block_d, self.block_e = sequences
            self.out_layer = nn.Sequential(nn.Conv2d(inputs, 3, 1, bias=False), nn.Tanh())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.block_c(self.block_b(self.block_a(x)))
            for block in (self.block_d, self.block_e):
                x = f.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=aligned)
                x = block(x)
            return self.out_layer(x)

    return Generator()


FAMILY = Family((PLAIN, ALIGNED), clean, infer, shapes, choose, module, contract)
