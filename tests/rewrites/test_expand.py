from __future__ import annotations

import numpy as np
import pytest

from pipeline.graph import from_model
from pipeline.rewrites import lower
from pipeline.rewrites.expand import Expands
from tests.rewrites import BARRACUDA_3, TARGETS, apply, assert_equivalent, model, node, operators

EIGHT = (1, 8, 12, 16)


@pytest.mark.parametrize("target", TARGETS)
def test_a_gate_that_is_expanded_to_the_picture_works_at_every_size(target):
    nodes = [
        node("GlobalAveragePool", "x", "p"),
        node("Sigmoid", "p", "g"),
        node("Shape", "x", "size"),
        node("Expand", "g size", "e"),
        node("Mul", "x e", "y"),
    ]
    source = model(nodes, {}, input_shape=EIGHT)
    graph = from_model(source)
    lower(graph, target)
    assert operators(graph) == ["GlobalAveragePool", "Sigmoid", "Mul"]
    assert_equivalent(source, graph, sizes=[(12, 16), (20, 6)])


@pytest.mark.parametrize(
    "last", [node("Concat", "x e", "y", axis=1), node("Mul", "e two", "y")], ids=["concat", "alone"]
)
def test_an_expand_whose_size_is_needed_stays(last):
    nodes = [node("GlobalAveragePool", "x", "p"), node("Shape", "x", "size"), node("Expand", "p size", "e"), last]
    graph = from_model(model(nodes, {"two": np.array([2.0], np.float32)}, input_shape=EIGHT))
    edits, _ = apply(Expands(), graph, BARRACUDA_3)
    assert edits == []
    assert "Expand" in operators(graph)
