from __future__ import annotations

import numpy as np
import pytest

from pipeline.graph import from_model
from pipeline.rewrites import lower
from pipeline.rewrites.group_norm import GroupNorms
from tests.rewrites import (
    BARRACUDA_1,
    BARRACUDA_3,
    TARGETS,
    apply,
    assert_equivalent,
    model,
    node,
    operators,
    random,
)

EIGHT = (1, 8, 12, 16)
AFFINE = {"g": random((1, 8, 1, 1), 1), "b": random((1, 8, 1, 1), 2)}


def lowered(source, target=BARRACUDA_3):
    graph = from_model(source)
    edits, refusals = apply(GroupNorms(), graph, target)
    return graph, edits, refusals


def torch_group_norm(groups, back):
    return [
        node("Reshape", "x rows", "r"),
        node("InstanceNormalization", "r ones zeros", "i", epsilon=1e-3),
        *back,
        node("Mul", "n g", "s"),
        node("Add", "s b", "y"),
    ], AFFINE | {
        "rows": np.array([0, groups, -1]),
        "ones": np.ones(groups, np.float32),
        "zeros": np.zeros(groups, np.float32),
    }


@pytest.mark.parametrize("groups", [1, 2, 4, 8])
@pytest.mark.parametrize("target", TARGETS)
def test_torchs_group_norm_runs_at_any_size_and_batch(groups, target):
    nodes, constants = torch_group_norm(groups, [node("Reshape", "i whole", "n")])
    source = model(nodes, constants | {"whole": np.array(EIGHT)}, input_shape=EIGHT)
    graph, edits, _ = lowered(source, target)
    assert all(target.accepts(operator) for operator in operators(graph))
    assert "Reshape" not in operators(graph)
    assert ("Conv" in operators(graph)) == (groups != 8)
    assert ("InstanceNormalization" in operators(graph)) == (groups == 8)
    assert edits[0].nodes == ("r_node", "i_node", "n_node")
    assert_equivalent(source, graph, sizes=[(12, 16)], tolerance=5e-6)


def test_torchs_group_norm_of_a_picture_of_any_size_is_recognised_by_its_shape_node():
    nodes, constants = torch_group_norm(2, [node("Shape", "x", "whole"), node("Reshape", "i whole", "n")])
    source = model(nodes, constants, input_shape=(1, 8, "h", "w"))
    graph, _, _ = lowered(source)
    assert "InstanceNormalization" not in operators(graph)
    assert_equivalent(source, graph, batch=1, tolerance=5e-6)
    assert_equivalent(source, graph, batch=2, tolerance=5e-6)


def test_a_reshape_to_another_picture_is_not_group_norm():
    nodes, constants = torch_group_norm(2, [node("Reshape", "i whole", "n")])
    source = model(nodes, constants | {"whole": np.array([1, 8, 16, 12])}, input_shape=EIGHT)
    _, edits, _ = lowered(source)
    assert not edits


@pytest.mark.parametrize(("opset", "size"), [(18, 2), (21, 8)])
def test_group_normalization_of_both_opsets(opset, size):
    source = model(
        [node("GroupNormalization", "x g b", "y", num_groups=2, epsilon=1e-3)],
        {"g": random((size,), 1), "b": random((size,), 2)},
        opset=opset,
        input_shape=(1, 8, "h", "w"),
    )
    graph, _, _ = lowered(source)
    assert "GroupNormalization" not in operators(graph)
    assert_equivalent(source, graph, tolerance=5e-6)


def test_a_computed_scale_is_multiplied_behind_the_norm():
    source = model(
        [node("GroupNormalization", "x g b", "y", num_groups=2)],
        {"b": random((8,))},
        opset=21,
        input_shape=EIGHT,
        extra_inputs={"g": (8,)},
    )
    graph, edits, refusals = lowered(source)
    assert edits
    assert not refusals
    assert_equivalent(source, graph, tolerance=1e-5)


def test_layer_norm_over_a_whole_picture():
    source = model(
        [node("LayerNormalization", "x g b", "y", axis=1, epsilon=1e-3)],
        {"g": random(EIGHT[1:], 1), "b": random(EIGHT[1:], 2)},
        opset=17,
        input_shape=EIGHT,
    )
    graph, _, _ = lowered(source, BARRACUDA_1)
    assert all(BARRACUDA_1.accepts(operator) for operator in operators(graph))
    assert_equivalent(source, graph, sizes=[(12, 16)], tolerance=5e-6)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("RMSNormalization", "x whole", "y", axis=1, epsilon=1e-3)],
        [
            node("Transpose", "x", "t", perm=[0, 2, 3, 1]),
            node("RMSNormalization", "t g", "l", epsilon=1e-3),
            node("Transpose", "l", "y", perm=[0, 3, 1, 2]),
        ],
        [node("RMSNormalization", "x wide", "y", epsilon=1e-3)],
    ],
    ids=["picture", "channels", "width"],
)
def test_rms_norm_does_not_subtract_the_mean(nodes):
    constants = {"whole": random(EIGHT[1:], 1), "g": random((8,), 1), "wide": random((16,), 1)}
    source = model(nodes, constants, opset=23, input_shape=EIGHT)
    graph, _, refusals = lowered(source)
    assert not refusals
    assert not {"Sub", "RMSNormalization"} & set(operators(graph))
    assert_equivalent(source, graph, sizes=[(12, 16)], tolerance=5e-6)


def test_layer_norm_over_the_channels_of_each_pixel():
    source = model(
        [
            node("Transpose", "x", "t", perm=[0, 2, 3, 1]),
            node("LayerNormalization", "t g b", "l", axis=-1, epsilon=1e-3),
            node("Transpose", "l", "y", perm=[0, 3, 1, 2]),
        ],
        {"g": random((8,), 1), "b": random((8,), 2)},
        opset=17,
        input_shape=(1, 8, "h", "w"),
    )
    graph, _, _ = lowered(source)
    assert "Transpose" not in operators(graph)
    assert_equivalent(source, graph, tolerance=5e-6)


@pytest.mark.parametrize("outputs", ["l s", "l - s"])
def test_a_layer_norm_whose_statistics_are_read_is_refused(outputs):
    source = model(
        [node("LayerNormalization", "x g", outputs, axis=-1), node("Add", "l s", "y")],
        {"g": random((16,), 1)},
        opset=17,
    )
    graph = from_model(source)
    edits, refusals = apply(GroupNorms(), graph)
    assert not edits and [item.code for item in refusals] == ["norm-not-supported"]
    assert_equivalent(source, graph, sizes=((12, 16),))


def test_layer_norm_of_a_vector_and_its_refusal_for_1_0():
    source = model(
        [
            node("GlobalAveragePool", "x", "p"),
            node("Flatten", "p", "f"),
            node("LayerNormalization", "f g", "y", epsilon=1e-3),
        ],
        {"g": random((8,), 1)},
        opset=17,
        input_shape=EIGHT,
    )
    graph, _, _ = lowered(source)
    assert_equivalent(source, graph, tolerance=5e-6)
    _, edits, refusals = lowered(source, BARRACUDA_1)
    assert [refusal.code for refusal in refusals] == ["norm-not-supported"]
    assert not edits


@pytest.mark.parametrize("axes", [[0, 2, 3], [2, 3], [1, 2, 3]])
def test_mean_variance_normalization(axes):
    source = model([node("MeanVarianceNormalization", "x", "y", axes=axes)], opset=13)
    graph, _, _ = lowered(source)
    assert "MeanVarianceNormalization" not in operators(graph)
    assert_equivalent(source, graph, tolerance=1e-5)


def test_mean_variance_over_a_batch_of_several_is_refused():
    source = model([node("MeanVarianceNormalization", "x", "y")], opset=13, input_shape=(2, 3, 8, 8))
    _, edits, refusals = lowered(source)
    assert [refusal.code for refusal in refusals] == ["norm-not-supported"]
    assert not edits


def test_an_instance_norm_is_left_alone():
    source = model(
        [node("InstanceNormalization", "x g b", "y")],
        {"g": random((3,)), "b": random((3,))},
        input_shape=(1, 3, 8, 8),
    )
    _, edits, refusals = lowered(source)
    assert not edits
    assert not refusals


@pytest.mark.parametrize("target", TARGETS)
def test_the_whole_sequence_settles_on_group_norm(target):
    nodes, constants = torch_group_norm(2, [node("Shape", "x", "whole"), node("Reshape", "i whole", "n")])
    source = model(nodes, constants, input_shape=EIGHT)
    graph = from_model(source)
    result = lower(graph, target)
    assert not result.refusals
    assert_equivalent(source, graph, tolerance=5e-6)


@pytest.mark.parametrize("target", TARGETS)
def test_layer_norm_in_a_channels_last_block_moves_to_the_channels(target):
    """ConvNeXt's block: transpose, layer norm, linear, transpose back."""
    source = model(
        [
            node("Transpose", "x", "t", perm=[0, 2, 3, 1]),
            node("LayerNormalization", "t g b", "l", axis=-1, epsilon=1e-3),
            node("MatMul", "l w", "m"),
            node("Transpose", "m", "y", perm=[0, 3, 1, 2]),
        ],
        {"g": random((8,), 1), "b": random((8,), 2), "w": random((8, 8), 3)},
        opset=17,
        input_shape=EIGHT,
    )
    graph = from_model(source)
    lower(graph, target)
    assert not {"Transpose", "MatMul", "LayerNormalization"} & set(operators(graph))
    assert_equivalent(source, graph, sizes=[(12, 16), (8, 20)], tolerance=5e-6)


def test_a_scale_that_is_still_to_be_folded_does_not_hide_a_group_norm():
    """torch's dynamo exporter without its optimiser writes CastLike and Expand for ones and zeros."""
    nodes = [
        node("Reshape", "x rows", "r"),
        node("CastLike", "one x", "one_f"),
        node("Expand", "one_f count", "ones"),
        node("CastLike", "zero x", "zero_f"),
        node("Expand", "zero_f count", "zeros"),
        node("InstanceNormalization", "r ones zeros", "n"),
        node("Shape", "x", "s"),
        node("Reshape", "n s", "y"),
    ]
    constants = {
        "rows": np.array([0, 2, -1]),
        "count": np.array([2]),
        "one": np.float32(1),
        "zero": np.float32(0),
    }
    source = model(nodes, constants, opset=18, input_shape=(1, 4, 12, 16))
    for target in TARGETS:
        graph = from_model(source)
        assert not lower(graph, target).refusals
        assert "Reshape" not in operators(graph)
        assert_equivalent(source, graph, tolerance=5e-6)
