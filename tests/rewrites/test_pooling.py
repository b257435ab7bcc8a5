"""Pools: every form is compared with ONNX Runtime at two or more sizes."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pipeline.graph import from_model
from pipeline.rewrites.base import always
from pipeline.rewrites.conv import Convolutions
from pipeline.rewrites.pooling import Pools
from tests.rewrites.cases import NEW, assert_same, lowered, model, operators, random

SIZES = ((12, 16), (13, 11), (20, 15))


def pool(
    operator: str = "MaxPool", shape: tuple = ("n", 3, "h", "w"), opset: int = 13, **attrs: object
) -> onnx.ModelProto:
    return model([helper.make_node(operator, ["x"], ["y"], name="pool", **attrs)], {}, shape, opset)


def check(source: onnx.ModelProto, *sizes: tuple[int, int], batch: int = 2):
    graph, edits, refusals = lowered(source, Pools(), Convolutions())
    assert refusals == []
    assert_same(source, graph, *(random(batch, 3, h, w, seed=h) - 2 for h, w in sizes))
    for node in graph.nodes:
        if node.op in ("MaxPool", "AveragePool"):
            assert len(set(node.attrs["kernel_shape"])) == len(set(node.attrs["strides"])) == 1
            assert not {"ceil_mode", "dilations", "auto_pad", "count_include_pad"} & set(node.attrs)
    return graph, edits


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
def test_a_square_pool_is_left_alone(operator: str) -> None:
    graph, edits = check(pool(operator, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 1, 1]), *SIZES)
    assert edits == []
    assert operators(graph) == [operator]


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(("kernel", "stride", "pads"), [(3, 2, 0), (2, 2, 0), (3, 2, 1), (5, 3, 1), (3, 1, 1)])
def test_ceil_mode_becomes_pads_that_are_right_at_every_size(
    operator: str, kernel: int, stride: int, pads: int
) -> None:
    source = pool(operator, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pads] * 4, ceil_mode=1)
    graph, _ = check(source, *SIZES, (9, 10), (10, 9))
    assert operators(graph) == [operator]


@pytest.mark.parametrize("size", [(12, 13), (13, 16), (14, 14)])
def test_ceil_mode_of_a_small_kernel_holds_at_the_declared_size(size: tuple[int, int]) -> None:
    source = pool(shape=(2, 3, *size), kernel_shape=[2, 2], strides=[3, 3], ceil_mode=1)
    graph, _, refusals = lowered(source, Pools())
    if refusals:
        assert {refusal.code for refusal in refusals} == {"ceil-mode-of-unknown-size"}
    else:
        assert_same(source, graph, random(2, 3, *size))


def test_ceil_mode_of_a_small_kernel_at_an_unknown_size_is_refused() -> None:
    source = pool(kernel_shape=[2, 2], strides=[3, 3], ceil_mode=1)
    assert [r.code for r in lowered(source, Pools())[2]] == ["ceil-mode-of-unknown-size"]


@pytest.mark.parametrize("ceil", [0, 1])
def test_counted_pads_become_a_pad_of_zeros(ceil: int) -> None:
    source = pool(
        "AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, count_include_pad=1, ceil_mode=ceil
    )
    graph, _ = check(source, *SIZES, (14, 10))
    assert operators(graph) == ["Pad", "AveragePool"]


def test_no_counted_window_begins_in_the_padding_at_the_end() -> None:
    attrs = {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [1] * 4, "ceil_mode": 1, "count_include_pad": 1}
    source = pool("AveragePool", shape=("n", 3, 8, 7), opset=19, **attrs)
    graph, _, refusals = lowered(source, Pools())
    assert refusals == []
    assert_same(source, graph, random(2, 3, 8, 7))


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
def test_auto_pad_becomes_pads(operator: str, mode: str) -> None:
    check(pool(operator, kernel_shape=[3, 3], strides=[2, 2], auto_pad=mode), (12, 16), (20, 14))


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(("kernel", "strides"), [((2, 4), (2, 4)), ((1, 2), (1, 2)), ((2, 6), (1, 3))])
def test_kernel_and_strides_in_one_ratio_become_square_on_repeated_pixels(
    operator: str, kernel: tuple[int, int], strides: tuple[int, int]
) -> None:
    graph, _ = check(pool(operator, kernel_shape=list(kernel), strides=list(strides)), *SIZES)
    assert operators(graph) == ["Resize", operator]


@pytest.mark.parametrize(
    ("kernel", "strides", "dilations"),
    [
        case
        for case in itertools.product(
            [(1, 3), (3, 1), (3, 3), (2, 5)], [(1, 1), (2, 1), (2, 2)], [(1, 1), (2, 1), (2, 2)]
        )
        if case[0] != (3, 3) or case[1] == (2, 1) or case[2] != (1, 1)
    ],
)
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (0, 1, 0, 1)])
def test_other_max_pools_become_the_max_of_shifts(
    kernel: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int], pads: tuple[int, ...]
) -> None:
    if any(pad >= side for pad, side in zip(pads, kernel * 2, strict=True)):
        pads = (0, 0, 0, 0)
    source = pool(kernel_shape=list(kernel), strides=list(strides), dilations=list(dilations), pads=list(pads))
    graph, _ = check(source, *SIZES)
    assert set(operators(graph)) <= {"Pad", "Slice", "Max", "Resize", "MaxPool"}


@pytest.mark.parametrize(
    ("kernel", "strides"), [((1, 3), (1, 1)), ((3, 2), (1, 2)), ((3, 3), (1, 2)), ((3, 5), (2, 2))]
)
@pytest.mark.parametrize(("pads", "counted"), [((0, 0, 0, 0), 0), ((0, 1, 0, 1), 0), ((0, 1, 0, 1), 1)])
def test_other_averages_become_depthwise_convolutions(
    kernel: tuple[int, int], strides: tuple[int, int], pads: tuple[int, ...], counted: int
) -> None:
    source = pool(
        "AveragePool", kernel_shape=list(kernel), strides=list(strides), pads=list(pads), count_include_pad=counted
    )
    graph, _ = check(source, *SIZES)
    assert "AveragePool" not in operators(graph)
    assert all(node.attrs.get("group") == 3 for node in graph.nodes if node.op == "Conv")


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
def test_a_pool_of_the_whole_map_becomes_global(operator: str) -> None:
    source = pool(operator, shape=(2, 3, 12, 16), kernel_shape=[12, 16], strides=[12, 16])
    graph, _ = check(source, (12, 16))
    assert operators(graph) == ["Global" + operator]


def test_unused_indices_are_removed_and_used_ones_are_refused() -> None:
    node = helper.make_node("MaxPool", ["x"], ["y", "i"], name="pool", kernel_shape=[2, 2], strides=[2, 2])
    source = model([node], {})
    graph, edits, _ = lowered(source, Pools())
    assert len(graph.nodes[0].outputs) == 1
    assert "Indices" in edits[0].what
    source.graph.output.append(helper.make_tensor_value_info("i", TensorProto.INT64, None))
    assert [r.code for r in Pools().apply(from_model(source), NEW, always)] == ["pool-indices"]


def test_lp_pools_and_three_dimensional_forms_are_refused() -> None:
    assert [r.code for r in lowered(pool("LpPool", kernel_shape=[2, 2]), Pools())[2]] == ["pool-unknown"]
    source = pool(shape=(1, 3, "d", "h", "w"), kernel_shape=[2, 2, 3])
    assert [r.code for r in lowered(source, Pools())[2]] == ["pool-not-2d"]


def test_torchs_adaptive_max_pool_of_a_wide_map(tmp_path) -> None:
    import warnings

    import torch

    path = tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = torch.nn.AdaptiveMaxPool2d(1)
        torch.onnx.export(net, (torch.zeros(1, 3, 12, 16),), str(path), opset_version=11, dynamo=False)
    graph, _, refusals = lowered(onnx.load(path), Pools())
    assert refusals == []
    assert operators(graph) == ["GlobalMaxPool"]
    assert_same(onnx.load(path), graph, np.asarray(random(1, 3, 12, 16)))


def test_a_dilated_pool_of_size_1_loses_its_dilations() -> None:
    source = pool(kernel_shape=[1, 1], dilations=[2, 1])
    graph, _ = check(source, *SIZES)
    assert operators(graph) == ["MaxPool"] and list(graph.nodes[0].attrs["kernel_shape"]) == [1, 1]
