"""The driver runs a rewrite if a rule reports a finding, in an order that meets what the rewrites require."""

from __future__ import annotations

import contextlib
import random as chance
import re

import numpy as np
import onnx
import pytest

from pipeline import targets
from pipeline.build.contract_baking import bake
from pipeline.contract import ImageContract, ImageSide
from pipeline.graph import from_model, to_model
from pipeline.rewrites import FINISHING, REWRITES, lower
from pipeline.rewrites.driver import run
from pipeline.support.errors import PipelineError
from pipeline.validation import codes, validate
from tests.rewrites import assert_equivalent, model, node, operators, random
from tests.validation.cases import CASES

TARGETS = [targets.get(name) for name in targets.names()]
WEIGHTS = {"w": random((4, 3, 3, 3)), "b": random((4,)), "v": random((3, 4, 3, 3)), "g": np.ones(4, np.float32)}


REPEATED = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def plain():
    """Layers that every package takes as they are."""
    nodes = [
        node("Pad", "x p", "p1", mode="reflect"),
        node("Conv", "p1 w b", "c1", kernel_shape=[3, 3]),
        node("InstanceNormalization", "c1 g b", "n1", epsilon=1e-5),
        node("Relu", "n1", "r1"),
        node(
            "Resize",
            "r1 - k",
            "u",
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        node("Conv", "u v", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    ]
    constants = WEIGHTS | {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "k": np.array([1, 1, 2, 2], np.float32)}
    return model(nodes, constants, opset=18, input_shape=(1, 3, 16, 24))


def rough():
    """Something for most rewrites."""
    nodes = [
        node("Identity", "b", "b2"),
        node("Conv", "x w b2", "a", kernel_shape=[3, 3], strides=[1, 2], pads=[1, 1, 1, 1]),
        node("BatchNormalization", "a g b m s", "n"),
        node("HardSwish", "n", "h"),
        node("Split", "h halves", "l r", axis=1),
        node("Concat", "r l", "c", axis=-3),
        node("InstanceNormalization", "c g b", "i"),
        node("ReduceMean", "i ax", "q", keepdims=1),
        node("Mul", "i q", "t"),
        node("Resize", "t - k", "z", mode="linear", coordinate_transformation_mode="asymmetric"),
        node("AveragePool", "z", "o", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        node("LogSoftmax", "o", "y", axis=1),
    ]
    weights = {"halves": np.array([2, 2]), "ax": np.array([-1, -2]), "k": np.array([1, 1, 2, 2], np.float32)}
    weights |= {"m": random((4,), 3), "s": np.abs(random((4,), 4)) + np.float32(0.5)}
    return model(nodes, WEIGHTS | weights, opset=18, input_shape=(1, 3, 16, 24))


def grouped():
    """Group norm as torch exports it, with a scale; the weights of its instance norm are computed."""
    nodes = [
        node("Reshape", "x rows", "r"),
        node("Expand", "one count", "ones"),
        node("Expand", "zero count", "zeros"),
        node("InstanceNormalization", "r ones zeros", "n"),
        node("Shape", "x", "s"),
        node("Reshape", "n s", "b"),
        node("Mul", "b g8", "y"),
    ]
    constants = {"rows": np.array([0, 2, -1]), "count": np.array([2]), "one": np.ones(1, np.float32)}
    constants |= {"zero": np.zeros(1, np.float32), "g8": random((8, 1, 1))}
    return model(nodes, constants, opset=18, input_shape=(1, 8, 16, 24))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_supported_network_gets_no_edit_except_the_image_contract(target):
    graph = from_model(plain())
    before = to_model(graph).SerializeToString(deterministic=True)
    result = run(graph, target, REWRITES)
    assert [(edit.rewrite, edit.what) for edit in result.edits] == []
    assert to_model(graph).SerializeToString(deterministic=True) == before
    side = ImageSide("0..255", 3)
    bake(graph, ImageContract(side, side))
    assert [(edit.rewrite, edit.what) for edit in run(graph, target, REWRITES).edits] == []
    assert operators(graph) == ["Pad", "Conv", "InstanceNormalization", "Relu", "Resize", "Conv", "Clip"]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_each_rewrite_keeps_the_output_on_every_target_and_edits_only_nodes_with_findings(target):
    source = rough()
    plain_graph = from_model(source)
    found = validate(target.family.read(target.family.write(plain_graph, target)), target)
    for rewrite in (*REWRITES, *FINISHING):
        faulty = {finding.node for finding in found if finding.code in rewrite.removes}
        graph = from_model(source)
        result = run(graph, target, (rewrite,))
        if not faulty and not rewrite.reason:
            assert not result.edits, f"{rewrite.name} changed what {target.name} finds no fault with"
        if result.edits:
            assert_equivalent(source, graph, sizes=[(16, 24)], tolerance=2e-5)


ABOUT_A_TARGET = re.compile(r"\d\.\d|importer|target|Barracuda|Sentis|wrong|ignored|not read")
"""Words of an edit's reason that say something of a target."""


@pytest.mark.parametrize("name", ["barracuda-1.0", "barracuda-3.0", "inference-2", "compute"])
def test_an_edit_says_of_a_target_only_what_its_rules_found(name, monkeypatch):
    """Over one small graph for each code that a rewrite removes: what one version misreads, others read right."""
    from pipeline import validation

    target, reasons, true = targets.get(name), set(), validation.validate

    def noted(*arguments):
        found = true(*arguments)
        reasons.update(finding.reason for finding in found)
        return found

    monkeypatch.setattr(validation, "validate", noted)
    removed = {code for rewrite in REWRITES for code in rewrite.removes}
    graphs = {code: source for code, source, expected in reversed(CASES) if expected and code in removed}
    explained = 0
    for source in graphs.values():
        with contextlib.suppress(PipelineError):
            for edit in lower(from_model(source), target).edits:
                rest = edit.why
                for reason in sorted(reasons, key=len, reverse=True):
                    rest = rest.replace(reason, "")
                explained += rest != edit.why
                assert edit.why and not ABOUT_A_TARGET.search(rest), edit
    assert explained > 2


def test_every_code_that_a_rewrite_removes_is_one_of_some_target():
    known = {rule.code for target in TARGETS for rule in target.rules()}
    for rewrite in (*REWRITES, *FINISHING):
        assert set(rewrite.removes) <= set(codes())
        assert not rewrite.removes or set(rewrite.removes) & known


def test_the_order_of_the_rewrites_meets_their_requirements():
    names = [rewrite.name for rewrite in REWRITES]
    for place, rewrite in enumerate(REWRITES):
        assert set(rewrite.after) <= set(names[:place]), rewrite.name


@pytest.mark.parametrize("name, before", [(r.name, name) for r in REWRITES for name in r.after])
def test_violating_a_required_order_gives_a_different_graph(name, before):
    order = [rewrite for rewrite in REWRITES if rewrite.name != name]
    place = [rewrite.name for rewrite in order].index(before)
    order.insert(place, next(rewrite for rewrite in REWRITES if rewrite.name == name))
    target = targets.get("barracuda-1.0")
    usual, other = from_model(grouped()), from_model(grouped())
    run(usual, target, REWRITES), run(other, target, order)
    assert sorted(operators(usual)) != sorted(operators(other))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("source", [plain, rough, grouped])
def test_every_allowed_order_gives_the_same_graph(source, seed):
    generator, waiting, order = chance.Random(seed), list(REWRITES), []
    while waiting:
        done = {rewrite.name for rewrite in order}
        ready = [rewrite for rewrite in waiting if set(rewrite.after) <= done]
        order.append(generator.choice(ready))
        waiting.remove(order[-1])
    target = targets.get("barracuda-1.0")
    usual, shuffled = from_model(source()), from_model(source())
    first, second = run(usual, target, REWRITES), run(shuffled, target, order)
    assert sorted(operators(usual)) == sorted(operators(shuffled))
    assert {refusal.code for refusal in first.refusals} == {refusal.code for refusal in second.refusals}
    feeds = to_model(usual), shuffled
    assert_equivalent(*feeds, sizes=[(16, 24)], tolerance=2e-5)


def test_rules_are_evaluated_once_per_round(monkeypatch):
    from pipeline import validation

    calls = []
    true = validation.validate

    def counted(held: onnx.ModelProto, target, *rest):
        calls.append(target.name)
        return true(held, target, *rest)

    monkeypatch.setattr(validation, "validate", counted)
    graph = from_model(rough())
    run(graph, targets.get("barracuda-1.0"), REWRITES)
    assert 2 <= len(calls) <= 8
