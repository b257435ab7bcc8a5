"""ONNX Runtime's fused operators, compared with ONNX Runtime's own runs of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from pipeline.rewrites.fused import FusedOperators
from tests.rewrites.cases import assert_same, lowered, model, operators, random


def fused(
    operator: str, weights: dict, shape: tuple = ("n", 4, "h", "w"), inputs: list | None = None, **attrs: object
):
    node = helper.make_node(operator, inputs or ["x", *weights], ["y"], name="f", domain="com.microsoft", **attrs)
    return model([node], weights, shape, domains=("com.microsoft",))


@pytest.mark.parametrize(
    ("activation", "parameters"),
    [("Relu", None), ("LeakyRelu", [0.3]), ("Clip", [-0.5, 0.7]), ("HardSigmoid", [0.3, 0.4])],
)
def test_a_fused_convolution_becomes_a_convolution_and_its_activation(
    activation: str, parameters: list | None
) -> None:
    attrs = {"activation": activation} | ({"activation_params": parameters} if parameters else {})
    source = fused(
        "FusedConv", {"w": random(4, 4, 3, 3), "b": random(4)}, pads=[1] * 4, kernel_shape=[3, 3], **attrs
    )
    graph, edits, _ = lowered(source, FusedOperators())
    assert operators(graph) == ["Conv", activation]
    assert edits[0].what == f"FusedConv became Conv, {activation}"
    assert_same(source, graph, random(1, 4, 7, 8), random(2, 4, 5, 9))


def test_a_fused_convolution_with_a_sum_keeps_the_sum() -> None:
    weights = {"w": random(4, 4, 3, 3), "b": random(4)}
    source = fused(
        "FusedConv",
        weights,
        inputs=["x", "w", "b", "x"],
        pads=[1] * 4,
        kernel_shape=[3, 3],
        activation="Relu",
    )
    graph, _, _ = lowered(source, FusedOperators())
    assert operators(graph) == ["Conv", "Add", "Relu"]
    assert_same(source, graph, random(1, 4, 7, 8), random(2, 4, 5, 9))


@pytest.mark.parametrize("alpha", [1.0, 0.25])
def test_a_fused_matrix_product_becomes_a_plain_one(alpha: float) -> None:
    source = fused("FusedMatMul", {"w": random(5, 4)}, ("n", 4), transB=1, alpha=alpha)
    graph, _, _ = lowered(source, FusedOperators())
    assert operators(graph) == ["MatMul"]
    assert_same(source, graph, random(3, 4), random(1, 4))


def test_a_fused_gemm_becomes_a_gemm_and_its_activation() -> None:
    weights = {"w": random(5, 4), "b": random(5)}
    source = fused("FusedGemm", weights, ("n", 4), transB=1, activation="LeakyRelu", activation_alpha=0.2)
    graph, _, _ = lowered(source, FusedOperators())
    assert operators(graph) == ["Gemm", "LeakyRelu"]
    assert_same(source, graph, random(3, 4), random(1, 4))


def test_quick_gelu_becomes_a_gate() -> None:
    source = fused("QuickGelu", {}, alpha=1.5)
    graph, _, _ = lowered(source, FusedOperators())
    assert operators(graph) == ["Mul", "Sigmoid", "Mul"]
    assert_same(source, graph, random(1, 4, 7, 8), random(2, 4, 5, 9))


def test_an_unknown_activation_is_refused() -> None:
    source = fused("FusedConv", {"w": random(4, 4, 3, 3)}, activation="Mystery")
    assert [r.code for r in lowered(source, FusedOperators())[2]] == ["fused-form-unknown"]


def test_a_model_saved_by_onnx_runtime_with_its_fusions_is_lowered_back(tmp_path: Path) -> None:
    import onnxruntime as ort

    weights = {"w": random(8, 4, 3, 3), "b": random(8), "v": random(4, 8, 3, 3)}
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("LeakyRelu", ["c"], ["r"], alpha=0.1),
        helper.make_node("Conv", ["r", "v"], ["y"], kernel_shape=[3, 3], pads=[1] * 4),
    ]
    source = model(nodes, weights, (1, 4, "h", "w"))
    for level, code in (("ORT_ENABLE_EXTENDED", None), ("ORT_ENABLE_ALL", "onnx-runtime-layout")):
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
        options.optimized_model_filepath = str(tmp_path / f"{level}.onnx")
        ort.InferenceSession(source.SerializeToString(), options, providers=["CPUExecutionProvider"])
        optimised = onnx.load(tmp_path / f"{level}.onnx")
        graph, edits, refusals = lowered(optimised, FusedOperators())
        if code is None:
            assert edits
            assert operators(graph) == ["Conv", "LeakyRelu", "Conv"]
            assert_same(source, graph, random(1, 4, 8, 6), np.ones((1, 4, 5, 5), np.float32))
        else:
            assert {refusal.code for refusal in refusals} == {code}
