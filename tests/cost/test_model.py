"""The cost model: which kernels layers get, and what the laws make of them."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import onnx_graphsurgeon as gs
import pytest

from pipeline import targets
from pipeline.cost.model import Conv, at_size, counted, device, devices, layers
from pipeline.graph import from_model
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from pipeline.targets.barracuda.cost import issued, kernel
from tests.networks import style_checkpoint, style_onnx
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
        (conv(3, 16, 9, 540, 960), "compute", "register-4x2"),
        (conv(3, 16, 9, 540, 960), "compute-nchw", "tall-8x8"),
        (conv(3, 9), "compute-arm", "arm-4x4"),
        (conv(3, 9), "compute-qualcomm", "qualcomm-4x4"),
        (conv(3, 9, 1), "compute-qualcomm", "qualcomm-1x1"),
        (conv(32, 32, height=128, width=128), "compute-qualcomm", "qualcomm-winograd"),
        (conv(32, 32, height=128, width=129), "compute-qualcomm", "qualcomm-4x4"),
        (conv(32, 64, height=64, width=64), "compute-qualcomm", "qualcomm-4x4"),
        (conv(3, 48, 9, 540, 960), "compute", "register-4x2"),
    ],
)
def test_the_kernel_follows_importer_section_9(given: Conv, worker: str, wanted: str) -> None:
    assert kernel(given, worker) == wanted


@functools.cache
def of_widths(*widths: int) -> gs.Graph:
    """The fast_neural_style network of these widths with random weights, lowered for Barracuda 3.0."""
    from pipeline import sources
    from pipeline.build.export import export
    from pipeline.build.lowering import rewrite

    with tempfile.TemporaryDirectory() as folder:
        path = style_checkpoint(Path(folder) / "net.pth", widths, blocks=5)
        network = sources.read(path, sources.ReadOptions())
        exported = export(network, Size(128, 128))
        return rewrite(exported, network.contract, targets.get("barracuda-3.0")).graph


COUNTED = {
    (8, 16, 32): {"compute": 11.8, "compute-nchw": 8.8, "compute-arm": 28.5, "compute-qualcomm": 100.6},
    (16, 32, 64): {"compute": 32.8, "compute-nchw": 22.1, "compute-arm": 52.6},
}
"""Billions of multiply-adds that Barracuda's own kernels issue at 960x540 (gpu.md)."""


@pytest.mark.parametrize("widths", list(COUNTED))
def test_the_issued_work_of_whole_networks_is_what_the_real_kernels_issue(widths) -> None:
    convs = [layer.conv for layer in at_size(of_widths(*widths), Size(960, 540)) if layer.conv]
    for worker, wanted in COUNTED[widths].items():
        assert round(sum(issued(held, worker) for held in convs) * 1e-9, 1) == wanted, worker


def test_a_network_is_faster_on_a_laptop_than_on_a_phone_and_fastest_on_a_desktop() -> None:
    for widths in COUNTED:
        told = counted(of_widths(*widths), Size(960, 540), devices().values())["predicted"]
        assert told["desktop"] < told["laptop"] < told["phone"] < told["phone-qualcomm"]


def test_the_desktop_predicts_the_frame_rates_that_its_terms_are_anchored_to() -> None:
    """25 and about 50 pictures a second at 720x540, of which the game takes 12 ms."""
    for widths, rate in (((32, 64, 128), 25), ((8, 16, 32), 50)):
        found = device("desktop").milliseconds(at_size(of_widths(*widths), Size(720, 540)))
        assert 1000 / (found + 12) == pytest.approx(rate, rel=0.05)


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
    assert told == ["here", "desktop", "laptop", "phone", "phone-qualcomm", "burst"]
    assert set(told) <= set(devices())


def test_what_one_convolution_hands_to_the_next_is_not_reordered() -> None:
    """A factored layer: 3x1 to 40 channels and 1x3 from them costs ONNX Runtime less than the whole layer."""

    def cost(nodes: list, constants: dict) -> float:
        graph = from_model(model(nodes, constants, input_shape=(1, 64, 64, 64)))
        return device("here").milliseconds(at_size(graph, Size(64, 64)))

    whole = cost([node("Conv", "x w", "y", pads=[1, 1, 1, 1])], {"w": random((64, 64, 3, 3))})
    kernels = {"v": random((40, 64, 3, 1)), "h": random((64, 40, 1, 3))}
    apart = [node("Conv", "x v", "m", pads=[1, 0, 1, 0]), node("Relu", "m", "r")]
    first = node("Conv", "x v", "m", pads=[1, 0, 1, 0])
    factored = cost([first, node("Conv", "m h", "y", pads=[0, 1, 0, 1])], kernels)
    interrupted = cost([*apart, node("Conv", "r h", "y", pads=[0, 1, 0, 1])], kernels)
    assert factored < whole < interrupted
