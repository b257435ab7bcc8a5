"""Small networks of the architectures that people bring, as torch modules, for the matrix of exporters."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import nn
from torch.nn import functional

from pipeline.architectures import build

SMALL_GENERATOR = {
    "filters": [4, 6, 8, 8, 10, 12],
    "resnet_blocks": 2,
    "input_channels": 3,
    "use_bias": True,
    "tanh": True,
    "append_smoothers": True,
    "batch_norm": True,
}


def conv(given: int, made: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(given, made, size, stride, size // 2, groups=groups)


class UNet(nn.Module):
    """Two halvings, skips joined by Concat."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.down, self.deep = conv(3, 4), conv(4, 6, stride=2), conv(6, 8, stride=2)
        self.up, self.last = conv(14, 6), conv(10, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = torch.relu(self.first(x))
        down = torch.relu(self.down(first))
        deep = functional.interpolate(torch.relu(self.deep(down)), scale_factor=2.0, mode="nearest")
        up = torch.relu(self.up(torch.cat([deep, down], 1)))
        return self.last(torch.cat([functional.interpolate(up, scale_factor=2.0, mode="nearest"), first], 1))


class AdaIN(nn.Module):
    """Scale and shift of every channel come from a branch that looks at the whole picture."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = conv(3, 6), conv(6, 3)
        self.scale, self.shift = nn.Conv2d(3, 6, 1), nn.Conv2d(3, 6, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = x.mean((2, 3), keepdim=True)
        y = functional.instance_norm(self.first(x))
        return self.last(torch.relu(y * (1 + self.scale(seen)) + self.shift(seen)))


class HRNet(nn.Module):
    """Three scales side by side, each made of all: shrunk by strides, enlarged bilinearly or by nearest."""

    def __init__(self) -> None:
        super().__init__()
        widths = (4, 6, 8)
        self.stem = nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.ReLU())
        self.down = nn.ModuleList([conv(4, 6, stride=2), conv(6, 8, stride=2)])
        self.own = nn.ModuleList([nn.Sequential(conv(w, w), nn.BatchNorm2d(w), nn.ReLU()) for w in widths])
        self.enlarged = nn.ModuleList([conv(6, 4, 1), conv(8, 4, 1), conv(8, 6, 1)])
        self.shrunk = nn.ModuleList([conv(4, 6, stride=2), conv(6, 8, stride=2)])
        self.last = conv(4 + 6 + 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.stem(x)
        b = self.down[0](a)
        c = self.down[1](b)
        a, b, c = (own(scale) for own, scale in zip(self.own, (a, b, c), strict=True))

        def larger(y: torch.Tensor, times: int) -> torch.Tensor:
            return functional.interpolate(y, scale_factor=float(times), mode="bilinear", align_corners=False)

        fused_a = torch.relu(a + larger(self.enlarged[0](b), 2) + larger(self.enlarged[1](c), 4))
        fused_b = torch.relu(
            self.shrunk[0](a) + b + functional.interpolate(self.enlarged[2](c), scale_factor=2.0, mode="nearest")
        )
        fused_c = torch.relu(self.shrunk[1](b) + c)
        return self.last(torch.cat([fused_a, larger(fused_b, 2), larger(fused_c, 4)], 1))


def mobile(given: int, made: int, stride: int = 1) -> list[nn.Module]:
    return [
        conv(given, given, stride=stride, groups=given),
        nn.BatchNorm2d(given),
        nn.ReLU6(),
        conv(given, made, 1),
        nn.BatchNorm2d(made),
        nn.Hardswish(),
    ]


ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "plain style network": lambda: build("fast-neural-style", {"widths": [4, 6, 8], "blocks": 5}),
    "GeneratorJ": lambda: build("few-shot", SMALL_GENERATOR),
    "U-Net": UNet,
    "super-resolution": lambda: nn.Sequential(
        conv(3, 6, 5), nn.ReLU(), conv(6, 12), nn.PReLU(12), conv(12, 12), nn.PixelShuffle(2)
    ),
    "pix2pix": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(4, 8, 4, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 4, 4, 2, 1, bias=False),
        nn.BatchNorm2d(4),
        nn.Dropout(0.5),
        nn.ReLU(),
        nn.ConvTranspose2d(4, 3, 4, 2, 1),
        nn.Tanh(),
    ),
    "MobileNet": lambda: nn.Sequential(
        *mobile(3, 8),
        *mobile(8, 8, 2),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        conv(8, 3, 1),
        nn.Sigmoid(),
    ),
    "GroupNorm": lambda: nn.Sequential(
        conv(3, 8), nn.GroupNorm(4, 8), nn.SiLU(), conv(8, 8), nn.GroupNorm(2, 8), nn.GELU(), conv(8, 3)
    ),
    "AdaIN": AdaIN,
    "HRNet": HRNet,
}


@cache
def network(name: str) -> nn.Module:
    """The network of that name with weights that are all distinct, in eval mode."""
    torch.manual_seed(list(ARCHITECTURES).index(name))
    result = ARCHITECTURES[name]().eval()
    with torch.no_grad():
        for key, value in result.state_dict().items():
            if key.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif value.dtype == torch.float32:
                value.add_(torch.randn_like(value) * 0.05)
    return result
