"""The cost of layers on Barracuda's workers: the kernels they pick, what they fuse, the memory they move."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.cost.model import Conv, Device, Layer, Worker, read_devices

_FUSED = frozenset(["LeakyRelu", "Relu", "Sigmoid", "Tanh"])
_FUSE_INTO = frozenset(["Add", "BatchNormalization", "Conv", "ConvTranspose", "InstanceNormalization", "Upsample"])
"""Activations that are computed inside the layer before them, and such layers (importer.md section 4)."""
_PHONE_WORKERS = {"compute-arm": "arm", "compute-qualcomm": "qualcomm"}
"""Workers whose kernels depend on the GPU's vendor, and the prefix of these kernels' names here."""
_PLAIN_LOOPS = frozenset(
    ["ConvTranspose", "DepthToSpace", "InstanceNormalization", "LRN", "Resize", "SpaceToDepth", "Upsample"]
)
"""Without a Burst version up to 3.0.0: reference loops (importer.md section 9)."""


@dataclass(frozen=True)
class Tile:
    """Multiples to which a kernel rounds up: output channels, pixels (in a row, and rows; or all), inputs."""

    outputs: int = 1
    pixels: int | tuple[int, int] = 1
    inputs: int = 1

    def issued(self, conv: Conv) -> float:
        """Multiply-adds that are issued for a convolution: lanes without work compute too."""
        taps = math.prod(conv.kernel)
        if isinstance(self.pixels, int):
            pixels = _up(conv.height * conv.width, self.pixels)
        else:
            pixels = _up(conv.width, self.pixels[0]) * _up(conv.height, self.pixels[1])
        return _up(conv.outputs, self.outputs) * pixels * _up(conv.inputs // conv.group, self.inputs) * taps


class _Winograd(Tile):
    """F(2x2, 3x3): 16 multiplications for 2x2 outputs; a group has `outputs` channels and `pixels` squares."""

    def issued(self, conv: Conv) -> float:
        assert isinstance(self.pixels, int)
        squares = _up(math.ceil(conv.width / 2) * math.ceil(conv.height / 2), self.pixels)
        return 16 * _up(conv.outputs, self.outputs) * squares * conv.inputs


def _up(count: int, step: int) -> int:
    return math.ceil(count / step) * step


TILES: Mapping[str, Tile] = {
    "naive": Tile(4, (4, 4)),
    "register-4x2": Tile(),
    "blocked-4x4": Tile(64, 64, 16),
    "strict-4x4": Tile(64, 64, 16),
    "strict-1x1": Tile(64, 64, 16),
    "blocked-8x8": Tile(32, 64, 8),
    "tall-8x8": Tile(16, 256, 4),
    "winograd": _Winograd(16, 16),
    "depthwise": Tile(),
    "arm-4x4": Tile(32, 32, 8),
    "arm-1x1": Tile(32, 32, 8),
    "qualcomm-4x4": Tile(64, 64, 16),
    "qualcomm-1x1": Tile(64, 64, 16),
    "qualcomm-winograd": _Winograd(),
}
"""What each kernel rounds up to. Summed over whole networks they give what was counted for the real kernels with
their own choice and dispatch (gpu.md, "What a convolution costs"; compute.md for Qualcomm)."""


def kernel(conv: Conv, worker: str = "compute") -> str:
    """Which of its kernels a compute worker gives a convolution.

    The worker takes the valid entry with the fewest threads times work each (BarracudaCompute.cs:1010@3.0.0;
    conditions: importer.md section 9). `compute` has channels last, as every worker that does not ask for another
    order; `compute-nchw` asks for it; `compute-arm` is that of ARM's and Apple's GPUs and `compute-qualcomm` that
    of Qualcomm's, which have one kernel for all channel counts (BarracudaCompute.cs:362@3.0.0), and Qualcomm's
    another for small pictures.
    """
    if conv.group > 1:
        return "depthwise"
    if worker == "compute-qualcomm" and _is_small_square(conv):
        return "qualcomm-winograd"
    if worker in _PHONE_WORKERS:
        return _PHONE_WORKERS[worker] + ("-1x1" if conv.kernel == (1, 1) else "-4x4")
    c, k, h, w = conv.inputs, conv.outputs, conv.height, conv.width
    pixels = h * w
    square = conv.kernel == (3, 3) and conv.stride == 1
    entries = [("naive", k * pixels * c * 1.0)]
    if k % 16 == 0 and w % 8 == 0 and h % 4 == 0:
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


def _is_small_square(conv: Conv) -> bool:
    """Whether Qualcomm's Winograd kernel takes a convolution (BarracudaCompute.cs:384@3.0.0)."""
    small = conv.height * conv.width <= 128 * 128 and conv.inputs <= 64 and conv.outputs < 64
    return small and conv.kernel == (3, 3) and conv.stride == 1


def issued(conv: Conv, worker: str = "compute") -> float:
    """Multiply-adds that the chosen kernel issues for one picture; at least those that the network needs,
    except for Winograd, which needs 4 of each 9."""
    return TILES[kernel(conv, worker)].issued(conv)


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
        """The kernel's weight, by what it issues: lanes that no channel or pixel fills cost as much as others."""
        if layer.conv is None or not layer.macs:
            return 1.0
        return terms[kernel(layer.conv, self.name)] * issued(layer.conv, self.name) / layer.macs

    def issued(self, layer: Layer) -> float:
        """Multiply-adds that a convolution's kernel issues; 0 for other layers."""
        return issued(layer.conv, self.name) if layer.conv else 0.0

    def traffic(self, layer: Layer, terms: Mapping[str, float]) -> float:
        """Elements read and written. Normalisation reads its input twice. A Slice is one thread for each element
        that it writes, in groups of 4x4x4 as DepthToSpace and Pad have them, and reads only those (kernel
        StridedSlice of BarracudaReferenceImpl.compute, dispatched by BarracudaReferenceCompute.cs:2426@3.0.0)."""
        read = min(layer.read, layer.written) if layer.operator == "Slice" else layer.read
        return (2 if layer.operator == "InstanceNormalization" else 1) * read + layer.written


@functools.cache
def devices() -> tuple[Device, ...]:
    """The classes of devices of costs.json beside this module."""
    workers = [Burst(), *(Compute(name) for name in ("compute", "compute-nchw", *_PHONE_WORKERS))]
    return read_devices(Path(__file__).with_name("costs.json"), workers)
