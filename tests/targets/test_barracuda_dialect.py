"""Barracuda's dialect: how a valid graph is written, and which forms are rejected."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from pipeline import targets
from pipeline.graph import as_written, from_model, to_model
from pipeline.support.errors import PipelineError
from pipeline.targets.barracuda.dialect import check, write
from pipeline.verify.proof import as_target_computes
from tests.rewrites import model, node, random

TARGET = targets.get("barracuda-3.0")


@pytest.mark.parametrize(
    ("made", "constants", "opset"),
    [
        (node("Relu", "x", "y"), {}, 9),
        (node("Pad", "x p", "y"), {"p": np.zeros(8, np.int64)}, 9),
        (node("Clip", "x", "y"), {}, 9),
        (node("Slice", "x s e", "y"), {"s": np.array([0]), "e": np.array([1])}, 9),
        (node("Slice", "x s e a t", "y"), {k: np.array([2]) for k in "seat"}, 10),
        (node("Squeeze", "x a", "y"), {"a": np.array([0])}, 9),
        (node("ReduceMean", "x a", "y"), {"a": np.array([1])}, 9),
        (node("Resize", "x - k", "y", mode="linear"), {"k": np.ones(4, np.float32)}, 13),
        (node("DepthToSpace", "x", "y", blocksize=1, mode="CRD"), {}, 11),
        (node("DepthToSpace", "x", "y", blocksize=1, mode="DCR"), {}, 9),
        (node("Softmax", "x", "y", axis=1), {}, 13),
        (node("Softmax", "x", "y", axis=3), {}, 9),
        (node("HardSwish", "x", "y"), {}, 14),
    ],
    ids=lambda item: item.op_type if isinstance(item, onnx.NodeProto) else "",
)
def test_the_declared_opset_is_the_first_that_has_the_form(made, constants, opset):
    graph = from_model(model([made], constants, opset=18))
    before = to_model(graph).SerializeToString()
    written = write(graph)
    assert written.opset_import[0].version == opset
    check(written)
    assert to_model(graph).SerializeToString() == before, "writing changed the graph"


def test_parameters_are_attributes_counted_from_the_front():
    nodes = [
        node("Pad", "x p v", "a"),
        node("Clip", "a lo hi", "b"),
        node("Slice", "b s e ax", "c"),
        node("Unsqueeze", "c u", "d"),
        node("Squeeze", "d u", "y"),
    ]
    constants = {"p": np.array([0, 0, 1, 2, 0, 0, 3, 4]), "v": 0.5, "lo": -1.0, "hi": 1.0, "u": np.array([-1])}
    constants |= {"s": np.array([1]), "e": np.array([np.iinfo(np.int64).max]), "ax": np.array([-1])}
    graph = as_written(write(from_model(model(nodes, constants, opset=18)))).nodes
    assert [len(item.inputs) for item in graph] == [1] * 5
    assert graph[0].attrs == {"mode": "constant", "pads": [0, 0, 1, 2, 0, 0, 3, 4], "value": 0.5}
    assert graph[1].attrs == {"min": -1.0, "max": 1.0}
    assert graph[2].attrs == {"starts": [1], "ends": [2**31 - 1], "axes": [3]}
    assert graph[3].attrs == graph[4].attrs == {"axes": [4]}


def test_a_pixel_shuffle_network_is_in_the_dialect_and_a_planted_error_fails_the_proof():
    nodes = [
        node("Conv", "x w", "a"),
        node("DepthToSpace", "a", "b", blocksize=2, mode="CRD"),
        node("HardSwish", "b", "c"),
        node("Clip", "c lo hi", "y"),
    ]
    graph = from_model(model(nodes, {"w": random((12, 3, 1, 1)), "lo": 0.0, "hi": 1.0}, opset=18))
    data = TARGET.family.write(graph, TARGET)
    picture = np.zeros((1, 3, 8, 8), np.float32)
    assert as_target_computes(data, TARGET)(picture).shape == (1, 3, 16, 16)
    planted = onnx.load_from_string(data)
    planted.graph.node[-1].input.append(planted.graph.node[0].input[1])  # attributes and an input
    with pytest.raises(PipelineError) as caught:
        as_target_computes(planted, TARGET)
    assert caught.value.code == "not-in-dialect"
    assert "Clip" in caught.value.message


def test_the_file_reads_back_as_the_graph_that_was_written():
    nodes = [
        node("Resize", "x - k", "a", **{"mode": "nearest", "nearest_mode": "floor"}),
        node("ReduceMax", "a axes", "b", keepdims=1),
        node("Softmax", "a", "c", axis=1),
        node("Mul", "b c", "y"),
    ]
    nodes[0].attribute.append(onnx.helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
    constants = {"k": np.array([1, 1, 2, 3], np.float32), "axes": np.array([-2, -1])}
    source = model(nodes, constants, opset=18)
    written = write(from_model(source))
    assert [item.op_type for item in written.graph.node] == ["Upsample", "ReduceMax", "Softmax", "Mul"]
    again = from_model(written)
    assert [item.op for item in again.nodes] == ["Resize", "ReduceMax", "Softmax", "Mul"]
    onnx.checker.check_model(to_model(again), full_check=True)
    assert write(again).SerializeToString(deterministic=True) == write(
        from_model(to_model(again))
    ).SerializeToString(deterministic=True)
