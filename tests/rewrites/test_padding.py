from __future__ import annotations

import numpy as np
import pytest

from pipeline.graph import from_model
from pipeline.graph.forms import pads_of
from pipeline.rewrites.padding import MergedPads, Paddings
from tests.rewrites import apply, assert_equivalent, model, node, operators, random

W = {"w": random((4, 3, 3, 3), 1)}
FREE = (1, 3, "h", "w")


def pad(pads, source="x", output="p", **attrs):
    return node("Pad", source, output, pads=pads, **attrs)


def lowered(nodes, constants=None, **options):
    source = model(nodes, constants, input_shape=FREE, **options)
    graph = from_model(source)
    edits, refusals = [], []
    for rewrite in (MergedPads(), Paddings()):
        done, left = apply(rewrite, graph)
        edits += done
        refusals += left
    return source, graph, edits, refusals


@pytest.mark.parametrize("attrs", [{"pads": [1, 0, 1, 1]}, {"strides": [2, 2]}])
def test_zero_padding_before_a_convolution_becomes_its_pads(attrs):
    nodes = [pad([0, 0, 1, 2, 0, 0, 3, 0]), node("Conv", "p w", "y", **attrs)]
    source, graph, edits, _ = lowered(nodes, W)
    assert operators(graph) == ["Conv"]
    assert edits[0].nodes == ("p_node", "y_node")
    assert_equivalent(source, graph, tolerance=1e-6)


def test_zero_padding_that_two_convolutions_read_becomes_the_pads_of_both():
    nodes = [
        pad([0, 0, 1, 1, 0, 0, 1, 1]),
        node("Conv", "p w", "a"),
        node("Conv", "p w", "b"),
        node("Add", "a b", "y"),
    ]
    source, graph, _, _ = lowered(nodes, W)
    assert operators(graph) == ["Conv", "Conv", "Add"]
    assert_equivalent(source, graph, tolerance=1e-6)


@pytest.mark.parametrize(
    "nodes",
    [
        [pad([0, 0, 1, 1, 0, 0, 1, 1]), node("MaxPool", "p", "y", kernel_shape=[3, 3])],
        [pad([0, 0, 1, 1, 0, 0, 1, 1], value=0.5), node("Conv", "p w", "y")],
        [pad([0, 0, 1, 1, 0, 0, 1, 1], mode="reflect"), node("Conv", "p w", "y")],
        [pad([0, 0, 1, 1, 0, 0, 1, 1], mode="edge"), node("Conv", "p w", "y")],
        [pad([0, 0, 1, 1, 0, 0, 1, 1], output="y"), node("Conv", "y w", "z")],
    ],
)
def test_pads_with_another_meaning_in_the_convolution_are_left_alone(nodes):
    _, _, edits, refusals = lowered(nodes, W)
    assert not edits
    assert not refusals


@pytest.mark.parametrize("mode", ["constant", "edge"])
def test_two_pads_become_one(mode):
    nodes = [
        pad([0, 0, 1, 2, 0, 0, 0, 0], mode=mode),
        pad([0, 0, 0, 1, 0, 0, 3, 0], source="p", output="y", mode=mode),
    ]
    source, graph, _, _ = lowered(nodes)
    assert operators(graph) == ["Pad"]
    assert_equivalent(source, graph, tolerance=0)


@pytest.mark.parametrize("modes", [("edge", "constant"), ("constant", "edge"), ("reflect", "constant")])
def test_two_pads_of_different_modes_are_not_merged(modes):
    nodes = [
        pad([0, 0, 1, 1, 0, 0, 1, 1], mode=modes[0]),
        pad([0, 0, 1, 1, 0, 0, 1, 1], source="p", output="y", mode=modes[1]),
    ]
    source, graph, edits, _ = lowered(nodes)
    assert not edits and operators(graph) == ["Pad", "Pad"]
    assert_equivalent(source, graph, tolerance=0)


def test_two_reflection_pads_are_not_merged():
    nodes = [
        pad([0, 0, 1, 1, 0, 0, 1, 1], mode="reflect"),
        pad([0, 0, 1, 1, 0, 0, 1, 1], source="p", output="y", mode="reflect"),
    ]
    _, _, edits, _ = lowered(nodes)
    assert not edits


def test_a_pad_by_nothing_is_removed():
    _, graph, _, _ = lowered([pad([0] * 8), node("Relu", "p", "y")])
    assert operators(graph) == ["Relu"]


NEGATIVE = [[0, 0, -1, -2, 0, 0, 0, -1], [0, 0, 2, -1, 0, 0, 0, 0], [0, 0, -3, 1, 0, 0, 2, 0]]


@pytest.mark.parametrize("pads", NEGATIVE)
@pytest.mark.parametrize("mode", ["constant", "edge"])
def test_negative_pads_become_slices_at_any_size(pads, mode):
    source, graph, _, _ = lowered([pad(pads, output="y", mode=mode)])
    assert operators(graph)[-1] == "Slice"
    assert all(min(pads_of(node)) >= 0 for node in graph.nodes if node.op == "Pad")
    assert_equivalent(source, graph, tolerance=0)


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_channel_pads_become_a_convolution(value):
    source, graph, _, _ = lowered([pad([0, 1, 1, 0, 0, 2, 0, 3], output="y", value=value)])
    assert operators(graph) == ["Conv", "Pad"]
    assert_equivalent(source, graph, tolerance=0)


def test_pads_of_the_batch_and_reflected_channels_are_refused():
    for pads, mode in (([1, 0, 0, 0, 0, 0, 0, 0], "constant"), ([0, 1, 0, 0, 0, 0, 0, 0], "edge")):
        _, _, edits, refusals = lowered([pad(pads, output="y", mode=mode)])
        assert [refusal.code for refusal in refusals] == ["pad-outer-axes"]
        assert not edits


@pytest.mark.parametrize("pads", [[0, 0, 1, 2, 0, 0, 3, 0], [0, 0, 0, 2, 0, 0, 0, 2]])
def test_circular_pads_become_slices_and_concat(pads):
    source = model([node("Pad", "x p", "y", mode="wrap")], {"p": np.array(pads)}, opset=19, input_shape=FREE)
    graph = from_model(source)
    apply(Paddings(), graph)
    assert set(operators(graph)) == {"Slice", "Concat"}
    assert_equivalent(source, graph, tolerance=0)
