from __future__ import annotations

import numpy as np
import pytest

from pipeline import targets
from pipeline.graph import from_model
from pipeline.rewrites import lower
from pipeline.rewrites.broadcasts import BroadcastConstants
from tests.rewrites import (
    BARRACUDA_1,
    BARRACUDA_2,
    BARRACUDA_3,
    apply,
    assert_equivalent,
    model,
    node,
    random,
)


@pytest.mark.parametrize(
    ("operator", "inputs", "shape", "becomes"),
    [
        ("Add", "c x", (3, 1, 1), (1, 3, 1, 1)),
        ("Sub", "c x", (), (1, 1, 1, 1)),
        ("Div", "c x", (1,), (1, 1, 1, 1)),
        ("Mul", "x c", (16,), (1, 1, 1, 16)),
        ("Max", "x c", (12, 16), (1, 1, 12, 16)),
    ],
)
def test_1_0_gets_a_constant_of_four_dimensions(operator, inputs, shape, becomes):
    source = model([node(operator, inputs, "y")], {"c": np.abs(random(shape)) + np.float32(0.5)})
    graph = from_model(source)
    edits, _ = apply(BroadcastConstants(), graph, BARRACUDA_1)
    assert [edit.nodes for edit in edits] == [("y_node",)]
    assert [held.shape for held in graph.nodes[0].inputs if held.name != "x"] == [becomes]
    assert_equivalent(source, graph, sizes=((12, 16),))


@pytest.mark.parametrize(
    ("target", "inputs", "shape"),
    [
        (BARRACUDA_1, "x c", ()),
        (BARRACUDA_1, "x c", (1, 3, 1, 1)),
        (BARRACUDA_2, "c x", (3, 1, 1)),
        (BARRACUDA_3, "x c", (16,)),
    ],
)
def test_what_no_version_mistakes_is_left_alone(target, inputs, shape):
    graph = from_model(model([node("Add", inputs, "y")], {"c": random(shape)}))
    assert apply(BroadcastConstants(), graph, target, found=True) == ([], [])


def test_2_0_gets_a_matrix_as_height_and_width():
    source = model([node("Add", "x c", "y")], {"c": random((12, 16))})
    graph = from_model(source)
    assert apply(BroadcastConstants(), graph, BARRACUDA_2)[0]
    assert graph.nodes[0].inputs[1].shape == (1, 1, 12, 16)


def test_data_of_lower_rank_is_left_alone():
    source = model([node("Squeeze", "x", "s", axes=[0]), node("Add", "c s", "y")], {"c": random((3, 1, 1))})
    assert apply(BroadcastConstants(), from_model(source), BARRACUDA_1) == ([], [])


def test_a_slice_behind_a_constant_that_comes_first_cuts_channels_in_1_0():
    """Run in Barracuda 1.0.4: with a constant of rank 3 it cut the width."""
    nodes = [node("Add", "c x", "a"), node("Slice", "a", "y", starts=[1], ends=[2], axes=[1])]
    graph = from_model(model(nodes, {"c": random((3, 1, 1))}))
    lower(graph, targets.get("barracuda-1.0"))
    assert graph.nodes[0].inputs[0].shape == (1, 3, 1, 1)
