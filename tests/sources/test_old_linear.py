"""Linear resizes of old opsets are read as what they mean."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.graph.runtime import run, session
from pipeline.sources.old_linear import make_explicit


def model(op: str, producer: str, mode: str = "linear") -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "s"], ["y"], mode=mode)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 8, 10])],
        [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "s")],
    )
    opset = helper.make_opsetid("", 9 if op == "Upsample" else 10)
    return helper.make_model(graph, opset_imports=[opset], ir_version=4, producer_name=producer)


X = np.random.default_rng(2).random((1, 1, 4, 5), dtype=np.float32)


@pytest.mark.parametrize("op", ["Upsample", "Resize"])
def test_torch_meant_half_pixel(op):
    import torch

    settled, note = make_explicit(model(op, "pytorch"))
    expected = torch.nn.functional.interpolate(torch.from_numpy(X), scale_factor=2, mode="bilinear").numpy()
    np.testing.assert_allclose(run(session(settled), X), expected, atol=1e-6)
    assert "half-pixel" in note
    assert np.abs(run(session(model(op, "pytorch")), X) - expected).max() > 0.05


@pytest.mark.parametrize("op", ["Upsample", "Resize"])
def test_others_mean_what_onnx_says(op):
    given = model(op, "tf2onnx")
    settled, note = make_explicit(given)
    np.testing.assert_allclose(run(session(settled), X), run(session(given), X), atol=1e-6)
    assert "asymmetric" in note


def test_nearest_is_left_alone():
    given = model("Upsample", "pytorch", mode="nearest")
    settled, note = make_explicit(given)
    assert settled is given and note == ""
