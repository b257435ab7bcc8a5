from __future__ import annotations

import numpy as np
import pytest

from pipeline.graph import from_model
from pipeline.graph.forms import axes_of
from pipeline.rewrites.reductions import COMPOSED, Reductions, Softmaxes
from tests.rewrites import (
    BARRACUDA_1,
    BARRACUDA_2,
    BARRACUDA_3,
    TARGETS,
    apply,
    as_barracuda_reads,
    assert_equivalent,
    model,
    node,
    operators,
)

FREE = (1, 3, "h", "w")


def lowered(source, target=BARRACUDA_3, rewrite=None):
    graph = from_model(source)
    edits, refusals = apply(rewrite or Reductions(), graph, target)
    return graph, edits, refusals


def codes(refusals):
    return [refusal.code for refusal in refusals]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize(
    ("opset", "inputs", "attrs"), [(9, "x", {"axes": [-1, -2]}), (13, "x", {"axes": [2, 3]}), (18, "x a", {})]
)
def test_means_over_height_and_width_of_every_opset_become_global_average_pooling(
    target, keepdims, opset, inputs, attrs
):
    source = model(
        [node("ReduceMean", inputs, "y", keepdims=keepdims, **attrs)],
        {"a": np.array([3, 2])} if "a" in inputs else {},
        opset=opset,
        input_shape=FREE,
    )
    graph, _, refusals = lowered(source, target)
    assert not refusals
    assert operators(graph) == ["GlobalAveragePool"] + ["Reshape"] * (1 - keepdims)
    assert_equivalent(source, graph, tolerance=1e-6)


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("operator", ["ReduceMean", "ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("axes", [[2, 3], [1, 2, 3], [1]])
def test_1_0_reduces_by_pooling_and_over_only_channels(operator, axes, keepdims):
    source = model([node(operator, "x", "y", axes=axes, keepdims=keepdims)], input_shape=FREE)
    graph, _, refusals = lowered(source, BARRACUDA_1)
    assert not refusals
    assert all(axes_of(item) == [1] for item in graph.nodes if item.op.startswith("Reduce"))
    assert_equivalent(source, graph, tolerance=1e-6)


def test_a_sum_over_height_and_width_in_1_0_needs_the_size():
    source = model([node("ReduceSum", "x", "y", axes=[2, 3])])
    graph, _, _ = lowered(source, BARRACUDA_1)
    assert operators(graph) == ["GlobalAveragePool", "Mul"]
    assert_equivalent(source, graph, sizes=[(12, 16)], tolerance=1e-5)
    _, edits, refusals = lowered(model([node("ReduceSum", "x", "y", axes=[2, 3])], input_shape=FREE), BARRACUDA_1)
    assert codes(refusals) == ["reduce-needs-size"]
    assert not edits


def test_a_reduction_over_only_height_is_refused_for_1_0_and_stays_for_2_0():
    source = model([node("ReduceMean", "x", "y", axes=[2])])
    _, edits, refusals = lowered(source, BARRACUDA_1)
    assert codes(refusals) == ["reduce-over-height-or-width"]
    _, edits, refusals = lowered(source, BARRACUDA_2)
    assert not edits
    assert not refusals


def test_axes_given_as_input_become_attributes():
    source = model([node("ReduceSum", "x a", "y")], {"a": np.array([-3])}, opset=13)
    graph, _, _ = lowered(source)
    assert as_barracuda_reads(graph)[0].attrs["axes"] == [1]
    assert_equivalent(source, graph, tolerance=1e-6)


def test_dropped_axes_are_squeezed_afterwards():
    source = model([node("ReduceMax", "x", "y", axes=[-2], keepdims=0)])
    graph, _, _ = lowered(source)
    assert operators(graph) == ["ReduceMax", "Squeeze"]
    assert_equivalent(source, graph, tolerance=0)


def test_a_reduction_without_axes_is_over_all_and_with_noop_over_none():
    source = model([node("ReduceMax", "x", "y")])
    graph, _, _ = lowered(source)
    assert axes_of(graph.nodes[0]) == [0, 1, 2, 3]
    assert_equivalent(source, graph, tolerance=0)
    source = model([node("ReduceSum", "x", "s", noop_with_empty_axes=1), node("Relu", "s", "y")], opset=13)
    graph, _, _ = lowered(source)
    assert operators(graph) == ["Relu"]


@pytest.mark.parametrize("operator", COMPOSED)
@pytest.mark.parametrize("target", [BARRACUDA_1, BARRACUDA_3])
def test_composed_reductions_over_channels(operator, target):
    source = model([node(operator, "x", "y", axes=[1])], opset=13)
    graph, _, refusals = lowered(source, target)
    assert not refusals
    assert operator not in operators(graph)
    assert_equivalent(source, graph, low=0.1, tolerance=1e-6)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("target", [BARRACUDA_1, BARRACUDA_3])
def test_lp_normalization_over_channels_is_a_division_by_the_norm(p, target):
    source = model([node("Relu", "x", "r"), node("LpNormalization", "r", "y", axis=1, p=p)], input_shape=FREE)
    graph, _, refusals = lowered(source, target)
    assert not refusals
    assert all(target.accepts(operator) for operator in operators(graph))
    assert_equivalent(source, graph, tolerance=1e-6)


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("target", TARGETS)
def test_softmax_over_channels_is_right_in_every_version(operator, target):
    source = model([node(operator, "x", "y", axis=-3)], opset=13, input_shape=FREE)
    graph, _, refusals = lowered(source, target, Softmaxes())
    assert not refusals
    if target is BARRACUDA_3:
        assert as_barracuda_reads(graph)[0].attrs == {"axis": 1}
    if target is BARRACUDA_1:
        assert operator not in operators(graph)
    assert_equivalent(source, graph, low=-20, high=20, tolerance=1e-5)


@pytest.mark.parametrize("order", [(0, 2, 3, 1), (0, 3, 2, 1)])
def test_torchs_transposed_softmax_below_opset_13_becomes_one_on_the_channels(order):
    back = [order.index(axis) for axis in range(4)]
    source = model(
        [
            node("Transpose", "x", "t", perm=list(order)),
            node("Softmax", "t", "s", axis=3),
            node("Transpose", "s", "y", perm=back),
        ]
    )
    graph, _, _ = lowered(source, rewrite=Softmaxes())
    assert operators(graph) == ["Softmax"]
    assert graph.nodes[0].attrs["axis"] == 1
    assert_equivalent(source, graph, tolerance=1e-6)


def test_a_softmax_over_several_axes_is_one_over_what_is_flattened():
    source = model([node("Softmax", "x", "y", axis=1)], opset=9)
    graph, _, _ = lowered(source, rewrite=Softmaxes())
    assert operators(graph) == ["Shape", "Flatten", "Softmax", "Reshape"]
    assert_equivalent(source, graph, tolerance=1e-6)


def test_the_name_of_a_softmax_has_no_effect():
    """A node that its author named like one that a rewrite made is computed by its opset like any other."""
    source = model([node("Softmax", "x", "y", axis=1)], opset=11)
    source.graph.node[0].name = "/net/softmax/Softmax"
    graph, _, _ = lowered(source, rewrite=Softmaxes())
    assert_equivalent(source, graph, tolerance=1e-6)


def test_a_softmax_along_width_is_refused_for_1_0():
    source = model([node("Softmax", "x", "y")], opset=13)
    _, _, refusals = lowered(source, BARRACUDA_1, Softmaxes())
    assert codes(refusals) == ["softmax-axis"]
    graph, _, _ = lowered(source, BARRACUDA_3, Softmaxes())
    assert as_barracuda_reads(graph)[0].attrs["axis"] == 3
    assert_equivalent(source, graph, tolerance=1e-6)


def test_a_log_softmax_along_width_is_the_logarithm_of_a_softmax_in_2_0():
    source = model([node("LogSoftmax", "x", "y")], opset=13)
    graph, _, _ = lowered(source, BARRACUDA_2, Softmaxes())
    assert operators(graph) == ["Softmax", "Log"]
    assert_equivalent(source, graph, tolerance=1e-5)
