"""The losses of distillation and of learning from pairs. Imports torch: import it inside a function.

Pictures are float tensors (N, 3, H, W) in grey levels 0..255. A network with few weights cannot put every stroke
where its teacher puts it; trained on the teacher's pixels only, it outputs the average of all positions, a blur.
So there are three kinds of losses: colours and edges (`pixels`); the amount of structure of every orientation and
size in every neighbourhood, wherever exactly it is (`Texture`: local energies and correlations of filters); and
the outputs of the teacher's own first layers (`TeacherEyes`), if the teacher is a torch module.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as f

UNIT = 64.0
"""Grey levels that are one unit in every loss."""
FLOOR = 0.1
"""Smallest amplitude of a feature that relative differences are divided by."""


def leaky_clamp(pictures: Tensor) -> Tensor:
    """Clamps to 0..255, with a slope of 0.05 outside so that gradients do not vanish there."""
    clamped = pictures.clamp(0, 255)
    return clamped + 0.05 * (pictures - clamped)


def charbonnier(difference: Tensor) -> Tensor:
    """A smooth absolute value, averaged."""
    return torch.sqrt(difference.square() + 1e-4).mean()


def pixels(outputs: Tensor, references: Tensor, fine: float = 1.0) -> Tensor:
    """Difference of colours at four scales, and of gradients at the finest one, whose weight is `fine`."""
    difference = (outputs - references) / UNIT
    loss = charbonnier(difference)
    loss = loss + charbonnier(difference[..., 1:] - difference[..., :-1])
    loss = fine * (loss + charbonnier(difference[..., 1:, :] - difference[..., :-1, :]))
    for weight in (0.7, 0.7, 0.5):
        difference = f.avg_pool2d(difference, 2)
        loss = loss + weight * charbonnier(difference)
    return loss


def gram(features: Tensor) -> Tensor:
    """Features (N, C, H, W) to their Gram matrices (N, C, C), averaged over the pixels, in float32.

    The sums are computed in the precision of the features.
    """
    flat = features.permute(0, 2, 3, 1).flatten(1, 2)
    return (flat.transpose(1, 2) @ flat).float() / flat.shape[1]


@dataclass(frozen=True)
class Statistics:
    """What `Statistics.of` measures in a feature map (N, C, H, W)."""

    energies: Tensor
    """(N, C, h, w): roots of the mean squares over tiles that overlap by half."""
    gram: Tensor
    """(N, C, C): means over the pixels of the products of two channels."""

    @classmethod
    def of(cls, features: Tensor, tile: int) -> Statistics:
        """The statistics of features, with tiles of `tile` x `tile` pixels.

        Squares and products are computed in the precision of the features, their means in float32.
        """
        squares, step = features.square(), max(tile // 2, 1)
        if tile == 2 * step and min(squares.shape[2:]) >= tile:
            means = f.avg_pool2d(
                f.avg_pool2d(squares, step), 2, 1
            )  # each pixel is read once instead of four times
        else:
            means = f.avg_pool2d(squares, min(tile, *squares.shape[2:]), step)
        return cls(torch.sqrt(means.float() + 1e-4), gram(features))

    def differences(self, theirs: Statistics) -> tuple[Tensor, Tensor]:
        """Differences of (local energies, Gram matrices) from `theirs`, relative to these.

        `FLOOR` is added to the divisors, for places with almost no structure.
        """
        energies = (self.energies - theirs.energies).abs().mean() / (theirs.energies.mean() + FLOOR)
        size = torch.diagonal(theirs.gram, dim1=1, dim2=2).sqrt() + FLOOR
        scale = size[:, :, None] * size[:, None, :]
        return energies, ((self.gram - theirs.gram) / scale).abs().mean()


STROKE = 32
"""Side in pixels of the windows in which `strokes` compares structure tensors: about one stroke."""


def edges(pictures: Tensor) -> list[Tensor]:
    """Structure tensors of pictures at the scale of brush strokes and tiles: at a half, a quarter and an eighth of
    the size, (N, 9, h, w).

    They are the products of the horizontal and vertical gradients of each colour (strength and direction of the
    edges), averaged over windows of `STROKE` pixels that overlap by half. The random filters of `Texture` are
    smaller than a large stroke; these windows are not. Of the averages the roots are taken, so that not only the
    strongest edges decide.
    """
    tensors = []
    for scale in (2, 4, 8):
        small = f.avg_pool2d(pictures.float() / UNIT, scale)
        right, down = small[..., :-1, 1:] - small[..., :-1, :-1], small[..., 1:, :-1] - small[..., :-1, :-1]
        products = torch.cat((right * right, down * down, right * down), 1)
        window = min(STROKE // scale, *products.shape[2:])
        mean = f.avg_pool2d(products, window, max(window // 2, 1))
        tensors.append(mean.sign() * torch.sqrt(mean.abs() + 1e-4))
    return tensors


def strokes(outputs: Tensor, references: list[Tensor]) -> Tensor:
    """Difference of the edges of outputs from the `edges` of references, relative to these."""
    pairs = zip(edges(outputs), references, strict=True)
    return torch.stack([(a - b).abs().mean() / (b.abs().mean() + FLOOR / 2) for a, b in pairs]).mean()


class Texture(nn.Module):
    """Fixed random filters at four scales, whose statistics describe textures without a trained network.

    Random filters tell textures apart nearly as well as VGG's (Ustyuzhaninov et al. 2016, "Texture synthesis using
    shallow convolutional networks with random filters"). The filters are the same in every run.
    """

    FILTERS, SIZE, SCALES, TILE = 24, 5, 4, 16

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(7)
        filters = torch.randn(self.SCALES, self.FILTERS, 3, self.SIZE, self.SIZE, generator=generator)
        grey = self.FILTERS * 2 // 3  # most structure of a picture is in its luma
        filters[:, :grey] = filters[:, :grey, :1]
        filters = filters - filters.mean((3, 4), keepdim=True)
        filters = filters / filters.square().sum((2, 3, 4), keepdim=True).sqrt()
        self.register_buffer("filters", filters)

    filters: Tensor

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """The responses at full, half, quarter and eighth size, rectified."""
        pictures = (pictures / UNIT).contiguous(memory_format=torch.channels_last)
        seen = []
        for filters in self.filters:
            seen.append(f.relu(f.conv2d(pictures, filters)))
            pictures = f.avg_pool2d(pictures, 2)
        return seen

    def statistics(self, pictures: Tensor) -> list[Statistics]:
        """Of the responses to pictures, finest scale first."""
        return [Statistics.of(features, self.TILE) for features in self(pictures)]

    def loss(self, outputs: Tensor, references: list[Statistics]) -> tuple[Tensor, Tensor]:
        """Differences of (local energies, Gram matrices) of outputs from the `statistics` of references, averaged
        over the scales."""
        pairs = [a.differences(b) for a, b in zip(self.statistics(outputs), references, strict=True)]
        return torch.stack([p[0] for p in pairs]).mean(), torch.stack([p[1] for p in pairs]).mean()


def usual_picture() -> Tensor:
    """A picture (1, 3, 128, 128) in grey levels with structure of every size, as photographs have it; always the
    same."""
    generator = torch.Generator().manual_seed(11)
    picture = torch.zeros(1, 3, 128, 128)
    for side in (2, 4, 8, 16, 32, 64, 128):
        noise = torch.randn(1, 3, side, side, generator=generator)
        picture += f.interpolate(noise, size=(128, 128), mode="bilinear")
    return (picture / picture.std() * 60 + 128).clamp(0, 255)


class _Enough(Exception):
    """Ends a forward pass after the last layer that is needed."""


class TeacherEyes:
    """The outputs of a teacher's first convolutions, before a norm removes their scale.

    `convert` converts pictures from grey levels to the teacher's own range. Works for modules that call their
    convolutions in the order in which they are registered. Features are divided by the standard deviation of the
    layer's output for `usual_picture`, so that a flat crop, with almost no features, does not outweigh the others.
    """

    LAYERS = 3

    def __init__(self, teacher: nn.Module, convert: Callable[[Tensor], Tensor]) -> None:
        self.teacher, self.convert = teacher, convert
        convolutions = [m for m in teacher.modules() if isinstance(m, nn.Conv2d)][: self.LAYERS]
        self.seen: list[Tensor] = []
        self.listening = False
        self.hooks = [
            layer.register_forward_hook(self._keep(index + 1 == len(convolutions)))
            for index, layer in enumerate(convolutions)
        ]
        with torch.no_grad():
            seen = self(usual_picture().to(convolutions[0].weight.device))
        self.units = [features.float().std() + 1e-6 for features in seen]

    def _keep(self, last: bool) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if self.listening:
                self.seen.append(output)
                if last:
                    raise _Enough

        return hook

    def close(self) -> None:
        """Remove the hooks from the teacher."""
        for hook in self.hooks:
            hook.remove()

    def __call__(self, pictures: Tensor) -> list[Tensor]:
        """The features of pictures, finest first."""
        self.seen, self.listening = [], True
        try:
            self.teacher(self.convert(pictures))
        except _Enough:
            pass
        finally:
            self.listening = False
        seen, self.seen = self.seen, []
        return seen

    def loss(self, outputs: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
        """Differences of (features, their statistics) between outputs and references."""
        with torch.no_grad():
            goals = self(references)
        features, textures = [], []
        for ours, theirs, unit in zip(self(outputs), goals, self.units, strict=True):
            ours, theirs = ours.float() / unit, theirs.float() / unit
            features.append((ours - theirs).abs().mean())
            middle = theirs.mean((2, 3), keepdim=True)
            of_ours, of_theirs = (Statistics.of(features_ - middle, Texture.TILE) for features_ in (ours, theirs))
            textures.append(torch.stack(of_ours.differences(of_theirs)).sum())
        return torch.stack(features).mean(), torch.stack(textures).mean()


class Hints(nn.Module):
    """Compares the outputs of a student's layers with those of its teacher (FitNets, Romero et al. 2015).

    A stage is a sequence of convolutions with outputs of one size. The outputs of the first convolution of each
    stage are compared, normalised to mean 0 and deviation 1, through a learnt 1x1 convolution if the student is
    narrower. `pairs` is empty if the two networks have different sequences of sizes; then nothing is compared.
    """

    def __init__(self, teacher: nn.Module, student: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.teacher = [teacher]  # in a list, so that it does not become part of this module
        theirs, ours = (_stages(network, device) for network in (teacher, student))
        same = [size for _, _, size in theirs] == [size for _, _, size in ours]
        self.pairs = [(a[0], b[0]) for a, b in zip(theirs, ours, strict=True)] if same else []
        self.joints = nn.ModuleList()
        for a, b in zip(theirs, ours, strict=True) if same else ():
            joint = nn.Conv2d(b[1], a[1], 1, bias=False)
            with torch.no_grad():
                joint.weight.copy_(torch.eye(a[1], b[1])[:, :, None, None])
            self.joints.append(joint)
        self.to(device)
        self.seen: dict[nn.Module, Tensor] = {}
        self.listening = False
        layers = {layer for pair in self.pairs for layer in pair}
        self.hooks = [layer.register_forward_hook(self._keep) for layer in layers]

    def _keep(self, layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if self.listening:
            self.seen[layer] = output

    def close(self) -> None:
        """Remove the hooks from teacher and student."""
        for hook in self.hooks:
            hook.remove()

    def loss(self, given: Tensor) -> Tensor:
        """Mean difference of the layers' outputs; `given` is the student's input, in the teacher's range.

        The student must have run with `listening` set.
        """
        with torch.no_grad():
            self.teacher[0](given)
        parts = []
        for (theirs, ours), joint in zip(self.pairs, self.joints, strict=True):
            goal = f.instance_norm(self.seen[theirs].float())
            parts.append((joint(f.instance_norm(self.seen[ours].float())).float() - goal).abs().mean())
        self.seen, self.listening = {}, False
        return torch.stack(parts).mean()


def _stages(network: nn.Module, device: torch.device) -> list[tuple[nn.Module, int, int]]:
    """(first convolution, its channels, its height) of each run of convolutions with one height, but the last
    convolution, which gives the picture."""
    called: list[tuple[nn.Module, int, int]] = []
    hooks = [
        layer.register_forward_hook(lambda layer, _, out: called.append((layer, out.shape[1], out.shape[2])))
        for layer in network.modules()
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
    ]
    training = network.training
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, 64, 64, device=device))
    network.train(training)
    for hook in hooks:
        hook.remove()
    called = called[:-1]
    return [entry for index, entry in enumerate(called) if not index or entry[2] != called[index - 1][2]]


class Critic(nn.Module):
    """A small patch discriminator: sees a picture and an output for it, and classifies each patch as teacher or
    student."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(6, width, 4, 2),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 2 * width, 3),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 3),
        )

    def forward(self, pictures: Tensor, outputs: Tensor) -> Tensor:
        """One number for each patch of about 30 pixels: high for the teacher's output."""
        return self.layers(torch.cat((pictures, outputs), 1) / 127.5 - 1)


def critic_loss(critic: Critic, pictures: Tensor, outputs: Tensor, references: Tensor) -> Tensor:
    """The discriminator's own loss: hinge loss (Lim and Ye 2017)."""
    real, fake = critic(pictures, references), critic(pictures, outputs)
    return f.relu(1 - real).mean() + f.relu(1 + fake).mean()


def learning_rate(done: float) -> float:
    """Factor on the learning rate for the part of the training that is done, 0..1: warm-up over 3 %, then
    cosine."""
    if done < 0.03:
        return 0.05 + 0.95 * done / 0.03
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (done - 0.03) / 0.97))
