"""Bounds: never too narrow, and as narrow as the operators say."""

from __future__ import annotations

import math

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from pipeline.quantisation.ranges import bounds

INF = math.inf


def chain(*steps: tuple[str, dict]) -> gs.Variable:
    tensor = gs.Variable("x")
    for index, (operator, attrs) in enumerate(steps):
        result = gs.Variable(f"t{index}")
        gs.Node(operator, attrs=attrs, inputs=[tensor], outputs=[result])
        tensor = result
    return tensor


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((), (-INF, INF)),
        ((("Conv", {}),), (-INF, INF)),
        ((("Relu", {}),), (0, INF)),
        ((("Clip", {"min": -1.0, "max": 2.0}), ("MaxPool", {})), (-1, 2)),
        ((("Clip", {"min": -1.0, "max": 2.0}), ("Relu", {})), (0, 2)),
        ((("Sigmoid", {}), ("Pad", {"mode": "reflect"})), (0, 1)),
        ((("Sigmoid", {}), ("Pad", {"value": -2.0})), (-2, 1)),
        ((("Sigmoid", {}), ("Resize", {"mode": "cubic"})), (-INF, INF)),
        ((("Tanh", {}), ("Resize", {"mode": "linear"})), (-1, 1)),
        ((("Exp", {}), ("LeakyRelu", {"alpha": 0.1})), (0, INF)),
        ((("Relu", {}), ("Neg", {})), (-INF, INF)),
    ],
    ids=str,
)
def test_what_a_chain_of_operators_says(steps: tuple, expected: tuple[float, float]) -> None:
    assert bounds(chain(*steps)) == expected


def test_sums_and_joins_take_all_their_inputs_into_account() -> None:
    a, b = chain(("Sigmoid", {})), chain(("Tanh", {}))
    total, joined, product = gs.Variable("total"), gs.Variable("joined"), gs.Variable("product")
    gs.Node("Add", inputs=[a, gs.Constant("c", np.array([2.0], np.float32))], outputs=[total])
    gs.Node("Concat", inputs=[a, b], outputs=[joined])
    gs.Node("Mul", inputs=[a, a], outputs=[product])
    assert bounds(total) == (2, 3)
    assert bounds(joined) == (-1, 1)
    assert bounds(product) == (0, INF)


def test_a_long_residual_network_is_answered_at_once() -> None:
    tensor = gs.Variable("x")
    for index in range(400):
        result = gs.Variable(f"t{index}")
        gs.Node("Add", inputs=[tensor, tensor], outputs=[result])
        tensor = result
    assert bounds(tensor) == (-INF, INF)


@pytest.mark.parametrize(
    ("operator", "function"),
    [
        ("Sigmoid", lambda x: 1 / (1 + np.exp(-x))),
        ("Tanh", np.tanh),
        ("Softsign", lambda x: x / (1 + np.abs(x))),
        ("Erf", lambda x: np.vectorize(math.erf)(x)),
        ("Sin", np.sin),
        ("Cos", np.cos),
        ("Abs", np.abs),
        ("Exp", np.exp),
        ("Softplus", lambda x: np.logaddexp(0, x)),
    ],
)
def test_fixed_bounds_are_those_of_the_function(operator: str, function) -> None:
    values = function(np.concatenate([np.linspace(-40, 40, 20001), [0.0]]))
    low, high = bounds(chain((operator, {})))
    assert low <= values.min() and values.max() <= high
    assert abs(low - values.min()) < 0.05
    assert high == INF or abs(high - values.max()) < 0.05
    assert (high == INF) == (values.max() > 30)


def test_a_product_that_may_be_of_two_signs_has_no_bounds() -> None:
    result = gs.Variable("made")
    gs.Node("Mul", inputs=[chain(("Tanh", {})), chain(("Sigmoid", {}))], outputs=[result])
    assert bounds(result) == (-INF, INF)


def test_the_indices_of_a_gather_are_not_its_data() -> None:
    result = gs.Variable("made")
    gs.Node("Gather", inputs=[chain(("Tanh", {})), gs.Constant("i", np.array([7]))], outputs=[result])
    assert bounds(result) == (-1, 1)
