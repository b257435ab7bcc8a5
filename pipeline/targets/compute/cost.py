"""What layers cost the compiled kernels: only what is a dispatch of its own costs anything.

The weights of a multiply-add are instructions, counted in compiled shaders (docs/compute.md), against those of a
GPU's usual matrix kernels; how fast a GPU carries them out is taken from classes that are anchored to published
frame rates. Nothing here is measured on a GPU.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from pathlib import Path

from pipeline.cost.model import Conv, Device, Layer, Worker, read_devices

_OWN_DISPATCH = frozenset(
    [
        "AveragePool",
        "Conv",
        "ConvTranspose",
        "DepthToSpace",
        "GlobalAveragePool",
        "InstanceNormalization",
        "LayerNormalization",
        "MaxPool",
        "ReduceMean",
        "Resize",
        "Softmax",
    ]
)
"""Operators that are at least one dispatch; the others are mostly fused into the dispatches around them."""
_BINARY = frozenset(["Add", "Sub", "Mul", "Div"])
_LARGE = 5
"""Kernels from this width on read more of the groupshared tile for each multiply-add."""


def kernel(conv: Conv) -> str:
    """Which kind of kernel a convolution is compiled to."""
    if conv.group > 1 and conv.group == conv.inputs == conv.outputs:
        return "depthwise"
    if conv.outputs <= 4:
        return "few-outputs"
    if conv.stride > 1:
        return "strided"
    return "large" if max(conv.kernel) >= _LARGE else "tile"


def _of_two_pictures(layer: Layer) -> bool:
    """Whether a sum or product has two operands of full size, not a constant or one number for each channel."""
    return layer.operator in _BINARY and 2 * layer.read >= 3 * layer.written


class Compiled(Worker):
    """The kernels of a plan."""

    name = "compiled"

    def fuses(self, layer: Layer) -> bool:
        return layer.operator not in _OWN_DISPATCH and not _of_two_pictures(layer)

    def weight(self, layer: Layer, terms: Mapping[str, float]) -> float:
        """A thread computes 8 output channels, or 4 where there are no more; inputs are taken four at a time."""
        conv = layer.conv
        if conv is None:
            return 1.0
        if kernel(conv) == "depthwise":
            return terms["depthwise"]
        step = 8 if conv.outputs > 4 else 4
        wasted = math.ceil(conv.outputs / step) * step / conv.outputs
        if conv.outputs <= 4:
            wasted = 1.0
        if conv.inputs > 4:
            wasted *= math.ceil(conv.inputs / 4) * 4 / conv.inputs
        return terms[kernel(conv)] * wasted

    def traffic(self, layer: Layer, terms: Mapping[str, float]) -> float:
        """What is read and written; statistics leave three numbers for a tile, and a merge reads them."""
        if layer.operator == "InstanceNormalization":
            return 0.0
        # What reads the result reads both operands instead of it.
        return float(layer.read - layer.written if _of_two_pictures(layer) else layer.read + layer.written)


@functools.cache
def devices() -> tuple[Device, ...]:
    """The classes of devices of costs.json beside this module."""
    return read_devices(Path(__file__).with_name("costs.json"), [Compiled()])
