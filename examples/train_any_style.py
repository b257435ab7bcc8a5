"""Trains a small network that paints in the style of any picture, and exports it with the style as second input.

    python examples/train_any_style.py --minutes 12 --out any_style.onnx
    pipeline build-unity any_style.onnx --style-input style --input-range 0..1 --output-range 0..1

A predictor looks at the style (3 x 64 x 64) and gives scale and shift of the norms behind the encoder of a
transfer network, as in Ghiasi et al. 2017; the build cuts the file between the two. There is no loss network: a
painting is compared with its style by the distributions of small patches at three scales, projected on filters
that are drawn anew in each step (a sliced Wasserstein distance), and with its content by coarse brightness and
outlines. The styles are patterns and brush strokes that are made up at random, the contents cuts of `picture.jpg`.
Both inputs and the output are RGB 0..1.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor, nn
from torch.nn import functional as F

STYLE_SIDE = 64
WIDTHS = (12, 24, 40)
BLOCKS = 4
LEVELS = 255.0
FILTERS, FILTER_SIDE, SCALES = 24, 7, 3
LUMA = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)


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


def strokes(chance: np.random.Generator, side: int) -> np.ndarray:
    """A made-up painting (side, side, 3) in 0..1: brush strokes of a few colours that follow a bent direction."""
    colours = chance.uniform(0, 255, (int(chance.integers(3, 7)), 3))
    image = Image.new("RGB", (2 * side, 2 * side), tuple(int(value) for value in colours[0]))
    draw = ImageDraw.Draw(image)
    length, width = chance.uniform(8, 50), chance.uniform(2, 14)
    turn, bend = chance.uniform(0, np.pi), chance.uniform(0, 3)
    for _ in range(int(9000 / (length * width) * 8)):
        x, y = chance.uniform(-length, 2 * side + length, 2)
        angle = turn + bend * math.sin(x / side) * math.cos(y / side) + chance.normal(0, 0.15)
        dx, dy = length / 2 * math.cos(angle), length / 2 * math.sin(angle)
        colour = np.clip(colours[chance.integers(len(colours))] + chance.normal(0, 18, 3), 0, 255)
        fill = tuple(int(value) for value in colour)
        draw.line((x - dx, y - dy, x + dx, y + dy), fill=fill, width=max(1, int(width * chance.uniform(0.5, 1))))
    image = image.filter(ImageFilter.GaussianBlur(1)).resize((side, side), Image.Resampling.BOX)
    return np.asarray(image, np.float32) / LEVELS


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


def styles(chance: np.random.Generator, count: int) -> np.ndarray:
    """Made-up styles, half of them brush strokes: (count, STYLE_SIDE, STYLE_SIDE, 3) in 0..1."""
    return np.stack([(strokes if number % 2 else pattern)(chance, STYLE_SIDE) for number in range(count)])


def contents(chance: np.random.Generator, picture: np.ndarray, count: int, side: int) -> np.ndarray:
    """Cuts of the picture at random scales, a quarter of them with patterns: (count, side, side, 3), 0..1."""
    cuts = []
    for number in range(count):
        size = int(chance.integers(side, 3 * side))
        top, left = (int(chance.integers(extent - size)) for extent in picture.shape[:2])
        cut = Image.fromarray((picture[top : top + size, left : left + size] * LEVELS).astype(np.uint8))
        pixels = np.asarray(cut.resize((side, side), Image.Resampling.BOX), np.float32) / LEVELS
        pixels = pixels[:, ::-1] if chance.integers(2) else pixels
        cuts.append(pixels if number % 4 else 0.4 * pixels + 0.6 * pattern(chance, side))
    return np.stack(cuts)


def content_loss(painted: Tensor, content: Tensor) -> Tensor:
    """How far brightness and outlines at a quarter and an eighth of the size differ, whatever their contrast."""
    grey = [F.conv2d(value, LUMA) for value in (painted, content)]
    terms = []
    for side in (4, 8):
        a, b = (F.instance_norm(F.avg_pool2d(value, side)) for value in grey)
        terms.append((a - b).abs().mean())
        terms += [(a.diff(dim=axis) - b.diff(dim=axis)).abs().mean() for axis in (2, 3)]
    return torch.stack(terms).mean()


def style_loss(painted: Tensor, style: Tensor, of_colours: float) -> Tensor:
    """Sliced Wasserstein distance of colours, with the weight `of_colours`, and of patches at several scales; both
    pictures are (N, 3, S, S) of one size."""
    colours = torch.randn(8, 3, 1, 1)
    terms = [of_colours * _sliced(painted, style, colours / colours.square().sum(1, keepdim=True).sqrt(), 0.2)]
    for _ in range(SCALES):
        filters = torch.randn(FILTERS, 3, FILTER_SIDE, FILTER_SIDE)
        filters[: FILTERS // 2] = filters[: FILTERS // 2, :1] * LUMA  # most of a stroke is in its brightness
        filters = filters - filters.mean((2, 3), keepdim=True)
        smooth = F.avg_pool2d(filters, 3, 1, 1, count_include_pad=False)
        filters = smooth / smooth.square().sum((1, 2, 3), keepdim=True).sqrt()
        terms.append(_sliced(painted, style, filters, 0.02))
        painted, style = F.avg_pool2d(painted, 2), F.avg_pool2d(style, 2)
    return torch.stack(terms).mean()


def _sliced(painted: Tensor, style: Tensor, filters: Tensor, least: float) -> Tensor:
    """Mean distance of the sorted responses, in units of the style's spread, which is at least `least`."""
    ours, theirs = (F.conv2d(value, filters).flatten(2).sort(2).values for value in (painted, style))
    return ((ours - theirs).abs().mean(2) / (theirs.std(2) + least)).mean()


def write(network: AnyStyle, path: Path) -> None:
    """Export the network as it is now; it stays in training mode."""
    network.eval()
    torch.onnx.export(
        network,
        (torch.zeros(1, 3, 64, 80), torch.zeros(1, 3, STYLE_SIDE, STYLE_SIDE)),
        str(path),
        opset_version=13,
        dynamo=False,
        input_names=["content", "style"],
        output_names=["painted"],
        dynamic_axes={"content": {2: "height", 3: "width"}},
    )
    network.train()


def started(path: Path) -> AnyStyle:
    """The network in a file that `write` made."""
    import onnx
    from onnx import numpy_helper

    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    network = AnyStyle()
    network.load_state_dict({name: torch.from_numpy(held[name].copy()) for name in network.state_dict()})
    return network


def main() -> None:
    """Train for some minutes of processor time and write the .onnx file."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--minutes", type=float, default=12)
    words.add_argument("--content-weight", type=float, default=1.0)
    words.add_argument("--style-weight", type=float, default=2.0)
    words.add_argument("--colour-weight", type=float, default=4.0)
    words.add_argument("--rate", type=float, default=2e-3)
    words.add_argument("--start", type=Path, help="an .onnx file of this script to go on from")
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--out", type=Path, default=Path("any_style.onnx"))
    chosen = words.parse_args()
    torch.manual_seed(chosen.seed)
    torch.set_num_threads(1)
    chance = np.random.default_rng(chosen.seed)
    picture = np.asarray(Image.open(Path(__file__).with_name("picture.jpg")), np.float32) / LEVELS
    network = AnyStyle() if chosen.start is None else started(chosen.start)
    adam = torch.optim.Adam(network.parameters(), chosen.rate)
    began, step = time.process_time(), 0
    while (done := (time.process_time() - began) / 60 / chosen.minutes) < 1:
        for group in adam.param_groups:
            group["lr"] = chosen.rate * (0.5 + 0.5 * math.cos(math.pi * done))
        content = torch.from_numpy(contents(chance, picture, 4, STYLE_SIDE)).permute(0, 3, 1, 2)
        style = torch.from_numpy(styles(chance, 4)).permute(0, 3, 1, 2)
        painted = network(content, style)
        kept, styled = content_loss(painted, content), style_loss(painted, style, chosen.colour_weight)
        adam.zero_grad()
        (chosen.content_weight * kept + chosen.style_weight * styled).backward()
        adam.step()
        step += 1
        if step % 50 == 0:
            print(f"step {step}: content {kept.item():.3f}, style {styled.item():.3f}", flush=True)
        if step % 500 == 0:
            write(network, chosen.out)
    write(network, chosen.out)
    print(f"{step} steps, {chosen.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
