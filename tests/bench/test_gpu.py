"""Timing on the GPU ends in bounded time, on a device of any speed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pipeline.bench.gpu import LONGEST, PROBE, OnGpu
from pipeline.report.bench import _measured_on_gpu
from pipeline.support.size import Size

SIZES = (Size(720, 540), Size(1280, 720), Size(1920, 1080))


class Device:
    """A subject whose runs take `pace` milliseconds of a pixel."""

    def __init__(self, pace: float, fixed: Size | None = None, least: int = 0) -> None:
        self.pace, self.least = pace, least
        self.lowered = SimpleNamespace(fixed_size=fixed)
        self.ran: list[tuple[Size, float]] = []

    def sized(self, size: Size) -> Size:
        return self.lowered.fixed_size or size

    def on_gpu(self, size: Size, seconds: float):
        if size.width < self.least:
            raise ValueError("too small")
        self.ran.append((size, seconds))
        return {"minimum": self.pace * size.pixels, "median": self.pace * size.pixels, "runs": 1, "device": "GPU"}


def test_a_fast_device_is_timed_at_every_size():
    device = Device(1e-6)
    gpu = OnGpu(device, 3.0)
    assert all("minimum" in gpu.measured(size) for size in SIZES)
    probe = Size(720 // PROBE, 540 // PROBE)
    assert device.ran == [(probe, 0.0), *((size, 3.0) for size in SIZES)]


def test_a_slow_device_is_not_begun_where_it_would_take_long():
    device = Device(1000 * LONGEST / SIZES[1].pixels)
    gpu = OnGpu(device, 3.0)
    reported = [gpu.measured(size) for size in SIZES]
    assert "minimum" in reported[0] and "minimum" in reported[1]
    assert reported[2] == {"left_out_seconds": pytest.approx(LONGEST * SIZES[2].pixels / SIZES[1].pixels, abs=0.1)}
    assert SIZES[2] not in [size for size, _ in device.ran]
    slowest = Device(1.0)
    assert "left_out_seconds" in OnGpu(slowest, 3.0).measured(SIZES[0])
    assert len(slowest.ran) == 1 and slowest.ran[0][0].pixels < SIZES[0].pixels / 10
    models = [{"label": "net", "sizes": {str(s): {"gpu": item} for s, item in zip(SIZES, reported, strict=True)}}]
    lines = list(_measured_on_gpu({"models": models, "sizes": [str(size) for size in SIZES]}, 5))
    assert "left out: one run would take about 45 s" in lines[3]


def test_networks_of_one_size_or_none_so_small_are_not_probed():
    fixed = Device(1e-6, fixed=Size(256, 144))
    assert "minimum" in OnGpu(fixed, 3.0).measured(SIZES[0]) and len(fixed.ran) == 1
    large = Device(1e-6, least=400)
    assert "minimum" in OnGpu(large, 3.0).measured(SIZES[0]) and large.ran == [(SIZES[0], 3.0)]
