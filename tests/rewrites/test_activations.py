from __future__ import annotations

import numpy as np
import pytest

from pipeline.graph import from_model
from pipeline.rewrites.activations import Activations
from tests.rewrites import (
    BARRACUDA_1,
    BARRACUDA_2,
    BARRACUDA_3,
    TARGETS,
    apply,
    assert_equivalent,
    model,
    node,
    operators,
    random,
)

FREE = (1, 3, "h", "w")


def lowered(operator, target, opset=18, constants=None, inputs="x", found=False, **attrs):
    source = model([node(operator, inputs, "y", **attrs)], constants, opset=opset, input_shape=FREE)
    graph = from_model(source)
    edits, refusals = apply(Activations(), graph, target, found)
    return source, graph, edits, refusals


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("operator", "attrs"),
    [
        ("HardSwish", {}),
        ("Softplus", {}),
        ("Mish", {}),
        ("Celu", {"alpha": 2.0}),
        ("Softsign", {}),
        ("ThresholdedRelu", {"alpha": 0.5}),
        ("Shrink", {"lambd": 0.5, "bias": 0.5}),
        ("Shrink", {"lambd": 1.5, "bias": 0.0}),
        ("LeakyRelu", {"alpha": 1.5}),
    ],
)
def test_an_operator_is_composed_of_supported_operators(operator, attrs, target):
    source, graph, edits, refusals = lowered(operator, target, **attrs)
    assert not refusals
    assert operator not in operators(graph)
    assert all(target.accepts(item) for item in operators(graph))
    assert edits[0].nodes == ("y_node",)
    assert_equivalent(source, graph, low=-6, high=6, tolerance=2e-6)


@pytest.mark.parametrize(
    ("operator", "attrs", "opset"),
    [
        ("Erf", {}, 13),
        ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}, 13),
        ("HardSigmoid", {}, 13),
        ("Sign", {}, 13),
    ],
)
def test_an_operator_is_composed_only_if_the_target_lacks_it(operator, attrs, opset):
    for target in TARGETS:
        source, graph, edits, _ = lowered(operator, target, opset=opset, found=True, **attrs)
        assert bool(edits) != target.accepts(operator)
        assert_equivalent(source, graph, low=-5, high=5, tolerance=2e-6)


def test_softplus_of_large_numbers_does_not_overflow():
    source, graph, _, _ = lowered("Softplus", BARRACUDA_3)
    assert_equivalent(source, graph, low=-500, high=500, tolerance=1e-6)


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 3, 1, 1)])
@pytest.mark.parametrize("target", [BARRACUDA_1, BARRACUDA_3])
def test_prelu_per_channel_becomes_two_relus(shape, target):
    source, graph, _, _ = lowered("PRelu", target, constants={"s": random(shape)}, inputs="x s")
    assert "PRelu" not in operators(graph)
    assert_equivalent(source, graph, tolerance=1e-6)


def test_prelu_with_one_slope_becomes_leaky_relu():
    source, graph, _, _ = lowered("PRelu", BARRACUDA_2, constants={"s": np.float32([0.2])}, inputs="x s")
    assert operators(graph) == ["LeakyRelu"]
    assert_equivalent(source, graph, tolerance=1e-6)
    source, graph, _, _ = lowered("PRelu", BARRACUDA_2, constants={"s": np.float32([-0.2])}, inputs="x s")
    assert "LeakyRelu" not in operators(graph)
    assert_equivalent(source, graph, tolerance=1e-6)


def test_prelu_along_the_width_is_composed_with_its_slope_in_full_rank():
    source, graph, edits, refusals = lowered("PRelu", BARRACUDA_3, constants={"s": random((16,))}, inputs="x s")
    assert len(edits) == 1
    assert not refusals
    assert [tensor.shape for tensor in graph.tensors().values() if tensor.name.endswith("slope")] == [
        (1, 1, 1, 16)
    ]
    assert_equivalent(source, graph, sizes=((12, 16),), tolerance=1e-6)


def test_prelu_with_a_computed_slope_is_refused():
    _, _, _, refusals = lowered("PRelu", BARRACUDA_3, inputs="x x")
    assert [refusal.code for refusal in refusals] == ["prelu-slope"]


def test_a_leaky_relu_below_one_stays():
    _, _, edits, refusals = lowered("LeakyRelu", BARRACUDA_3, alpha=0.2)
    assert not edits
    assert not refusals
