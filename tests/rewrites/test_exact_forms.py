"""Forms that Sentis or Inference Engine misreads are replaced by forms that it reads correctly."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import targets
from pipeline.graph import from_model
from pipeline.graph.runtime import session
from pipeline.rewrites import lower
from pipeline.validation import validate
from tests.targets.inference_graphs import floats, model, sums

CASES = {
    "a norm without bias": (
        model(("LayerNormalization", ["x", "s"], ["y"], {}), opset=17, constants=[("s", floats(10) + 2)]),
        ["LayerNormalization"],
    ),
    "sizes that come out short": (
        model(
            ("Resize", ["x", "", "", "s"], ["y"], {"mode": "linear"}),
            shape=(1, 3, 45, 10),
            constants=[("s", np.int64([1, 3, 125, 10]))],
        ),
        ["Resize"],
    ),
    "B - (A + x)": (sums(["a", "x"], ["b", "t"]), ["Sub"]),
    "B - (x + A)": (sums(["x", "a"], ["b", "t"]), ["Sub"]),
    "(A + x) - B": (sums(["a", "x"], ["t", "b"]), ["Add"]),
    "a product and a number": (
        model(
            ("MatMul", ["x", "w"], ["t"], {}),
            ("Add", ["t", "n"], ["y"], {}),
            constants=[("w", floats(1, 3, 10, 4)), ("n", np.float32(0.5))],
        ),
        ["MatMul", "Add"],
    ),
    "a cast to bool": (
        model(("Cast", ["x"], ["t"], {"to": 9}), ("Cast", ["t"], ["y"], {"to": 1})),
        ["Equal", "Not", "Cast"],
    ),
}


@pytest.mark.parametrize("name", ["sentis-2.1", "inference-2"])
@pytest.mark.parametrize(("made", "operators"), CASES.values(), ids=CASES)
def test_the_other_form_is_written_and_computes_the_same(made, operators, name):
    target, graph = targets.get(name), from_model(made)
    result = lower(graph, target)
    assert "exact-forms" in [edit.rewrite for edit in result.edits]
    assert [node.op for node in graph.nodes] == operators
    data = target.family.write(graph, target)
    left = [
        found for found in validate(target.family.read(data), target) if found.severity not in ("note", "slow")
    ]
    assert left == []
    shape = [dim.dim_value for dim in made.graph.input[0].type.tensor_type.shape.dim]
    value = np.random.default_rng(0).normal(size=shape).astype(np.float32) * 0.4
    expected = session(made).run(None, {"x": value})[0]
    got = session(target.family.emulate(data, target)).run(None, {"x": value})[0]
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, atol=2e-5)
