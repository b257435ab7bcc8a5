"""TransformerNet of pytorch/examples fast_neural_style, and the variants with extra skips.

Johnson, Alahi, Fei-Fei: Perceptual Losses for Real-Time Style Transfer (2016), with instance norm and
nearest-neighbour upsampling (pytorch/examples:fast_neural_style/neural_style/transformer_net.py). Values are RGB
0..255 in and out, NCHW; the output is not clamped. Height and width must be multiples of 4: the two stride-2
convolutions halve with rounding up, and the decoder doubles twice.

Two layouts of names are known: `res1.*` .. `res5.*` of pytorch/examples, and `resnets.0.*` .. of
cj-mills/End-to-End-In-Game-Style-Transfer-Tutorial, whose graph has extra additions. The shapes are the same, and
networks of that layout were shipped with 5, 8 and 13 additions, so for `resnets.N` the user is asked.
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
    the inner convolutions where they are not 9 and 3; `channels` in and out where they are not 3 and 3.
    """
    widths = [dimension(shapes, f"conv{i}.conv2d.weight", 0, w) for i, w in ((1, 32), (2, 64), (3, 128))]
    blocks = 0
    while any(name.startswith(f"res{blocks + 1}.") for name in shapes):
        blocks += 1
    params: Parameters = {"widths": widths, "blocks": blocks}
    decoder = [dimension(shapes, f"deconv{i}.conv2d.weight", 0, widths[2 - i]) for i in (1, 2)]
    if decoder != [widths[1], widths[0]]:
        params["decoder"] = decoder
    inner = [dimension(shapes, f"res{i + 1}.conv1.conv2d.weight", 0, widths[2]) for i in range(blocks)]
    if any(width != widths[2] for width in inner):
        params["inner"] = inner
    kernels = [
        dimension(shapes, "conv1.conv2d.weight", 2, 9),
        dimension(shapes, "conv2.conv2d.weight", 2, 3),
    ]
    if kernels != [9, 3]:
        params["kernels"] = kernels
    channels = [
        dimension(shapes, "conv1.conv2d.weight", 1, 3),
        dimension(shapes, "deconv3.conv2d.weight", 0, 3),
    ]
    if channels != [3, 3]:
        params["channels"] = channels
    return params


def _layers(params: Parameters) -> list[tuple[str, str, int, int, int]]:
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
    for conv, norm, inputs, outputs, kernel in _layers(params):
        result[f"{conv}.conv2d.weight"] = (outputs, inputs, kernel, kernel)
        result[f"{conv}.conv2d.bias"] = (outputs,)
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

    class ResidualBlock(nn.Module):
        def __init__(self, channels: int, inner: int, kernel: int) -> None:
            super().__init__()
            self.conv1 = ConvLayer(channels, inner, kernel)
            self.in1 = nn.InstanceNorm2d(inner, epsilon, affine=True)
            self.conv2 = ConvLayer(inner, channels, kernel)
            self.in2 = nn.InstanceNorm2d(channels, epsilon, affine=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.in2(self.conv2(f.relu(self.in1(self.conv1(x))))) + x

    class TransformerNet(nn.Module):
        def __init__(self, long_skips: bool, residual_twice: bool) -> None:
            super().__init__()
            self.long_skips, self.residual_twice = long_skips, residual_twice
            convs, norms = {}, {}
            for conv, norm, inputs, outputs, kernel in _layers(params):
                convs[conv] = (inputs, outputs, kernel)
                norms[norm] = outputs
            self.conv1, self.in1 = (
                ConvLayer(*convs["conv1"]),
                nn.InstanceNorm2d(norms["in1"], epsilon, affine=True),
            )
            self.conv2, self.in2 = (
                ConvLayer(*convs["conv2"], 2),
                nn.InstanceNorm2d(norms["in2"], epsilon, affine=True),
            )
            self.conv3, self.in3 = (
                ConvLayer(*convs["conv3"], 2),
                nn.InstanceNorm2d(norms["in3"], epsilon, affine=True),
            )
            self.blocks = [f"res{i}" for i in range(1, params["blocks"] + 1)]
            for name in self.blocks:
                self.add_module(name, ResidualBlock(*convs[f"{name}.conv1"]))
            self.deconv1, self.in4 = (
                ConvLayer(*convs["deconv1"]),
                nn.InstanceNorm2d(norms["in4"], epsilon, affine=True),
            )
            self.deconv2, self.in5 = (
                ConvLayer(*convs["deconv2"]),
                nn.InstanceNorm2d(norms["in5"], epsilon, affine=True),
            )
            self.deconv3 = ConvLayer(*convs["deconv3"])

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
)

FAMILY = Family(
    variants=(PLAIN, SKIPS, RESIDUAL_SKIPS),
    clean=clean,
    infer=infer,
    shapes=shapes,
    choose=choose,
    module=module,
    contract=contract,
)
