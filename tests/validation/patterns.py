"""The patterns of measured.md section 3, as torch modules: a convolution 3 to 8, the pattern, at 1x3x12x16."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import onnx
import torch
import torch.nn.functional as F
from torch import nn

Function = Callable[..., torch.Tensor]


class Pattern(nn.Module):
    """Conv2d(3, 8, 3, padding=1), then a function or modules."""

    def __init__(self, function: Function | None, *modules: nn.Module, first: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1) if first else nn.Identity()
        self.function = function
        self.inner = nn.Sequential(*modules)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return self.inner(x) if self.function is None else self.function(x, *self.inner)


def of(*modules: nn.Module) -> Callable[[], nn.Module]:
    """Modules behind the convolution."""
    return lambda: Pattern(None, *modules)


def by(function: Function, *modules: nn.Module) -> Callable[[], nn.Module]:
    """A function behind the convolution; modules are passed to it."""
    return lambda: Pattern(function, *modules)


def norm_eval() -> nn.Module:
    return Pattern(None, nn.InstanceNorm2d(8, affine=True, track_running_stats=True))


def scaled(factor: float, mode: str = "nearest", **options: bool) -> Callable[[], nn.Module]:
    return by(lambda x: F.interpolate(x, scale_factor=factor, mode=mode, **options))


def sized(height: int, width: int, mode: str = "nearest", **options: bool) -> Callable[[], nn.Module]:
    return by(lambda x: F.interpolate(x, size=(height, width), mode=mode, **options))


class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(8, 4), nn.Linear(4, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.up(self.down(x.mean((2, 3))).relu()).sigmoid()
        return x * scale.view(1, 8, 1, 1)


def buffer(module: nn.Module, name: str, shape: tuple[int, ...]) -> nn.Module:
    module.register_buffer(name, torch.rand(shape) + 0.5)
    return module


class AddConstant(nn.Module):
    def __init__(self, *shape: int) -> None:
        super().__init__()
        buffer(self, "held", shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.held


class LayerNormLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Residual(nn.Module):
    """A reflect-padded residual block: where 1.0.4 throws at the addition once a Pad is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.pad, self.conv = nn.ReflectionPad2d(1), nn.Conv2d(8, 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(self.pad(x))


def gram(x: torch.Tensor) -> torch.Tensor:
    flat = x.view(1, 8, 192)
    return torch.bmm(flat, flat.transpose(1, 2)) / 1536


def shuffle(x: torch.Tensor) -> torch.Tensor:
    return x.view(1, 2, 4, 12, 16).transpose(1, 2).reshape(1, 8, 12, 16)


def unshuffle(x: torch.Tensor) -> torch.Tensor:
    return x.view(1, 8, 6, 2, 8, 2).permute(0, 1, 3, 5, 2, 4).reshape(1, 32, 6, 8)


def deeper(x: torch.Tensor) -> torch.Tensor:
    return x.view(1, 2, 2, 2, 12, 16).permute(0, 3, 4, 1, 5, 2).reshape(1, 2, 24, 32)


def instance_norm(x: torch.Tensor) -> torch.Tensor:
    mean = x.mean((2, 3), keepdim=True)
    return (x - mean) / torch.sqrt(((x - mean) ** 2).mean((2, 3), keepdim=True) + 1e-5)


def focus(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)


def halves(x: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, 1)
    return first * second.sigmoid()


def uneven(x: torch.Tensor) -> torch.Tensor:
    first, second = x.split([3, 5], 1)
    return torch.cat([second, first], 1)


def export(
    build: Callable[[], nn.Module], opset: int, shape: tuple[int, ...] = (1, 3, 12, 16), dynamic: str = ""
) -> onnx.ModelProto:
    """The model as torch's legacy exporter writes it; `dynamic` names open axes, such as "NHW"."""
    torch.manual_seed(0)
    stream = io.BytesIO()
    axes = {place: name for place, name in ((0, "N"), (2, "H"), (3, "W")) if name in dynamic}
    module = build().eval()
    for item in [*module.parameters(), *module.buffers()]:  # equal tensors would become one, read through Identity
        if item.is_floating_point():
            item.data += torch.rand_like(item) / 100
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (torch.rand(shape),), stream, opset_version=opset, dynamo=False, input_names=["x"],
            output_names=["y"], dynamic_axes={"x": axes} if axes else None,
        )  # fmt: skip
    return onnx.load_from_string(stream.getvalue())
