"""Normalisations that are refitted with what pictures show: biases that centre, and std + epsilon as one layer."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import targets
from pipeline.build.measured_norms import centre, fuse
from pipeline.contract import ImageContract, ImageSide
from pipeline.graph import from_model, to_model
from pipeline.graph.runtime import session
from tests.targets.inference_graphs import model

NEW = targets.get("inference-2")
SIDES = ImageSide("0..255"), ImageSide("0..255")
CONTRACT = ImageContract(*SIDES)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def far(bias=None, extra=()):
    """A network whose first normalisation sees means hundreds of deviations from 0."""
    constants = [
        ("w", np.abs(numbers(4, 3, 1, 1)) + 1),
        ("s", np.ones(4, np.float32)),
        ("t", np.zeros(4, np.float32)),
        ("v", numbers(3, 4, 1, 1, seed=1) * 20),
        ("u", np.float32([900])),
        ("out", np.full(3, 128, np.float32)),
        *([("b", np.full(4, bias, np.float32))] if bias is not None else []),
        *extra,
    ]
    return model(
        ("Add", ["x", "u"], ["far"], {}),
        ("Conv", ["far", "w", *(["b"] if bias is not None else [])], ["c"], {}),
        ("InstanceNormalization", ["c", "s", "t"], ["n"], {}),
        ("Conv", ["n", "v", "out"], ["y"], {}),
        shape=(1, 3, "h", "w"),
        constants=constants,
        opset=18,
    )


def run(made, value):
    return session(made).run(None, {"x": value})[0]


def picture():
    return np.random.default_rng(3).integers(0, 256, (1, 3, 64, 64)).astype(np.float32)


@pytest.mark.parametrize("bias", [None, 5000.0])
def test_a_bias_in_front_of_a_norm_takes_its_mean_off(bias):
    result, value = far(bias), picture()
    graph = from_model(result)
    edits = centre(graph, NEW, CONTRACT)
    assert [edit.rewrite for edit in edits] == ["centred-norms"]
    fitted = to_model(graph)
    exact = run(far(), value)
    np.testing.assert_allclose(run(fitted, value), exact, atol=2e-2)
    emulated = [
        run(NEW.family.emulate(NEW.family.write(from_model(item), NEW), NEW), value) for item in (result, fitted)
    ]
    before, after = (np.abs(got - exact).max() for got in emulated)
    assert after < 0.02 and 10 * after < before, "as the target computes it, digits come back"


def test_nothing_is_done_where_means_are_near_zero():
    graph = from_model(
        model(
            ("Conv", ["x", "w"], ["c"], {}),
            ("InstanceNormalization", ["c", "s", "t"], ["y"], {}),
            shape=(1, 3, "h", "w"),
            constants=[("w", numbers(3, 3, 1, 1)), ("s", np.ones(3, np.float32)), ("t", np.zeros(3, np.float32))],
            opset=18,
        )
    )
    assert centre(graph, NEW, CONTRACT) == []


def test_a_convolution_that_others_read_keeps_its_bias():
    result = far()
    result.graph.node[-1].input[0] = "both"
    result.graph.node.insert(
        3, type(result.graph.node[0])(op_type="Add", input=["n", "c"], output=["both"], name="both")
    )
    graph = from_model(result)
    assert centre(graph, NEW, CONTRACT) == []


def by_deviation(spread=20.0, added=1e-3):
    """Keras' (x - mean) / (std + 0.001), with scale and shift, between two convolutions."""
    return model(
        ("Conv", ["x", "w"], ["c"], {}),
        ("GlobalAveragePool", ["c"], ["m"], {}),
        ("Sub", ["c", "m"], ["d"], {}),
        ("Mul", ["d", "d"], ["q"], {}),
        ("GlobalAveragePool", ["q"], ["v"], {}),
        ("Sqrt", ["v"], ["r"], {}),
        ("Add", ["r", "e"], ["p"], {}),
        ("Div", ["d", "p"], ["n"], {}),
        ("Mul", ["n", "s"], ["ns"], {}),
        ("Add", ["ns", "t"], ["nt"], {}),
        ("Conv", ["nt", "k", "o"], ["y"], {}),
        shape=(1, 3, "h", "w"),
        constants=[
            ("w", numbers(4, 3, 1, 1) / 25),
            ("e", np.float32(added)),
            ("s", np.abs(numbers(4, 1, 1, seed=1)) + 0.5),
            ("t", numbers(4, 1, 1, seed=2)),
            ("k", numbers(3, 4, 1, 1, seed=3) * spread),
            ("o", np.full(3, 128, np.float32)),
        ],
        opset=18,
    )


def test_a_norm_by_the_deviation_becomes_one_layer():
    graph, value = from_model(by_deviation()), picture()
    edits = fuse(graph, NEW, CONTRACT)
    assert [edit.rewrite for edit in edits] == ["deviation-norms"]
    assert [node.op for node in graph.nodes] == ["Conv", "InstanceNormalization", "Conv"]
    assert np.abs(run(to_model(graph), value) - run(by_deviation(), value)).max() < 0.5


def test_it_stays_where_the_picture_would_differ():
    graph = from_model(by_deviation(spread=200, added=5.0))
    assert fuse(graph, NEW, CONTRACT) == []
    assert len(graph.nodes) == 11


def test_nothing_is_done_for_other_targets_or_unknown_pictures():
    for target, contract in ((targets.get("barracuda-3.0"), CONTRACT), (NEW, None)):
        graph = from_model(by_deviation())
        assert fuse(graph, target, contract) == [] and len(graph.nodes) == 11
