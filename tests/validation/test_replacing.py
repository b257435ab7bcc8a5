"""The lowering does what the finding about an unknown operator says."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import pytest

from pipeline import targets
from pipeline.graph import from_model
from pipeline.rewrites import REWRITES, lower
from pipeline.validation import validate
from pipeline.validation.replacing import replaced, what_replaces
from tests.rewrites import model, node, random

ELSEWHERE = {"quantised", "fused"}
"""Rewrites of patterns of several nodes: tests/rewrites tries each of their operators."""


OWN = {
    "LayerNormalization": [
        model(
            [node("LayerNormalization", "x s b", "y", axis=1)],
            {"s": random((3, 12, 16)), "b": random((3, 12, 16))},
            opset=17,
        )
    ],
    "Col2Im": [
        model(
            [node("Col2Im", "x i k", "y", strides=[2, 2])],
            {"i": np.array([6, 8], np.int64), "k": np.array([2, 2], np.int64)},
            opset=18,
            input_shape=(1, 12, 12),
        )
    ],
    "MeanVarianceNormalization": [model([node("MeanVarianceNormalization", "x", "y", axes=[2, 3])], opset=13)],
}
"""Cases for pictures, of operators for which the onnx package has none that is suitable."""


def onnx_cases() -> dict[str, list[onnx.ModelProto]]:
    """The ONNX project's own cases of the replaced operators, by operator."""
    from onnx.backend.test.case import node as cases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = cases.collect_testcases(None)
    stored: dict[str, list[onnx.ModelProto]] = {}
    for case in found:
        if case.model is not None and len(case.model.graph.node) == 1:
            stored.setdefault(case.model.graph.node[0].op_type, []).append(case.model)
    return stored


def constants_for_all_but_the_first(source: onnx.ModelProto) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(source)
    for value in list(model.graph.input)[1:]:
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        model.graph.initializer.append(onnx.numpy_helper.from_array(random(sizes).astype(kind), value.name))
        model.graph.input.remove(value)
    return model


def test_every_rewrite_that_a_finding_names_exists():
    assert set(replaced().values()) - {"reading"} <= {rewrite.name for rewrite in REWRITES}


def test_each_operator_is_replaced_by_the_rewrite_that_the_finding_names():
    cases, wrong = onnx_cases(), []
    for operator, rewrite in replaced().items():
        if rewrite in ELSEWHERE or rewrite == "constants":
            continue
        if rewrite == "reading":
            graphs = [from_model(constants_for_all_but_the_first(source)) for source in cases[operator]]
            if not all(operator not in {node.op for node in graph.nodes} for graph in graphs):
                wrong.append(operator)
            continue
        lacking = [target for name in targets.names() if not (target := targets.get(name)).accepts(operator)]
        assert lacking, f"every target has {operator}"
        done = []
        for source in cases.get(operator, []) + OWN.get(operator, []):
            graph = from_model(constants_for_all_but_the_first(source))
            result = lower(graph, lacking[0])
            if operator not in {node.op for node in graph.nodes}:
                done += [edit.rewrite for edit in result.edits]
        if rewrite not in done:
            wrong.append(operator)
    assert wrong == []


@pytest.mark.parametrize(
    ("operator", "domain", "words"),
    [
        ("HardSwish", "", "(rewrite `activations`)"),
        ("Gelu", "", "when they read the file"),
        ("ConvInteger", "", "by float ones (rewrite `quantised`)"),
        ("Loop", "", "trace the network"),
        ("Attention", "com.microsoft", "before"),
        ("Det", "", "No rewrite replaces it"),
    ],
)
def test_the_fix_of_an_unknown_operator_is_its_own(operator, domain, words):
    assert words in what_replaces(operator, domain)


def test_the_finding_has_the_fix():
    (finding,) = validate(model([node("Mish", "x", "y")], opset=18), targets.get("barracuda-2.0"))
    assert finding.fix == "`pipeline convert` and `build-unity` replace it (rewrite `activations`)."
