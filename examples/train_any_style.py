"""Trains a small network that paints in the style of any picture, and exports it with the style as second input.

    python examples/train_any_style.py --minutes 12 --out any_style.onnx
    pipeline build-unity any_style.onnx --style-input style --input-range 0..1 --output-range 0..1

A predictor looks at the style (3 x 96 x 96) and gives scale and shift of the norms behind the encoder of a
transfer network, as in Ghiasi et al. 2017; the build cuts the file between the two. There is no loss network:
styles are compared by the statistics of fixed random filters and by their colours, contents by where the same
filters respond. The styles are patterns that are made up at random, the contents cuts of `picture.jpg`. Both
inputs and the output are RGB 0..1.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.shrink.losses import Texture

STYLE_SIDE = 96
WIDTHS = (12, 24, 32)
BLOCKS = 3
LEVELS = 255.0


def _convolution(inputs: int, outputs: int, side: int, stride: int = 1) -> nn.Module:
    return nn.Conv2d(inputs, outputs, side, stride, side // 2, padding_mode="reflect", bias=False)


class Predictor(nn.Module):
    """From a style (N, 3, H, W) to `count` numbers: means and spreads of features, and a linear layer."""

    def __init__(self, count: int) -> None:
        super().__init__()
        widths = (3, 16, 32, 48, 64)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in itertools.pairwise(widths))
        self.last = nn.Linear(2 * sum(widths[1:]), count)
        nn.init.zeros_(self.last.bias)

    def forward(self, style: Tensor) -> Tensor:
        seen, value = [], style * 2 - 1
        for layer in self.layers:
            value = F.leaky_relu(layer(value), 0.2)
            mean = value.mean((2, 3))
            seen += [mean, ((value - mean[:, :, None, None]).square().mean((2, 3)) + 1e-5).sqrt()]
        return self.last(torch.cat(seen, 1))


class AnyStyle(nn.Module):
    """(content, style) to a painting, all RGB 0..1. H and W of the content are multiples of 4."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c = WIDTHS
        self.first, self.second, self.third = (
            _convolution(3, a, 9),
            _convolution(a, b, 3, 2),
            _convolution(b, c, 3, 2),
        )
        self.blocks = nn.ModuleList(_convolution(c, c, 3) for _ in range(2 * BLOCKS))
        self.up = nn.ModuleList((_convolution(c, b, 3), _convolution(b, a, 3)))
        self.out = nn.Conv2d(a, 3, 9, padding=4, padding_mode="reflect")
        self.styled = [c] * (2 * BLOCKS) + [b, a]
        self.predictor = Predictor(2 * sum(self.styled))

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        numbers = self.predictor(style)[:, :, None, None]
        norms, start = [], 0
        for channels in self.styled:
            norms.append(
                (numbers[:, start : start + channels], numbers[:, start + channels : start + 2 * channels])
            )
            start += 2 * channels

        def norm(value: Tensor, number: int) -> Tensor:
            scale, shift = norms[number]
            return F.instance_norm(value) * (1 + scale) + shift

        value = content
        for layer in (self.first, self.second, self.third):
            value = F.relu(F.instance_norm(layer(value)))
        for block in range(BLOCKS):
            inner = F.relu(norm(self.blocks[2 * block](value), 2 * block))
            value = value + norm(self.blocks[2 * block + 1](inner), 2 * block + 1)
        for number, layer in enumerate(self.up):
            value = F.interpolate(value, scale_factor=2.0, mode="nearest")
            value = F.relu(norm(layer(value), 2 * BLOCKS + number))
        return torch.sigmoid(self.out(value))


def pattern(chance: np.random.Generator, side: int) -> np.ndarray:
    """A made-up style (side, side, 3) in 0..1: two to four colours in stripes, rings or cells, with grain."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    angle, pitch = chance.uniform(0, np.pi), chance.uniform(3, 18)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = -x * np.sin(angle) + y * np.cos(angle)
    bend = chance.uniform(0, 6) * np.sin(across / chance.uniform(6, 30))
    points = chance.uniform(0, side, (int(chance.integers(8, 60)), 2)).astype(np.float32)
    distance = np.hypot(x[..., None] - points[:, 0], y[..., None] - points[:, 1])
    field = (
        np.sin((along + bend) / pitch * math.pi),
        np.sin(distance.min(-1) / pitch * math.pi),
        distance.argmin(-1) / len(points) * 2 - 1,
        np.sign(np.sin((along + bend) / pitch) * np.sin(across / (3 * pitch))),
    )[chance.integers(4)]
    colours = chance.uniform(0, 1, (int(chance.integers(2, 5)), 3))
    place = (field * 0.5 + 0.5) * (len(colours) - 1)
    low = np.clip(place.astype(int), 0, len(colours) - 2)
    share = np.clip(place - low, 0, 1)[..., None]
    made = colours[low] * (1 - share) + colours[low + 1] * share
    return np.clip(made + chance.normal(0, chance.uniform(0, 0.12), made.shape), 0, 1).astype(np.float32)


def contents(chance: np.random.Generator, picture: np.ndarray, count: int, side: int) -> np.ndarray:
    """Cuts of the picture, a quarter of them blended with patterns: (count, side, side, 3) in 0..1."""
    made = []
    for number in range(count):
        top, left = (int(chance.integers(size - side)) for size in picture.shape[:2])
        cut = picture[top : top + side, left : left + side]
        made.append(cut if number % 4 else 0.4 * cut + 0.6 * pattern(chance, side))
    return np.stack(made)


def losses(eyes: Texture, painted: Tensor, content: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
    """(content, style): where the coarse filters respond, and the statistics of all of them and of the colours."""
    ours, theirs, wanted = eyes(painted * LEVELS), eyes(style * LEVELS), eyes(content * LEVELS)
    kept = torch.stack(
        [(F.instance_norm(a) - F.instance_norm(b)).abs().mean() for a, b in zip(ours[1:], wanted[1:], strict=True)]
    )
    parts = []
    for a, b in zip(ours, theirs, strict=True):
        a, b = a.flatten(2), b.flatten(2)
        unit = b.std((1, 2), keepdim=True) + 0.05
        gram = [(held / unit) @ (held / unit).transpose(1, 2) / held.shape[2] for held in (a, b)]
        parts.append((gram[0] - gram[1]).abs().mean())
    for side in (1, 8):
        a, b = (F.avg_pool2d(held, side).flatten(2) for held in (painted, style))
        parts.append(4 * (a.mean(2) - b.mean(2)).abs().mean())
        quantiles = torch.linspace(0, 1, 9)
        parts.append(2 * (torch.quantile(a, quantiles, 2) - torch.quantile(b, quantiles, 2)).abs().mean())
    return kept.mean(), torch.stack(parts).mean()


def main() -> None:
    """Train for some minutes and write the .onnx file."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--minutes", type=float, default=12)
    words.add_argument("--content-weight", type=float, default=1.0)
    words.add_argument("--out", type=Path, default=Path("any_style.onnx"))
    chosen = words.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(1)
    chance = np.random.default_rng(1)
    picture = np.asarray(Image.open(Path(__file__).with_name("picture.jpg")), np.float32) / LEVELS
    network, eyes = AnyStyle(), Texture()
    adam = torch.optim.Adam(network.parameters(), 2e-3)
    began, step = time.monotonic(), 0
    while (done := (time.monotonic() - began) / 60 / chosen.minutes) < 1:
        for group in adam.param_groups:
            group["lr"] = 2e-3 * (0.5 + 0.5 * math.cos(math.pi * done))
        content = torch.from_numpy(contents(chance, picture, 4, 96)).permute(0, 3, 1, 2)
        style = torch.from_numpy(np.stack([pattern(chance, STYLE_SIDE) for _ in range(4)])).permute(0, 3, 1, 2)
        kept, styled = losses(eyes, network(content, style), content, style)
        adam.zero_grad()
        (chosen.content_weight * kept + 6 * styled).backward()
        adam.step()
        step += 1
        if step % 50 == 0:
            print(f"step {step}: content {kept.item():.3f}, style {styled.item():.3f}", flush=True)
    network.eval()
    torch.onnx.export(
        network,
        (torch.zeros(1, 3, 64, 80), torch.zeros(1, 3, STYLE_SIDE, STYLE_SIDE)),
        str(chosen.out),
        opset_version=13,
        dynamo=False,
        input_names=["content", "style"],
        output_names=["painted"],
        dynamic_axes={"content": {2: "height", 3: "width"}},
    )
    print(f"{step} steps, {chosen.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
