from __future__ import annotations

import numpy as np
import pytest

from pipeline import targets
from pipeline.graph import from_model, to_model
from pipeline.rewrites import REWRITES, lower
from pipeline.rewrites.base import Rewrite
from pipeline.rewrites.driver import run
from pipeline.verify.each_rewrite import compare
from tests.rewrites import BARRACUDA_1, model, node, operators, random

TARGET = targets.get("barracuda-1.0")


def network(opset=13):
    nodes = [
        node("Pad", "x p", "a", mode="reflect"),
        node("Conv", "a w", "b"),
        node("HardSwish", "b", "c"),
        node("ReduceMean", "c", "d", axes=[1], keepdims=1),
        node("Sub", "c d", "y"),
    ]
    constants = {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "w": random((4, 3, 3, 3))}
    return model(nodes, constants, opset=opset, input_shape=(1, 3, "h", "w"))


class Mistakes(Rewrite):
    """A rewrite that changes what the graph computes."""

    name = "mistakes"
    summary = "takes HardSwish for Relu"
    removes = ("nothing",)

    def apply(self, graph, target, needed):
        done = []
        for layer in graph.nodes:
            if layer.op == "HardSwish":
                layer.op = "Relu"
                done += self.edit(layer, "became Relu", "a mistake")
        return done


def test_a_graph_is_the_same_as_itself_in_the_forms_of_two_opsets():
    before, after = from_model(network(14)), from_model(network(14))
    lower(after, TARGET)
    assert operators(before) != operators(after)
    assert compare(before, after) == ("same", "")


def test_another_result_is_reported_with_its_size():
    before = from_model(model([node("Relu", "x", "y")], input_shape=(1, 3, "h", "w")))
    after = from_model(model([node("Add", "x one", "y")], {"one": 1.0}, input_shape=(1, 3, "h", "w")))
    assert compare(before, after) == ("different", "the output differs by 1, its values reach 1")


def test_another_shape_is_a_difference():
    before = from_model(model([node("Relu", "x", "y")], input_shape=(1, 3, "h", "w")))
    after = from_model(model([node("GlobalAveragePool", "x", "y")], input_shape=(1, 3, "h", "w")))
    assert compare(before, after)[1] == "the output has the shape (1, 3, 1, 1) instead of (1, 3, 64, 80)"


def test_a_graph_with_sizes_baked_in_is_compared_at_its_own():
    def reshaped(*between):
        shape = {"s": np.array([1, 3, 12 * 16]), "t": np.array([1, 3, 12, 16])}
        return from_model(model([node("Reshape", "x s", "a"), *between, node("Reshape", "b t", "y")], shape))

    assert compare(reshaped(node("Relu", "a", "b")), reshaped(node("Relu", "a", "b"))) == ("same", "")
    assert compare(reshaped(node("Relu", "a", "b")), reshaped(node("Exp", "a", "b")))[0] == "different"


def test_a_graph_that_runs_no_more_is_different_and_one_that_never_ran_is_not_compared():
    good = from_model(model([node("Relu", "x", "y")]))
    bad = from_model(model([node("NoSuchOperator", "x", "y")]))
    assert compare(good, bad)[0] == "different"
    outcome, reason = compare(bad, good)
    assert outcome == "not compared"
    assert "NoSuchOperator" in reason


def test_a_rewrite_that_changes_the_result_is_named_and_undone_and_the_others_go_on():
    source = network(14)
    graph, expected_value = from_model(source), from_model(source)
    result = run(graph, TARGET, (Mistakes(), *REWRITES), compare)
    lower(expected_value, TARGET)
    assert [check.rewrite for check in result.checks if check.outcome == "undone"] == ["mistakes"]
    assert result.checks[0].nodes == ("c_node",)
    assert "differs by" in result.checks[0].reason
    assert "mistakes" not in {edit.rewrite for edit in result.edits}
    assert {check.outcome for check in result.checks[1:]} == {"same"}
    model, expected = (to_model(item).SerializeToString(deterministic=True) for item in (graph, expected_value))
    assert model == expected


def test_the_undoing_of_quantisation_is_not_compared_because_it_changes_numbers_by_design():
    nodes = [node("QuantizeLinear", "x s z", "a"), node("DequantizeLinear", "a s z", "b"), node("Relu", "b", "y")]
    source = model(nodes, {"s": np.float32(0.5), "z": np.uint8(0)}, opset=13, input_shape=(1, 3, "h", "w"))
    result = lower(from_model(source), TARGET, compare=compare)
    first = result.checks[0]
    assert (first.rewrite, first.outcome) == ("quantised", "not compared")
    assert "rounding" in first.reason


@pytest.mark.parametrize("skip", [(), ("activations",)])
def test_without_a_comparison_nothing_is_checked(skip):
    assert lower(from_model(network(14)), BARRACUDA_1, skip).checks == []
