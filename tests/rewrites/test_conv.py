"""Convolutions: every form is compared with ONNX Runtime at two sizes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from pipeline.graph import from_model
from pipeline.rewrites.base import always
from pipeline.rewrites.conv import Convolutions, NarrowConvolutions, TransposedConvolutions
from tests.rewrites.cases import NEW, OLD, assert_same, lowered, model, operators, random

SIZES = ((12, 16), (20, 14))


def conv(
    weights: tuple[int, ...], channels: int = 4, bias: bool = True, opset: int = 13, shape=None, **attrs: object
):
    """A Conv of these weights' shape over `channels`."""
    stored = {"w": random(*weights)} | ({"b": random(weights[0], seed=3)} if bias else {})
    node = helper.make_node("Conv", ["x", *stored], ["y"], name="conv", **attrs)
    return model([node], stored, shape or ("n", channels, "h", "w"), opset)


def transposed(weights: tuple[int, ...], channels: int = 4, bias: bool = True, shape=None, **attrs: object):
    """A ConvTranspose of these weights' shape over `channels`."""
    outputs = weights[1] * int(attrs.get("group", 1))
    stored = {"w": random(*weights)} | ({"b": random(outputs, seed=3)} if bias else {})
    node = helper.make_node("ConvTranspose", ["x", *stored], ["y"], name="up", **attrs)
    return model([node], stored, shape or ("n", channels, "h", "w"))


def check(
    source: onnx.ModelProto, rewrite: object, *sizes: tuple[int, int], channels: int = 4, target=NEW, batch=1
):
    graph, edits, refusals = lowered(source, rewrite, target=target)
    assert refusals == []
    assert_same(source, graph, *(random(batch, channels, h, w, seed=h) for h, w in sizes))
    return graph, edits


def test_a_plain_convolution_is_left_alone() -> None:
    source = conv((8, 4, 3, 5), kernel_shape=[3, 5], pads=[1, 2, 0, 3], dilations=[2, 2], strides=[2, 2])
    graph, edits = check(source, Convolutions(), *SIZES)
    assert edits == []
    assert operators(graph) == ["Conv"]


def test_attributes_that_are_left_out_have_their_defaults() -> None:
    graph, _ = check(conv((8, 2, 3, 3), group=2), Convolutions(), *SIZES)
    assert operators(graph) == ["Conv"] and graph.nodes[0].attrs.get("group", 1) == 1
    check(conv((8, 4, 3, 3), strides=[1, 2]), Convolutions(), *SIZES)
    graph, edits = check(conv((8, 4, 3, 3)), Convolutions(), *SIZES)
    assert edits == []


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (4, 2), (5, 1), (1, 2)])
def test_auto_pad_becomes_pads_that_hold_for_every_multiple_of_the_stride(
    mode: str, kernel: int, stride: int
) -> None:
    source = conv(
        (8, 4, kernel, kernel),
        kernel_shape=[kernel] * 2,
        strides=[stride] * 2,
        auto_pad=mode,
        shape=(1, 4, "h", "w"),
    )
    graph, _ = check(source, Convolutions(), *SIZES)
    assert "auto_pad" not in graph.nodes[0].attrs


def test_auto_pad_of_a_declared_odd_size_becomes_the_pads_of_that_size() -> None:
    source = conv((8, 4, 3, 3), kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER", shape=(1, 4, 13, 16))
    graph, edits = check(source, Convolutions(), (13, 16))
    assert graph.nodes[0].attrs["pads"] == [1, 0, 1, 1]
    assert "declared size [13, 16]" in edits[0].what


@pytest.mark.parametrize(("weights", "group"), [((8, 2, 3, 3), 2), ((16, 2, 3, 1), 2), ((4, 2, 1, 1), 2)])
def test_groups_become_dense_weights(weights: tuple[int, ...], group: int) -> None:
    source = conv(weights, kernel_shape=list(weights[2:]), group=group, pads=[1, 1, 1, 1])
    graph, edits = check(source, Convolutions(), *SIZES)
    assert operators(graph) == ["Conv"]
    assert graph.nodes[0].attrs["group"] == 1
    assert "dense" in edits[0].what


def test_groups_with_large_weights_become_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.rewrites.conv.DENSE_LIMIT", 100)
    source = conv((8, 2, 3, 3), kernel_shape=[3, 3], group=2)
    graph, _ = check(source, Convolutions(), *SIZES)
    assert sorted(operators(graph)) == ["Concat", "Conv", "Conv", "Slice", "Slice"]
    assert all(node.name.startswith("conv/conv/") for node in graph.nodes)


def test_depthwise_stays_and_a_channel_multiplier_repeats_the_channels_first() -> None:
    graph, edits = check(conv((4, 1, 3, 3), kernel_shape=[3, 3], group=4), Convolutions(), *SIZES)
    assert edits == []
    graph, edits = check(conv((12, 1, 3, 3), kernel_shape=[3, 3], group=4, pads=[1] * 4), Convolutions(), *SIZES)
    assert [node.attrs["group"] for node in graph.nodes] == [1, 12]


@pytest.mark.parametrize("strides", [(1, 2), (2, 1), (2, 3), (4, 2)])
@pytest.mark.parametrize("dilations", [(1, 1), (2, 1)])
def test_non_square_strides_become_square_at_any_size(
    strides: tuple[int, int], dilations: tuple[int, int]
) -> None:
    source = conv(
        (8, 4, 3, 4), kernel_shape=[3, 4], strides=list(strides), dilations=list(dilations), pads=[1, 2, 0, 1]
    )
    graph, _ = check(source, Convolutions(), *SIZES, (13, 11))
    assert operators(graph) == ["Resize", "Conv"]
    assert len(set(graph.nodes[1].attrs["strides"])) == 1


def test_non_square_dilations_become_zeros_in_the_kernel_for_1_0_only() -> None:
    source = conv((8, 4, 3, 3), kernel_shape=[3, 3], dilations=[1, 2], pads=[1, 2, 1, 2])
    graph, _ = check(source, Convolutions(), *SIZES, target=OLD)
    assert graph.nodes[0].attrs["kernel_shape"] == [3, 5]
    assert check(source, Convolutions(), *SIZES, target=NEW)[1] == []


def test_one_dimensional_convolutions_are_refused_for_1_0() -> None:
    source = conv((8, 4, 3), kernel_shape=[3], shape=(1, 4, "w"))
    assert [r.code for r in lowered(source, Convolutions(), target=OLD)[2]] == ["conv-not-2d"]
    assert lowered(source, Convolutions(), target=NEW)[2] == []


def test_computed_weights_of_a_grouped_convolution_are_refused() -> None:
    nodes = [
        helper.make_node("Mul", ["v", "x"], ["w"]),
        helper.make_node("Conv", ["x", "w"], ["y"], name="conv", group=2, kernel_shape=[3, 3]),
    ]
    graph = from_model(model(nodes, {"v": random(8, 2, 3, 3)}))
    (refusal,) = Convolutions().apply(graph, NEW, always)
    assert (refusal.code, refusal.node) == ("weights-not-constant", "conv")


def test_strides_without_a_small_common_multiple_are_refused() -> None:
    source = conv((8, 4, 3, 3), kernel_shape=[3, 3], strides=[5, 7])
    assert [r.code for r in lowered(source, Convolutions())[2]] == ["stride-not-square"]


@pytest.mark.parametrize(
    "attrs",
    [
        {"strides": [2, 2], "pads": [1, 1, 1, 1]},
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
        {"strides": [3, 3], "pads": [0, 1, 0, 1]},
    ],
)
def test_a_symmetric_transposed_convolution_is_left_alone(attrs: dict) -> None:
    graph, edits = check(transposed((4, 5, 3, 3), kernel_shape=[3, 3], **attrs), TransposedConvolutions(), *SIZES)
    assert edits == []
    assert operators(graph) == ["ConvTranspose"]


@pytest.mark.parametrize("bias", [True, False])
def test_tensorflows_same_becomes_one_convolution_and_depth_to_space(bias: bool) -> None:
    source = transposed((4, 5, 3, 3), bias=bias, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])
    graph, edits = check(source, TransposedConvolutions(), *SIZES, (5, 7), batch=2)
    assert operators(graph) == ["Conv", "DepthToSpace"]
    assert graph.nodes[0].attrs["kernel_shape"] == [2, 2]
    assert "mode" not in graph.nodes[1].attrs
    assert edits[0].nodes == ("up",)
    assert graph.outputs[0].name == "y"


GEOMETRIES = [
    {"kernel": (k, k2), "strides": [s, s], "pads": list(p), "output_padding": list(o), "dilations": [d, d]}
    for k, k2 in ((1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (3, 4))
    for s in (1, 2, 3)
    for p in ((0, 0, 1, 1), (1, 0, 0, 1), (1, 1, 2, 2), (0, 0, 0, 0), (2, 1, 0, 0))
    for o in ((0, 0), (1, 0), (0, 1))
    for d in (1, 2)
    if max(o) < s and all((side - 1) * d >= max(p) for side in (k, k2))
]


@pytest.mark.parametrize("case", GEOMETRIES, ids=str)
def test_every_geometry_of_a_transposed_convolution(case: dict) -> None:
    attrs = {key: item for key, item in case.items() if key != "kernel"}
    source = transposed((4, 2, *case["kernel"]), kernel_shape=list(case["kernel"]), **attrs)
    graph, _ = check(source, TransposedConvolutions(), (6, 7), (5, 9))
    for node in graph.nodes:
        if node.op == "ConvTranspose":
            pads = node.attrs["pads"]
            assert pads[:2] == pads[2:]
            assert "dilations" not in node.attrs or set(node.attrs["dilations"]) == {1}


@pytest.mark.parametrize("strides", [(1, 2), (2, 1), (2, 4), (2, 3)])
@pytest.mark.parametrize("pads", [(1, 1, 1, 1), (0, 0, 1, 1)])
def test_non_square_strides_of_a_transposed_convolution(strides: tuple[int, int], pads: tuple[int, ...]) -> None:
    source = transposed((4, 2, 3, 4), kernel_shape=[3, 4], strides=list(strides), pads=list(pads))
    graph, _ = check(source, TransposedConvolutions(), (6, 7), (5, 9))
    assert "ConvTranspose" not in operators(graph)


@pytest.mark.parametrize("group", [2, 4])
def test_groups_of_a_transposed_convolution_become_dense(group: int) -> None:
    source = transposed((4, 3, 4, 4), kernel_shape=[4, 4], strides=[2, 2], pads=[1] * 4, group=group)
    graph, edits = check(source, TransposedConvolutions(), *SIZES)
    assert operators(graph) == ["ConvTranspose"]
    assert "dense" in edits[0].what


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("kernel", [2, 3, 4])
def test_auto_pad_of_a_transposed_convolution(mode: str, kernel: int) -> None:
    source = transposed((4, 3, kernel, kernel), kernel_shape=[kernel] * 2, strides=[2, 2], auto_pad=mode)
    check(source, TransposedConvolutions(), *SIZES)


@pytest.mark.parametrize("wanted", [(24, 32), (25, 33), (23, 31), (26, 32)])
@pytest.mark.parametrize("mode", ["NOTSET", "SAME_UPPER"])
def test_output_shape_becomes_pads_and_holds_at_the_declared_size(wanted: tuple[int, int], mode: str) -> None:
    source = transposed(
        (4, 3, 3, 3),
        kernel_shape=[3, 3],
        strides=[2, 2],
        output_shape=list(wanted),
        auto_pad=mode,
        shape=(1, 4, 12, 16),
    )
    graph, _ = check(source, TransposedConvolutions(), (12, 16))
    assert all("output_shape" not in node.attrs for node in graph.nodes)


def test_output_shape_at_an_unknown_size_is_refused() -> None:
    source = transposed((4, 3, 3, 3), kernel_shape=[3, 3], strides=[2, 2], output_shape=[24, 32])
    (refusal,) = lowered(source, TransposedConvolutions())[2]
    assert refusal.code == "output-shape-of-unknown-size"


def test_the_full_size_tensorflow_network_computes_the_same(shared_models) -> None:
    source = onnx.load(shared_models / "tf_fast_style" / "udnie_full.converted.onnx")
    for dim, size in zip(source.graph.input[0].type.tensor_type.shape.dim[2:], (64, 96), strict=True):
        dim.dim_value = size
    del source.graph.output[0].type.tensor_type.shape.dim[:]
    source.graph.output[0].type.tensor_type.ClearField("shape")
    graph, edits, refusals = lowered(source, Convolutions(), TransposedConvolutions())
    assert refusals == []
    assert [e.nodes[0] for e in edits] == ["up1/deconv/ConvTranspose", "up2/deconv/ConvTranspose"]
    assert "ConvTranspose" not in operators(graph)
    assert_same(source, graph, np.abs(random(1, 3, 64, 96, scale=80)), tolerance=1e-5)


@pytest.mark.parametrize(("height", "width"), [(2, 2), (4, 16)])
def test_the_innermost_convolution_of_a_deep_u_net_is_padded_before(height: int, width: int) -> None:
    """Barracuda's CPU backends assert on a single strided column whose taps lie in the padding."""
    source = conv(
        (8, 4, 4, 4), kernel_shape=[4, 4], pads=[1, 1, 1, 1], strides=[2, 2], shape=(1, 4, height, width)
    )
    graph, edits = check(source, NarrowConvolutions(), (height, width))
    assert operators(graph) == ["Pad", "Conv"]
    assert [e.what for e in edits] == ["its pads became a Pad before it"]


def test_a_strided_convolution_of_a_wide_picture_keeps_its_pads() -> None:
    source = conv((8, 4, 3, 3), kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2], shape=(1, 4, 4, 18))
    graph, edits = check(source, NarrowConvolutions(), (4, 18))
    assert operators(graph) == ["Conv"]
    assert edits == []


@pytest.mark.parametrize("attrs", [{"strides": [2, 2], "pads": [1, 1, 0, 0]}, {"strides": [1, 2]}])
def test_a_computed_bias_of_a_transposed_convolution_is_refused(attrs: dict) -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Squeeze", ["f", "axes"], ["b"]),
        helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"], name="up", **attrs),
    ]
    source = model(nodes, {"w": random(4, 4, 3, 3), "axes": np.array([0])}, (1, 4, "h", "w"))
    graph, edits, refusals = lowered(source, TransposedConvolutions())
    assert not edits and [item.code for item in refusals] == ["weights-not-constant"]
    assert_same(source, graph, random(1, 4, 6, 8))
