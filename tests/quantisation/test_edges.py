"""Integers at the edges of a network, alone; `test_quantized` has them in networks."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from pipeline.graph import to_model
from pipeline.quantisation.rewrite import Quantised
from tests.rewrites.cases import compute, lowered, model, operators, random


@pytest.mark.parametrize(("kind", "zero"), [(TensorProto.UINT8, np.uint8(100)), (TensorProto.INT8, np.int8(-7))])
def test_an_integer_result_is_rounded_half_to_even_and_clamped_as_before(kind: int, zero: np.generic) -> None:
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"], name="q")
    source = model([node], {"s": np.float32(0.5), "z": np.asarray(zero)})
    source.graph.output[0].type.tensor_type.elem_type = kind
    graph, edits, _ = lowered(source, Quantised())
    assert operators(graph) == ["Div", "Round", "Add", "Clip"]
    assert "integer values" in edits[0].what
    x = np.concatenate([random(1, 3, 4, 5, scale=80), np.full((1, 3, 1, 5), 0.25, np.float32)], axis=2)
    assert np.array_equal(compute(to_model(graph), x), compute(source, x))


def test_integers_that_were_pooled_before_they_are_scaled_are_scaled_after() -> None:
    nodes = [
        helper.make_node("MaxPool", ["x"], ["p"], kernel_shape=[2, 2]),
        helper.make_node("DequantizeLinear", ["p", "s", "z"], ["y"], name="d"),
    ]
    source = model(nodes, {"s": np.float32(0.5), "z": np.uint8(3)})
    source.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    graph, _, _ = lowered(source, Quantised())
    assert operators(graph) == ["MaxPool", "Sub", "Mul"]


def test_float8_results_are_refused() -> None:
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"], name="q")
    source = model([node], {"s": np.float32(0.5)}, opset=19)
    source.graph.initializer.append(helper.make_tensor("z", TensorProto.FLOAT8E4M3FN, (), [0.0]))
    source.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT8E4M3FN
    source.ir_version = 9
    (refusal,) = lowered(source, Quantised())[2]
    assert (refusal.code, refusal.node) == ("quantised-form-unknown", "q")
