"""ESRGAN's compact form, SRVGGNetCompact: the fast networks of Real-ESRGAN, and restyling networks of that shape.

xinntao/Real-ESRGAN, basicsr/archs/srvgg_arch.py. A row of convolutions of 3x3 with a PReLU for each channel
between them; the last one gives scale * scale pictures that a pixel shuffle makes one, to which the enlarged input
is added. RGB 0..1 on both sides, at any size; the output is `scale` times as large.
"""

from __future__ import annotations

import math
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

COMPACT = Variant(
    "esrgan-compact", "Real-ESRGAN's compact network (SRVGGNetCompact) with PReLU, RGB 0..1", holds_sizes=True
)


def clean(tensors: Tensors) -> tuple[Tensors, list[str]]:
    """Restore the prefix of the names."""
    return restore_prefix(tensors, "body.1.weight"), []


def infer(shapes: Shapes) -> Parameters:
    """`features`, `convolutions` between the first and the last, `scale`."""
    last = max((int(name.split(".")[1]) for name in shapes if _is_body(name)), default=34)
    channels = dimension(shapes, f"body.{last}.weight", 0, 48)
    return {
        "features": dimension(shapes, "body.0.weight", 0, 64),
        "convolutions": max(last // 2 - 1, 0),
        "scale": max(math.isqrt(channels // 3), 1),
    }


def _is_body(name: str) -> bool:
    parts = name.split(".")
    return len(parts) == 3 and parts[0] == "body" and parts[1].isdigit() and len(parts[1]) < 4


def shapes(params: Parameters) -> Shapes:
    """The tensors of a network with these parameters."""
    width, scale = params["features"], params["scale"]
    result: Shapes = {}
    for number in range(params["convolutions"] + 1):
        result[f"body.{2 * number}.weight"] = (width, width if number else 3, 3, 3)
        result[f"body.{2 * number}.bias"] = (width,)
        result[f"body.{2 * number + 1}.weight"] = (width,)
    last, outputs = 2 * params["convolutions"] + 2, 3 * scale * scale
    result[f"body.{last}.weight"], result[f"body.{last}.bias"] = (outputs, width, 3, 3), (outputs,)
    return result


def choose(params: Parameters, found: Shapes, classes: Mapping[str, str]) -> Choice:
    return Choice((COMPACT.name,), f"names and shapes are those of SRVGGNetCompact with scale {params['scale']}")


def contract(params: Parameters) -> ImageContract:
    """RGB 0..1 in and out, at any size."""
    return ImageContract(ImageSide("0..1"), ImageSide("0..1"), size_multiple=1)


def module(name: str, params: Parameters) -> nn.Module:
    """The torch module; x is (N, 3, H, W) float32 in 0..1."""
    from torch import nn
    from torch.nn import functional as f

    width, scale = params["features"], params["scale"]

    class SRVGGNetCompact(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers: list[nn.Module] = []
            for number in range(params["convolutions"] + 1):
                layers += [nn.Conv2d(width if number else 3, width, 3, 1, 1), nn.PReLU(width)]
            self.body = nn.Sequential(*layers, nn.Conv2d(width, 3 * scale * scale, 3, 1, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            residual = f.pixel_shuffle(self.body(x), scale)
            if scale == 1:
                return residual + x
            return residual + f.interpolate(x, scale_factor=float(scale), mode="nearest")

    return SRVGGNetCompact()


FAMILY = Family((COMPACT,), clean, infer, shapes, choose, module, contract)
