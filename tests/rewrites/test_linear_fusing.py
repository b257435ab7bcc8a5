from __future__ import annotations

import numpy as np
import pytest

from pipeline.graph import from_model
from pipeline.rewrites.linear_fusing import ConstantsAlongWidth, ShiftsBeforeConvolutions
from tests.rewrites import (
    BARRACUDA_1,
    BARRACUDA_2,
    BARRACUDA_3,
    apply,
    assert_equivalent,
    model,
    node,
    operators,
    random,
)

CONV = node("Conv", "s w", "y", pads=[1, 1, 1, 1])
W = {"w": random((16, 3, 3, 3), 1)}


def lowered(source, rewrite, target=BARRACUDA_3):
    graph = from_model(source)
    edits, refusals = apply(rewrite, graph, target, found=True)
    return graph, edits, refusals


@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1, 1)])
@pytest.mark.parametrize("inputs", ["x c", "c x"])
@pytest.mark.parametrize("target", [BARRACUDA_2, BARRACUDA_3])
def test_a_number_added_before_a_padded_convolution_is_subtracted(shape, inputs, target):
    source = model([node("Add", inputs, "s"), CONV], W | {"c": np.full(shape, 0.5, np.float32)})
    graph, edits, _ = lowered(source, ShiftsBeforeConvolutions(), target)
    assert operators(graph) == ["Sub", "Conv"]
    assert edits[0].nodes == ("s_node",)
    assert_equivalent(source, graph, tolerance=1e-6)


def test_a_number_added_two_steps_before_it_is_subtracted_too():
    source = model([node("Add", "x c", "a"), node("Mul", "a c", "s"), CONV], W | {"c": 0.5})
    graph, _, _ = lowered(source, ShiftsBeforeConvolutions())
    assert operators(graph) == ["Sub", "Mul", "Conv"]
    assert_equivalent(source, graph, tolerance=1e-6)


@pytest.mark.parametrize(
    ("nodes", "constant"),
    [
        ([node("Add", "x c", "s"), node("Conv", "s w", "y")], 0.5),
        ([node("Add", "x c", "a"), node("Relu", "a", "s"), CONV], 0.5),
        ([node("Add", "x c", "s"), CONV], random((1, 3, 1, 1))),
        ([node("Add", "x x", "s"), CONV], 0.5),
    ],
)
def test_constants_that_are_fused_correctly_are_left_alone(nodes, constant):
    _, edits, _ = lowered(model(nodes, W | {"c": constant}), ShiftsBeforeConvolutions())
    assert not edits


def test_depthwise_convolutions_and_1_0_need_no_change():
    depthwise = node("Conv", "s w", "y", pads=[1, 1, 1, 1], group=3)
    source = model([node("Add", "x c", "s"), depthwise], {"w": random((3, 1, 3, 3)), "c": 0.5})
    assert not lowered(source, ShiftsBeforeConvolutions())[1]
    source = model([node("Add", "x c", "s"), CONV], W | {"c": 0.5})
    assert not lowered(source, ShiftsBeforeConvolutions(), BARRACUDA_1)[1]


@pytest.mark.parametrize(("operator", "becomes"), [("Add", "Sub"), ("Mul", "Div")])
@pytest.mark.parametrize("inputs", ["a c", "c a"])
def test_a_constant_along_the_width_behind_a_convolution_takes_the_opposite_form(operator, becomes, inputs):
    weights = {"c": random((1, 1, 1, 16), 2) + 3}
    nodes = [node("Conv", "x w", "a", pads=[1] * 4), node(operator, inputs, "s"), node("Relu", "s", "y")]
    source = model(nodes, W | weights)
    graph, _, _ = lowered(source, ConstantsAlongWidth())
    assert operators(graph) == ["Conv", becomes, "Relu"]
    assert_equivalent(source, graph, sizes=((12, 16), (20, 16)), tolerance=1e-6)


def test_a_factor_with_a_zero_is_refused():
    weights = {"c": np.zeros((1, 1, 1, 16), np.float32)}
    source = model(
        [node("Conv", "x w", "a", pads=[1] * 4), node("Mul", "a c", "s"), node("Relu", "s", "y")], W | weights
    )
    _, edits, refusals = lowered(source, ConstantsAlongWidth())
    assert [refusal.code for refusal in refusals] == ["constant-along-width"]
    assert not edits


@pytest.mark.parametrize("shape", [(1, 16, 1, 1), (1, 1, 1, 12), (1, 1, 12, 1)])
def test_other_constants_stay(shape):
    nodes = [node("Conv", "x w", "a"), node("Mul", "a c", "y")]
    _, edits, refusals = lowered(model(nodes, W | {"c": random(shape)}), ConstantsAlongWidth())
    assert not edits
    assert not refusals
