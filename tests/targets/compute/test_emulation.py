"""A plan means what its network means: the emulation against ONNX Runtime, at odd sizes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from pipeline.graph.runtime import run, session
from pipeline.targets.compute import emulation, execution, file
from pipeline.targets.compute.compiler import compile_graph
from tests.targets.compute.networks import NETWORKS, Net, made, model, sizes


def compiled(name: str, half: bool = False):
    graph = made(name)
    done = compile_graph(graph, half=half)
    assert not done.refused, done.refused
    assert done.plan is not None
    return graph, done.plan


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_plan_computes_the_network(name):
    graph, plan = compiled(name)
    plan = file.parse(file.write(plan))
    runner, opened = emulation.runner(plan), session(model(graph))
    for height, width in sizes(name, plan.size):
        picture = np.random.default_rng(1).random((1, plan.channels[0], height, width), dtype=np.float32)
        expected = run(opened, picture)
        assert np.isfinite(expected).all()
        made_ = runner(picture)
        assert made_.shape == expected.shape
        assert expected.std() > 0.02, "the picture says something"
        assert 255 * np.abs(made_ - expected).max() < 0.05


@pytest.mark.parametrize("name", ["style", "segmentation", "residual"])
def test_half_precision_stays_near(name):
    _, plan = compiled(name)
    _, half = compiled(name, half=True)
    picture = np.random.default_rng(1).random((1, 3, *plan.size), dtype=np.float32)
    error = emulation.runner(half)(picture) - emulation.runner(plan)(picture)
    assert 0 < np.sqrt((error**2).mean()) < 10 ** (-55 / 20)


def test_what_is_read_before_it_is_written_shows(monkeypatch):
    """Buffers begin as not-a-number, so that a plan whose values share a buffer too early cannot pass."""
    _, plan = compiled("style")
    for value in plan.values:
        value.slot = 0 if value.slot >= 0 else -1
    made_ = emulation.runner(plan)(np.random.default_rng(1).random((1, 3, *plan.size), dtype=np.float32))
    _, right = compiled("style")
    assert not np.allclose(
        made_, emulation.runner(right)(np.zeros((1, 3, *plan.size), np.float32)), equal_nan=True
    )


def exact(graph):
    """The network in float64, by ONNX's reference."""
    held = model(graph)
    for tensor in held.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            double = onnx.numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(onnx.numpy_helper.from_array(double, tensor.name))
    for value in (*held.graph.input, *held.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    evaluator = ReferenceEvaluator(held)
    return lambda picture: evaluator.run(None, {"image": picture.astype(np.float64)})[0]


FRAMES = {
    "black": lambda noise: np.zeros_like(noise),
    "grey": lambda noise: np.full_like(noise, 0.5),
    "white": lambda noise: np.ones_like(noise),
    "low contrast": lambda noise: 0.99 + 0.01 * noise,
    "lower contrast": lambda noise: 0.996 + 0.004 * noise,
    "next to none": lambda noise: 0.9995 + 0.0005 * noise,
    "dim": lambda noise: 0.001 * noise,
    "noise": lambda noise: noise,
}


@pytest.mark.parametrize("kernels", [False, True], ids=["emulation", "kernels"])
def test_flat_and_nearly_flat_frames_are_right(kernels):
    """Where normalisation by E[x^2] - E[x]^2, and float32 convolutions of the picture, are off by whole levels."""
    graph, plan = compiled("style")
    run_exactly = exact(graph)
    if kernels:
        execution.use_software()
    runner = execution.Executor(plan, *plan.size).run if kernels else emulation.runner(plan)
    noise = np.random.default_rng(3).random((1, 3, *plan.size), dtype=np.float32)
    for name, of in FRAMES.items():
        frame = of(noise).astype(np.float32)
        assert 255 * np.abs(runner(frame) - run_exactly(frame)).max() < 0.01, name


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
