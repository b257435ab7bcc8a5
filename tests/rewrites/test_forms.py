from __future__ import annotations

import numpy as np
import pytest

from pipeline.graph import from_model
from pipeline.rewrites.forms import Forms, NoOps
from pipeline.rewrites.padding import Paddings
from pipeline.rewrites.slicing import Slices
from tests.rewrites import (
    BARRACUDA_1,
    BARRACUDA_2,
    BARRACUDA_3,
    apply,
    as_barracuda_reads,
    assert_equivalent,
    model,
    node,
    operators,
    random,
)

END = np.iinfo(np.int64).max
FREE = (1, 3, "h", "w")


def lowered(source, target=BARRACUDA_3, found=False):
    graph = from_model(source)
    edits, refusals = [], []
    for rewrite in (NoOps(), Slices(), Forms(), Paddings()):
        done, left = apply(rewrite, graph, target, found)
        edits += done
        refusals += left
    return graph, edits, refusals


def written(graph):
    """The first node of the file that Barracuda reads."""
    return as_barracuda_reads(graph)[0]


def codes(refusals):
    return [refusal.code for refusal in refusals]


@pytest.mark.parametrize("mode", ["reflect", "edge", "constant"])
def test_pad_11_takes_its_attribute_form(mode):
    source = model(
        [node("Pad", "x p v", "y", mode=mode)], {"p": np.array([0, 0, 1, 2, 0, 0, 3, 4]), "v": 0.5}, opset=11
    )
    graph, _, _ = lowered(source)
    assert written(graph).attrs["pads"] == [0, 0, 1, 2, 0, 0, 3, 4]
    assert len(written(graph).inputs) == 1
    assert ("value" in written(graph).attrs) == (mode == "constant")
    assert_equivalent(source, graph, tolerance=0)


def test_pad_18_with_negative_axes_pads_the_named_axes():
    source = model(
        [node("Pad", "x p - a", "y", mode="reflect")],
        {"p": np.array([1, 2, 3, 4]), "a": np.array([-1, 2])},
        opset=18,
    )
    graph, _, _ = lowered(source)
    assert written(graph).attrs["pads"] == [0, 0, 2, 1, 0, 0, 4, 3]
    assert_equivalent(source, graph, tolerance=0)


def test_pads_computed_from_the_picture_are_refused():
    source = model(
        [
            node("Shape", "x", "s"),
            node("Concat", "s s", "p", axis=0),
            node("Pad", "x p", "y"),
        ],
        opset=13,
        input_shape=FREE,
    )
    graph, edits, refusals = lowered(source)
    assert codes(refusals) == ["pads-not-constant"]
    assert not edits
    assert "Pad" in operators(graph)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"lo": -0.5, "hi": 0.75}, {"min": -0.5, "max": 0.75}),
        ({"lo": -0.5, "hi": np.array(np.finfo(np.float32).max, np.float32)}, {"min": -0.5}),
    ],
)
def test_clip_11_takes_its_attribute_form(bounds, expected):
    source = model([node("Clip", "x lo hi", "y")], bounds, opset=13)
    graph, _, _ = lowered(source)
    assert written(graph).attrs == expected
    assert_equivalent(source, graph, tolerance=0)


def test_clip_with_only_a_maximum_keeps_its_minimum_open():
    source = model([node("Clip", "x - hi", "y")], {"hi": 0.25}, opset=13)
    graph, _, _ = lowered(source)
    assert written(graph).attrs == {"max": 0.25}
    assert_equivalent(source, graph, tolerance=0)


def test_clip_from_zero_upwards_is_relu_and_without_bounds_nothing():
    source = model([node("Clip", "x lo", "a"), node("Clip", "a", "y")], {"lo": 0.0}, opset=13)
    graph, _, _ = lowered(source)
    assert operators(graph) == ["Relu"]
    assert_equivalent(source, graph, tolerance=0)


def test_clip_with_a_computed_bound_becomes_max_and_min():
    source = model(
        [node("ReduceMax", "x", "hi", keepdims=0), node("Mul", "hi half", "h"), node("Clip", "x lo h", "y")],
        {"half": 0.5, "lo": 0.1},
        opset=13,
    )
    graph, _, _ = lowered(source)
    assert "Clip" not in operators(graph)
    assert {"Max", "Min"} <= set(operators(graph))
    assert_equivalent(source, graph, tolerance=0)


def test_a_channel_slice_to_the_end_gets_a_literal_end_without_a_declared_size():
    source = model(
        [node("Slice", "x s e a", "y")],
        {"s": np.array([-2]), "e": np.array([END]), "a": np.array([-3])},
        opset=13,
        input_shape=FREE,
    )
    graph, _, _ = lowered(source)
    assert written(graph).attrs == {"starts": [1], "ends": [3], "axes": [1]}
    assert_equivalent(source, graph, tolerance=0)


def test_a_crop_of_rows_and_columns_does_not_bake_the_size():
    source = model(
        [node("Slice", "x s e a t", "y")],
        {
            "s": np.array([1, 2]),
            "e": np.array([-1, END]),
            "a": np.array([2, 3]),
            "t": np.array([1, 1]),
        },
        opset=13,
    )
    graph, _, _ = lowered(source)
    assert written(graph).attrs == {"starts": [1, 2], "ends": [-1, 2**31 - 1], "axes": [2, 3]}
    assert_equivalent(source, graph, tolerance=0)


def test_a_slice_of_everything_is_removed():
    source = model(
        [node("Slice", "x s e a", "b"), node("Relu", "b", "y")],
        {"s": np.array([0]), "e": np.array([END]), "a": np.array([2])},
        opset=10,
    )
    graph, _, _ = lowered(source)
    assert operators(graph) == ["Relu"]
    assert_equivalent(source, graph, tolerance=0)


@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (1, 2), (3, 2), (2, 1)])
@pytest.mark.parametrize("start", [0, 1])
def test_strided_slices_become_strided_pools_at_any_size(rows, columns, start):
    source = model(
        [node("Slice", "x s e a t", "y")],
        {
            "s": np.array([start, start]),
            "e": np.array([END, END]),
            "a": np.array([2, 3]),
            "t": np.array([rows, columns]),
        },
        opset=13,
        input_shape=FREE,
    )
    graph, _, _ = lowered(source)
    assert operators(graph)[-1] == "MaxPool"
    assert_equivalent(source, graph, sizes=((12, 16), (13, 17), (11, 19)), tolerance=0)


def test_a_flip_of_channels_becomes_a_gather_at_any_size_and_a_flip_of_columns_at_the_declared_one():
    constants = {"s": np.array([-1]), "e": np.array([-END]), "t": np.array([-1])}
    source = model([node("Slice", "x s e a t", "y")], constants | {"a": np.array([1])}, opset=13)
    graph, edits, _ = lowered(source)
    assert operators(graph) == ["Gather"]
    assert "only for" not in edits[0].what
    assert_equivalent(source, graph, tolerance=0)
    source = model([node("Slice", "x s e a t", "y")], constants | {"a": np.array([3])}, opset=13)
    graph, edits, _ = lowered(source)
    assert "only for the declared picture size" in edits[0].what
    assert_equivalent(source, graph, sizes=[(12, 16)], tolerance=0)


def test_a_flip_without_a_declared_size_is_refused():
    constants = {"s": np.array([-1]), "e": np.array([-END]), "a": np.array([3]), "t": np.array([-1])}
    _, edits, refusals = lowered(model([node("Slice", "x s e a t", "y")], constants, opset=13, input_shape=FREE))
    assert codes(refusals) == ["slice-steps-need-size"]
    assert not edits


def test_a_slice_with_computed_bounds_is_refused():
    source = model(
        [
            node("Shape", "x", "s"),
            node("Slice", "s two three", "w"),
            node("Slice", "x zero w three", "y"),
        ],
        {"zero": np.array([0]), "two": np.array([2]), "three": np.array([3])},
        opset=10,
        input_shape=FREE,
    )
    _, _, refusals = lowered(source)
    assert codes(refusals) == ["slice-not-constant"]


@pytest.mark.parametrize(
    ("opset", "inputs", "constants", "attrs"),
    [
        (9, "x", {}, {"split": [1, 2]}),
        (13, "x parts", {"parts": np.array([1, 2])}, {}),
        (18, "x", {}, {"num_outputs": 2}),
    ],
)
def test_splits_of_every_opset_become_slices(opset, inputs, constants, attrs):
    source = model(
        [node("Split", inputs, "a b", axis=1, **attrs), node("Concat", "b a", "y", axis=1)],
        constants,
        opset=opset,
        input_shape=FREE,
    )
    graph, _, _ = lowered(source)
    assert operators(graph) == ["Slice", "Slice", "Concat"]
    assert_equivalent(source, graph, tolerance=0)


def test_a_split_of_a_size_that_is_not_known_is_refused():
    source = model([node("Split", "x", "a b", axis=2), node("Add", "a b", "y")], input_shape=FREE)
    _, edits, refusals = lowered(source)
    assert codes(refusals) == ["split-sizes-unknown"]
    assert not edits


@pytest.mark.parametrize("target", [BARRACUDA_1, BARRACUDA_2, BARRACUDA_3])
def test_squeeze_13_takes_the_attribute_form_one_axis_each_where_only_the_first_is_read(target):
    source = model(
        [
            node("GlobalAveragePool", "x", "g"),
            node("Squeeze", "g a", "s"),
            node("Relu", "s", "r"),
            node("Unsqueeze", "r a", "u"),
            node("Mul", "x u", "y"),
        ],
        {"a": np.array([-1, -2])},
        opset=13,
    )
    graph, _, _ = lowered(source, target)
    count = 1 if target is BARRACUDA_3 else 2
    assert operators(graph).count("Squeeze") == operators(graph).count("Unsqueeze") == count
    assert all(axis >= 0 for item in graph.nodes for axis in item.attrs.get("axes", ()))
    assert_equivalent(source, graph)


def test_an_unsqueeze_that_undoes_a_squeeze_goes():
    source = model(
        [
            node("GlobalAveragePool", "x", "g"),
            node("Squeeze", "g", "s", axes=[2, 3]),
            node("Unsqueeze", "s", "u", axes=[2, 3]),
            node("Mul", "x u", "y"),
        ]
    )
    graph, _, _ = lowered(source)
    assert operators(graph) == ["GlobalAveragePool", "Mul"]
    assert_equivalent(source, graph)


def test_squeeze_without_axes_of_an_unknown_size_is_refused():
    source = model([node("Squeeze", "x", "y")], opset=13, input_shape=FREE)
    _, _, refusals = lowered(source)
    assert codes(refusals) == ["squeeze-without-axes"]


def test_a_single_channel_picked_by_index_becomes_slice_and_squeeze():
    source = model([node("Gather", "x i", "y", axis=-3)], {"i": np.array(-1)}, opset=13, input_shape=FREE)
    graph, _, _ = lowered(source)
    assert operators(graph) == ["Slice", "Squeeze"]
    assert_equivalent(source, graph, tolerance=0)


def test_negative_gather_indices_count_from_the_front_and_are_refused_where_the_size_is_the_pictures():
    source = model([node("Gather", "x i", "y", axis=1)], {"i": np.array([-1, 0])}, opset=13, input_shape=FREE)
    graph, _, _ = lowered(source)
    assert graph.nodes[0].inputs[1].values.tolist() == [2, 0]
    assert_equivalent(source, graph, tolerance=0)
    _, _, refusals = lowered(model([node("Gather", "x i", "y", axis=3)], {"i": np.array([-1, 0])}))
    assert codes(refusals) == ["gather-negative-index"]


def test_a_negative_concat_axis_is_counted_from_the_front():
    source = model([node("Concat", "x x", "y", axis=-3)])
    graph, _, _ = lowered(source)
    assert written(graph).attrs["axis"] == 1
    assert_equivalent(source, graph, tolerance=0)


@pytest.mark.parametrize(("shape", "literal"), [((1, 3, "h", "w"), [1, -1]), (("n", 3, "h", "w"), [-1, 3])])
def test_flatten_becomes_a_reshape_that_bakes_nothing(shape, literal):
    source = model([node("GlobalAveragePool", "x", "p"), node("Flatten", "p", "y")], input_shape=shape)
    graph, _, _ = lowered(source)
    assert operators(graph) == ["GlobalAveragePool", "Reshape"]
    assert graph.nodes[1].inputs[1].values.tolist() == literal
    assert_equivalent(source, graph)


def test_a_flatten_of_unknown_sizes_keeps_its_axis_counted_from_the_front():
    source = model([node("Flatten", "x", "y", axis=-1)], opset=13, input_shape=("n", 3, "h", "w"))
    graph, _, _ = lowered(source)
    assert written(graph).attrs["axis"] == 3
    assert_equivalent(source, graph, tolerance=0)


def test_transpose_without_perm_has_it_written_out():
    source = model([node("Transpose", "x", "y")])
    graph, _, _ = lowered(source)
    assert written(graph).attrs["perm"] == [3, 2, 1, 0]
    assert_equivalent(source, graph, tolerance=0)


@pytest.mark.parametrize("bias", [None, random((5,), 4), random((1, 5), 4), random((), 4)])
def test_gemm_loses_alpha_and_beta_and_always_has_a_bias_vector(bias):
    constants = {"w": random((5, 3), 1)} | ({} if bias is None else {"b": bias})
    inputs = "f w" if bias is None else "f w b"
    source = model(
        [
            node("GlobalAveragePool", "x", "g"),
            node("Flatten", "g", "f"),
            node("Gemm", inputs, "y", alpha=0.5, beta=2.0, transB=1),
        ],
        constants,
        opset=13,
    )
    graph, _, _ = lowered(source)
    gemm = graph.nodes[-1]
    assert set(gemm.attrs) == {"transB"}
    assert gemm.inputs[2].values.shape == (5,)
    assert_equivalent(source, graph)


@pytest.mark.parametrize("bias", ["", " b"])
def test_gemm_with_computed_weights_is_left_alone(bias):
    source = model(
        [
            node("GlobalAveragePool", "x", "g"),
            node("Flatten", "g", "f"),
            node("Transpose", "f", "w", perm=[1, 0]),
            node("Gemm", f"f w{bias}", "y"),
        ],
        {"b": random((1,), 4)},
        opset=13,
    )
    graph, _, refusals = lowered(source)
    assert not refusals and len(graph.nodes[-1].inputs) == (3 if bias else 2)
    assert_equivalent(source, graph)


def test_gemm_with_a_bias_per_row_is_refused():
    source = model(
        [node("GlobalAveragePool", "x", "g"), node("Flatten", "g", "f"), node("Gemm", "f w b", "y")],
        {"w": random((3, 2)), "b": random((2, 1))},
        input_shape=(2, 3, 8, 8),
    )
    _, _, refusals = lowered(source)
    assert codes(refusals) == ["gemm-bias-shape"]


@pytest.mark.parametrize("target", [BARRACUDA_1, BARRACUDA_3])
@pytest.mark.parametrize("operator", ["GreaterOrEqual", "LessOrEqual"])
def test_comparisons_with_equality_are_negated_where_the_target_lacks_them(operator, target):
    source = model(
        [node(operator, "x c", "m"), node("Cast", "m", "y", to=1)], {"c": np.float32(0.25).reshape(1)}, opset=13
    )
    graph, _, _ = lowered(source, target, found=True)
    if target.accepts(operator):
        assert operators(graph) == [operator, "Cast"]
    else:
        assert operators(graph)[1] == "Not"
    assert_equivalent(source, graph, low=-1, high=1, tolerance=0)


def test_where_becomes_a_blend_only_for_1_0():
    source = model(
        [node("Greater", "x c", "m"), node("Where", "m x n", "y")],
        {"c": np.zeros(1, np.float32), "n": np.float32(-0.5).reshape(1)},
    )
    graph, _, _ = lowered(source, BARRACUDA_1, found=True)
    assert "Where" not in operators(graph)
    assert_equivalent(source, graph)
    graph, edits, _ = lowered(source, BARRACUDA_3, found=True)
    assert not edits


def test_a_maximum_of_one_tensor_is_the_tensor():
    source = model([node("Max", "x", "a"), node("Relu", "a", "y")])
    graph, _, _ = lowered(source)
    assert operators(graph) == ["Relu"]


def test_a_clip_whose_minimum_is_above_its_maximum_gives_the_maximum():
    source = model([node("Clip", "x lo hi", "y")], {"lo": 2.0, "hi": 1.0}, opset=13)
    graph, _, _ = lowered(source)
    assert operators(graph) == ["Max", "Min"]
    assert_equivalent(source, graph, tolerance=0)


def test_an_integer_exponent_becomes_float():
    source = model([node("Pow", "x two", "y")], {"two": np.array(2)}, opset=13)
    assert as_barracuda_reads(from_model(source))[0].inputs[1].dtype == np.float32


def test_broadcasting_of_opset_6_becomes_a_shape():
    bias, slope = random((3,), 1), np.abs(random((3,), 2))
    source = model(
        [node("Add", "x b", "a", broadcast=1, axis=1), node("PRelu", "a s", "y")], {"b": bias, "s": slope}, opset=6
    )
    graph, _, refusals = lowered(source)
    assert not refusals
    assert [item.inputs[1].values.shape for item in graph.nodes] == [(3, 1, 1), (3, 1, 1)]
    assert "broadcast" not in written(graph).attrs

    def expected(feeds):
        shifted = feeds["x"] + bias.reshape(1, 3, 1, 1)
        return [np.where(shifted < 0, slope.reshape(1, 3, 1, 1) * shifted, shifted)]

    assert_equivalent(source, graph, expected=expected, tolerance=1e-6)


def test_batch_norm_of_opset_6_loses_what_newer_ones_do_not_know():
    stored = {name: np.abs(random((3,), seed)) for seed, name in enumerate("sbmv")}
    source = model([node("BatchNormalization", "x s b m v", "y", is_test=1, spatial=1)], stored, opset=6)
    graph, _, _ = lowered(source)
    assert not written(graph).attrs

    def expected(feeds):
        scale, bias, mean, variance = (value.reshape(1, 3, 1, 1) for value in stored.values())
        return [(feeds["x"] - mean) / np.sqrt(variance + 1e-5) * scale + bias]

    assert_equivalent(source, graph, expected=expected, tolerance=1e-5)


def test_a_computed_tensor_along_an_axis_of_opset_6_gets_axes_behind_it():
    source = model([node("Add", "x v", "y", broadcast=1, axis=1)], opset=6, extra_inputs={"v": (3,)})
    graph, _, refusals = lowered(source)
    assert operators(graph) == ["Unsqueeze", "Add"]
    assert not refusals


def test_nodes_in_the_dialect_are_left_alone():
    source = model(
        [
            node("Pad", "x", "a", mode="reflect", pads=[0, 0, 1, 1, 0, 0, 1, 1]),
            node("Clip", "a", "b", min=0.0, max=1.0),
            node("Slice", "b", "c", starts=[1], ends=[-1], axes=[2]),
            node("Concat", "c c", "y", axis=1),
        ]
    )
    _, edits, refusals = lowered(source)
    assert not edits
    assert not refusals


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_space_to_depth_28_becomes_the_form_without_a_mode(mode):
    source = model([node("SpaceToDepth", "x", "y", blocksize=2, mode=mode)], opset=28, input_shape=FREE)
    graph, _, _ = lowered(source)
    assert all("mode" not in item.attrs for item in graph.nodes)

    def expected(feeds):
        _, channels, height, width = feeds["x"].shape
        blocks = feeds["x"].reshape(1, channels, height // 2, 2, width // 2, 2)
        order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
        return [blocks.transpose(order).reshape(1, channels * 4, height // 2, width // 2)]

    assert_equivalent(source, graph, tolerance=0, expected=expected)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 4, 5, 6)])
def test_the_slope_per_channel_of_opset_6_lies_along_the_channels_at_any_rank(shape):
    source = model([node("PRelu", "x s", "y")], {"s": random((3,))}, opset=6, input_shape=shape)
    graph, _, _ = lowered(source)
    assert graph.nodes[0].inputs[1].shape == (3, *(1,) * (len(shape) - 2))
