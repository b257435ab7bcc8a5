from __future__ import annotations

import numpy as np
import pytest

from pipeline import targets
from pipeline.graph import from_model, to_model
from pipeline.rewrites import lower
from pipeline.rewrites.functions import Functions
from pipeline.validation import validate
from tests.rewrites import (
    BARRACUDA_1,
    BARRACUDA_2,
    BARRACUDA_3,
    apply,
    assert_equivalent,
    model,
    node,
    operators,
    run,
)

RANGES = {
    "Sin": (-40, 40),
    "Cos": (-40, 40),
    "Tan": (-1.4, 1.4),
    "Asin": (-1, 1),
    "Acos": (-1, 1),
    "Atan": (-30, 30),
    "Sinh": (-3, 3),
    "Cosh": (-3, 3),
    "Asinh": (-50, 50),
    "Acosh": (1, 50),
    "Atanh": (-0.99, 0.99),
    "Round": (-9, 9),
}


@pytest.mark.parametrize("operator", RANGES)
def test_an_operator_is_composed_of_operators_of_1_0(operator):
    source = model([node(operator, "x", "y")], opset=11, input_shape=(1, 3, "h", "w"))
    graph = from_model(source)
    edits, _ = apply(Functions(), graph, BARRACUDA_1)
    assert edits[0].nodes == ("y_node",)
    assert operator not in operators(graph)
    assert all(BARRACUDA_1.accepts(item) for item in operators(graph))
    low, high = RANGES[operator]
    assert_equivalent(
        source, graph, low=low, high=high, tolerance=2e-6 if operator in ("Sin", "Cos", "Tan") else 5e-7
    )


def test_rounding_is_half_to_even_and_nothing_else():
    source = model([node("Round", "x", "y")], opset=11, input_shape=(1, 1, 1, 8))
    graph = from_model(source)
    apply(Functions(), graph, BARRACUDA_1)
    x = np.float32([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999997, 7.0]).reshape(1, 1, 1, 8)
    assert np.array_equal(run(to_model(graph), {"x": x})[0], np.rint(x))


def test_the_ends_of_an_arc_sine_do_not_divide_by_zero():
    graph = from_model(model([node("Asin", "x", "y")], input_shape=(1, 1, 1, 3)))
    apply(Functions(), graph, BARRACUDA_1)
    network = run(to_model(graph), {"x": np.float32([-1, 0, 1]).reshape(1, 1, 1, 3)})[0]
    assert np.allclose(network.reshape(-1), [-np.pi / 2, 0, np.pi / 2], atol=1e-6)


@pytest.mark.parametrize("target", [BARRACUDA_2, BARRACUDA_3])
@pytest.mark.parametrize("operator", RANGES)
def test_a_supported_operator_is_left_alone(operator, target):
    graph = from_model(model([node(operator, "x", "y")], opset=11))
    known = target.accepts(operator) or operator == "Round"
    assert bool(apply(Functions(), graph, target, found=True)[0]) is not known


@pytest.mark.parametrize("operator", RANGES)
def test_no_findings_remain_for_1_0(operator):
    graph = from_model(model([node(operator, "x", "y")], opset=11))
    target = targets.get("barracuda-1.0")
    lower(graph, target)
    assert not [found for found in validate(to_model(graph), target) if found.severity in ("error", "wrong")]
