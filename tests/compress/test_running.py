"""Networks are run with weights replaced and compared with themselves, whatever their layout, range and size."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.compress.running import SMALL, Running
from pipeline.contract import ImageContract, ImageSide
from pipeline.support.errors import PipelineError
from tests.compress.packs import initializers, network


def scaling(shape: list[int], factor: float = 1.0) -> onnx.ModelProto:
    """y = x * factor, for pictures of a shape."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "f"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.float32([factor]), "f")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_a_network_with_its_own_weights_is_itself():
    running = Running(network(), None)
    assert all(math.isinf(value) for value in running.psnr({}).values())
    assert set(running.psnr(running.weights, SMALL)) == set(SMALL)
    noisy = {"conv1.weight": initializers(network())["conv1.weight"] * 1.5 + 0.1}
    assert all(5 < value < 60 for value in running.psnr(noisy).values())


@pytest.mark.parametrize(("value_range", "peak"), [("0..1", 1.0), ("0..255", 255.0)])
def test_decibels_are_against_the_range_of_the_picture(value_range, peak):
    contract = ImageContract(ImageSide(value_range), ImageSide(value_range))
    running = Running(scaling([1, 3, 32, 32]), contract)
    given = running.measured["drawn"] / peak
    found = running.psnr({"f": np.float32([0.9])})["drawn"]
    assert found == pytest.approx(-10 * math.log10(np.mean((0.1 * given) ** 2)), abs=0.01)


def test_channels_last_pictures_are_fed_so():
    running = Running(scaling([1, 32, 48, 3]), None)
    assert all(value.shape[3] == 3 for value in (*running.measured.values(), *running.calibration))
    assert running.psnr({"f": np.float32([0.5])})["drawn"] < 20


def test_what_lies_beyond_the_range_counts_as_clamped():
    running = Running(scaling([1, 3, 32, 32], 1000.0), ImageContract(ImageSide("0..1"), ImageSide("0..1")))
    assert running.psnr({"f": np.float32([2000.0])})["drawn"] == math.inf


def test_no_picture_is_refused():
    for shape in ([1, 7, 32, 32], [3, 32]):
        with pytest.raises(PipelineError) as raised:
            Running(scaling(shape), None)
        assert raised.value.code == "not-image-to-image"
