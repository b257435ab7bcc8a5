"""What a network from a file may cost: estimated before it runs, else it runs in a process of its own."""

from __future__ import annotations

import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline import targets
from pipeline.graph import from_model
from pipeline.graph.apart import ApartError
from pipeline.graph.estimate import estimate, light
from pipeline.graph.runtime import session
from pipeline.graph.simplify import simplify
from pipeline.graph.standard import infer_shapes
from pipeline.graph.structure import check_structure, tensor_problem
from pipeline.rewrites.constants import Constants
from pipeline.support.errors import LimitReached, PipelineError

MANY = 4_000_000_000


def model(nodes, constants=(), opset=17, functions=()) -> onnx.ModelProto:
    picture = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])]
    result = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    stored = [numpy_helper.from_array(np.asarray(values), name) for name, values in constants]
    graph = helper.make_graph(nodes, "g", picture, result, stored)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=functions)


def reduced(*nodes: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The nodes, and `k` brought to one number that is added to the picture."""
    return [
        *nodes,
        helper.make_node("Cast", ["k"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["f"], ["m"], keepdims=0),
        helper.make_node("Add", ["x", "m"], ["y"]),
    ]


ONE = ("one", np.ones(1, np.int64))
BOMBS = {
    "range": ([("Range", ["a", "b", "c"])], [("a", np.int64(0)), ("b", np.int64(MANY)), ("c", np.int64(1))]),
    "constant of shape": ([("ConstantOfShape", ["s"])], [("s", np.array([60_000, 60_000]))]),
    "expand": ([("Expand", ["one", "s"])], [ONE, ("s", np.array([MANY]))]),
    "tile": ([("Tile", ["one", "s"])], [ONE, ("s", np.array([MANY]))]),
    "pad": ([("Pad", ["one", "s"])], [ONE, ("s", np.array([0, MANY]))]),
    "one hot": ([("OneHot", ["one", "d", "v"])], [ONE, ("d", np.int64(MANY)), ("v", np.array([0, 1]))]),
    "outer product": (
        [("MatMul", ["p", "q"])],
        [("p", np.ones((50_000, 1), "f")), ("q", np.ones((1, 50_000), "f"))],
    ),
    "computed shape": (
        [("Mul", ["s", "s"]), ("Mul", ["k0", "k0"]), ("ConstantOfShape", ["k1"])],
        [("s", np.array([200]))],
    ),
}


def bomb(name: str) -> onnx.ModelProto:
    steps, constants = BOMBS[name]
    result = [
        helper.make_node(operator, inputs, ["k" if number == len(steps) - 1 else f"k{number}"])
        for number, (operator, inputs) in enumerate(steps)
    ]
    return model(reduced(*result), constants)


@pytest.mark.parametrize("name", BOMBS)
def test_nobody_is_given_a_constant_of_unbounded_size(name):
    result = bomb(name)
    started = time.monotonic()
    reported = estimate(light(result))
    assert reported.folded.largest > 1 << 30 or reported.folded.unknown
    assert "not simplified" in simplify(result)[1]
    graph = from_model(result)
    Constants().apply(graph, targets.get("barracuda-3.0"), frozenset())
    assert any(node.outputs and node.outputs[0].name == "k" for node in graph.nodes)
    with pytest.raises(LimitReached) as stopped:
        session(result)
    assert "PIPELINE_MEMORY_LIMIT" in str(stopped.value)
    assert time.monotonic() - started < 20


def test_a_result_that_is_too_large_at_run_time_is_not_run():
    network = model([helper.make_node("Expand", ["x", "s"], ["y"])], [("s", np.array([MANY, 3, 8, 8]))])
    with pytest.raises(LimitReached) as stopped:
        session(network)
    assert stopped.value.error.code == "memory-limit" and "Expand" in stopped.value.error.message


def loop() -> onnx.ModelProto:
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Add", ["v", "v"], ["v2"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("c2", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v2", TensorProto.FLOAT, None),
        ],
    )
    return model([helper.make_node("Loop", ["", "go", "x"], ["y"], body=body)], [("go", np.bool_(True))])


def test_a_loop_without_an_end_is_ended(monkeypatch):
    monkeypatch.setenv("PIPELINE_TIME_LIMIT", "2")
    opened = session(loop())
    with pytest.raises(LimitReached) as stopped:
        opened.run(None, {"x": np.zeros((1, 3, 8, 8), np.float32)})
    assert stopped.value.error.code == "time-limit"
    assert "PIPELINE_TIME_LIMIT" in str(stopped.value) and "2 s" in str(stopped.value)


def test_what_cannot_be_told_beforehand_runs_apart_and_right():
    network = model(
        [
            helper.make_node("NonZero", ["x"], ["n"]),
            helper.make_node("Cast", ["n"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("ReduceSum", ["f"], ["s"], keepdims=0),
            helper.make_node("Add", ["x", "s"], ["y"]),
        ]
    )
    opened = session(network)
    assert opened._opened is None and opened._apart is not None
    picture = np.zeros((1, 3, 8, 8), np.float32)
    picture[0, 1, 2, 3] = 1
    assert np.array_equal(opened.run(None, {"x": picture})[0], picture + 6)
    with pytest.raises(Exception, match=r"(?i)invalid|dimension|rank") as caught:
        opened.run(None, {"x": picture[0]})
    assert not isinstance(caught.value, LimitReached)


def test_a_model_with_a_baked_size_runs_here_at_that_size_and_apart_at_others():
    """What it costs is known at the one size only, which no size that is tried as it is opened need be."""
    network = model(
        [
            helper.make_node("Resize", ["x", "", "", "sizes"], ["r"], mode="nearest"),
            helper.make_node("Add", ["x", "r"], ["y"]),
        ],
        [("sizes", np.array([1, 3, 24, 32]))],
    )
    for axis in (2, 3):
        network.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = f"size{axis}"
    opened = session(network)
    assert opened._opened is None
    picture = np.ones((1, 3, 24, 32), np.float32)
    assert np.array_equal(opened.run(None, {"x": picture})[0], 2 * picture)
    assert opened._opened is not None
    with pytest.raises(ApartError):
        opened.run(None, {"x": np.ones((1, 3, 28, 32), np.float32)})
    assert np.array_equal(opened.run(None, {"x": picture})[0], 2 * picture)


def test_functions_that_double_are_counted_and_not_written_out():
    def function(number: int) -> onnx.FunctionProto:
        inner = f"F{number - 1}" if number else "Relu"
        domain = "own" if number else ""
        nodes = [
            helper.make_node(inner, ["a"], ["b"], domain=domain),
            helper.make_node(inner, ["b"], ["c"], domain=domain),
        ]
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        return helper.make_function("own", f"F{number}", ["a"], ["c"], nodes, opsets)

    network = model(
        [helper.make_node("F40", ["x"], ["y"], domain="own")], functions=[function(n) for n in range(41)]
    )
    for work in (check_structure, light, from_model, session):
        with pytest.raises(PipelineError) as caught:
            work(network)
        assert caught.value.code == "graph-too-large"


def test_a_function_that_calls_itself_is_invalid():
    nodes = [helper.make_node("F", ["a"], ["b"], domain="own")]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    network = model(
        [helper.make_node("F", ["x"], ["y"], domain="own")],
        functions=[helper.make_function("own", "F", ["a"], ["b"], nodes, opsets)],
    )
    with pytest.raises(PipelineError) as caught:
        check_structure(network)
    assert caught.value.code == "invalid-onnx"


@pytest.mark.parametrize(
    ("tensor", "wrong"),
    [
        (TensorProto(dims=[10**6, 10**7], data_type=1, float_data=[1, 2, 3, 4]), True),
        (TensorProto(dims=[2, 2], data_type=1, float_data=[1, 2, 3, 4]), False),
        (TensorProto(dims=[2**40], data_type=7, int64_data=[1]), True),
        (TensorProto(dims=[-1], data_type=1), True),
        (TensorProto(dims=[0, 2**62], data_type=1), False),
        (TensorProto(dims=[3], data_type=1), True),
        (TensorProto(dims=[4], data_type=10, raw_data=b"12345678"), False),
        (TensorProto(dims=[5], data_type=10, raw_data=b"12345678"), True),
        (TensorProto(dims=[3], data_type=22, raw_data=b"12"), False),
        (TensorProto(dims=[3], data_type=22, int32_data=[1, 2]), False),
        (TensorProto(dims=[2], data_type=14, float_data=[1, 2, 3, 4]), False),
        (TensorProto(dims=[2**62], data_type=1, data_location=1), False),
    ],
)
def test_the_numbers_of_a_tensor_fill_its_shape(tensor, wrong):
    assert bool(tensor_problem(tensor)) == wrong


def test_inference_follows_small_values_and_no_large_ones():
    nodes = [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Expand", ["one", "s"], ["y"])]
    inferred = infer_shapes(light(model(nodes, [("one", np.ones(1, np.float32))])))
    assert [dim.dim_value for dim in inferred.graph.output[0].type.tensor_type.shape.dim] == [1, 3, 8, 8]
    started = time.monotonic()
    for name in BOMBS:
        infer_shapes(light(bomb(name)))
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("kind", ["chain", "same name", "wide"])
def test_lowering_takes_time_linear_in_the_nodes(kind):
    """Four times as many nodes take less than ten times as long (the square would be sixteen)."""
    from pipeline.rewrites import lower

    def seconds(count: int) -> float:
        nodes = [
            helper.make_node(
                "HardSwish",
                ["x" if kind == "wide" or not n else f"t{n - 1}"],
                [f"t{n}"],
                name="same" if kind == "same name" else f"n{n}",
            )
            for n in range(count)
        ]
        nodes.append(
            helper.make_node("Sum" if kind == "wide" else "Relu", [f"t{n}" for n in range(count)][-1:], ["y"])
        )
        graph = from_model(model(nodes))
        started = time.process_time()
        lower(graph, targets.get("barracuda-1.0"))
        return time.process_time() - started

    seconds(20)
    small = min(seconds(150) for _ in range(2))
    assert seconds(600) < 10 * small + 0.2
