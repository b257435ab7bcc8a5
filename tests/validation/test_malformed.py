"""Graphs that pass ONNX's checker but that no engine can run are reported as malformed."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline import targets
from pipeline.validation import validate


def model(nodes, **held):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def borrowed() -> onnx.NodeProto:
    node = helper.make_node("Conv", ["x", "w"], ["y"], strides=[1, 1])
    node.attribute[0].ref_attr_name = "s"
    return node


W = np.zeros((3, 3, 3, 3), np.float32)


@pytest.mark.parametrize("target", ["barracuda-1.0", "barracuda-3.0", "inference-2.2", "compute"])
@pytest.mark.parametrize(
    ("nodes", "held", "told"),
    [
        ([borrowed()], {"w": W}, "it is in no function"),
        ([helper.make_node("Conv", ["x", "w"], ["y"], strides=[0, 1])], {"w": W}, "strides is [0, 1]"),
        ([helper.make_node("Conv", ["x", "w"], ["y"], dilations=[-1, 1])], {"w": W}, "dilations is [-1, 1]"),
        ([helper.make_node("Conv", ["x", "w"], ["y"], group=0)], {"w": W}, "group is [0]"),
        (
            [
                helper.make_node("Range", ["a", "b", "c"], ["r"]),
                helper.make_node("ReduceMean", ["r"], ["m"], keepdims=0),
                helper.make_node("Mul", ["x", "m"], ["y"]),
            ],
            {"a": np.float32(0), "b": np.float32(4e9), "c": np.float32(1)},
            "4,000,000,000 numbers",
        ),
    ],
)
def test_what_no_engine_can_run_is_malformed(target, nodes, held, told):
    found = [finding for finding in validate(model(nodes, **held), targets.get(target))]
    assert any(f.code == "malformed-graph" and told in f.reason for f in found), found
