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
    run,
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
def test_a_constant_gets_four_dimensions_for_1_0(operator, inputs, shape, becomes):
    source = model([node(operator, inputs, "y")], {"c": np.abs(random(shape)) + np.float32(0.5)})
    graph = from_model(source)
    edits, _ = apply(BroadcastConstants(), graph, BARRACUDA_1)
    assert [edit.nodes for edit in edits] == [("y_node",)]
    assert [item.shape for item in graph.nodes[0].inputs if item.name != "x"] == [becomes]
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
def test_operands_that_every_version_reads_correctly_are_left_alone(target, inputs, shape):
    graph = from_model(model([node("Add", inputs, "y")], {"c": random(shape)}))
    assert apply(BroadcastConstants(), graph, target, found=True) == ([], [])


def test_a_matrix_becomes_height_and_width_for_2_0():
    source = model([node("Add", "x c", "y")], {"c": random((12, 16))})
    graph = from_model(source)
    assert apply(BroadcastConstants(), graph, BARRACUDA_2)[0]
    assert graph.nodes[0].inputs[1].shape == (1, 1, 12, 16)


def test_data_of_lower_rank_is_left_alone():
    source = model([node("Squeeze", "x", "s", axes=[0]), node("Add", "c s", "y")], {"c": random((3, 1, 1))})
    assert apply(BroadcastConstants(), from_model(source), BARRACUDA_1) == ([], [])


READERS = [
    node("Slice", "a", "y", starts=[1], ends=[3], axes=[1]),
    node("Slice", "a", "y", starts=[1], ends=[9], axes=[2]),
    node("Concat", "a a", "y", axis=2),
    node("Concat", "a a", "y", axis=3),
    node("Gather", "a i", "y", axis=2),
]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.op_type)
def test_1_0_computes_what_is_meant_only_once_the_first_constant_has_four_dimensions(reader):
    """Run in Barracuda 1.0.4: behind a constant of rank 3, a Slice of channels kept one column."""
    target = targets.get("barracuda-1.0")
    constants = {"c": random((3, 1, 1)), "i": np.array([0, 2, 1])}
    source = model([node("Add", "c x", "a"), reader], constants)
    picture = np.random.default_rng(4).random((1, 3, 12, 16), dtype=np.float32)

    def computed(graph):
        emulated = target.family.emulate(target.family.write(graph, target), target)
        return run(emulated, {"x": picture})[0]

    expected = run(source, {"x": picture})[0]
    graph = from_model(source)
    misread = computed(graph)
    assert misread.shape != expected.shape or not np.allclose(misread, expected)
    result = lower(graph, target)
    assert [edit.rewrite for edit in result.edits] == ["broadcast-constants"]
    assert graph.nodes[0].inputs[0].shape == (1, 3, 1, 1)
    assert np.allclose(computed(graph), expected)


def test_a_constant_that_comes_first_stays_where_nothing_depends_on_the_rank():
    source = model([node("Sub", "c x", "a"), node("Relu", "a", "y")], {"c": random((3, 1, 1))})
    assert not lower(from_model(source), targets.get("barracuda-1.0")).edits
    assert not lower(from_model(source), targets.get("barracuda-3.0")).edits


def test_integers_keep_their_type():
    source = model(
        [node("Cast", "x", "n", to=7), node("Add", "n c", "m"), node("Cast", "m", "y", to=1)], {"c": np.arange(16)}
    )
    graph = from_model(source)
    assert apply(BroadcastConstants(), graph, BARRACUDA_1)[0]
    assert graph.nodes[1].inputs[1].dtype == np.int64
