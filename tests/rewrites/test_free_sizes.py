"""Picture sizes in a graph become scales and copies of other sizes, for targets that support dynamic sizes."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import targets
from pipeline.graph import from_model, to_model
from pipeline.graph.runtime import session
from pipeline.rewrites import lower
from tests.targets.inference_graphs import model

NEW = targets.get("inference-2")


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def resized(sizes, shape=(1, 3, "h", "w"), **attributes):
    """A map halved by a convolution, and brought to `sizes`."""
    nodes, constants = sizes
    return model(
        ("Conv", ["x", "v"], ["c"], {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
        *nodes,
        ("Resize", ["c", "", "", "sizes"], ["y"], {"mode": "linear", **attributes}),
        shape=shape,
        constants=[("v", numbers(3, 3, 3, 3)), *constants],
        opset=18,
    )


COMPUTED = (
    [
        ("Shape", ["x"], ["hw"], {"start": 2}),
        ("Shape", ["c"], ["nc"], {"end": 2}),
        ("Concat", ["nc", "hw"], ["sizes"], {"axis": 0}),
    ],
    [],
)
LITERAL = [], [("sizes", np.int64([1, 3, 32, 48]))]


def run(made, value):
    return session(made).run(None, {"x": value})[0]


@pytest.mark.parametrize("transform", ["half_pixel", "align_corners"])
def test_computed_sizes_become_scales(transform):
    built = resized(COMPUTED, coordinate_transformation_mode=transform)
    graph = from_model(built)
    result = lower(graph, NEW)
    assert "free-sizes" in [edit.rewrite for edit in result.edits]
    assert [node.op for node in graph.nodes] == ["Conv", "Resize"]
    for size in ((32, 48), (64, 16)):
        value = numbers(1, 3, *size)
        np.testing.assert_allclose(run(to_model(graph), value), run(built, value), atol=1e-5)


def test_literal_sizes_of_one_picture_become_scales():
    graph = from_model(resized(LITERAL, shape=(1, 3, 32, 48)))
    assert [edit.rewrite for edit in lower(graph, NEW).edits] == ["free-sizes"]
    graph.inputs[0].shape = [1, 3, "height", "width"]
    assert run(to_model(graph), numbers(1, 3, 64, 80)).shape == (1, 3, 64, 80)


@pytest.mark.parametrize(("size", "becomes"), [((16, 24), 1), ((8, 12), 1), ((24, 36), 0)])
def test_only_ratios_whose_scales_are_exact_become_scales(size, becomes):
    literal = [], [("sizes", np.int64([1, 3, *size]))]
    graph = from_model(resized(literal, shape=(1, 3, 32, 48)))
    assert [edit.rewrite for edit in lower(graph, NEW).edits].count("free-sizes") == becomes


def test_a_ratio_that_changes_with_the_picture_is_left_to_be_computed():
    fixed = [("Concat", ["nc", "hw"], ["sizes"], {"axis": 0}), ("Shape", ["c"], ["nc"], {"end": 2})]
    output = resized((fixed[::-1], [("hw", np.int64([100, 100]))]))
    graph = from_model(output)
    lower(graph, NEW)
    assert [node.op for node in graph.nodes] == ["Conv", "Resize"] and len(graph.nodes[1].inputs) == 4


def grouped(back, shape=(1, 8, "h", "w")):
    nodes, constants = back
    return model(
        ("Reshape", ["x", "rows"], ["r"], {}),
        ("InstanceNormalization", ["r", "s", "t"], ["n"], {}),
        *nodes,
        ("Reshape", ["n", "whole"], ["b"], {}),
        ("Mul", ["b", "g"], ["y"], {}),
        shape=shape,
        constants=[
            ("rows", np.int64([0, 2, -1])),
            ("s", np.ones(2, np.float32)),
            ("t", np.zeros(2, np.float32)),
            ("g", numbers(8, 1, 1)),
            *constants,
        ],
        opset=18,
    )


@pytest.mark.parametrize(
    ("back", "shape"),
    [
        (([("Shape", ["x"], ["whole"], {})], []), (1, 8, "h", "w")),
        (([], [("whole", np.int64([1, 8, 6, 10]))]), (1, 8, 6, 10)),
    ],
    ids=["computed", "literal"],
)
def test_a_group_norm_copies_the_width(back, shape):
    result = grouped(back, shape)
    graph = from_model(result)
    assert "free-sizes" in [edit.rewrite for edit in lower(graph, NEW).edits]
    assert [node.op for node in graph.nodes] == ["Reshape", "InstanceNormalization", "Reshape", "Mul"]
    value = numbers(1, 8, 6, 10)
    np.testing.assert_allclose(run(to_model(graph), value), run(result, value), atol=1e-5)
    graph.inputs[0].shape = [1, 8, "height", "width"]
    assert run(to_model(graph), numbers(1, 8, 12, 4)).shape == (1, 8, 12, 4)
    assert not lower(graph, NEW).edits


def test_other_targets_are_left_alone():
    graph = from_model(grouped(([("Shape", ["x"], ["whole"], {})], []), (1, 8, 6, 10)))
    assert "free-sizes" not in [edit.rewrite for edit in lower(graph, targets.get("barracuda-3.0")).edits]
