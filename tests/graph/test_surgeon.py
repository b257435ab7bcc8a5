"""onnx-graphsurgeon with the two methods that this package replaces does what its own do, in linear time."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import helper, numpy_helper

from pipeline.graph import from_model, infer, nodes, surgeon  # noqa: F401
from pipeline.graph.shapes import LazyShapes, forget_shapes, keep_shapes


def _branching() -> onnx.ModelProto:
    """An If whose branches read a tensor from outside, an omitted input, a constant that is read twice."""
    branches = [
        helper.make_graph(
            [helper.make_node(operator, ["a", "c"], [operator])],
            operator,
            [],
            [helper.make_tensor_value_info(operator, 1, None)],
        )
        for operator in ("Add", "Sub")
    ]
    body = [
        helper.make_node("Mul", ["x", "c"], ["a"], name="first"),
        helper.make_node("Clip", ["a", "", "c"], ["b"], name="clip"),
        helper.make_node("Cast", ["c"], ["yes"], to=9),
        helper.make_node("If", ["yes"], ["d"], then_branch=branches[0], else_branch=branches[1], name="if"),
        helper.make_node("Add", ["b", "d"], ["y"], name="last"),
    ]
    picture = helper.make_tensor_value_info("x", 1, [1, 3, 4, 4])
    graph = helper.make_graph(body, "g", [picture], [helper.make_tensor_value_info("y", 1, [1, 3, 4, 4])])
    graph.initializer.append(numpy_helper.from_array(np.array(2, np.float32), "c"))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


_PLAIN = """
import sys, onnx, onnx_graphsurgeon as gs
graph = gs.import_onnx(onnx.load_from_string(sys.stdin.buffer.read()))
copied = graph.copy()
copied.cleanup().toposort()
sys.stdout.buffer.write(gs.export_onnx(copied, do_type_check=False).SerializeToString(deterministic=True))
"""


def test_import_copy_sort_and_export_give_the_same_bytes_as_the_library_itself() -> None:
    for model in (_branching(), _chain(40)):
        content = model.SerializeToString()
        plain = subprocess.run(
            [sys.executable, "-c", _PLAIN], input=content, capture_output=True, check=True
        ).stdout
        copied = gs.import_onnx(model).copy()
        copied.cleanup().toposort()
        ours = gs.export_onnx(copied, do_type_check=False).SerializeToString(deterministic=True)
        assert ours == plain


def _chain(length: int) -> onnx.ModelProto:
    """PRelus that share one slope."""
    names = ["x", *(f"t{index}" for index in range(length - 1)), "y"]
    body = [helper.make_node("PRelu", [names[i], "slope"], [names[i + 1]], name=f"n{i}") for i in range(length)]
    ends = [helper.make_tensor_value_info(name, 1, [1, 3, 4, 4]) for name in "xy"]
    slope = numpy_helper.from_array(np.full((3, 1, 1), 0.2, np.float32), "slope")
    graph = helper.make_graph(body, "g", ends[:1], ends[1:], [slope])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_both_sides_of_a_connection_stay_in_step() -> None:
    graph = gs.import_onnx(_chain(3))
    first, second, third = graph.nodes
    slope = first.inputs[1]
    assert [id(node) for node in slope.outputs] == [id(first), id(second), id(third)]
    second.inputs = [second.inputs[0]]
    assert [id(node) for node in slope.outputs] == [id(first), id(third)]
    third.inputs[1] = gs.Constant("other", np.zeros(1, np.float32))
    assert [id(node) for node in slope.outputs] == [id(first)]
    first.outputs.clear()
    assert not second.inputs[0].inputs
    assert third.inputs[1].outputs[0] is third


def test_a_constant_that_every_node_reads_does_not_make_changes_quadratic() -> None:
    def seconds(length: int) -> float:
        graph = from_model(_chain(length))
        started = time.process_time()
        for node in graph.nodes:
            node.inputs = node.inputs[:1]
        graph.cleanup().toposort()
        return time.process_time() - started

    assert seconds(8000) < 16 * max(seconds(1000), 0.02)


def test_kept_shapes_are_shared_until_the_graph_grows_or_they_are_forgotten() -> None:
    graph = from_model(_chain(3))
    keep_shapes(graph)
    stored = LazyShapes(graph).here
    assert LazyShapes(graph).here is stored
    make = nodes.Builder(graph, graph.nodes[0], "test")
    result = make.op("Relu", graph.nodes[0].outputs[0])
    assert LazyShapes(graph).here.of(result) == (1, 3, 4, 4)
    keep_shapes(graph)
    stored = LazyShapes(graph).here
    forget_shapes(graph)
    assert LazyShapes(graph).here is not stored
    assert infer(graph).known == stored.known
