"""Shuffles: the rank-6 forms of PyTorch, compared before and after at sizes that the old graphs allow."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from pipeline.graph import from_model, to_model
from pipeline.rewrites.base import always
from pipeline.rewrites.shuffle import Shuffles
from pipeline.targets import DEFAULT, get
from tests.rewrites import model as written
from tests.rewrites import node
from tests.rewrites.cases import assert_same, compute, lowered, model, operators, random

CRD = (0, 1, 4, 2, 5, 3)
DCR = (0, 3, 4, 1, 5, 2)


def conv(source: str, out: str, inputs: int, outputs: int, name: str) -> tuple[onnx.NodeProto, dict]:
    weights = {f"{name}_w": random(outputs, inputs, 3, 3, seed=len(name)), f"{name}_b": random(outputs)}
    return helper.make_node(
        "Conv", [source, *weights], [out], name=name, kernel_shape=[3, 3], pads=[1] * 4
    ), weights


def reshaped(source: str, out: str, middle: tuple, perm: tuple, end: tuple) -> tuple[list[onnx.NodeProto], dict]:
    nodes = [
        helper.make_node("Reshape", [source, "middle"], ["m"], name="before"),
        helper.make_node("Transpose", ["m"], ["t"], name="turn", perm=list(perm)),
        helper.make_node("Reshape", ["t", "end"], [out], name="after"),
    ]
    return nodes, {"middle": np.array(middle), "end": np.array(end)}


def test_a_pixel_shuffle_behind_a_convolution_is_a_depth_to_space_with_reordered_weights() -> None:
    first, weights = conv("x", "c", 3, 12, "conv")
    relu = helper.make_node("LeakyRelu", ["c"], ["r"], alpha=0.2)
    nodes, shapes = reshaped("r", "y", (-1, 3, 2, 2, 6, 5), CRD, (-1, 3, 12, 10))
    source = model([first, relu, *nodes], weights | shapes, ("n", 3, 6, 5), opset=9)
    graph, edits, _ = lowered(source, Shuffles())
    assert operators(graph) == ["Conv", "LeakyRelu", "DepthToSpace"]
    assert graph.nodes[-1].attrs == {"blocksize": 2}
    assert edits[0].nodes == ("before", "turn", "after")
    assert_same(source, graph, random(1, 3, 6, 5), random(2, 3, 6, 5, seed=1))


def test_a_rewritten_shuffle_runs_at_sizes_other_than_the_declared_one() -> None:
    first, weights = conv("x", "c", 3, 12, "conv")
    graphs = []
    for high, wide in ((6, 5), (8, 12)):
        nodes, shapes = reshaped("c", "y", (-1, 3, 2, 2, high, wide), CRD, (-1, 3, 2 * high, 2 * wide))
        source = model([first, *nodes], weights | shapes, ("n", 3, high, wide))
        graphs.append((source, lowered(source, Shuffles())[0]))
    small, (large, _) = graphs[0][1], graphs[1]
    small.inputs[0].shape = small.outputs[0].shape = ["n", 3, "h", "w"]
    assert_same(large, small, random(1, 3, 8, 12))


@pytest.mark.parametrize("perm", [CRD, DCR])
def test_a_pixel_shuffle_without_a_convolution_before_it(perm: tuple) -> None:
    middle = (1, 3, 2, 2, 6, 5) if perm == CRD else (1, 2, 2, 3, 6, 5)
    nodes, shapes = reshaped("x", "y", middle, perm, (1, 3, 12, 10))
    source = model(nodes, shapes, (1, 12, 6, 5))
    graph, _, _ = lowered(source, Shuffles())
    assert operators(graph) == ["DepthToSpace"]
    assert graph.nodes[0].attrs.get("mode") == ("CRD" if perm == CRD else None)
    assert_same(source, graph, random(1, 12, 6, 5), tolerance=0)


def test_depth_to_space_in_crd_mode_takes_the_order_from_the_convolution() -> None:
    first, weights = conv("x", "c", 3, 18, "conv")
    node = helper.make_node("DepthToSpace", ["c"], ["y"], name="d2s", blocksize=3, mode="CRD")
    source = model([first, node], weights)
    graph, edits, _ = lowered(source, Shuffles())
    assert graph.nodes[-1].attrs == {"blocksize": 3}
    assert len(edits) == 1
    assert_same(source, graph, random(1, 3, 6, 5), random(1, 3, 9, 4))


def test_depth_to_space_behind_a_shared_convolution_keeps_its_mode() -> None:
    first, weights = conv("x", "c", 3, 12, "conv")
    nodes = [
        first,
        helper.make_node("DepthToSpace", ["c"], ["d"], name="d2s", blocksize=2, mode="CRD"),
        helper.make_node("GlobalAveragePool", ["c"], ["g"]),
        helper.make_node("ReduceMean", ["g"], ["s"], axes=[1]),
        helper.make_node("Add", ["d", "s"], ["y"]),
    ]
    source = model(nodes, weights)
    graph, edits, _ = lowered(source, Shuffles())
    assert edits == []
    assert_same(source, graph, random(1, 3, 6, 5), random(1, 3, 9, 4))


@pytest.mark.parametrize("perm", [(0, 1, 3, 5, 2, 4), (0, 3, 5, 1, 2, 4)])
@pytest.mark.parametrize("follows", [True, False])
def test_a_pixel_unshuffle_is_a_space_to_depth(perm: tuple, follows: bool) -> None:
    nodes, weights = reshaped("x", "u", (1, 3, 4, 2, 5, 2), perm, (1, 12, 4, 5))
    last, more = conv("u", "y", 12, 4, "conv")
    if not follows:
        last, more = helper.make_node("Neg", ["u"], ["y"], name="neg"), {}
    source = model([*nodes, last], weights | more, (1, 3, 8, 10))
    graph, _, _ = lowered(source, Shuffles())
    gathers = ["Gather"] if not follows and perm[1] == 1 else []
    assert operators(graph) == ["SpaceToDepth", *gathers, last.op_type]
    assert_same(source, graph, random(1, 3, 8, 10), tolerance=2e-6 if follows else 0)


@pytest.mark.parametrize("middle", [(1, 4, 3, 6, 5), (1, 4, 3, 30)])
@pytest.mark.parametrize("beside", ["before", "after", "nothing"])
def test_a_channel_shuffle_is_an_order_of_channels(middle: tuple, beside: str) -> None:
    perm = (0, 2, 1, 3, 4)[: len(middle)]
    first, weights = conv("x", "c", 12, 12, "conv")
    tail = helper.make_node("Relu", ["s"], ["y"], name="tail")
    nodes, shapes = reshaped("x" if beside != "before" else "c", "s", middle, perm, (1, 12, 6, 5))
    if beside == "before":
        every = [first, *nodes, tail]
    elif beside == "after":
        first, weights = conv("s", "y", 12, 4, "conv")
        every = [*nodes, first]
    else:
        every, weights = [*nodes, tail], {}
    source = model(every, weights | shapes, (1, 12, 6, 5))
    graph, _, _ = lowered(source, Shuffles())
    expected = {"before": ["Conv", "Relu"], "after": ["Conv"], "nothing": ["Gather", "Relu"]}
    assert operators(graph) == expected[beside]
    assert_same(source, graph, random(1, 12, 6, 5))


@pytest.mark.parametrize("pairs", [((0, 0), (1, 0), (0, 1), (1, 1)), ((0, 0), (0, 1), (1, 0), (1, 1))])
@pytest.mark.parametrize("follows", [True, False])
def test_focus_slices_become_space_to_depth(pairs: tuple, follows: bool) -> None:
    weights: dict = {
        "two": np.array([2]),
        "end": np.array([2**63 - 1]),
        "rows": np.array([2]),
        "columns": np.array([3]),
    }
    nodes = []
    for index, (row, column) in enumerate(pairs):
        weights |= {f"r{index}": np.array([row]), f"c{index}": np.array([column])}
        nodes.append(helper.make_node("Slice", ["x", f"r{index}", "end", "rows", "two"], [f"h{index}"]))
        nodes.append(helper.make_node("Slice", [f"h{index}", f"c{index}", "end", "columns", "two"], [f"s{index}"]))
    nodes.append(helper.make_node("Concat", [f"s{i}" for i in range(4)], ["f"], axis=1, name="join"))
    last, more = conv("f", "y", 12, 4, "conv")
    if not follows:
        last, more = helper.make_node("Neg", ["f"], ["y"], name="neg"), {}
    source = model([*nodes, last], weights | more)
    graph, _, _ = lowered(source, Shuffles())
    gathers = ["Gather"] if not follows and pairs[1] == (1, 0) else []
    assert operators(graph) == ["SpaceToDepth", *gathers, last.op_type]
    assert_same(source, graph, random(1, 3, 8, 6), random(1, 3, 4, 10), tolerance=2e-6 if follows else 0)


@pytest.mark.parametrize(
    ("middle", "perm", "end"),
    [
        ((1, 3, 2, 2, 6, 5), (0, 1, 5, 2, 4, 3), (1, 3, 10, 12)),
        ((1, 3, 2, 2, 6, 5), CRD, (1, 3, 10, 12)),
        ((1, 3, 2, 2, 5, 6), CRD, (1, 3, 10, 12)),
        ((1, 3, 4, 1, 6, 5), CRD, (1, 3, 24, 5)),
    ],
)
def test_reshapes_that_only_look_like_a_shuffle_are_left_alone(middle: tuple, perm: tuple, end: tuple) -> None:
    nodes, shapes = reshaped("x", "y", middle, perm, end)
    graph, edits, refusals = lowered(model(nodes, shapes, (1, 12, 6, 5)), Shuffles())
    assert (edits, refusals) == ([], [])
    assert operators(graph) == ["Reshape", "Transpose", "Reshape"]


def test_a_pixel_shuffle_whose_sizes_are_computed_in_the_graph(tmp_path) -> None:
    import warnings

    import torch
    from torch import nn

    net = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2), nn.PixelUnshuffle(2)).eval()
    path = tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = {"x": {0: "n", 2: "h", 3: "w"}}
        torch.onnx.export(
            net,
            (torch.zeros(1, 3, 8, 10),),
            str(path),
            opset_version=9,
            dynamo=False,
            input_names=["x"],
            dynamic_axes=axes,
        )
    graph = from_model(onnx.load(path))
    Shuffles().apply(graph, get(DEFAULT), always)
    graph.cleanup().toposort()
    assert operators(graph) == ["Conv", "DepthToSpace", "SpaceToDepth", "Gather"]
    for size in ((8, 10), (6, 14)):
        x = random(1, 3, *size)
        expected = net(torch.from_numpy(x)).detach().numpy()
        assert np.abs(compute(to_model(graph), x) - expected).max() < 1e-5


def test_the_real_super_resolution_network_loses_its_rank_6_and_its_size(shared_models) -> None:
    source = onnx.load(shared_models / "other" / "super_resolution.onnx")
    graph, _, refusals = lowered(source, Shuffles())
    assert refusals == []
    assert "Transpose" not in operators(graph)
    assert operators(graph)[-1] == "DepthToSpace"
    x = np.abs(random(1, 1, 224, 224))
    assert_same(source, graph, x, tolerance=0)
    graph.inputs[0].shape = ["n", 1, "h", "w"]
    assert compute(to_model(graph), x[:, :, :40, :64]).shape == (1, 1, 120, 192)


def test_slices_of_other_ranks_behind_a_concat_are_not_focus() -> None:
    """The sampling grid of an AffineGrid: rank 5."""
    names = ["a", "b", "c", "d"]
    nodes = [node("Reshape", "x shape", "r")]
    nodes += [node("Slice", "r", name, starts=[0], ends=[1], axes=[4]) for name in names]
    nodes.append(node("Concat", " ".join(names), "y", axis=1))
    graph = from_model(written(nodes, {"shape": np.array([1, 3, 3, 4, 16])}))
    assert Shuffles().apply(graph, get(DEFAULT), always) == []
