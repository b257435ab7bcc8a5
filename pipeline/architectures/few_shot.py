"""GeneratorJ of "Interactive Video Stylization Using Few-Shot Patch-Based Training" (Texler et al., 2020).

OndrejTexler/Few-Shot-Patch-Based-Training:models.py. Values are -1..1 in and out (ToTensor, Normalize(0.5, 0.5);
custom_transforms.py), NCHW, zero padding everywhere; height and width must be multiples of 4, as skips are joined
by Concat. Batch norm keeps real running statistics, so the network must be in eval mode. Its forward evaluates
conv2 twice with the same result; here it is evaluated once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.architectures.base import Choice, Family, Parameters, Shapes, Tensors, Variant, dimension
from pipeline.contract import ImageContract, ImageSide

if TYPE_CHECKING:
    from torch import nn

BATCH_NORM = Variant("few-shot", "GeneratorJ with batch norm (its default)")
INSTANCE_NORM = Variant("few-shot-instance-norm", "GeneratorJ with norm_layer='instance_norm'")
NO_NORM = Variant("few-shot-no-norm", "GeneratorJ with norm_layer=None")

SLOPE = 0.2
"""Negative slope of the three encoder activations."""


def clean(tensors: Tensors) -> tuple[Tensors, list[str]]:
    """Drop batch norm's counters, which only training reads."""
    return {k: v for k, v in tensors.items() if not k.endswith(".num_batches_tracked")}, []


def infer(shapes: Shapes) -> Parameters:
    """`filters`, `resnet_blocks`, `input_channels`, `use_bias`, `tanh`, `append_smoothers`, `batch_norm`.

    Of pruned networks also `inner`, the widths inside the blocks, where they are not filters[2]; `up`, the width
    of upconv1, where it is not filters[4]; `smooth`, the widths of conv_11_a, where they are not filters[5].
    """
    defaults = (32, 64, 128, 128, 128, 64)
    f0 = dimension(shapes, "conv0.conv.weight", 0, defaults[0])
    f1 = dimension(shapes, "conv1.conv.weight", 0, defaults[1])
    f2 = dimension(shapes, "conv2.conv.weight", 0, defaults[2])
    f3 = dimension(shapes, "upconv2.1.weight", 1, f2 + f2) - f2
    f4 = dimension(shapes, "upconv2.1.weight", 0, defaults[4])
    f5 = dimension(shapes, "conv_11.0.weight", 0, defaults[5])
    blocks = 0
    while any(name.startswith(f"resnets.{blocks}.") for name in shapes):
        blocks += 1
    params: Parameters = {
        "filters": [f0, f1, f2, f3, f4, f5],
        "resnet_blocks": blocks,
        "input_channels": dimension(shapes, "conv0.conv.weight", 1, 3),
        "use_bias": "conv0.conv.bias" in shapes,
        "tanh": "conv_12.0.weight" in shapes,
        "append_smoothers": "conv_11_a.0.weight" in shapes,
        "batch_norm": "conv0.normalization.running_mean" in shapes,
    }
    inner = [dimension(shapes, f"resnets.{i}.conv_0.weight", 0, f2) for i in range(blocks)]
    if any(width != f2 for width in inner):
        params["inner"] = inner
    if (up := dimension(shapes, "upconv1.1.weight", 0, f4)) != f4:
        params["up"] = up
    smooth = [dimension(shapes, f"conv_11_a.{i}.weight", 0, f5) for i in (0, 3)]
    if smooth != [f5, f5]:
        params["smooth"] = smooth
    return params


def _more_widths(params: Parameters) -> tuple[list[int], int, tuple[int, int]]:
    """Widths inside the blocks, of upconv1, and of the two smoothers."""
    _, _, f2, _, f4, f5 = params["filters"]
    first, second = params.get("smooth", (f5, f5))
    return params.get("inner", [f2] * params["resnet_blocks"]), params.get("up", f4), (first, second)


def shapes(params: Parameters) -> Shapes:
    """The tensors of a network with these parameters, in the order of its state dict."""
    f0, f1, f2, _, f4, f5 = params["filters"]
    channels, bias = params["input_channels"], params["use_bias"]
    inner, up, (smooth, last) = _more_widths(params)
    result: Shapes = {}

    def conv(name: str, inputs: int, outputs: int, kernel: int, with_bias: bool) -> None:
        result[f"{name}.weight"] = (outputs, inputs, kernel, kernel)
        if with_bias:
            result[f"{name}.bias"] = (outputs,)

    def norm(name: str, channels: int, present: bool) -> None:
        if present:
            for part in ("weight", "bias", "running_mean", "running_var"):
                result[f"{name}.{part}"] = (channels,)

    for name, inputs, outputs, kernel in (
        ("conv0", channels, f0, 7),
        ("conv1", f0, f1, 3),
        ("conv2", f1, f2, 3),
    ):
        conv(f"{name}.conv", inputs, outputs, kernel, bias)
        norm(f"{name}.normalization", outputs, params["batch_norm"])
    for i, width in enumerate(inner):
        conv(f"resnets.{i}.conv_0", f2, width, 3, bias)
        norm(f"resnets.{i}.normalization", width, params["batch_norm"])
        conv(f"resnets.{i}.conv_1", width, f2, 3, bias)
    # filters[3] only sizes upconv2's input, which is joined of two tensors with filters[2] channels.
    conv("upconv2.1", f2 + f2, f4, 3, False)
    norm("upconv2.2", f4, params["batch_norm"])
    conv("upconv1.1", f4 + f1, up, 3, False)
    norm("upconv1.2", up, params["batch_norm"])
    conv("conv_11.0", f0 + up + channels, f5, 7, bias)
    if params["append_smoothers"]:
        conv("conv_11_a.0", f5, smooth, 3, bias)
        norm("conv_11_a.2", smooth, True)
        conv("conv_11_a.3", smooth, last, 3, bias)
    conv("conv_12.0" if params["tanh"] else "conv_12", last, 3, 1, True)
    return result


def choose(params: Parameters, found: Shapes, classes: Mapping[str, str]) -> Choice:
    """Batch norm has tensors; the other norms differ only in the class names of a whole-module pickle."""
    names = "the names conv0.conv.*, upconv2.1.*, conv_11.0.* are those of GeneratorJ"
    if params["batch_norm"]:
        return Choice((BATCH_NORM.name,), f"{names} (few-shot patch-based training), with batch norm")
    if classes:
        norm = classes.get("conv0.normalization", "")
        if not norm:
            return Choice((NO_NORM.name,), f"{names}, and the pickled module has no norm layers")
        if norm.endswith(".InstanceNorm2d"):
            return Choice((INSTANCE_NORM.name,), f"{names}, and its norm layers are InstanceNorm2d")
    return Choice((INSTANCE_NORM.name, NO_NORM.name), f"{names}, without batch norm: instance norm has no tensors")


def contract(params: Parameters) -> ImageContract:
    """RGB -1..1 in and out (generate.py: clamp(-1, 1), (x + 1) * 127.5)."""
    return ImageContract(ImageSide("-1..1", channels=params["input_channels"]), ImageSide("-1..1"))


def module(name: str, params: Parameters) -> nn.Module:
    """The torch module, with the names of GeneratorJ; x is (N, C, H, W) float32 -1..1."""
    import torch
    from torch import nn

    f0, f1, f2, _, f4, f5 = params["filters"]
    channels, bias = params["input_channels"], params["use_bias"]
    inner, up_width, (smooth, last_width) = _more_widths(params)

    def norm(width: int) -> list[tuple[str, nn.Module]]:
        match name:
            case BATCH_NORM.name:
                return [("normalization", nn.BatchNorm2d(width))]
            case INSTANCE_NORM.name:
                return [("normalization", nn.InstanceNorm2d(width))]
            case _:
                return []

    def sequence(*layers: tuple[str, nn.Module]) -> nn.Sequential:
        result = nn.Sequential()
        for key, layer in layers:
            result.add_module(key, layer)
        return result

    def down(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)
        return sequence(("conv", conv), *norm(outputs), ("nonlinearity", nn.LeakyReLU(SLOPE)))

    def block(width: int) -> nn.Sequential:
        return sequence(
            ("nonlinearity_0", nn.ReLU()),
            ("conv_0", nn.Conv2d(f2, width, 3, 1, 1, bias=bias)),
            *norm(width),
            ("nonlinearity_1", nn.ReLU()),
            ("conv_1", nn.Conv2d(width, f2, 3, 1, 1, bias=bias)),
        )

    def up(inputs: int, outputs: int) -> nn.Sequential:
        conv = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        norms = [layer for _, layer in norm(outputs)]
        return nn.Sequential(nn.Upsample(scale_factor=2.0, mode="nearest"), conv, *norms, nn.ReLU())

    class GeneratorJ(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv0 = down(channels, f0, 7, 1)
            self.conv1 = down(f0, f1, 3, 2)
            self.conv2 = down(f1, f2, 3, 2)
            self.resnets = nn.ModuleList(block(width) for width in inner)
            self.upconv2 = up(f2 + f2, f4)
            self.upconv1 = up(f4 + f1, up_width)
            self.conv_11 = nn.Sequential(nn.Conv2d(f0 + up_width + channels, f5, 7, 1, 3, bias=bias), nn.ReLU())
            self.conv_11_a = None
            if params["append_smoothers"]:
                self.conv_11_a = nn.Sequential(
                    nn.Conv2d(f5, smooth, 3, 1, 1, bias=bias),
                    nn.ReLU(),
                    nn.BatchNorm2d(smooth),
                    nn.Conv2d(smooth, last_width, 3, 1, 1, bias=bias),
                    nn.ReLU(),
                )
            last = nn.Conv2d(last_width, 3, 1, 1, 0, bias=True)
            self.conv_12 = nn.Sequential(last, nn.Tanh()) if params["tanh"] else last

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first = self.conv0(x)
            second = self.conv1(first)
            third = self.conv2(second)
            y = third
            for layer in self.resnets:
                y = layer(y) + y
            y = self.upconv2(torch.cat((y, third), dim=1))
            y = self.upconv1(torch.cat((y, second), dim=1))
            y = self.conv_11(torch.cat((y, first, x), dim=1))
            if self.conv_11_a is not None:
                y = self.conv_11_a(y)
            return self.conv_12(y)

    return GeneratorJ()


FAMILY = Family(
    variants=(BATCH_NORM, INSTANCE_NORM, NO_NORM),
    clean=clean,
    infer=infer,
    shapes=shapes,
    choose=choose,
    module=module,
    contract=contract,
)
