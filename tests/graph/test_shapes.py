from __future__ import annotations

import glob

import numpy as np
import onnx
import pytest

from pipeline.graph import declare_size, from_model, infer
from pipeline.graph.runtime import run, session
from pipeline.graph.shapes import LazyShapes, infer_elsewhere
from tests.rewrites import model, node, random

I = np.array  # noqa: E741
W = {"w": random((4, 3, 3, 3))}
CASES = [
    ([node("Conv", "x w", "y", strides=[2, 1], pads=[1, 0, 2, 1], dilations=[1, 2])], W, 9),
    ([node("Conv", "x w", "y", strides=[2, 2], auto_pad="SAME_UPPER")], W, 9),
    (
        [node("ConvTranspose", "x w", "y", strides=[2, 3], pads=[1, 0, 0, 1], output_padding=[1, 0])],
        {"w": random((3, 2, 4, 3))},
        9,
    ),
    ([node("ConvTranspose", "x w", "y", group=3, dilations=[2, 2])], {"w": random((3, 2, 3, 3))}, 9),
    ([node("MaxPool", "x", "y", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)], {}, 10),
    ([node("AveragePool", "x", "y", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 1, 1, 0])], {}, 9),
    ([node("GlobalAveragePool", "x", "y")], {}, 9),
    ([node("Pad", "x", "y", pads=[0, 1, 2, 3, 0, 0, -1, 2])], {}, 9),
    ([node("Pad", "x p", "y")], {"p": I([0, 0, 1, 2, 0, 0, 3, 4])}, 13),
    ([node("Pad", "x p - a", "y")], {"p": I([1, 2, 3, 4]), "a": I([-1, 2])}, 18),
    ([node("Upsample", "x k", "y")], {"k": I([1, 1, 2, 3], np.float32)}, 9),
    ([node("Resize", "x - k", "y")], {"k": I([1, 1, 0.5, 1.5], np.float32)}, 13),
    ([node("Resize", "x - - s", "y")], {"s": I([1, 3, 7, 9])}, 13),
    ([node("Concat", "x x", "y", axis=-2)], {}, 13),
    ([node("Slice", "x", "y", starts=[1, -5], ends=[-1, 9223372036854775807], axes=[2, 3])], {}, 9),
    ([node("Slice", "x s e a t", "y")], {"s": I([-1]), "e": I([-99]), "a": I([3]), "t": I([-2])}, 13),
    ([node("Split", "x", "y z", axis=2)], {}, 9),
    ([node("Split", "x p", "y z", axis=1)], {"p": I([2, 1])}, 13),
    ([node("Reshape", "x s", "y")], {"s": I([0, -1, 6])}, 9),
    ([node("Flatten", "x", "y", axis=2)], {}, 9),
    ([node("Flatten", "x", "y", axis=-1)], {}, 13),
    ([node("Transpose", "x", "y", perm=[0, 2, 3, 1])], {}, 9),
    ([node("Transpose", "x", "y")], {}, 9),
    ([node("Unsqueeze", "x", "y", axes=[0, 5])], {}, 9),
    ([node("Unsqueeze", "x a", "u"), node("Squeeze", "u b", "y")], {"a": I([-1]), "b": I([0, 4])}, 13),
    ([node("Gather", "x i", "y", axis=1)], {"i": I([[0, 2]])}, 9),
    ([node("ReduceMean", "x", "y", axes=[1, -1], keepdims=0)], {}, 9),
    ([node("ReduceSum", "x a", "y")], {"a": I([1])}, 13),
    ([node("ArgMax", "x", "i", axis=1, keepdims=0), node("Cast", "i", "y", to=1)], {}, 9),
    ([node("Add", "x c", "y")], {"c": random((2, 1, 1, 1))}, 9),
    ([node("MatMul", "x m", "y")], {"m": random((16, 5))}, 9),
    ([node("SpaceToDepth", "x", "d", blocksize=2), node("DepthToSpace", "d", "y", blocksize=2)], {}, 9),
    ([node("Expand", "x s", "y")], {"s": I([2, 1, 1, 1])}, 9),
    ([node("Tile", "x t", "y")], {"t": I([1, 2, 1, 3])}, 9),
    ([node("Shape", "x", "s"), node("ConstantOfShape", "s", "y")], {}, 9),
    ([node("Where", "m x c", "y")], {"m": I([True]), "c": random((3, 1, 1))}, 9),
]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_every_form_gives_the_shape_that_onnx_infers(number):
    nodes, constants, opset = CASES[number]
    source = model(nodes, constants, opset=opset)
    expected = onnx.shape_inference.infer_shapes(source, strict_mode=True, data_prop=True)
    shapes = infer(from_model(source))
    for value in (*expected.graph.output, *expected.graph.value_info):
        assert shapes.known[value.name] == tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
    assert not shapes.problems


def test_mixed_opsets_are_read_in_one_graph():
    source = model(
        [
            node("Pad", "x", "a", pads=[0, 0, 1, 1, 0, 0, 1, 1]),
            node("Resize", "a - k", "b"),
            node("Squeeze", "b axes", "y"),
        ],
        {"k": I([1, 1, 2, 2], np.float32), "axes": I([0])},
        opset=13,
    )
    assert infer(from_model(source)).known["y"] == (3, 28, 36)


def test_unknown_sizes_stay_unknown_and_the_rest_is_known():
    source = model([node("Conv", "x w", "a"), node("Concat", "a a", "y", axis=1)], {"w": random((4, 3, 3, 3))})
    graph = from_model(source)
    shapes = infer(graph, {"x": ("n", None, None, 16)})
    assert shapes.known["y"] == (None, 8, None, 14)


def test_a_part_of_a_shape_has_the_length_of_that_part():
    """As torch's dynamo exporter writes sizes; of a free size the value is not known, but the length is."""
    nodes = [node("Shape", "x", "h", start=2, end=3), node("Shape", "x", "y", start=-3)]
    shapes = infer(from_model(model(nodes, {}, opset=18, input_shape=(1, 3, "h", "w"))))
    assert shapes.known["h"] == (1,) and shapes.known["y"] == (3,)


def test_shape_arithmetic_is_evaluated():
    source = model(
        [
            node("Shape", "x", "s"),
            node("Gather", "s two", "h"),
            node("Mul", "h two", "h2"),
            node("Unsqueeze", "h2", "u", axes=[0]),
            node("Concat", "one u minus", "target", axis=0),
            node("Reshape", "x target", "y"),
        ],
        {"two": I(2), "one": I([1]), "minus": I([-1])},
    )
    shapes = infer(from_model(source))
    assert shapes.values["target"].tolist() == [1, 24, -1]
    assert shapes.known["y"] == (1, 24, 24)


# fmt: off
COMPUTED = [  # (nodes that compute `k` from h, twice the picture's height)
    [node("Mod", "h c3", "k")],
    [node("Neg", "h", "a"), node("Div", "a c3", "b"), node("Neg", "b", "k")],
    [node("Neg", "h", "a"), node("Mod", "a c3", "k")],
    [node("Neg", "h", "a"), node("Mod", "a c3", "b", fmod=1), node("Neg", "b", "k")],
    [node("Size", "x", "a"), node("Unsqueeze", "a c0", "k")],
    [node("Shape", "x", "a"), node("Split", "a", "b d e k", axis=0)],
    [node("Shape", "x", "a"), node("ReduceSum", "a", "k")],
    [node("Shape", "x", "a"), node("ReduceMax", "a", "b", axes=[0], keepdims=0), node("Unsqueeze", "b c0", "k")],
    [node("Concat", "h c3", "a", axis=0), node("Tile", "a c2", "b"), node("ReduceProd", "b", "k")],
    [node("Expand", "h c3", "a"), node("ReduceSum", "a c0", "k")],
    [node("Less", "h c3", "a"), node("Not", "a", "b"), node("Where", "b h c3", "k")],
]
# fmt: on


@pytest.mark.parametrize("number", range(len(COMPUTED)))
@pytest.mark.parametrize("height", (5, 6))
def test_computed_sizes_are_those_that_a_run_computes(number, height):
    """`y` has `k` elements."""
    h = [node("Shape", "x", "s"), node("Gather", "s c2", "h0"), node("Mul", "h0 c2", "h")]
    nodes = [*h, *COMPUTED[number], node("ConstantOfShape", "k", "y")]
    network = model(nodes, {f"c{i}": I([i]) for i in (0, 2, 3)}, input_shape=(1, 3, height, 7), opset=13)
    del network.graph.output[0].type.tensor_type.shape.dim[:]
    expected = run(session(network), np.zeros((1, 3, height, 7), np.float32))
    assert infer(from_model(network)).known["y"] == expected.shape


def test_a_division_by_zero_gives_no_size():
    for operator in ("Div", "Mod"):
        nodes = [node("Shape", "x", "s"), node(operator, "s z", "k"), node("ConstantOfShape", "k", "y")]
        shapes = infer(from_model(model(nodes, {"z": I([0])}, input_shape=(1, 3, 5, 7), opset=13)))
        assert "k" not in shapes.values and "y" not in shapes.known


def test_a_baked_size_shows_as_a_contradiction_elsewhere():
    source = model([node("Reshape", "x s", "y")], {"s": I([1, 36, 16])})
    graph = from_model(source)
    assert not infer(graph).problems
    assert [name for name, _ in infer_elsewhere(graph).problems] == ["y_node"]


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([node("Conv", "x w", "y")], {"w": random((4, 5, 3, 3))}),
        ([node("Add", "x c", "y")], {"c": random((1, 3, 12, 7))}),
        ([node("Concat", "x c", "y", axis=1)], {"c": random((1, 3, 12, 7))}),
        ([node("MatMul", "x m", "y")], {"m": random((5, 5))}),
    ],
)
def test_inputs_that_do_not_fit_are_named(nodes, constants):
    problems = infer(from_model(model(nodes, constants))).problems
    assert [name for name, _ in problems] == ["y_node"]


def test_which_sizes_follow_the_picture_is_known():
    graph = from_model(model([node("Concat", "x x", "y", axis=1)]))
    lazy = LazyShapes(graph)
    assert [lazy.fixed_size(graph.outputs[0], axis) for axis in range(4)] == [1, 6, None, None]


def test_real_networks_have_the_shapes_that_onnx_infers(shared_models):
    for name in sorted(glob.glob(str(shared_models / "*" / "*.onnx"))):
        if "negative" in name or "mnist" in name:
            continue
        source = declare_size(onnx.load(name), 128, 128)
        shapes = infer(from_model(source), {})
        for value in (*source.graph.value_info, *source.graph.output):
            expected = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            if value.name in shapes.known and 0 not in expected:
                assert list(shapes.known[value.name]) == expected, f"{name}: {value.name}"
