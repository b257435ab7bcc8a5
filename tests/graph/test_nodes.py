from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from pipeline.graph import from_model, to_model
from pipeline.graph import nodes as n
from tests.rewrites import model, node, random, run


def graph_of(*nodes, constants=None, **options):
    return from_model(model(list(nodes), constants, **options))


def test_constants_are_read_in_every_form():
    graph = graph_of(
        node("Constant", "", "c", value_floats=[1.0, 2.0]),
        node("Add", "x k", "a"),
        node("Mul", "a c", "y"),
        constants={"k": 2.5},
        opset=13,
        input_shape=(1, 3, 4, 2),
    )
    add, mul = (item for item in graph.nodes if item.op != "Constant")
    assert n.scalar(add.inputs[1]) == 2.5
    assert n.value(mul.inputs[1]).tolist() == [1.0, 2.0]
    assert n.scalar(mul.inputs[1]) is None
    assert n.value(mul.inputs[0]) is None


def test_omitted_inputs_are_none():
    result = graph_of(node("Clip", "x - hi", "y"), constants={"hi": 1.0}, opset=13).nodes[0]
    assert n.given(result, 1) is None
    assert n.given(result, 2).name == "hi"
    assert n.given(result, 3) is None


def test_the_only_consumer_is_none_for_an_output_of_the_graph():
    graph = graph_of(node("Relu", "x", "y"), node("Neg", "y", "z"))
    assert n.only_consumer(graph, graph.nodes[0].outputs[0]) is None
    assert n.only_consumer(graph, graph.inputs[0]) is graph.nodes[0]


def test_a_tensor_read_twice_by_one_node_has_one_consumer():
    graph = graph_of(node("Relu", "x", "a"), node("Mul", "a a", "y"))
    assert [item.op for item in n.consumers(graph.nodes[0].outputs[0])] == ["Mul"]
    n.replace_everywhere(graph, graph.nodes[0].outputs[0], graph.inputs[0])
    assert [tensor.name for tensor in graph.nodes[1].inputs] == ["x", "x"]


def test_an_output_cannot_be_replaced_everywhere():
    graph = graph_of(node("Relu", "x", "y"))
    with pytest.raises(ValueError, match="output of the graph"):
        n.replace_everywhere(graph, graph.outputs[0], graph.inputs[0])


def test_bypassing_keeps_the_name_of_the_graphs_output():
    graph = graph_of(node("Relu", "x", "a"), node("Identity", "a", "y"), node("Neg", "a", "b"))
    assert n.bypass(graph, graph.nodes[1])
    graph.cleanup().toposort()
    assert graph.outputs[0].name == "y"
    assert graph.outputs[0].inputs[0].op == "Relu"


def test_a_node_from_input_to_output_cannot_be_bypassed():
    graph = graph_of(node("Identity", "x", "y"))
    assert not n.bypass(graph, graph.nodes[0])
    assert [item.op for item in graph.nodes if item.outputs] == ["Identity"]


def test_a_builder_names_what_it_makes_and_keeps_the_output():
    source = model([node("HardSwish", "x", "y")], opset=14)
    graph = from_model(source)
    make = n.Builder(graph, graph.nodes[0], "test")
    gate = make.op("Clip", make.op("Add", make.op("Mul", graph.inputs[0], 1 / 6), 0.5), min=0.0, max=1.0)
    make.op("Mul", graph.inputs[0], gate, out=graph.nodes[0].outputs[0])
    make.drop()
    graph.cleanup().toposort()
    names = {item.name for item in graph.nodes}
    assert names == {"y_node/test/Mul", "y_node/test/Add", "y_node/test/Clip", "y_node/test/Mul_2"}
    assert graph.outputs[0].name == "y"
    feeds = {"x": random((1, 3, 12, 16))}
    assert np.allclose(run(source, feeds)[0], run(to_model(graph), feeds)[0], atol=1e-6)


def test_an_output_moves_from_one_node_to_another():
    graph = graph_of(node("Relu", "x", "y"))
    result = gs.Variable("other")
    graph.nodes.append(gs.Node("Abs", "abs", inputs=[graph.inputs[0]], outputs=[result]))
    n.replace_output(result, graph.outputs[0])
    assert graph.outputs[0].inputs[0].op == "Abs"
    with pytest.raises(ValueError, match="no node makes"):
        n.replace_output(graph.inputs[0], graph.outputs[0])


def test_fresh_names_are_free():
    graph = graph_of(node("Relu", "x", "y"))
    assert n.fresh_name(graph, "z") == "z"
    assert n.fresh_name(graph, "y") == "y_2"
    assert n.fresh_name(graph, "y_node") == "y_node_2"
