"""A model as one of two that are compared: found, read, run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline import targets
from pipeline.comparison.sides import model_file, read_side
from pipeline.sources import ReadOptions
from pipeline.sources.shared_options import for_each
from pipeline.support.errors import PipelineError
from tests.networks import style_checkpoint, style_onnx

DECLARED = ReadOptions(input_range="0..255", output_range="-1..1")


def picture(height: int = 16, width: int = 24) -> np.ndarray:
    return np.random.default_rng(3).random((1, 3, height, width), dtype=np.float32)


@pytest.fixture
def channels_last(tmp_path) -> Path:
    """(1, 16, 24, 3) in, twice that out: a network in NHWC."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "k"], ["y"], name="twice")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 24, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16, 24, 3])],
        [numpy_helper.from_array(np.array([2, 1, 1], np.float32), "k")],
    )
    path = tmp_path / "last.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4), path)
    return path


def test_a_bundle_folder_is_its_model(tmp_path):
    bundle = tmp_path / "Models" / "Mosaic"
    bundle.mkdir(parents=True)
    style_onnx(bundle / "Mosaic.onnx")
    assert model_file(bundle) == bundle / "Mosaic.onnx"
    with pytest.raises(PipelineError) as caught:
        model_file(bundle.parent)
    assert caught.value.code == "not-a-bundle"


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(PipelineError) as caught:
        model_file(tmp_path / "none.onnx")
    assert caught.value.code == "file-not-found"


def test_the_contract_is_around_what_runs(tmp_path):
    side = read_side("A", style_onnx(tmp_path / "n.onnx"), DECLARED)
    bound = side.with_input(picture())
    assert bound.value.max() > 100
    raw = bound.run([bound.output])[0]
    assert np.allclose(side.run(picture()), np.clip((raw + 1) / 2, 0, 1), atol=1e-6)


@pytest.mark.parametrize("target", [None, "barracuda-3.0"])
def test_a_channels_last_network_is_fed_in_its_own_layout(channels_last, target):
    ranges = ReadOptions(input_range="0..1", output_range="0..1")
    side = read_side("B", channels_last, ranges, targets.get(target) if target else None)
    assert side.with_input(picture()).value.shape == (1, 16, 24, 3)
    expected = np.clip(picture() * np.array([2, 1, 1]).reshape(1, 3, 1, 1), 0, 1)
    assert np.allclose(side.run(picture()), expected, atol=1e-6)


def test_an_output_of_undeclared_channels_keeps_those_it_has(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 24])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "c", "h", "w"])],
        [numpy_helper.from_array(np.ones((1, 3, 1, 1), np.float32), "w")],
    )
    path = tmp_path / "mask.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4), path)
    assert read_side("A", path, DECLARED).run(picture()).shape == (1, 1, 16, 24)


def test_a_file_in_the_dialect_of_barracuda_is_run(tmp_path):
    """Upsample in a file of opset 10, which ONNX Runtime does not take and Barracuda does."""
    model = onnx.load(style_onnx(tmp_path / "n.onnx"))
    model.opset_import[0].version = 10
    onnx.save(model, tmp_path / "dialect.onnx")
    plain = read_side("A", tmp_path / "n.onnx", DECLARED).run(picture())
    dialect = read_side("B", tmp_path / "dialect.onnx", DECLARED)
    assert np.allclose(dialect.run(picture()), plain, atol=1e-5)
    assert dialect.with_input(picture()).values(["painted"])["painted"].shape == (1, 3, 16, 24)


def test_an_architecture_is_only_asked_of_a_state_dict(tmp_path):
    chosen = ReadOptions("fast-neural-style", "0..1", "0..1")
    graph, weights = style_onnx(tmp_path / "n.onnx"), style_checkpoint(tmp_path / "n.pth")
    own = for_each([graph, weights], chosen)
    assert read_side("A", graph, own[0]).network.architecture == "onnx"
    assert read_side("B", weights, own[1]).contract.input.value_range == "0..255"


def test_more_than_a_picture_is_refused(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 9, 16, 24])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 9, 16, 24])],
    )
    path = tmp_path / "nine.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4), path)
    with pytest.raises(PipelineError) as caught:
        read_side("A", path, DECLARED)
    assert caught.value.code == "auxiliary-inputs"
    assert read_side("A", path, DECLARED, planes=True).run(np.zeros((1, 9, 16, 24), np.float32)).shape[1] == 9
