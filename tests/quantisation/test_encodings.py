"""Integers and what they stand for, against ONNX Runtime's own operators."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto, helper

from pipeline.quantisation.encodings import constant, encoding_of, free_name, quantise, root
from tests.rewrites.cases import compute, model, random


@pytest.mark.parametrize("axis", [None, 1])
def test_quantising_rounds_and_saturates_as_onnx_runtime(axis: int | None) -> None:
    x = random(5, 3, scale=20)
    x[0] = [0.5, 1.5, -2.5]
    scale = np.float32(1) if axis is None else np.array([1, 0.1, 0.01], np.float32)
    zero = np.zeros(np.shape(scale), np.int8)
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"], axis=1)
    source = model([node], {"s": scale, "z": zero}, (5, 3))
    source.graph.output[0].type.tensor_type.elem_type = TensorProto.INT8
    expected = compute(source, x)
    assert np.array_equal(quantise(x, encoding_of(scale, zero, np.int8), axis), expected)
    if axis is not None:
        assert (expected.min(), expected.max()) == (-128, 127)


def test_an_encoding_knows_its_range() -> None:
    encoding = encoding_of(np.float32(0.5), np.uint8(10), np.uint8)
    assert (encoding.low, encoding.high) == (-5.0, 122.5)
    assert encoding.fits(TensorProto.INT32)
    assert not encoding.fits(TensorProto.INT8)
    assert not encoding.same(encoding_of(np.float32(0.5), np.uint8(11), np.uint8))


def test_constants_are_read_through_what_only_reshapes_and_scales_them() -> None:
    start = gs.Constant("c", np.array([2.0, 4.0], np.float32))
    cast, square, product = (gs.Variable(name) for name in ("cast", "square", "product"))
    gs.Node("Cast", attrs={"to": TensorProto.INT8}, inputs=[start], outputs=[cast])
    axes = gs.Constant("axes", np.array([0]))
    gs.Node("Unsqueeze", inputs=[cast, axes], outputs=[square])
    gs.Node("Mul", inputs=[square, start], outputs=[product])
    assert constant(square).tolist() == [[2, 4]]
    assert constant(square).dtype == np.int8
    assert constant(product).tolist() == [[4, 16]]
    assert root(square) is start
    open_end = gs.Variable("open")
    gs.Node("Mul", inputs=[start, gs.Variable("x")], outputs=[open_end])
    assert constant(open_end) is None


def test_a_free_name_may_be_the_replaced_nodes_own_but_no_others() -> None:
    x, y, z = (gs.Variable(name) for name in ("x", "w", "z"))
    first = gs.Node("DequantizeLinear", inputs=[x], outputs=[y])
    graph = gs.Graph(nodes=[first, gs.Node("Relu", inputs=[y], outputs=[z])])
    assert free_name(graph, "w", first) == "w"
    assert free_name(graph, "z", first) == "z_2"
