"""Decomposed layer normalisation becomes one operator if the target has it."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import targets
from pipeline.graph import from_model
from pipeline.rewrites import lower
from tests.rewrites import BARRACUDA_3, apply, assert_equivalent, model, node, operators, random

INFERENCE = targets.get("inference-2")
HELD = {"e": np.float32(1e-5), "two": np.float32(2), "s": random((16,), 1) + 1, "t": random((16,), 2)}


def network(axis: int = -1, squared: bool = False, affine: bool = True):
    nodes = [
        node("ReduceMean", "x", "m", axes=[axis], keepdims=1),
        node("Sub", "x m", "d"),
        node("Mul", "d d", "q") if squared else node("Pow", "d two", "q"),
        node("ReduceMean", "q", "v", axes=[axis], keepdims=1),
        node("Add", "v e", "a"),
        node("Sqrt", "a", "r"),
        node("Div", "d r", "n" if affine else "y"),
        *([node("Mul", "n s", "b"), node("Add", "t b", "y")] if affine else []),
    ]
    return model(nodes, HELD, opset=13, input_shape=(1, 3, 12, 16))


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_the_spelled_out_form_is_one_layer(squared, affine) -> None:
    before = network(3, squared, affine)
    graph = from_model(before)
    assert [edit.rewrite for edit in lower(graph, INFERENCE).edits] == ["fuse-layer-norm"]
    assert operators(graph) == ["LayerNormalization"]
    assert_equivalent(before, graph, sizes=((12, 16), (20, 16)))
    assert not lower(graph, INFERENCE).edits


def test_other_axes_and_targets_without_the_operator_are_left_alone() -> None:
    from pipeline.rewrites.layer_norm import FuseLayerNorm

    graph = from_model(network(2))
    assert apply(FuseLayerNorm(), graph, INFERENCE) == ([], [])
    graph = from_model(network())
    assert apply(FuseLayerNorm(), graph, BARRACUDA_3) == ([], [])
