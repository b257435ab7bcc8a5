"""Arranging for a class of devices: only what pays and is proven is kept, and what is left is told."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline import targets
from pipeline.cost import rearrange
from pipeline.cost.model import devices
from pipeline.cost.rearrange import arrange, check_device, classes, device_for
from pipeline.graph import from_model
from pipeline.rewrites.base import Edit
from pipeline.rewrites.cheaper import UpsampledConvolutions
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from tests.networks import style_checkpoint, style_onnx
from tests.rewrites import assert_equivalent, model, node, operators, random
from tests.rewrites.test_cheaper import upsampled

TARGET = targets.get("barracuda-3.0")


def wide(outputs: int = 8):
    """A network that is mostly nearest x2 and a convolution of 32 channels."""
    nodes = [
        node("Conv", "x v", "c", kernel_shape=[1, 1]),
        node("Upsample", "c s", "u", mode="nearest"),
        node("Conv", "u w", "y", kernel_shape=[3, 3], pads=[1] * 4),
    ]
    weights = {"s": [1.0, 1.0, 2.0, 2.0], "v": random((32, 3, 1, 1)), "w": random((outputs, 32, 3, 3), 2)}
    return from_model(model(nodes, weights))


CLASSES = devices()


@pytest.mark.parametrize("device", classes())
def test_what_pays_is_done_and_the_prediction_falls_by_what_was_told(device) -> None:
    graph = wide()
    arranged = arrange(graph, TARGET, CLASSES[device], Size(640, 480))
    assert "DepthToSpace" in operators(arranged.graph) and "DepthToSpace" not in operators(graph)
    gains = sum(entry["gain_ms"] for entry in arranged.done)
    assert arranged.before - arranged.after == pytest.approx(gains, abs=0.01) and gains > 0
    assert all(isinstance(edit, Edit) and "ms predicted" in edit.why for edit in arranged.edits)


def test_what_does_not_pay_is_left_and_told() -> None:
    graph = from_model(upsampled())
    arranged = arrange(graph, TARGET, CLASSES["desktop"], Size(640, 480))
    assert operators(arranged.graph) == operators(graph) and arranged.edits == []
    why = {entry["rewrite"]: entry["why"] for entry in arranged.left}
    assert why["upsampled-convolutions"] == "no gain is predicted"


def layer(inputs: int, outputs: int, height: object = "h", width: object = "w"):
    """A 9x9 convolution between two of 1x1, behind a reflecting pad."""
    nodes = [
        node("Conv", "x v", "a", kernel_shape=[1, 1]),
        node("Pad", "a", "p", mode="reflect", pads=[0, 0, 4, 4, 0, 0, 4, 4]),
        node("Conv", "p w b", "c", kernel_shape=[9, 9]),
        node("Conv", "c o", "y", kernel_shape=[1, 1]),
    ]
    weights = {"v": random((inputs, 3, 1, 1)), "w": random((outputs, inputs, 9, 9), 2), "b": random((outputs,), 4)}
    return model(nodes, weights | {"o": random((3, outputs, 1, 1), 3)}, input_shape=(1, 3, height, width))


@pytest.mark.parametrize(
    ("inputs", "outputs", "device", "expected"),
    [
        (16, 3, "desktop", "blocks-of-4"),
        (8, 3, "desktop", ""),
        (64, 64, "desktop", ""),
        (16, 3, "phone", "blocks-of-4"),
        (3, 16, "phone", "blocks-of-2-folded"),
        (3, 16, "desktop", ""),
        (3, 8, "phone-qualcomm", "blocks-of-4-folded"),
        (32, 64, "phone", ""),
    ],
)
def test_layers_of_few_channels_are_computed_in_blocks_where_that_fills_a_kernel(
    monkeypatch, inputs, outputs, device, expected
) -> None:
    """What gpu.md, "What a convolution costs", says for each class of devices; how large a file gets aside."""
    monkeypatch.setattr(rearrange, "MOST_GROWTH", 1e9)
    source = layer(inputs, outputs)
    arranged = arrange(from_model(source), TARGET, CLASSES[device], Size(960, 540), [Size(48, 36), Size(20, 28)])
    names = [entry["rewrite"] for entry in arranged.done if "c_node" in entry["nodes"]]
    assert names == ([expected] if expected else [])
    assert_equivalent(source, arranged.graph, sizes=((36, 48), (28, 20)))


def test_a_file_does_not_grow_by_more_than_the_time_is_worth() -> None:
    arranged = arrange(from_model(layer(16, 3)), TARGET, CLASSES["phone"], Size(960, 540))
    assert "blocks-of-4" not in [entry["rewrite"] for entry in arranged.done]
    assert any("larger" in entry["why"] for entry in arranged.left)


@pytest.mark.parametrize(
    ("inputs", "outputs", "expected"), [(16, 3, "blocks-of-4"), (3, 16, "blocks-of-2-folded")]
)
def test_one_size_that_blocks_do_not_divide_is_computed_in_more_of_them_and_cut(
    monkeypatch, inputs, outputs, expected
) -> None:
    monkeypatch.setattr(rearrange, "MOST_GROWTH", 1e9)
    odd = layer(inputs, outputs, 541, 963)
    arranged = arrange(from_model(odd), TARGET, CLASSES["phone"], Size(963, 541), [Size(963, 541)])
    assert [entry["rewrite"] for entry in arranged.done if "c_node" in entry["nodes"]] == [expected]
    assert "Slice" in operators(arranged.graph) and arranged.after < arranged.before
    assert_equivalent(odd, arranged.graph, sizes=((541, 963),))


def test_networks_of_every_size_are_left_alone_where_blocks_do_not_divide_one(monkeypatch) -> None:
    monkeypatch.setattr(rearrange, "MOST_GROWTH", 1e9)
    free = layer(16, 3)
    arranged = arrange(from_model(free), TARGET, CLASSES["phone"], Size(960, 540), [Size(48, 36), Size(22, 28)])
    assert "blocks-of-4" not in [entry["rewrite"] for entry in arranged.done]
    assert any("not multiples of the blocks" in entry["why"] for entry in arranged.left)
    assert_equivalent(free, arranged.graph, sizes=((36, 48), (28, 22)))


class Broken(UpsampledConvolutions):
    def apply(self, graph, place):
        edit = super().apply(graph, place)
        for layer in graph.nodes:
            if layer.op == "Conv" and tuple(layer.attrs["kernel_shape"]) == (2, 2):
                layer.inputs[1].values = np.array(layer.inputs[1].values) * 1.01
        return edit


def test_what_changes_the_numbers_is_not_kept() -> None:
    graph = wide()
    arranged = arrange(graph, TARGET, CLASSES["desktop"], Size(640, 480), cheaper=(Broken(),))
    assert operators(arranged.graph) == operators(graph)
    assert "not proven" in arranged.left[0]["why"]


def test_what_a_version_does_not_import_is_not_made() -> None:
    arranged = arrange(wide(), targets.get("barracuda-1.0"), CLASSES["desktop"], Size(640, 480))
    assert "DepthToSpace" not in operators(arranged.graph)
    assert "DepthToSpace" in operators(
        arrange(wide(), targets.get("barracuda-2.0"), CLASSES["desktop"], Size(640, 480)).graph
    )


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(PipelineError, match="toaster"):
        check_device("toaster")
    with pytest.raises(PipelineError, match="here"):
        check_device("here")


def test_the_class_is_the_targets_own_or_its_first() -> None:
    assert device_for(TARGET, None).name == "desktop" and device_for(TARGET, "phone").name == "phone"
    assert device_for(TARGET, "none") is None
    assert [device_for(targets.get(name), None) for name in ("inference-2", "compute")] == [None, None]


def test_a_target_of_another_family_says_that_a_class_changes_nothing(tmp_path) -> None:
    from pipeline.build.job import convert

    source = style_onnx(tmp_path / "net.onnx")
    result = convert(source, tmp_path / "a.onnx", target="inference-2", device="phone", size="64x48")
    assert result.report["arranged"] is None
    assert "the device class phone has no effect" in " ".join(result.report["model"]["notes"])


def test_a_build_says_for_which_class_it_is_arranged_and_is_proven(tmp_path) -> None:
    from pipeline.build.job import build_unity

    source = style_checkpoint(tmp_path / "net.pth", (16, 32, 64), blocks=1)
    result = build_unity(source, output=tmp_path / "b", device="phone", size="320x180", use_cache=False)
    report = json.loads(json.dumps(result.report))["arranged"]
    assert result.report["proof"]["passed"] and report["device"] == "phone"
    assert "blocks-of-4" in [entry["rewrite"] for entry in report["done"]]
    folder = tmp_path / "b" / "StyleTransfer/Models/Net"
    listed = json.loads((folder / "bundle.json").read_text())
    assert (listed["target"], listed["arranged_for"]) == ("barracuda-3.0", "phone")
    assert "(device class phone)" in (folder / "report.md").read_text()
