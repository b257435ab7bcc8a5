"""The cost model: which kernels layers get, and what the laws make of them."""

from __future__ import annotations

import pytest

from pipeline import targets
from pipeline.cost.model import Conv, at_size, counted, device, devices, layers
from pipeline.graph import from_model
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from pipeline.targets.barracuda.cost import kernel
from tests.networks import style_onnx
from tests.rewrites import model, node, random


def conv(inputs: int, outputs: int, size: int = 3, height: int = 270, width: int = 360, **other: int) -> Conv:
    return Conv(inputs, outputs, (size, size), other.get("stride", 1), other.get("group", 1), height, width)


@pytest.mark.parametrize(
    ("given", "worker", "wanted"),
    [
        (conv(3, 32, 9), "compute", "naive"),
        (conv(32, 3, 9), "compute", "naive"),
        (conv(16, 16), "compute", "blocked-4x4"),
        (conv(15, 16), "compute", "naive"),
        (conv(16, 64), "compute", "strict-4x4"),
        (conv(16, 64, 1), "compute", "strict-1x1"),
        (conv(3, 64, height=360, width=360), "compute", "register-4x2"),
        (conv(32, 32, group=32), "compute", "depthwise"),
        (conv(32, 32), "compute-nchw", "winograd"),
        (conv(32, 32, 5), "compute-nchw", "blocked-8x8"),
        (conv(3, 9), "compute-mobile", "mobile-4x4"),
    ],
)
def test_the_kernel_follows_importer_section_9(given: Conv, worker: str, wanted: str) -> None:
    assert kernel(given, worker) == wanted


def relu_after(operator: str, **attrs: object) -> list[bool]:
    constants = {"w": random((4, 3, 3, 3))} if operator == "Conv" else {"w": random((1, 3, 1, 1))}
    graph = from_model(model([node(operator, "x w", "c", **attrs), node("Relu", "c", "y")], constants))
    return [device("desktop").worker.fuses(layer) for layer in layers(graph)]


def test_an_activation_behind_a_convolution_costs_unity_nothing() -> None:
    assert relu_after("Conv", kernel_shape=[3, 3]) == [False, True]
    assert relu_after("Mul") == [False, False]


def test_layers_count_arithmetic_and_traffic_at_any_size(tmp_path) -> None:
    import onnx

    graph = from_model(onnx.load(style_onnx(tmp_path / "net.onnx", (32, 48))))
    found = {layer.name: layer for layer in at_size(graph, Size(96, 64))}
    assert graph.inputs[0].shape == [1, 3, 32, 48]
    first = found["c1"]
    assert first.macs == 4 * 3 * 9 * 32 * 48
    assert (first.read, first.written) == (3 * 66 * 98, 4 * 32 * 48)
    assert found["u1"].written == 4 * 64 * 96


def test_twice_the_picture_costs_up_to_twice(tmp_path) -> None:
    import onnx

    graph = from_model(onnx.load(style_onnx(tmp_path / "net.onnx")))
    told = [counted(graph, Size(width, 384), devices().values())["predicted"] for width in (512, 1024)]
    for name in devices():
        small, large = (held[name] for held in told)
        assert small < large < 2.2 * small, name


def test_each_device_says_where_its_terms_are_from() -> None:
    assert next(iter(devices())) == "here"
    for held in devices().values():
        assert held.basis and held.error > 1 and held.gelem > 0
    with pytest.raises(PipelineError, match="unknown-device"):
        device("toaster")


def test_a_target_has_the_devices_of_its_family_and_this_machine():
    from pipeline.cost.model import devices_of

    told = [held.name for held in devices_of(targets.get("barracuda-3.0"))]
    assert told == ["here", "desktop", "laptop", "phone", "burst"]
    assert set(told) <= set(devices())
