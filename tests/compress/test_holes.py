"""The float32 tensors of an ONNX file are found where they lie."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pipeline.compress.holes import find_holes, with_raw_data


def model() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.normal(size=(4, 3, 3, 3)).astype(np.float32), "weight")
    listed = helper.make_tensor("listed", TensorProto.FLOAT, [4], [0.5, -1, 2, 3])
    shape = numpy_helper.from_array(np.array([1, 4, 8, 8], np.int64), "shape")
    empty = numpy_helper.from_array(np.zeros((0,), np.float32), "empty")
    stored = numpy_helper.from_array(np.float32(7.25), "")
    nodes = [
        helper.make_node("Conv", ["x", "weight", "listed"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Constant", [], ["seven"], value=stored),
        helper.make_node("Mul", ["c", "seven"], ["m"]),
        helper.make_node("Reshape", ["m", "shape"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 8, 8])],
        [weight, listed, shape, empty],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])


def test_every_float_tensor_is_found_with_its_numbers():
    network = model()
    expected = {
        t.name: numpy_helper.to_array(t) for t in network.graph.initializer if t.name in ("weight", "listed")
    }
    expected["seven"] = np.float32(7.25)
    data = with_raw_data(network)
    holes = find_holes(data)
    assert {hole.name for hole in holes} == set(expected)
    for hole in holes:
        assert hole.shape == expected[hole.name].shape
        assert np.array_equal(hole.values(data), expected[hole.name])
    assert [hole.offset for hole in holes] == sorted(hole.offset for hole in holes)


def test_a_number_written_into_a_hole_is_the_tensors():
    data = bytearray(with_raw_data(model()))
    hole = next(hole for hole in find_holes(bytes(data)) if hole.name == "weight")
    data[hole.offset : hole.offset + 4] = np.float32(42).tobytes()
    again = onnx.load_from_string(bytes(data))
    assert numpy_helper.to_array(again.graph.initializer[0])[0, 0, 0, 0] == 42


def test_numbers_held_as_a_list_are_rewritten_as_bytes_and_mean_the_same():
    network = model()
    before = numpy_helper.to_array(network.graph.initializer[1])
    again = onnx.load_from_string(with_raw_data(network))
    assert np.array_equal(numpy_helper.to_array(again.graph.initializer[1]), before)
    assert again.graph.initializer[1].HasField("raw_data")
