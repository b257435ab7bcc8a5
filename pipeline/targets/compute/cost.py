"""The cost model of the compiled kernels: an operator costs something only if it is a dispatch of its own.

The weight of a multiply-add is the number of instructions counted in compiled shaders (docs/compute.md), relative
to a GPU's usual matrix kernels; the speed of a GPU is that of device classes anchored to published frame rates.
Nothing here was measured on a GPU.
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
"""From this kernel size on, a multiply-add reads more of the groupshared tile."""


def kernel(conv: Conv) -> str:
    """The kind of kernel that a convolution is compiled to, as costs.json names it."""
    if conv.group > 1 and conv.group == conv.inputs == conv.outputs:
        return "depthwise"
    if conv.outputs <= 4:
        return "few-outputs"
    if conv.stride > 1:
        return "strided"
    return "large" if max(conv.kernel) >= _LARGE else "tile"


def _of_two_pictures(layer: Layer) -> bool:
    """Whether both operands of a sum or product are feature maps of full size."""
    return layer.operator in _BINARY and 2 * layer.read >= 3 * layer.written


class Compiled(Worker):
    """The cost of the kernels of a plan."""

    name = "compiled"

    def fuses(self, layer: Layer) -> bool:
        return layer.operator not in _OWN_DISPATCH and not _of_two_pictures(layer)

    def weight(self, layer: Layer, terms: Mapping[str, float]) -> float:
        """Relative cost of a multiply-add: threads compute 8 output channels (or 4), in steps of 4 inputs."""
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
        """Elements read and written; statistics are three numbers per tile, which are not counted."""
        if layer.operator == "InstanceNormalization":
            return 0.0
        # What reads the result reads both operands instead of it.
        return float(layer.read - layer.written if _of_two_pictures(layer) else layer.read + layer.written)


@functools.cache
def devices() -> tuple[Device, ...]:
    """The device classes of costs.json."""
    return read_devices(Path(__file__).with_name("costs.json"), [Compiled()])
