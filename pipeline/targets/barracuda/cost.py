"""What layers cost Barracuda's workers: the kernels that they pick, what they fuse, and what they move."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from pathlib import Path

from pipeline.cost.model import Conv, Device, Layer, Worker, read_devices

_FUSED = frozenset(["LeakyRelu", "Relu", "Sigmoid", "Tanh"])
_FUSE_INTO = frozenset(["Add", "BatchNormalization", "Conv", "ConvTranspose", "InstanceNormalization", "Upsample"])
"""Activations that are computed inside the layer before them, and such layers (importer.md section 4)."""
_PLAIN_LOOPS = frozenset(
    ["ConvTranspose", "DepthToSpace", "InstanceNormalization", "LRN", "Resize", "SpaceToDepth", "Upsample"]
)
"""Without a Burst version up to 3.0.0: reference loops (importer.md section 9)."""


def kernel(conv: Conv, worker: str = "compute") -> str:
    """Which of its kernels a compute worker gives a convolution.

    The worker takes the valid entry with the fewest threads times work each (BarracudaCompute.cs:1010@3.0.0;
    conditions: importer.md section 9). `compute` has channels last, as every worker that does not ask for another
    order; `compute-nchw` asks for it; `compute-mobile` is that of ARM's and Apple's GPUs, which have their own.
    """
    if conv.group > 1:
        return "depthwise"
    if worker == "compute-mobile":
        return "mobile-1x1" if conv.kernel == (1, 1) else "mobile-4x4"
    c, k, h, w = conv.inputs, conv.outputs, conv.height, conv.width
    pixels = h * w
    square = conv.kernel == (3, 3) and conv.stride == 1
    entries = [("naive", k * pixels * c * 1.0)]
    if k % 64 == 0 and w % 8 == 0 and h % 4 == 0:
        entries.append(("register-4x2", k * (w // 4) * (h // 2) * c * 1.1 / 2))
    blocks = math.ceil(k / 4) * math.ceil(pixels / 4) * c
    if k >= 16 and c >= 16:
        entries.append(("blocked-4x4", blocks / 4))
    if k % 64 == 0 and c % 16 == 0:
        entries.append(("strict-4x4", blocks * 0.9 / 4))
        if conv.kernel == (1, 1) and conv.stride == 1:
            entries.append(("strict-1x1", blocks * 0.8 / 4))
    if worker == "compute-nchw":
        entries += _nchw_entries(conv, square)
    return min(entries, key=lambda entry: entry[1])[0]


def _nchw_entries(conv: Conv, square: bool) -> list[tuple[str, float]]:
    c, k, pixels = conv.inputs, conv.outputs, conv.height * conv.width
    entries = []
    if square and c % 8 == 0 and (k % 64 or c >= 64 or pixels <= 128 * 128):
        tiles = math.ceil(math.ceil(conv.width / 2) * math.ceil(conv.height / 2) / 16)
        weight = 0.9 if k % 16 else 0.8
        entries.append(("winograd", 256 * math.ceil(k / 16) * tiles * c * weight / 64 / 2.25))
    eighths = math.ceil(k / 8) * math.ceil(pixels / 8)
    if eighths >= 4096:
        if c % 8 == 0 and k % 16 == 0 and k >= 32:
            entries.append(("blocked-8x8", eighths * c * (0.75 if k % 64 else 0.7)))
        if pixels > 256 and (c % 4 == 0 or k % 16 == 0):
            entries.append(("tall-8x8", eighths * c * (1.1 if c % 4 == 0 and k % 16 == 0 else 1.25)))
    return entries


class _Unity(Worker):
    def fuses(self, layer: Layer) -> bool:
        return layer.operator in _FUSED and layer.behind in _FUSE_INTO


class Burst(_Unity):
    """CSharpBurst: a matrix product for each kernel tap; some operators run in loops of plain C#."""

    name = "burst"

    def weight(self, layer: Layer, terms: Mapping[str, float]) -> float:
        return terms["pointwise" if layer.conv.kernel == (1, 1) else "shifted"] if layer.conv else 1.0

    def traffic(self, layer: Layer, terms: Mapping[str, float]) -> float:
        """Elements read, for each tap of a convolution, and written; `loops` times that in loops of plain C#."""
        taps = math.prod(layer.conv.kernel) if layer.conv else 1
        return (layer.read * taps + layer.written) * (terms["loops"] if layer.operator in _PLAIN_LOOPS else 1.0)


class Compute(_Unity):
    """ComputePrecompiled, or another order of channels or kind of GPU: see `kernel`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def weight(self, layer: Layer, terms: Mapping[str, float]) -> float:
        return terms[kernel(layer.conv, self.name)] if layer.conv else 1.0

    def traffic(self, layer: Layer, terms: Mapping[str, float]) -> float:
        """Elements read and written; normalisation reads its input twice."""
        return (2 if layer.operator == "InstanceNormalization" else 1) * layer.read + layer.written


@functools.cache
def devices() -> tuple[Device, ...]:
    """The classes of devices of costs.json beside this module."""
    workers = [Burst(), Compute("compute"), Compute("compute-mobile")]
    return read_devices(Path(__file__).with_name("costs.json"), workers)
