"""What layers cost the workers of Sentis and Inference Engine: the kernels that they pick, and what they fuse."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from pathlib import Path

from pipeline.cost.model import Conv, Device, Layer, Worker, read_devices

_BLOCK = 8
"""Output channels that a thread of the GPU kernels computes, beside 4 pixels (GPUCompute.cs:397@2.4.0)."""
_FUSE_INTO = frozenset(["Conv", "ConvTranspose", "Gemm"])
"""Layers that take a Relu into themselves: the only fused activation (FuseActivationsPass.cs:27@2.4.0)."""


def kernel(conv: Conv, worker: str = "gpu-compute") -> str:
    """Which kernel GPUCompute gives a convolution (GPUCompute.cs:367@2.4.0)."""
    if conv.group > 1:
        if conv.group != conv.outputs or conv.inputs != conv.group:
            return "grouped"
        return "depthwise-winograd" if conv.kernel == (3, 3) and conv.stride == 1 else "depthwise"
    if worker == "gpu-compute-generic":
        return "generic"
    return "conv-1x1" if conv.kernel == (1, 1) else "conv-kxk"


class _Unity(Worker):
    def fuses(self, layer: Layer) -> bool:
        return layer.operator == "Relu" and layer.behind in _FUSE_INTO


class GpuCompute(_Unity):
    """GPUCompute: threads of 4 pixels times 8 output channels; a last block of fewer than 8 costs a whole one."""

    def __init__(self, name: str) -> None:
        self.name = name

    def weight(self, layer: Layer, terms: Mapping[str, float]) -> float:
        conv = layer.conv
        if conv is None:
            return 1.0
        wasted = 1.0 if conv.group > 1 else math.ceil(conv.outputs / _BLOCK) * _BLOCK / conv.outputs
        return terms[kernel(conv, self.name)] * wasted

    def traffic(self, layer: Layer, terms: Mapping[str, float]) -> float:
        """Elements read and written; a normalisation reads its input twice (GPUCompute.cs:1376@2.4.0)."""
        return (2 if layer.operator == "InstanceNormalization" else 1) * layer.read + layer.written


class BurstJobs(_Unity):
    """CPU: a matrix product for each tap of a kernel; every other operator in Burst jobs of its own."""

    name = "burst-jobs"

    def weight(self, layer: Layer, terms: Mapping[str, float]) -> float:
        conv = layer.conv
        if conv is None:
            return 1.0
        return terms["depthwise" if conv.group > 1 else "pointwise" if conv.kernel == (1, 1) else "shifted"]

    def traffic(self, layer: Layer, terms: Mapping[str, float]) -> float:
        """Elements read, for each tap of a convolution, and written."""
        return layer.read * (math.prod(layer.conv.kernel) if layer.conv else 1) + layer.written


@functools.cache
def devices() -> tuple[Device, ...]:
    """The classes of devices of costs.json beside this module."""
    workers = [GpuCompute("gpu-compute"), GpuCompute("gpu-compute-generic"), BurstJobs()]
    return read_devices(Path(__file__).with_name("costs.json"), workers)
