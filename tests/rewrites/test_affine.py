"""Constant factors and shifts are folded into adjacent layers, or become one layer."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import targets
from pipeline.graph import from_model
from pipeline.rewrites import finish
from tests.rewrites import BARRACUDA_3, assert_equivalent, model, node, operators, random

INFERENCE = targets.get("inference-2")
STEPS = {
    "c": random((1, 3, 1, 1), 1),
    "d": random((3, 1, 1), 2),
    "h": np.float32(0.5),
    "k": random((1, 4, 1, 1), 9),
}
NORM = {"s": random((3,), 3), "t": random((3,), 4), "z": random((3,), 5), "v": np.abs(random((3,), 6)) + 0.5}
WEIGHTS = {"w": random((3, 3, 3, 3), 7), "b": random((3,), 8), "g": random((4, 2, 3, 3), 10)}


def lowered(*nodes, target=INFERENCE, opset: int = 18, channels: int = 3):
    words = {name for node in nodes for name in node.input}
    stored = {name: value for name, value in (STEPS | NORM | WEIGHTS).items() if name in words}
    before = model(list(nodes), stored, opset=opset, input_shape=(1, channels, 12, 16))
    graph = from_model(before)
    finish(graph, target)
    assert_equivalent(before, graph)
    assert not finish(graph, target).edits
    return operators(graph)


def conv(reads: str, makes: str, pads: int = 1):
    return node("Conv", f"{reads} w b", makes, kernel_shape=[3, 3], pads=[pads] * 4)


@pytest.mark.parametrize("target", [INFERENCE, BARRACUDA_3], ids=lambda item: item.name)
def test_factors_and_shifts_after_a_convolution_are_folded_into_it(target) -> None:
    assert lowered(conv("x", "a"), node("Mul", "a c", "e"), node("Sub", "d e", "y"), target=target) == ["Conv"]
    transposed = node("ConvTranspose", "x w", "a", kernel_shape=[3, 3], strides=[2, 2])
    assert lowered(transposed, node("Div", "a c", "e"), node("Add", "h e", "y"), target=target) == [
        "ConvTranspose"
    ]


def test_factors_are_folded_into_a_grouped_convolution() -> None:
    grouped = node("ConvTranspose", "x g", "a", kernel_shape=[3, 3], group=2)
    assert lowered(grouped, node("Mul", "a k", "y"), channels=4) == ["ConvTranspose"]
    grouped = node("Conv", "a g", "y", kernel_shape=[3, 3], group=2, pads=[1] * 4)
    assert lowered(node("Mul", "x k", "a"), grouped, channels=4) == ["Conv"]


def test_a_shift_before_a_convolution_is_folded_only_without_zero_padding() -> None:
    steps = (node("Mul", "x c", "a"), node("Add", "a d", "e"))
    assert lowered(*steps, conv("e", "y", pads=0)) == ["Conv"]
    assert lowered(*steps, conv("e", "y")) == ["BatchNormalization", "Conv"]
    assert lowered(steps[0], conv("a", "y")) == ["Conv"]


def test_factors_and_shifts_after_a_norm_become_its_scale_and_bias() -> None:
    norm = node("InstanceNormalization", "x s t", "a", epsilon=1e-5)
    assert lowered(norm, node("Mul", "a c", "e"), node("Add", "e d", "y")) == ["InstanceNormalization"]


def test_factors_and_shifts_without_a_convolution_become_one_layer() -> None:
    batch = node("BatchNormalization", "a s t z v", "e", epsilon=1e-3)
    assert lowered(node("Relu", "x", "a"), batch, node("Mul", "e c", "y")) == ["Relu", "BatchNormalization"]
    assert lowered(node("Mul", "x c", "a"), node("Div", "a d", "y")) == ["Mul"]
    assert lowered(node("Add", "x c", "a"), node("Sub", "a d", "y")) == ["Add"]


def test_the_factor_half_of_a_decomposed_gelu_stays_if_the_target_fuses_it() -> None:
    """Erf behind x / sqrt(2), plus 1, times x, times a half: one Gelu in each version (measured)."""
    steps = (node("Erf", "x", "f"), node("Add", "f h", "a"), node("Mul", "x a", "m"), node("Mul", "m h", "e"))
    assert lowered(*steps, conv("e", "y")) == ["Erf", "Add", "Mul", "Mul", "Conv"]


def test_single_layers_and_shared_tensors_are_left_alone() -> None:
    assert lowered(node("Mul", "x h", "a"), node("Add", "a h", "y")) == ["Mul", "Add"], "numbers merge in Unity"
    assert lowered(conv("x", "a"), node("Mul", "a c", "e"), node("Mul", "a e", "y")) == ["Conv", "Mul", "Mul"]
    assert lowered(node("Mul", "x k", "y"), channels=1) == ["Mul"]
    assert lowered(node("Mul", "x k", "a"), node("Add", "a k", "y"), channels=1) == ["Mul", "Add"], "it broadcasts"


def test_a_factor_of_1_and_a_shift_of_0_are_removed() -> None:
    ones = {"o": np.ones((3, 1, 1), np.float32), "n": np.zeros((3, 1, 1), np.float32)}
    before = model([node("Relu", "x", "r"), node("Mul", "r o", "a"), node("Add", "a n", "y")], ones, opset=18)
    graph = from_model(before)
    finish(graph, INFERENCE)
    assert operators(graph) == ["Relu"]
    assert_equivalent(before, graph)


def test_factors_in_a_graph_with_rounding_are_left_alone() -> None:
    """In another order of products a value halfway between two levels is rounded to the other one."""
    steps = (node("Mul", "x h", "a"), conv("a", "e"), node("Mul", "e h", "f"))
    assert lowered(*steps, node("Neg", "f", "y")) == ["Conv", "Neg"]
    assert lowered(*steps, node("Round", "f", "y")) == ["Mul", "Conv", "Mul", "Round"]
