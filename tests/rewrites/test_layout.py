"""Channels-last graphs lose their transposes and compute the same, with a channels-first input and output."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from pipeline.graph import from_model, to_model
from pipeline.graph.forms import axes_of
from pipeline.rewrites.layout import ChannelsLast, to_channels_first
from tests.rewrites.cases import assert_same, compute, lowered, model, operators, random

TO_LAST, TO_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


class Keras:
    """Writes a graph as tf2onnx does: tensors are channels-last, each Conv stands between two Transposes."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}

    def op(self, operator: str, *inputs: str, **attrs: object) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=f"n{len(self.nodes)}", **attrs))
        return name

    def const(self, values: object) -> str:
        name = f"c{len(self.weights)}"
        self.weights[name] = np.asarray(values)
        return name

    def conv(self, x: str, inputs: int, outputs: int) -> str:
        weights = self.const(random(outputs, inputs, 3, 3, seed=len(self.nodes), scale=0.3))
        first = self.op("Transpose", x, perm=TO_FIRST)
        result = self.op("Conv", first, weights, kernel_shape=[3, 3], pads=[1] * 4)
        return self.op("Transpose", result, perm=TO_LAST)

    def model(self, y: str, shape: tuple = ("n", "h", "w", 3), opset: int = 13) -> onnx.ModelProto:
        self.nodes[-1].output[0] = "y"
        assert self.nodes[-1].name == f"n{len(self.nodes) - 1}" and y
        return model(self.nodes, self.weights, shape, opset, output_shape=("n", None, None, None))


def check(source: onnx.ModelProto, *sizes: tuple[int, int], turned_out: bool = True, tolerance: float = 2e-6):
    graph = from_model(source)
    edits = to_channels_first(graph)
    assert "Transpose" not in operators(graph)
    for high, wide in sizes:
        x = random(2, high, wide, 3, seed=high)
        expected = compute(source, x)
        after = to_model(graph)
        onnx.checker.check_model(after, full_check=True)
        got = compute(after, np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
        got = got.transpose(0, 2, 3, 1) if turned_out else got
        assert got.shape == expected.shape
        assert np.abs(got - expected).max() <= tolerance * max(1, np.abs(expected).max())
    return graph, edits


def test_an_elementwise_tail_and_head_let_the_transposes_meet() -> None:
    k = Keras()
    x = k.op("Mul", "x", k.const(np.float32(1 / 255)))
    x = k.op("Sub", x, k.const(random(3)))
    x = k.op("Add", k.conv(x, 3, 8), k.const(random(8)))
    x = k.op("Relu", x)
    y = k.op("Tanh", k.conv(x, 8, 3))
    graph, edits = check(k.model(y), (12, 16), (9, 7))
    assert operators(graph) == ["Mul", "Sub", "Conv", "Add", "Relu", "Conv", "Tanh"]
    assert graph.inputs[0].shape[1] == 3
    assert [edit.nodes for edit in edits[:2]] == [("x",), ("y",)]
    assert all(tensor.values.shape == (1, 8, 1, 1) for tensor in graph.nodes[3].inputs[1:])


def test_joins_pads_slices_resizes_and_reductions_follow_their_axes() -> None:
    k = Keras()
    a = k.conv("x", 3, 8)
    b = k.op("Sigmoid", a)
    c = k.op("Concat", a, b, axis=3)
    pads = k.const(np.array([0, 1, 2, 0, 0, 2, 1, 0]))
    c = k.op("Pad", c, pads, mode="reflect")
    d = k.op("Slice", c, k.const(np.array([0, 1])), k.const(np.array([8, 2**31 - 1])), k.const(np.array([3, 1])))
    scales = k.const(np.array([1, 2, 3, 1], np.float32))
    attrs = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    e = k.op("Resize", d, "", scales, **attrs)
    mean = k.op("ReduceMean", e, axes=[1, 2])
    e = k.op("Sub", e, mean)
    peak = k.op("ReduceMax", e, axes=[-1])
    e = k.op("Div", e, k.op("Add", k.op("Abs", peak), k.const(np.float32(1))))
    y = k.op("Add", k.conv(e, 8, 3), k.const(np.full(3, 0.5, np.float32)))
    graph, _ = check(k.model(y), (12, 16), (9, 7))
    assert [node.attrs["axis"] for node in graph.nodes if node.op == "Concat"] == [1]
    assert [axes_of(node) for node in graph.nodes if node.op.startswith("Reduce")] == [[2, 3], [1]]


def test_a_dense_layer_over_the_channels_becomes_a_1x1_convolution() -> None:
    k = Keras()
    x = k.op("MatMul", k.conv("x", 3, 8), k.const(random(8, 5)))
    x = k.op("Softmax", k.op("Add", x, k.const(random(5))), axis=-1)
    graph, _ = check(k.model(k.op("Relu", k.conv(x, 5, 3))), (12, 16), (9, 7))
    assert operators(graph) == ["Conv", "Conv", "Add", "Softmax", "Conv", "Relu"]
    assert graph.nodes[3].attrs["axis"] == 1


def test_splits_and_channel_picks_follow_their_axes() -> None:
    k = Keras()
    a = k.conv("x", 3, 8)
    k.nodes.append(helper.make_node("Split", [a], ["left", "right"], name="split", axis=3))
    x = k.op("Mul", "left", k.op("Sigmoid", "right"))
    x = k.op("Gather", x, k.const(np.array([3, 1, 0])), axis=3)
    graph, _ = check(k.model(k.op("Relu", k.conv(x, 3, 3))), (12, 16), (9, 7))
    assert {node.attrs["axis"] for node in graph.nodes if "axis" in node.attrs} == {1}


def test_kerass_squeeze_and_excitation_loses_its_reshapes() -> None:
    k = Keras()
    a = k.conv("x", 3, 8)
    pooled = k.op("GlobalAveragePool", k.op("Transpose", a, perm=TO_FIRST))
    flat = k.op("Squeeze", pooled, k.const(np.array([2, 3])))
    square = k.op("Reshape", flat, k.const(np.array([-1, 1, 1, 8])))
    first = k.op("Transpose", square, perm=TO_FIRST)
    weighed = k.op("Conv", first, k.const(random(8, 8, 1, 1)), kernel_shape=[1, 1])
    gate = k.op("Sigmoid", k.op("Transpose", weighed, perm=TO_LAST))
    y = k.op("Relu", k.conv(k.op("Mul", a, gate), 8, 3))
    graph, _ = check(k.model(y), (12, 16), (9, 7))
    assert sorted(operators(graph)) == ["Conv", "Conv", "Conv", "GlobalAveragePool", "Mul", "Relu", "Sigmoid"]


def test_a_one_channel_mask_that_is_reshaped_to_channels_last() -> None:
    k = Keras()
    mask = k.op("Conv", k.op("Transpose", "x", perm=TO_FIRST), k.const(random(1, 3, 1, 1)), kernel_shape=[1, 1])
    y = k.op("Reshape", k.op("Sigmoid", mask), k.const(np.array([2, 12, 16, 1])))
    graph, edits = check(k.model(y, shape=(2, 12, 16, 3)), (12, 16))
    assert operators(graph) == ["Conv", "Sigmoid"]
    assert any("axis of size 1" in edit.what for edit in edits)


def test_only_a_last_transpose_to_channels_last_is_stripped() -> None:
    weights = {"w": random(3, 3, 3, 3)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3]),
        helper.make_node("Transpose", ["c"], ["y"], perm=TO_LAST, name="last"),
    ]
    source = model(nodes, weights, output_shape=(1, "a", "b", 3))
    graph = from_model(source)
    edits = to_channels_first(graph)
    assert operators(graph) == ["Conv"]
    assert len(edits) == 2
    assert_same(source, graph, random(1, 3, 8, 9), transform=lambda a: a.transpose(0, 2, 3, 1))


def test_a_picture_without_a_batch_axis_gets_one() -> None:
    nodes = [
        helper.make_node("Unsqueeze", ["x", "zero"], ["u"], name="in"),
        helper.make_node("Conv", ["u", "w"], ["c"], kernel_shape=[3, 3]),
        helper.make_node("Squeeze", ["c", "zero"], ["y"], name="out"),
    ]
    weights = {"w": random(3, 3, 3, 3), "zero": np.array([0])}
    source = model(nodes, weights, (3, "h", "w"), output_shape=(3, "a", "b"))
    graph = from_model(source)
    edits = to_channels_first(graph)
    assert operators(graph) == ["Conv"]
    assert len(edits) == 2
    x = random(3, 8, 9)
    assert np.allclose(compute(source, x), compute(to_model(graph), x[None])[0])


@pytest.mark.parametrize("shape", [(1, 3, "h", "w"), (1, "h", "w", 3)])
def test_a_network_that_is_channels_first_or_unclear_is_left_alone(shape: tuple) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"], name="r")]
    graph = from_model(model(nodes, {}, shape))
    assert to_channels_first(graph) == []


def test_a_transpose_without_a_later_inverse_is_left_alone() -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=TO_LAST, name="turn"),
        helper.make_node("Relu", ["t"], ["r"], name="r"),
        helper.make_node("Transpose", ["r"], ["y"], perm=[0, 1, 3, 2], name="other"),
    ]
    source = model(nodes, {})
    graph, edits, _ = lowered(source, ChannelsLast())
    assert edits == []
    assert_same(source, graph, random(1, 3, 4, 5), tolerance=0)


def test_pairs_of_inverse_reshapes_are_removed_and_others_are_left_alone() -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["g"]),
        helper.make_node("Reshape", ["g", "flat"], ["f"], name="there"),
        helper.make_node("Reshape", ["f", "square"], ["s"], name="back"),
        helper.make_node("Mul", ["x", "s"], ["m"]),
        helper.make_node("Reshape", ["m", "other"], ["y"], name="stays"),
    ]
    weights = {"flat": np.array([1, 3]), "square": np.array([1, 3, 1, 1]), "other": np.array([1, 3, 5, 4])}
    source = model(nodes, weights, (1, 3, 4, 5))
    graph, edits, _ = lowered(source, ChannelsLast())
    assert operators(graph) == ["GlobalAveragePool", "Mul", "Reshape"]
    assert edits[0].nodes == ("there", "back")
    assert_same(source, graph, random(1, 3, 4, 5), tolerance=0)


def test_the_real_channels_last_mask_network_loses_every_transpose(shared_models) -> None:
    source = onnx.load(shared_models / "other" / "selfie_segmentation_landscape.onnx")
    graph = from_model(source)
    to_channels_first(graph)
    assert not {"Transpose", "Reshape", "Squeeze", "Unsqueeze"} & set(operators(graph))
    assert list(graph.inputs[0].shape) == [1, 3, 144, 256]
    assert list(graph.outputs[0].shape) == [1, 1, 144, 256]
    x = np.random.default_rng(0).random((1, 144, 256, 3), np.float32)
    got = compute(to_model(graph), np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    assert np.array_equal(got.transpose(0, 2, 3, 1), compute(source, x))
