from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from onnx import helper

from pipeline.graph import simplify as simplifying
from pipeline.graph.simplify import simplify, worth_simplifying
from tests.rewrites import assert_equivalent, model, node, random

W = {"w": random((4, 3, 3, 3), 1), "b": random((4,), 2)}
CLEAN = [node("Conv", "x w b", "a"), node("Relu", "a", "y")]
DIRTY = [node("Neg", "b", "b2"), node("Conv", "x w b2", "a"), node("Dropout", "a", "y")]


def test_a_clean_graph_is_returned_without_importing_onnxsim():
    source = model(CLEAN, W)
    assert not worth_simplifying(source)
    simplified, note = simplify(source)
    assert simplified is source
    assert note == ""
    code = (
        "import sys; from tests.rewrites import model, node; from pipeline.graph.simplify import simplify; "
        "simplify(model([node('Relu', 'x', 'y')])); assert 'onnxsim' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([node("Shape", "x", "s"), node("Reshape", "x s", "y")], {}),
        ([node("Mul", "w w", "v"), node("Conv", "x v", "y")], {"w": W["w"]}),
    ],
)
def test_what_onnxsim_would_change_is_worth_it(nodes, constants):
    assert worth_simplifying(model(nodes, constants))


def test_equal_initializers_are_held_once_without_onnxsim():
    nodes = [node("Conv", "x w", "a"), node("Conv", "x w2", "c"), node("Add", "a c", "y")]
    source = model(nodes, W | {"w2": W["w"]})
    assert not worth_simplifying(source)
    simplified, note = simplify(source)
    assert [tensor.name for tensor in simplified.graph.initializer] == ["w", "b"]
    assert note == ""
    assert len(source.graph.initializer) == 3
    assert_equivalent(source, simplified, tolerance=0)


def test_equal_initializers_that_are_inputs_or_outputs_stay():
    source = model([node("Conv", "x w", "y")], {"w": W["w"], "w2": W["w"]})
    source.graph.output.append(helper.make_tensor_value_info("w2", 1, (4, 3, 3, 3)))
    assert simplify(source)[0] is source


def test_onnxsim_cleans_up_silently_and_keeps_the_opset(capfd):
    source = model(DIRTY, W)
    simplified, note = simplify(source)
    assert note == ""
    assert [node.op_type for node in simplified.graph.node] == ["Conv"]
    assert simplified.opset_import[0].version == 9
    assert capfd.readouterr() == ("", "")
    assert_equivalent(source, simplified, tolerance=0)


def test_the_result_is_the_same_each_time():
    stored = {f"w{number}": random((3, 3, 3, 3), number) for number in range(8)}
    nodes = [node("Identity", "x", "t0")]
    nodes += [node("Conv", f"t{number} w{number}", f"t{number + 1}", pads=[1] * 4) for number in range(8)]
    nodes.append(node("Relu", "t8", "y"))
    results = {simplify(model(nodes, stored))[0].SerializeToString(deterministic=True) for _ in range(3)}
    assert len(results) == 1


def test_where_onnxsim_fails_constants_are_folded_otherwise(monkeypatch):
    def fail(model):
        raise RuntimeError("an assertion in C++\nwith a long trace")

    monkeypatch.setattr("pipeline.graph.simplify._by_onnxsim", fail)
    source = model([node("Mul", "w two", "v"), node("Conv", "x v", "y")], {"w": W["w"], "two": 2.0}, opset=13)
    simplified, note = simplify(source)
    assert [item.op_type for item in simplified.graph.node] == ["Conv"]
    assert note == "onnxsim failed (an assertion in C++); constants were folded by onnx-graphsurgeon"
    assert_equivalent(source, simplified, tolerance=1e-6)


def test_where_onnxsims_result_differs_it_is_not_taken(monkeypatch):
    wrong = model(CLEAN, W)
    monkeypatch.setattr("pipeline.graph.simplify._by_onnxsim", lambda model: (wrong, False))
    simplified, note = simplify(model(DIRTY, W))
    assert simplified is not wrong
    assert "computes something else" in note


def test_where_nothing_helps_the_model_stays_as_it_was(monkeypatch):
    def fail(model):
        raise RuntimeError

    monkeypatch.setattr("pipeline.graph.simplify._by_onnxsim", fail)
    source = model([node("Expand", "x x", "a"), node("Unheard", "a", "y")])
    source.opset_import.append(helper.make_opsetid("here", 1))
    simplified, note = simplify(source)
    assert simplified is source
    assert note == "onnxsim failed (RuntimeError); the graph was converted without being simplified"


def test_batch_norm_in_training_mode_keeps_the_outputs_that_say_so():
    nodes = [node("BatchNormalization", "x s t m v", "n m2 v2 m3 v3"), node("Shape", "x", "z")]
    nodes.append(node("Reshape", "n z", "y"))
    stored = {name: random((3,), seed) for seed, name in enumerate("stmv")}
    source = model(nodes, stored, opset=13)
    assert not worth_simplifying(source)
    assert simplify(source)[0] is source


def test_where_onnxsim_crashes_the_graph_is_lowered_without_it():
    """A branch that makes a tensor of the name that its node makes crashed it in benchmarks/fuzz.py."""
    source = model(DIRTY, W)
    assert simplify(source)[1] == ""
    stored = simplifying._other
    assert stored is not None
    stored._process.send_signal(signal.SIGSEGV)
    assert "onnxsim failed (it crashed (signal 11))" in simplify(source)[1]
    assert simplify(source)[1] == ""
