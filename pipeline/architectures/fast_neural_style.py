"""TransformerNet of pytorch/examples fast_neural_style, and the variants with extra skips.

Johnson, Alahi, Fei-Fei: Perceptual Losses for Real-Time Style Transfer (2016), with instance norm and
nearest-neighbour upsampling (pytorch/examples:fast_neural_style/neural_style/transformer_net.py). Values are RGB
0..255 in and out, NCHW; the output is not clamped. Height and width must be multiples of 4: the two stride-2
convolutions halve with rounding up, and the decoder doubles twice.

Two layouts of names are known: `res1.*` .. `res5.*` of pytorch/examples, and `resnets.0.*` .. of
cj-mills/End-to-End-In-Game-Style-Transfer-Tutorial, whose graph has extra additions. The shapes are the same, and
networks of that layout were shipped with 5, 8 and 13 additions, so for `resnets.N` the user is asked.

Any layer can be factored, as `pipeline prune` does it: `conv2d` is then a vertical convolution (k x 1, without
bias) to a few channels, followed by a horizontal one (1 x k) (Jaderberg, Vedaldi, Zisserman: Speeding up
Convolutional Neural Networks with Low Rank Expansions, 2014).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.architectures.base import (
    Choice,
    Family,
    Parameters,
    Shapes,
    Tensors,
    Variant,
    dimension,
)
from pipeline.contract import ImageContract, ImageSide

if TYPE_CHECKING:
    from torch import nn

PLAIN = Variant(
    "fast-neural-style",
    "the network of pytorch/examples: one addition per residual block (5 additions with 5 blocks)",
)
SKIPS = Variant(
    "fast-neural-style-skips",
    "plus three long skips: the activations of conv3, conv2 and conv1 are added before deconv1, deconv2 and "
    "deconv3 (8 additions)",
)
RESIDUAL_SKIPS = Variant(
    "fast-neural-style-residual-skips",
    "plus three long skips, and every residual block adds its input twice (13 additions), as in the notebook of "
    "cj-mills' end-to-end tutorial",
)
SCALED = Variant(
    "fast-neural-style-scale-shift",
    "the network of abhiskk/fast-neural-style: norms with scale and shift and an epsilon of 1e-9, BGR pictures",
)
NAMES = (PLAIN.name, SKIPS.name, RESIDUAL_SKIPS.name)

WHOLE = ".conv2d.weight"
"""Ending of the name of a layer's weights, unless the layer is factored."""
_RUNNING = re.compile(r"(^|\.)in\d+\.(running_(mean|var)|num_batches_tracked)$")
_RESNETS = re.compile(r"^resnets\.(\d{1,3})\.")


def clean(tensors: Tensors) -> tuple[Tensors, list[str]]:
    """Drop the running statistics that PyTorch < 0.4 saved for instance norm; `resnets.N.` becomes `resN+1.`."""
    notes = []
    dropped = [name for name in tensors if _RUNNING.search(name)]
    if dropped:
        notes.append(
            f"{len(dropped)} running statistics of instance norm dropped (saved by PyTorch before 0.4, never used)"
        )
    kept = {name: value for name, value in tensors.items() if not _RUNNING.search(name)}
    return {_RESNETS.sub(lambda m: f"res{int(m[1]) + 1}.", name): value for name, value in kept.items()}, notes


def infer(shapes: Shapes) -> Parameters:
    """Widths, kernels and blocks from every tensor; entries that equal the usual are left out.

    `widths` of conv1, conv2, conv3; `blocks`; `decoder` widths of deconv1 and deconv2 where they are not
    widths[1], widths[0]; `inner` widths of the blocks where they are not widths[2]; `kernels` of the outer and
    the inner convolutions where they are not 9 and 3; `channels` in and out where they are not 3 and 3; `ranks` of
    the factored layers, by name: the channels between their vertical and their horizontal convolution.
    """
    widths = [_dimension(shapes, f"conv{i}", 0, width) for i, width in ((1, 32), (2, 64), (3, 128))]
    blocks = 0
    while any(name.startswith(f"res{blocks + 1}.") for name in shapes):
        blocks += 1
    params: Parameters = {"widths": widths, "blocks": blocks}
    decoder = [_dimension(shapes, f"deconv{i}", 0, widths[2 - i]) for i in (1, 2)]
    if decoder != [widths[1], widths[0]]:
        params["decoder"] = decoder
    inner = [_dimension(shapes, f"res{i + 1}.conv1", 0, widths[2]) for i in range(blocks)]
    if any(width != widths[2] for width in inner):
        params["inner"] = inner
    kernels = [_dimension(shapes, "conv1", 2, 9), _dimension(shapes, "conv2", 2, 3)]
    if kernels != [9, 3]:
        params["kernels"] = kernels
    channels = [_dimension(shapes, "conv1", 1, 3), _dimension(shapes, "deconv3", 0, 3)]
    if channels != [3, 3]:
        params["channels"] = channels
    ranks = {
        conv: dimension(shapes, factors(f"{conv}{WHOLE}")[0][0], 0, 1)
        for conv, *_ in layers(params)
        if factors(f"{conv}{WHOLE}")[0][0] in shapes
    }
    return params | {"ranks": ranks} if ranks else params


def factors(weight: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """What a factored layer has instead of its `weight`: the names of the vertical and the horizontal weights; and
    the name of the bias before and after."""
    conv = weight.removesuffix(WHOLE)
    weights = f"{conv}.vertical.weight", f"{conv}.horizontal.weight"
    return weights, (f"{conv}.conv2d.bias", f"{conv}.horizontal.bias")


def _dimension(shapes: Shapes, conv: str, axis: int, default: int) -> int:
    """Outputs (0), inputs (1) or kernel height (2) of a layer, whole or factored; the default if it is missing."""
    (vertical, horizontal), _ = factors(f"{conv}{WHOLE}")
    if vertical in shapes or horizontal in shapes:
        return dimension(shapes, vertical if axis else horizontal, axis, default)
    return dimension(shapes, f"{conv}{WHOLE}", axis, default)


def layers(params: Parameters) -> list[tuple[str, str, int, int, int]]:
    """(convolution, its norm or "", inputs, outputs, kernel) in the order of the state dict."""
    a, b, c = params["widths"]
    d1, d2 = params.get("decoder", (b, a))
    inner = params.get("inner", [c] * params["blocks"])
    outer, small = params.get("kernels", (9, 3))
    inputs, outputs = params.get("channels", (3, 3))
    layers = [
        ("conv1", "in1", inputs, a, outer),
        ("conv2", "in2", a, b, small),
        ("conv3", "in3", b, c, small),
    ]
    for i, width in enumerate(inner, start=1):
        layers.append((f"res{i}.conv1", f"res{i}.in1", c, width, small))
        layers.append((f"res{i}.conv2", f"res{i}.in2", width, c, small))
    return [
        *layers,
        ("deconv1", "in4", c, d1, small),
        ("deconv2", "in5", d1, d2, small),
        ("deconv3", "", d2, outputs, outer),
    ]


def shapes(params: Parameters) -> Shapes:
    """The tensors of a network with these parameters: 62 for 5 blocks."""
    result: Shapes = {}
    for conv, norm, inputs, outputs, kernel in layers(params):
        rank = params.get("ranks", {}).get(conv)
        if rank is None:
            result[f"{conv}{WHOLE}"] = (outputs, inputs, kernel, kernel)
            result[f"{conv}.conv2d.bias"] = (outputs,)
        else:
            (vertical, horizontal), (_, bias) = factors(f"{conv}{WHOLE}")
            result[vertical] = (rank, inputs, kernel, 1)
            result[horizontal] = (outputs, rank, 1, kernel)
            result[bias] = (outputs,)
        if norm:
            result[f"{norm}.weight"] = (outputs,)
            result[f"{norm}.bias"] = (outputs,)
    return result


def choose(params: Parameters, found: Shapes, classes: Mapping[str, str]) -> Choice:
    """`res1.*` is the plain network; `resnets.N.*` can be any variant that its widths allow."""
    if not any(_RESNETS.match(name) for name in found):
        return Choice((PLAIN.name,), "the names res1.* are those of pytorch/examples fast_neural_style")
    a, b, _ = params["widths"]
    if tuple(params.get("decoder", (b, a))) != (b, a):
        return Choice(
            (PLAIN.name,),
            "the names resnets.N.* do not determine the skip connections, but the decoder's widths differ from "
            "the encoder's, so only the network without long skips fits",
        )
    return Choice(
        NAMES,
        "the names resnets.N.* belong to three networks that have the same tensors but different skip connections",
    )


def contract(params: Parameters) -> ImageContract:
    """RGB 0..255 in and out, NCHW, multiples of 4 (neural_style.py: ToTensor then * 255)."""
    inputs, outputs = params.get("channels", (3, 3))
    return ImageContract(ImageSide("0..255", channels=inputs), ImageSide("0..255", channels=outputs))


def module(name: str, params: Parameters) -> nn.Module:
    """The torch module of a variant, with the names of pytorch/examples; x is (N, C, H, W) float32 0..255."""
    epsilon = SCALED_EPSILON if name == SCALED.name else 1e-5
    import torch
    from torch import nn
    from torch.nn import functional as f

    class ConvLayer(nn.Module):
        def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
            super().__init__()
            self.reflection_pad = nn.ReflectionPad2d(kernel // 2)
            self.conv2d = nn.Conv2d(inputs, outputs, kernel, stride)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv2d(self.reflection_pad(x))

    class FactoredLayer(nn.Module):
        def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, rank: int) -> None:
            super().__init__()
            self.reflection_pad = nn.ReflectionPad2d(kernel // 2)
            self.vertical = nn.Conv2d(inputs, rank, (kernel, 1), (stride, 1), bias=False)
            self.horizontal = nn.Conv2d(rank, outputs, (1, kernel), (1, stride))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.horizontal(self.vertical(self.reflection_pad(x)))

    convs = {conv: (inputs, outputs, kernel) for conv, _, inputs, outputs, kernel in layers(params)}
    widths = {norm: outputs for _, norm, _, outputs, _ in layers(params)}
    ranks: dict[str, int] = params.get("ranks", {})

    def norm(name: str) -> nn.InstanceNorm2d:
        return nn.InstanceNorm2d(widths[name], epsilon, affine=True)

    def layer(name: str, stride: int = 1) -> nn.Module:
        rank = ranks.get(name)
        if rank is None:
            return ConvLayer(*convs[name], stride)
        return FactoredLayer(*convs[name], stride, rank)

    class ResidualBlock(nn.Module):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.conv1 = layer(f"{name}.conv1")
            self.in1 = norm(f"{name}.in1")
            self.conv2 = layer(f"{name}.conv2")
            self.in2 = norm(f"{name}.in2")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.in2(self.conv2(f.relu(self.in1(self.conv1(x))))) + x

    class TransformerNet(nn.Module):
        def __init__(self, long_skips: bool, residual_twice: bool) -> None:
            super().__init__()
            self.long_skips, self.residual_twice = long_skips, residual_twice
            self.conv1, self.in1 = layer("conv1"), norm("in1")
            self.conv2, self.in2 = layer("conv2", 2), norm("in2")
            self.conv3, self.in3 = layer("conv3", 2), norm("in3")
            self.blocks = [f"res{i}" for i in range(1, params["blocks"] + 1)]
            for name in self.blocks:
                self.add_module(name, ResidualBlock(name))
            self.deconv1, self.in4 = layer("deconv1"), norm("in4")
            self.deconv2, self.in5 = layer("deconv2"), norm("in5")
            self.deconv3 = layer("deconv3")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first = f.relu(self.in1(self.conv1(x)))
            second = f.relu(self.in2(self.conv2(first)))
            third = f.relu(self.in3(self.conv3(second)))
            y = third
            for name in self.blocks:
                out = self.get_submodule(name)(y)
                y = out + y if self.residual_twice else out
            y = third + y if self.long_skips else y
            y = f.relu(self.in4(self.deconv1(f.interpolate(y, scale_factor=2.0, mode="nearest"))))
            y = second + y if self.long_skips else y
            y = f.relu(self.in5(self.deconv2(f.interpolate(y, scale_factor=2.0, mode="nearest"))))
            y = first + y if self.long_skips else y
            return self.deconv3(y)

    return TransformerNet(name in (SKIPS.name, RESIDUAL_SKIPS.name), name == RESIDUAL_SKIPS.name)


# --- abhiskk/fast-neural-style ---------------------------------------------------------------------------------

SCALED_EPSILON = 1e-9
"""neural_style/transformer_net.py of that repository: InstanceNormalization(dim, eps=1e-9), variance over n."""
_SCALED = {"scale": "weight", "shift": "bias"}
_NORM = re.compile(r"(?<=in)(\d+)\.(scale|shift)$")


def clean_scaled(tensors: Tensors) -> tuple[Tensors, list[str]]:
    """`in1.scale` and `in1.shift` become `in1.weight` and `in1.bias`."""
    return clean({_NORM.sub(lambda m: f"{m[1]}.{_SCALED[m[2]]}", name): value for name, value in tensors.items()})


def choose_scaled(params: Parameters, found: Shapes, classes: Mapping[str, str]) -> Choice:
    """The only variant of this family."""
    return Choice((SCALED.name,), "its norms have scale and shift, as in abhiskk/fast-neural-style")


def contract_scaled(params: Parameters) -> ImageContract:
    """BGR 0..255 in and out (neural_style/utils.py: preprocess_batch, tensor_save_bgrimage), multiples of 4."""
    known = contract(params)
    return replace(known, input=replace(known.input, order="bgr"), output=replace(known.output, order="bgr"))


SCALED_FAMILY = Family(
    variants=(SCALED,),
    clean=clean_scaled,
    infer=infer,
    shapes=shapes,
    choose=choose_scaled,
    module=module,
    contract=contract_scaled,
    factors=factors,
)

FAMILY = Family(
    variants=(PLAIN, SKIPS, RESIDUAL_SKIPS),
    clean=clean,
    infer=infer,
    shapes=shapes,
    choose=choose,
    module=module,
    contract=contract,
    factors=factors,
)
