"""What the emulation shows of a plan: half precision, buffers given on too early, reading relative to a pixel.

That it computes what the kernels do, at odd sizes, is held in test_kernels.py.
"""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.targets.compute import emulation
from pipeline.targets.compute.compiler import compile_graph
from tests.targets.compute.networks import Net, made


def compiled(name: str, half: bool = False):
    graph = made(name)
    done = compile_graph(graph, half=half)
    assert not done.refused, done.refused
    assert done.plan is not None
    return graph, done.plan


@pytest.mark.parametrize("name", ["style", "segmentation", "residual"])
def test_half_precision_stays_near(name):
    _, plan = compiled(name)
    _, half = compiled(name, half=True)
    picture = np.random.default_rng(1).random((1, 3, *plan.size.hw), dtype=np.float32)
    error = emulation.runner(half)(picture) - emulation.runner(plan)(picture)
    assert 0 < np.sqrt((error**2).mean()) < 10 ** (-55 / 20)


def test_what_is_read_before_it_is_written_shows(monkeypatch):
    """Buffers begin as not-a-number, so that a plan whose values share a buffer too early cannot pass."""
    _, plan = compiled("style")
    for value in plan.values:
        value.slot = 0 if value.slot >= 0 else -1
    made_ = emulation.runner(plan)(np.random.default_rng(1).random((1, 3, *plan.size.hw), dtype=np.float32))
    _, right = compiled("style")
    assert not np.allclose(
        made_, emulation.runner(right)(np.zeros((1, 3, *plan.size.hw), np.float32)), equal_nan=True
    )


def test_a_picture_is_read_relative_to_a_pixel_only_where_a_norm_takes_that_off():
    def first(build):
        net = Net()
        plan = compile_graph(net.graph(net.painted(build(net)))).plan
        return plan.dispatches[0].macro("CENTRED")

    scale = [[[2.0]], [[2.1]], [[1.9]]]
    assert first(lambda n: n.norm(n.conv(n.pad(n.image, 1), 3, 3, 3), 3))
    assert first(lambda n: n.norm(n.conv(n.pad(n.scaled(n.image, scale, -1.0), 1, mode="edge"), 3, 3, 3), 3))
    assert first(lambda n: n.norm(n.conv(n.image, 3, 3, 3), 3)), "nothing is padded"
    assert not first(lambda n: n.norm(n.conv(n.pad(n.image, 1, mode="constant"), 3, 3, 3), 3))
    assert not first(lambda n: n.norm(n.conv(n.image, 3, 3, 3, pads=[1, 1, 1, 1]), 3))
    assert not first(lambda n: n.norm(n.op("Relu", n.conv(n.image, 3, 3, 3)), 3))
    assert not first(lambda n: n.op("Relu", n.conv(n.image, 3, 3, 3)))
    assert not first(lambda n: n.norm(n.conv(n.op("Relu", n.image), 3, 3, 3), 3))
