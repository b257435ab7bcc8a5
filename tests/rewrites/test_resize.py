from __future__ import annotations

import numpy as np
import onnx
import pytest

from pipeline.graph import from_model
from pipeline.rewrites.constants import Constants
from pipeline.rewrites.resize import FuseUpsample, Resizes
from tests.rewrites import (
    BARRACUDA_3,
    apply,
    as_barracuda_reads,
    assert_equivalent,
    model,
    node,
    operators,
    random,
    run,
)

FREE = (1, 3, "h", "w")
EVEN = ((12, 16), (20, 28))


def scales(*factors):
    return {"k": np.array([1, 1, *factors], np.float32)}


def resize(factors, shape=FREE, opset=13, **attrs):
    return model([node("Resize", "x - k", "y", **attrs)], scales(*factors), opset=opset, input_shape=shape)


def sized(height, width, shape=(1, 3, 12, 16), **attrs):
    constants = {"s": np.array([1, 3, height, width])}
    return model([node("Resize", "x - - s", "y", **attrs)], constants, opset=13, input_shape=shape)


def lowered(source):
    graph = from_model(source)
    edits, refusals = apply(Resizes(), graph, BARRACUDA_3)
    return graph, edits, refusals


def codes(refusals):
    return [refusal.code for refusal in refusals]


@pytest.mark.parametrize("factors", [(2, 2), (3, 3), (2, 4), (1, 2)])
@pytest.mark.parametrize(
    ("coordinates", "rounding"),
    [
        ("asymmetric", "floor"),
        ("half_pixel", "round_prefer_floor"),
        ("half_pixel", "round_prefer_ceil"),
        ("pytorch_half_pixel", "round_prefer_floor"),
    ],
)
def test_every_way_of_naming_nearest_becomes_upsample_9(factors, coordinates, rounding):
    source = resize(factors, mode="nearest", coordinate_transformation_mode=coordinates, nearest_mode=rounding)
    graph, _, _ = lowered(source)
    assert [node.op for node in as_barracuda_reads(graph)] == ["Upsample"]
    assert as_barracuda_reads(graph)[0].inputs[1].values.tolist() == [1, 1, *factors]
    assert_equivalent(source, graph, sizes=((12, 16), (13, 17)), tolerance=0)


@pytest.mark.parametrize("rounding", ["ceil", "round_prefer_ceil"])
def test_nearest_that_rounds_otherwise_is_not_upsample(rounding):
    source = resize((2, 2), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode=rounding)
    graph, _, _ = lowered(source)
    assert "Upsample" not in operators(graph)
    assert operators(graph)[-1] == "DepthToSpace"
    assert_equivalent(source, graph, sizes=((12, 16), (13, 17)), tolerance=0)


@pytest.mark.parametrize(
    ("opset", "nodes", "constants"),
    [
        (7, [node("Upsample", "x", "y", scales=[1.0, 1.0, 2.0, 2.0])], {}),
        (9, [node("Upsample", "x k", "y")], scales(2, 2)),
        (10, [node("Resize", "x k", "y")], scales(2, 2)),
    ],
)
def test_old_forms_of_nearest_become_upsample_9(opset, nodes, constants):
    source = model(nodes, constants, opset=opset, input_shape=FREE)
    graph, _, _ = lowered(source)
    assert [node.op for node in as_barracuda_reads(graph)] == ["Upsample"]
    assert not lowered_again(graph)
    assert_equivalent(source, graph, tolerance=0)


def lowered_again(graph):
    return apply(Resizes(), graph, BARRACUDA_3)[0]


@pytest.mark.parametrize("factors", [(2, 2), (3, 3), (2, 4), (1, 2)])
@pytest.mark.parametrize("coordinates", ["half_pixel", "pytorch_half_pixel"])
def test_half_pixel_linear_keeps_its_scales_and_loses_attributes_that_warn(factors, coordinates):
    source = resize(factors, mode="linear", coordinate_transformation_mode=coordinates, nearest_mode="floor")
    graph, _, _ = lowered(source)
    assert operators(graph) == ["Resize"]
    assert graph.nodes[0].attrs == {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    assert not lowered_again(graph)
    assert_equivalent(source, graph, sizes=((12, 16), (13, 17)), tolerance=1e-6)


@pytest.mark.parametrize(("opset", "operator"), [(9, "Upsample"), (10, "Resize")])
def test_linear_below_opset_11_is_asymmetric_as_onnx_says(opset, operator):
    source = model([node(operator, "x k", "y", mode="linear")], scales(2, 2), opset=opset, input_shape=FREE)
    graph, _, _ = lowered(source)
    assert operators(graph)[-1] == "DepthToSpace"
    assert_equivalent(source, graph, tolerance=1e-6)


@pytest.mark.parametrize(
    ("mode", "coordinates", "factor"),
    [
        ("linear", "asymmetric", 2),
        ("linear", "asymmetric", 3),
        ("cubic", "half_pixel", 2),
        ("cubic", "pytorch_half_pixel", 3),
        ("cubic", "asymmetric", 4),
    ],
)
def test_other_whole_upscales_become_phases_at_any_size(mode, coordinates, factor):
    source = resize((factor, factor), mode=mode, coordinate_transformation_mode=coordinates)
    graph, _, _ = lowered(source)
    assert sorted(set(operators(graph))) == ["Concat", "Conv", "DepthToSpace", "Pad"]
    assert operators(graph).count("Conv") == factor**2
    assert_equivalent(source, graph, sizes=((12, 16), (7, 5)), tolerance=3e-6)


@pytest.mark.parametrize("factors", [(0.5, 0.5), (1 / 3, 1 / 3), (0.25, 0.5), (0.5, 1)])
@pytest.mark.parametrize(
    ("mode", "coordinates", "rounding"),
    [
        ("nearest", "asymmetric", "floor"),
        ("nearest", "half_pixel", "round_prefer_floor"),
        ("linear", "half_pixel", "floor"),
        ("linear", "pytorch_half_pixel", "floor"),
        ("cubic", "half_pixel", "floor"),
    ],
)
def test_whole_downscales_become_strided_convolutions_at_any_size(factors, mode, coordinates, rounding):
    source = resize(factors, mode=mode, coordinate_transformation_mode=coordinates, nearest_mode=rounding)
    graph, _, refusals = lowered(source)
    assert not refusals
    assert set(operators(graph)) <= {"Pad", "Conv", "AveragePool"}
    sizes = ((12, 24), (24, 36), (13, 26)) if factors == (0.5, 0.5) else ((12, 24), (24, 36))
    assert_equivalent(source, graph, sizes=sizes, tolerance=3e-6)


def test_linear_halving_is_average_pooling():
    source = resize((0.5, 0.5), mode="linear")
    graph, _, _ = lowered(source)
    assert operators(graph) == ["AveragePool"]


def test_enlarging_one_axis_and_shrinking_the_other():
    source = resize((2, 0.5), mode="linear")
    graph, _, _ = lowered(source)
    assert_equivalent(source, graph, tolerance=3e-6)


RATIOS = [(1.5, 1.5), (2.0, 1.25), (0.75, 0.4)]


@pytest.mark.parametrize("factors", RATIOS)
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "align_corners"])
def test_other_ratios_become_taps_at_the_declared_size_and_say_so(factors, mode, coordinates):
    source = resize(
        factors,
        shape=(1, 3, 12, 20),
        mode=mode,
        coordinate_transformation_mode=coordinates,
        nearest_mode="floor",
    )
    graph, edits, _ = lowered(source)
    assert "only for 12x20" in edits[0].what
    assert set(operators(graph)) <= {"Gather", "Mul", "Add"}
    assert_equivalent(source, graph, sizes=[(12, 20)], tolerance=3e-5)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_aligned_corners_become_taps_even_by_two(mode):
    source = resize((2, 2), shape=(1, 3, 12, 16), mode=mode, coordinate_transformation_mode="align_corners")
    graph, edits, _ = lowered(source)
    assert "only for" in edits[0].what
    assert_equivalent(source, graph, sizes=[(12, 16)], tolerance=1e-5)


def test_aligned_corners_without_a_declared_size_are_refused():
    _, edits, refusals = lowered(resize((2, 2), mode="linear", coordinate_transformation_mode="align_corners"))
    assert codes(refusals) == ["resize-needs-size"]
    assert not edits


def test_aligned_corners_of_a_scale_that_does_not_give_a_whole_size_are_ambiguous():
    source = resize((0.55, 1), shape=(1, 3, 12, 16), mode="linear", coordinate_transformation_mode="align_corners")
    _, edits, refusals = lowered(source)
    assert codes(refusals) == ["resize-ambiguous"]
    assert not edits


def test_literal_sizes_that_are_a_whole_ratio_do_not_bake_the_size():
    attrs = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    source = sized(24, 48, **attrs)
    graph, _, _ = lowered(source)
    assert [node.op for node in as_barracuda_reads(graph)] == ["Upsample"]
    assert as_barracuda_reads(graph)[0].inputs[1].values.tolist() == [1, 1, 2, 3]
    assert_equivalent(source, graph, sizes=[(12, 16)], tolerance=0)


def test_literal_sizes_of_another_ratio_become_taps():
    source = sized(20, 27, mode="linear")
    graph, _, _ = lowered(source)
    assert_equivalent(source, graph, sizes=[(12, 16)], tolerance=1e-5)


SKIP = [
    node("Shape", "x", "s"),
    node("Slice", "s from to", "hw"),
    node("MaxPool", "x", "p", kernel_shape=[2, 2], strides=[2, 2]),
    node("Concat", "nc hw", "sizes", axis=0),
    node("Resize", "p - - sizes", "y", mode="linear"),
]
BOUNDS = {"from": np.array([2]), "to": np.array([4]), "nc": np.array([1, 3])}


def test_sizes_taken_from_a_skip_connection_become_scales():
    source = model(SKIP, BOUNDS, opset=13)
    graph, _, _ = lowered(source)
    assert operators(graph) == ["MaxPool", "Resize"]
    assert_equivalent(source, graph, tolerance=1e-6)


def test_sizes_taken_from_a_skip_connection_that_fit_by_chance_bake_the_size():
    # 12 x 16 is cut to 12 x 8: a ratio of (1, 2) at this size alone
    cut = {"zero": np.array([0]), "eight": np.array([8]), "three": np.array([3])}
    nodes = [*SKIP[:2], node("Slice", "x zero eight three", "p"), *SKIP[3:]]
    source = model(nodes, BOUNDS | cut, opset=13)
    graph, edits, _ = lowered(source)
    assert "only for" in edits[0].what
    assert_equivalent(source, graph, sizes=[(12, 16)], tolerance=1e-6)


def test_sizes_from_a_picture_of_unknown_size_are_refused():
    _, edits, refusals = lowered(model(SKIP, BOUNDS, opset=13, input_shape=FREE))
    assert codes(refusals) == ["resize-size-unknown"]
    assert not edits


def test_torchs_computed_scales_at_opset_9_fold_to_whole_numbers():
    # F.interpolate(x, scale_factor=2) with free sizes: floor(size * 2) / size
    source = model(
        [
            node("Shape", "x", "s"),
            node("Slice", "s", "hw", starts=[2], ends=[4], axes=[0]),
            node("Cast", "hw", "f", to=1),
            node("Mul", "f two", "g"),
            node("Floor", "g", "w"),
            node("Div", "w f", "r"),
            node("Concat", "ones r", "k", axis=0),
            node("Upsample", "x k", "y"),
        ],
        {"two": 2.0, "ones": np.ones(2, np.float32)},
    )
    graph, _, _ = lowered(source)
    assert [node.op for node in as_barracuda_reads(graph)] == ["Upsample"]
    assert_equivalent(source, graph, tolerance=0)


def test_axes_of_resize_18_are_applied():
    source = model(
        [node("Resize", "x - k", "y", axes=[2, 3], mode="nearest")],
        {"k": np.array([2, 2], np.float32)},
        opset=18,
        input_shape=FREE,
    )
    graph, _, _ = lowered(source)
    assert [node.op for node in as_barracuda_reads(graph)] == ["Upsample"]
    assert_equivalent(source, graph, tolerance=0)


def test_a_resize_by_one_is_removed():
    graph, _, _ = lowered(
        model([node("Resize", "x - k", "a"), node("Relu", "a", "y")], scales(1, 1), opset=13, input_shape=FREE)
    )
    assert operators(graph) == ["Relu"]


@pytest.mark.parametrize(
    ("attrs", "opset", "code"),
    [
        ({"mode": "cubic", "exclude_outside": 1}, 13, "resize-exclude-outside"),
        ({"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}, 13, "resize-crops"),
    ],
)
def test_what_has_no_equivalent_is_refused(attrs, opset, code):
    _, edits, refusals = lowered(resize((2, 2), opset=opset, **attrs))
    assert codes(refusals) == [code]
    assert not edits


def test_antialiased_shrinking_is_refused_and_enlarging_is_plain():
    _, edits, refusals = lowered(resize((0.5, 0.5), opset=18, mode="linear", antialias=1))
    assert codes(refusals) == ["resize-antialias"]
    assert not edits
    source = resize((2, 2), opset=18, mode="linear", antialias=1)
    graph, edits, refusals = lowered(source)
    assert operators(graph) == ["Resize"]
    assert not refusals
    assert_equivalent(source, graph, sizes=((12, 16), (13, 17)), tolerance=1e-6)


def test_a_resize_that_keeps_the_aspect_ratio_is_refused():
    source = model(
        [node("Resize", "x - - s", "y", axes=[2, 3], keep_aspect_ratio_policy="not_larger")],
        {"s": np.array([24, 24])},
        opset=18,
    )
    assert codes(lowered(source)[2]) == ["resize-keeps-aspect-ratio"]


def test_other_axes_and_ranks_are_refused():
    source = model([node("Resize", "x - k", "y")], {"k": np.array([1, 2, 2, 2], np.float32)}, opset=13)
    assert codes(lowered(source)[2]) == ["resize-outer-axes"]
    source = model(
        [node("Resize", "x - k", "y")], {"k": np.ones(3, np.float32)}, opset=13, input_shape=(1, 3, "w")
    )
    assert codes(lowered(source)[2]) == ["resize-not-2d"]


def test_a_linear_resize_below_opset_11_by_a_fraction_is_asymmetric():
    source = model([node("Upsample", "x k", "y", mode="linear")], scales(1.5, 1.5))
    assert_equivalent(source, lowered(source)[0], sizes=[(12, 16)], tolerance=1e-6)


def fused(nodes, constants, shape=(1, 3, 4, 6), opset=9):
    source = model(nodes, constants, input_shape=shape, opset=opset)
    graph = from_model(source)
    apply(Constants(), graph)
    edits, _ = apply(FuseUpsample(), graph)
    return source, graph, edits


COPIES = [
    node("Reshape", "x one", "a"),
    node("Add", "a zero", "b"),
    node("Concat", "a b", "c", axis=1),
    node("Reshape", "c two", "d"),
    node("Concat", "d d", "e", axis=1),
    node("Reshape", "e three", "y"),
]


def test_the_upsampling_of_2018_is_fused():
    constants = {
        "zero": 0.0,
        "one": np.array([-1, 1]),
        "two": np.array([-1, 12]),
        "three": np.array([-1, 3, 8, 12]),
    }
    source, graph, edits = fused(COPIES, constants)
    assert [node.op for node in as_barracuda_reads(graph)] == ["Upsample"]
    assert edits[0].what.endswith("2x2")
    other = run(onnx.shape_inference.infer_shapes(source), {"x": random((1, 3, 4, 6))})
    assert other[0].shape == (1, 3, 8, 12)
    assert_equivalent(source, graph, sizes=[(4, 6)], tolerance=0)


def test_reshapes_of_other_sizes_are_not_upsampling():
    constants = {
        "zero": 0.0,
        "one": np.array([-1, 1]),
        "two": np.array([-1, 8]),
        "three": np.array([-1, 3, 8, 12]),
    }
    source, graph, edits = fused(COPIES, constants)
    assert not edits
    constants["two"], constants["three"] = np.array([-1, 12]), np.array([-1, 3, 12, 8])
    source, graph, edits = fused(COPIES, constants)
    assert not edits
    assert_equivalent(source, graph, sizes=[(4, 6)], tolerance=0)


@pytest.mark.parametrize("copy", ["Expand", "Tile"])
def test_upsampling_by_expand_is_fused(copy):
    repeats = [1, 3, 4, 2, 6, 3] if copy == "Expand" else [1, 1, 1, 2, 1, 3]
    nodes = [
        node("Unsqueeze", "x axes", "a"),
        node(copy, "a repeats", "b"),
        node("Reshape", "b shape", "y"),
    ]
    constants = {"axes": np.array([3, 5]), "repeats": np.array(repeats), "shape": np.array([1, 3, 8, 18])}
    source, graph, edits = fused(nodes, constants, opset=13)
    assert [node.op for node in as_barracuda_reads(graph)] == ["Upsample"]
    assert edits[0].what.endswith("2x3")
    assert_equivalent(source, graph, sizes=[(4, 6)], tolerance=0)


def test_the_split_of_a_feature_map_is_not_mistaken_for_upsampling():
    nodes = [node("Unsqueeze", "x axes", "a"), node("Expand", "a repeats", "b"), node("Reshape", "b shape", "y")]
    constants = {
        "axes": np.array([2, 4]),
        "repeats": np.array([1, 3, 2, 4, 2, 6]),
        "shape": np.array([1, 6, 8, 6]),
    }
    _, _, edits = fused(nodes, constants, opset=13)
    assert not edits
