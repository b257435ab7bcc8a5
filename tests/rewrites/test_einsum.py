"""Einsum becomes Transpose, Reshape and MatMul."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.graph import from_model
from pipeline.rewrites import lower
from pipeline.rewrites.einsum import Einsums, matrix_product
from tests.rewrites import BARRACUDA_3, assert_equivalent, model, node, operators, random


@pytest.mark.parametrize(
    ("equation", "left", "right"),
    [
        ("ncp,ndp->ncd", (2, 3, 5), (2, 4, 5)),
        ("ncd,ndp->ncp", (2, 3, 4), (2, 4, 5)),
        ("bqhd,bkhd->bhqk", (1, 5, 2, 3), (1, 7, 2, 3)),
        ("bhqk,bkhd->bqhd", (1, 2, 5, 7), (1, 7, 2, 3)),
        ("ij,jk->ki", (3, 4), (4, 5)),
        ("n c p , n d p -> n d c", (2, 3, 5), (2, 4, 5)),
    ],
)
def test_axes_are_ordered_so_that_a_product_gives_the_result(equation, left, right) -> None:
    a, b = random(left), random(right, 1)
    plan = matrix_product(equation)
    assert plan is not None
    result = (a.transpose(plan[0]) @ b.transpose(plan[1])).transpose(plan[2])
    assert np.allclose(result, np.einsum(equation, a, b), atol=1e-5)


@pytest.mark.parametrize(
    "equation",
    ["ii,ij->j", "ab,bc", "a,b->ab", "abc,dbc->ad", "ab,cb->c", "...ab,...bc->...ac", "ab,ab->ab", "ab->ba"],
)
def test_what_is_not_one_product_is_refused(equation) -> None:
    assert matrix_product(equation) is None


def channels_attention():
    """Gram matrix of the channels, softmax, and the channels mixed by it."""
    nodes = [
        node("Reshape", "x flat", "f"),
        node("Einsum", "f f", "g", equation="ncp,ndp->ncd"),
        node("Softmax", "g", "s", axis=2),
        node("Einsum", "s f", "m", equation="ncd,ndp->ncp"),
        node("Reshape", "m map", "y"),
    ]
    return model(nodes, {"flat": np.array([1, 3, 192]), "map": np.array([1, 3, 12, 16])}, opset=13)


def test_channel_attention_is_lowered_for_a_target_without_einsum() -> None:
    before = channels_attention()
    graph = from_model(before)
    result = lower(graph, BARRACUDA_3)
    assert "Einsum" not in operators(graph)
    assert any(edit.rewrite == Einsums.name for edit in result.edits)
    assert_equivalent(before, graph, sizes=((12, 16),))
