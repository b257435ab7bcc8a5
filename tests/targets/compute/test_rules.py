"""What the compiler refuses, as findings: at the node, with the reason, in ordinary commands."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import targets
from pipeline.graph import to_model
from pipeline.targets.compute import compiler, operators
from pipeline.targets.compute.compiler import Compiled, compile_graph
from pipeline.targets.compute.steps import Refused
from pipeline.validation import validate
from tests.targets.compute.networks import NETWORKS, Net, made

COMPUTE = targets.get("compute")


def attention(n: Net) -> str:
    y = n.conv(n.image, 3, 4, 1)
    flat = n.op("Reshape", y, n.constant([1, 4, -1], np.int64))
    return n.op("Reshape", n.op("Softmax", flat, axis=2), n.constant([1, 4, *n.size], np.int64))


REFUSED = {
    "cubic": (lambda n: n.resize(n.image, 2, mode="cubic"), "Resize", "cubic"),
    "wrapped": (lambda n: n.pad(n.conv(n.image, 3, 3, 1), 2, mode="wrap"), "Pad", "wrap"),
    "strided": (
        lambda n: n.op("Slice", n.image, *[n.constant(v, np.int64) for v in ([0], [20], [2], [2])]),
        "Slice",
        "steps",
    ),
    "different strides": (
        lambda n: n.op("ConvTranspose", n.image, n.constant(np.ones((3, 3, 4, 4))), strides=[2, 1]),
        "ConvTranspose",
        "different strides",
    ),
    "attention": (attention, "Reshape", "not a picture"),
    "rows": (
        lambda n: n.op("Gather", n.image, n.constant(np.arange(20)[::-1], np.int64), axis=2),
        "Gather",
        "list of channels",
    ),
    "unknown": (lambda n: n.op("Sin", n.image), "Sin", "no operator Sin"),
    "pixel by pixel": (
        lambda n: n.op("Mul", n.image, n.constant(np.ones((1, 1, *n.size)))),
        "Mul",
        "each channel",
    ),
    "many channels": (lambda n: n.conv(n.image, 3, 8, 1), "", "8 channels"),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_an_unsupported_node_is_a_finding_at_that_node(name):
    build, operator, word = REFUSED[name]
    net = Net()
    findings = validate(to_model(net.graph(build(net))), COMPUTE)
    assert findings and all(finding.severity == "error" for finding in findings)
    assert any((finding.operator or "") == operator and word in finding.reason for finding in findings), findings


def test_every_refusal_of_the_compiler_is_a_finding(monkeypatch):
    """Whatever the operator, and also where a step is named otherwise than its node, or has no node."""
    assert set(operators._READERS) <= set(COMPUTE.operators), "others are refused as unknown"
    net = Net()
    model = to_model(net.graph(net.op("Sigmoid", net.op("Relu", net.image))))
    for refused in (
        Refused("sigmoid1_0", "Sigmoid", "this one"),
        Refused("relu0_0", "Relu", "this one"),
        Refused("sigmoid1_0", "Gate", "this one"),
        Refused("elsewhere", "Sigmoid", "this one"),
    ):
        monkeypatch.setattr(compiler, "compile_graph", lambda *_, refused=refused: Compiled(None, (refused,)))
        assert [finding.reason for finding in validate(model, COMPUTE)] == ["this one"]


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_what_is_compiled_has_no_finding(name):
    graph = made(name)
    assert compile_graph(graph).plan is not None
    assert validate(to_model(graph), COMPUTE) == []


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_plan_reports_as_a_sound_model(name):
    read = COMPUTE.family.read(COMPUTE.family.write(made(name), COMPUTE))
    assert validate(read, COMPUTE) == []


def test_a_file_is_a_plan_and_reports_as_a_model():
    data = COMPUTE.family.write(made("style"), COMPUTE, {"source_digest": "abc"})
    read = COMPUTE.family.read(data)
    assert validate(read, COMPUTE) == []
    assert [item.name for item in read.graph.input] == ["image"]
    assert {item.key: item.value for item in read.metadata_props} == {"source_digest": "abc"}
    assert {"Conv", "Merge"} <= {node.op_type for node in read.graph.node}


def test_a_graph_that_is_refused_is_written_as_it_is():
    net = Net()
    data = COMPUTE.family.write(net.graph(net.op("Sin", net.image)), COMPUTE)
    assert [node.op_type for node in COMPUTE.family.read(data).graph.node] == ["Sin"]
