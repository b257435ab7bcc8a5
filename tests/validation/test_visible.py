"""How a finding with severity `wrong` changes the picture."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline import targets
from pipeline.validation.files import check_files
from pipeline.validation.visible import visible_error


def resized(**attributes: object) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Resize", ["x", "", "s"], ["y"], name="up", mode="linear", **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 16, 16])],
        [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "s")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


@pytest.mark.parametrize("name", targets.names("barracuda"))
def test_align_corners_is_a_visible_error_and_half_pixel_is_none(name):
    target = targets.get(name)
    corners = visible_error(resized(coordinate_transformation_mode="align_corners"), target)
    levels = int(corners.split("up to ")[1].split(" of 255")[0])
    assert levels > 20
    assert "up to 0 of 255" in visible_error(resized(coordinate_transformation_mode="half_pixel"), target)


def test_a_different_output_size_is_reported():
    graph = helper.make_graph(
        [helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[1, 2], strides=[1, 2])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 6])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4)
    reported = visible_error(model, targets.get("barracuda-3.0"))
    assert reported == "visible: the output is 1x3x4x12 instead of 1x3x8x6"


def test_a_measured_difference_appears_in_the_finding(tmp_path):
    path = tmp_path / "corners.onnx"
    onnx.save(resized(coordinate_transformation_mode="align_corners"), path)
    (plain,) = check_files([path]).verdicts
    (verdict,) = check_files([path], measure=True).verdicts
    reasons = [f.reason for f in verdict.findings if f.severity == "wrong"]
    assert reasons and all("visible: up to" in r for r in reasons)
    assert not any("visible" in f.reason for f in plain.findings)
