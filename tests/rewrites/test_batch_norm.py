from __future__ import annotations

import numpy as np
import pytest

from pipeline.graph import from_model
from pipeline.rewrites.batch_norm import FoldBatchNorm, PictureStatistics
from pipeline.rewrites.constants import Constants
from tests.rewrites import apply, assert_equivalent, model, node, operators, random


def statistics(channels):
    return {
        "g": random((channels,), 1),
        "b": random((channels,), 2),
        "m": random((channels,), 3),
        "v": np.abs(random((channels,), 4)) + 0.1,
    }


NORM = node("BatchNormalization", "c g b m v", "y", epsilon=1e-3)


def lowered(source):
    graph = from_model(source)
    edits, refusals = apply(FoldBatchNorm(), graph)
    return graph, edits, refusals


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("operator", "shape", "attrs"),
    [
        ("Conv", (6, 3, 3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ("Conv", (6, 1, 3, 3), {"group": 3}),
        ("ConvTranspose", (3, 6, 3, 3), {"strides": [2, 2]}),
        ("ConvTranspose", (3, 2, 2, 2), {"group": 3, "strides": [2, 2]}),
    ],
)
def test_a_batch_norm_is_folded_into_the_convolution_before_it(operator, shape, attrs, bias):
    weights = {"w": random(shape, 5)} | ({"wb": random((6,), 6)} if bias else {})
    source = model(
        [node(operator, "x w wb" if bias else "x w", "c", **attrs), NORM],
        weights | statistics(6),
    )
    graph, edits, _ = lowered(source)
    assert operators(graph) == [operator]
    assert edits[0].nodes == ("c_node", "y_node")
    assert graph.nodes[0].outputs[0].name == "y"
    assert_equivalent(source, graph, tolerance=3e-6)


@pytest.mark.parametrize("transposed", [0, 1])
def test_a_batch_norm_is_folded_into_a_linear_layer(transposed):
    shape = (4, 3) if transposed else (3, 4)
    source = model(
        [
            node("GlobalAveragePool", "x", "p"),
            node("Flatten", "p", "f"),
            node("Gemm", "f w wb", "c", transB=transposed),
            NORM,
        ],
        {"w": random(shape, 5), "wb": random((4,), 6)} | statistics(4),
    )
    graph, _, _ = lowered(source)
    assert operators(graph)[-1] == "Gemm"
    assert_equivalent(source, graph, tolerance=3e-6)


@pytest.mark.parametrize("attrs", [{"alpha": 2.0}, {"beta": 0.5}])
def test_a_linear_layer_with_factors_of_its_own_keeps_its_weights(attrs):
    nodes = [node("GlobalAveragePool", "x", "p"), node("Flatten", "p", "f"), node("Gemm", "f w wb", "c", **attrs)]
    source = model([*nodes, NORM], {"w": random((3, 4), 5), "wb": random((4,), 6)} | statistics(4))
    _, edits, _ = lowered(source)
    assert not edits


@pytest.mark.parametrize("computed", ["w", "wb"])
def test_a_convolution_with_computed_weights_or_bias_is_left_alone(computed):
    weights = {"w": random((6, 3, 3, 3)), "wb": random((6,))}
    shape = weights.pop(computed).shape
    source = model(
        [node("Conv", "x w wb", "c", kernel_shape=[3, 3]), NORM],
        weights | statistics(6),
        extra_inputs={computed: shape},
    )
    _, edits, _ = lowered(source)
    assert not edits


def test_a_convolution_that_others_read_keeps_its_weights():
    source = model(
        [node("Conv", "x w", "c"), NORM, node("Relu", "c", "z"), node("Add", "y z", "out")],
        {"w": random((6, 3, 3, 3))} | statistics(6),
        output="out",
    )
    _, edits, _ = lowered(source)
    assert not edits


def test_a_batch_norm_after_an_activation_is_left_alone():
    source = model([node("Relu", "x", "c"), NORM], statistics(3))
    _, edits, refusals = lowered(source)
    assert not edits
    assert not refusals


def test_computed_statistics_are_left_alone():
    source = model(
        [node("Relu", "x", "c"), node("BatchNormalization", "c s b m v", "y")],
        statistics(3),
        extra_inputs={"s": (3,)},
    )
    _, edits, refusals = lowered(source)
    assert not edits
    assert not refusals


@pytest.mark.parametrize(
    ("opset", "outputs", "attrs"), [(9, "y m2 v2 sm sv", {}), (14, "y m2 v2", {"training_mode": 1})]
)
def test_the_statistics_of_one_picture_are_those_of_an_instance(opset, outputs, attrs):
    source = model([node("BatchNormalization", "x g b m v", outputs, **attrs)], statistics(3), opset=opset)
    graph = from_model(source)
    edits, refusals = apply(PictureStatistics(), graph)
    assert operators(graph) == ["InstanceNormalization"]
    assert len(edits) == 1
    assert not refusals

    def expected(feeds):
        x = feeds["x"].astype(np.float64)
        mean, variance = x.mean((2, 3), keepdims=True), x.var((2, 3), keepdims=True)
        scale, bias = (statistics(3)[name].reshape(1, -1, 1, 1) for name in "gb")
        return [((x - mean) / np.sqrt(variance + 1e-5) * scale + bias).astype(np.float32)]

    assert_equivalent(source, graph, tolerance=1e-5, expected=expected)


def test_the_statistics_of_several_pictures_are_refused():
    new_node = node("BatchNormalization", "x g b m v", "y m2 v2", training_mode=1)
    graph = from_model(model([new_node], statistics(3), opset=14, input_shape=(4, 3, 8, 8)))
    assert apply(PictureStatistics(), graph) == ([], [])
    _, refusals = apply(Constants(), graph)
    assert [refusal.code for refusal in refusals] == ["batch-norm-in-training-mode"]
