"""Operators that a Transpose to channels last cannot be moved across are left alone."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from pipeline.graph import from_model, infer
from pipeline.graph.forms import axes_of
from pipeline.rewrites.remapping import remap
from tests.rewrites.cases import assert_same, model, operators, random

TURN = helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1], name="turn")


def moved(node, weights: dict | None = None, opset: int = 13):
    source = model([TURN, node], weights or {}, (1, 3, 4, 5), opset)
    graph = from_model(source)
    return source, graph, remap(graph, graph.nodes[1], infer(graph))


@pytest.mark.parametrize(
    ("node", "weights", "opset"),
    [
        (helper.make_node("Add", ["t", "x2"], ["y"]), {}, 13),
        (helper.make_node("ReduceMean", ["t"], ["y"], axes=[1], keepdims=0), {}, 13),
        (helper.make_node("Gather", ["t", "i"], ["y"], axis=3), {"i": np.array([[0], [1]])}, 13),
        (helper.make_node("MatMul", ["w", "t"], ["y"]), {"w": random(4, 5)}, 13),
        (helper.make_node("Add", ["t", "w"], ["y"]), {"w": random(2, 1, 4, 5, 3)}, 13),
    ],
    ids=lambda item: item.op_type if hasattr(item, "op_type") else "",
)
def test_operators_that_cannot_be_transposed_are_left_alone(node, weights: dict, opset: int) -> None:
    _, graph, result = moved(node, weights, opset)
    assert result is None
    assert graph.nodes[1].inputs[list(node.input).index("t")].name == "t"


def test_a_reduction_to_a_vector_needs_no_transpose_behind_it() -> None:
    node = helper.make_node("ReduceMean", ["t"], ["y"], axes=[1, 2], keepdims=0, name="mean")
    source, graph, result = moved(node)
    assert result == []
    graph.cleanup()
    assert operators(graph) == ["ReduceMean"]
    assert axes_of(graph.nodes[0]) == [2, 3]
    assert_same(source, graph, random(1, 3, 4, 5))


def test_scalars_stay_and_vectors_become_per_channel() -> None:
    for values, shape in ((np.float32(2), ()), (random(3), (1, 3, 1, 1)), (random(4, 5, 1), (1, 1, 4, 5))):
        _, graph, result = moved(helper.make_node("Mul", ["t", "c"], ["y"]), {"c": values})
        assert result == [0]
        assert graph.nodes[1].inputs[1].values.shape == shape
