"""Dynamic quantisation, as ONNX Runtime's quantize_dynamic writes it."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from pipeline.graph import from_model, to_model
from pipeline.quantisation.rewrite import Quantised, integers
from pipeline.rewrites.base import always
from pipeline.targets import DEFAULT, get
from tests.quantisation.test_rewrite import network, rounded
from tests.rewrites.cases import assert_same, compute, lowered, model, operators, random


def dynamic(source: onnx.ModelProto, folder: Path, **options: object) -> onnx.ModelProto:
    """ONNX Runtime's quantize_dynamic."""
    from onnxruntime.quantization import quantize_dynamic

    logging.disable(logging.WARNING)
    onnx.save(source, folder / "float.onnx")
    quantize_dynamic(str(folder / "float.onnx"), str(folder / "q.onnx"), **options)
    logging.disable(logging.NOTSET)
    return onnx.load(folder / "q.onnx")


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("weight_type", ["QUInt8", "QInt8"])
def test_dynamic_quantisation_becomes_convolutions_with_their_biases(
    per_channel: bool, weight_type: str, tmp_path: Path
) -> None:
    from onnxruntime.quantization import QuantType

    source = network()
    quantised = dynamic(source, tmp_path, weight_type=getattr(QuantType, weight_type), per_channel=per_channel)
    assert "ConvInteger" in [node.op_type for node in quantised.graph.node]
    graph, _, refusals = lowered(quantised, Quantised())
    assert refusals == []
    assert sorted(operators(graph)) == ["Add", "Conv", "Conv", "Relu"]
    assert all(len(node.inputs) == 3 for node in graph.nodes if node.op == "Conv")
    assert_same(rounded(graph, source), graph, random(1, 3, 12, 16), random(2, 3, 9, 7))


@pytest.mark.parametrize("per_channel", [False, True])
def test_dynamic_quantisation_of_a_matrix_product(per_channel: bool, tmp_path: Path) -> None:
    weights = {"w": random(6, 5), "b": random(5)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"], name="m"), helper.make_node("Add", ["m", "b"], ["y"])]
    source = model(nodes, weights, ("n", 6))
    quantised = dynamic(source, tmp_path, per_channel=per_channel)
    graph, _, refusals = lowered(quantised, Quantised())
    assert refusals == []
    assert operators(graph) == ["MatMul", "Add"]
    assert_same(rounded(graph, source), graph, random(1, 6), random(4, 6))


def test_the_fused_matrix_products_of_onnx_runtime() -> None:
    ints = np.random.default_rng(1).integers(0, 255, (6, 5)).astype(np.uint8)
    weights = {"q": ints, "s": np.float32(0.02), "z": np.uint8(127), "b": random(5)}
    node = helper.make_node("DynamicQuantizeMatMul", ["x", *weights], ["y"], name="m", domain="com.microsoft")
    source = model([node], weights, ("n", 6), domains=("com.microsoft",))
    graph, _, refusals = lowered(source, Quantised())
    assert refusals == []
    assert operators(graph) == ["MatMul", "Add"]
    x = random(3, 6)
    expected = x @ ((ints.astype(np.float32) - 127) * np.float32(0.02)) + weights["b"]
    assert np.allclose(compute(to_model(graph), x), expected, atol=1e-6)


def test_a_matrix_product_that_onnx_runtime_fused_with_its_scales() -> None:
    ints = np.random.default_rng(1).integers(0, 255, (6, 5)).astype(np.uint8)
    weights = {"q": ints, "s": np.float32(0.02), "z": np.uint8(127), "b": random(5)}
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"], name="q"),
        helper.make_node(
            "MatMulIntegerToFloat",
            ["xq", "q", "xs", "s", "xz", "z", "b"],
            ["y"],
            name="m",
            domain="com.microsoft",
        ),
    ]
    source = model(nodes, weights, ("n", 6), domains=("com.microsoft",))
    graph, _, refusals = lowered(source, Quantised())
    assert refusals == []
    assert operators(graph) == ["MatMul", "Add"]
    x = random(3, 6)
    expected = x @ ((ints.astype(np.float32) - 127) * np.float32(0.02)) + weights["b"]
    assert np.allclose(compute(to_model(graph), x), expected, atol=1e-6)


def test_a_convolution_whose_result_stays_an_integer_is_refused() -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="quantise"),
        helper.make_node("ConvInteger", ["q", "w", "z"], ["c"], name="conv", kernel_shape=[1, 1]),
        helper.make_node("Cast", ["c"], ["y"], name="cast", to=1),
    ]
    graph = from_model(model(nodes, {"w": np.ones((2, 3, 1, 1), np.int8)}))
    refusals = Quantised().apply(graph, get(DEFAULT), always)
    assert {(refusal.code, refusal.node) for refusal in refusals} == {
        ("quantised-form-unknown", "quantise"),
        ("quantised-form-unknown", "conv"),
    }
    assert operators(graph) == ["DynamicQuantizeLinear", "ConvInteger", "Cast"]


def test_scales_in_two_products_are_one_scale() -> None:
    ints = np.random.default_rng(0).integers(0, 255, (4, 3, 3, 3)).astype(np.uint8)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="quantise"),
        helper.make_node(
            "ConvInteger", ["q", "w", "z", "wz"], ["c"], name="conv", kernel_shape=[3, 3], pads=[1] * 4
        ),
        helper.make_node("Cast", ["c"], ["f"], name="cast", to=1),
        helper.make_node("Mul", ["f", "s"], ["g"], name="first"),
        helper.make_node("Mul", ["g", "ws"], ["y"], name="second"),
    ]
    source = model(nodes, {"w": ints, "wz": np.uint8(120), "ws": np.float32(0.013)})
    graph, _, refusals = lowered(source, Quantised())
    assert refusals == []
    assert operators(graph) == ["Conv"]
    (kept,) = integers(source)
    assert kept.scale == np.float32(0.013)
    assert np.array_equal(graph.nodes[0].inputs[1].values, kept.real())
    x = random(1, 3, 8, 9)
    exact, before = compute(to_model(graph), x), compute(source, x)
    assert np.abs(exact - before).max() < 0.02 * np.abs(exact).max()
