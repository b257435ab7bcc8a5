"""Nearest upsampling and a convolution become one ConvTranspose, to keep the source's number of layers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pipeline import targets
from pipeline.cost import layers
from pipeline.graph import from_model, to_model
from pipeline.rewrites import upsampled
from tests.rewrites import BARRACUDA_3, assert_equivalent, model, node, operators, random

INFERENCE = targets.get("inference-2")
NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def network(factor: int, taps: int, mode: str, border: int, places: int = 1):
    """Enlarged and convolved; the border by the convolution's own zeros, or by a Pad of a mode."""
    nodes, reads = [], "x"
    sizes = [0, 0, border, border, 0, 0, border, border]
    weights = {"w": random((3, 3, taps, taps)), "b": random((3,), 1), "p": np.array(sizes, np.int64)}
    weights["s"] = np.array([1, 1, factor, factor], np.float32)
    for index in range(places):
        nodes.append(node("Resize", f"{reads} - s", f"u{index}", **NEAREST))
        reads = f"u{index}"
        if mode != "own":
            nodes.append(node("Pad", f"{reads} p", f"v{index}", mode=mode))
            reads = f"v{index}"
        result = "y" if index == places - 1 else f"c{index}"
        own = [border if mode == "own" else 0] * 4
        nodes.append(node("Conv", f"{reads} w b", result, kernel_shape=[taps] * 2, pads=own))
        reads = result
    return model(nodes, weights, opset=18)


@pytest.mark.parametrize("mode", ["own", "constant", "edge", "reflect"])
def test_it_computes_the_same(mode) -> None:
    """Every place that is offered, of 2 to 4 repeats, kernels of 1 to 7 and borders of 0 to 3."""
    done = 0
    for factor, taps, border in itertools.product((2, 3, 4), (1, 2, 3, 5, 7), (0, 1, 2, 3)):
        before = network(factor, taps, mode, border)
        graph = from_model(before)
        for place in upsampled.places(graph):
            upsampled.apply(graph, place)
            graph.cleanup().toposort()
            assert "Resize" not in operators(graph) and operators(graph)[-1] == "ConvTranspose"
            assert_equivalent(before, graph)
            done += 1
    assert done == {"own": 42, "constant": 42, "edge": 60, "reflect": 45}[mode]


def test_an_upsampled_tensor_that_other_nodes_read_stays() -> None:
    stored = network(2, 3, "own", 1)
    stored.graph.node.append(node("Relu", "u0", "other"))
    stored.graph.output.add().name = "other"
    assert upsampled.places(from_model(stored)) == []


def test_only_as_many_places_change_as_a_layer_limit_requires() -> None:
    before = network(2, 3, "reflect", 1, places=2)
    assert layers.count(before, INFERENCE) == 6
    for most, kinds in ((6, 0), (5, 1), (4, 2), (1, 2)):
        graph = from_model(before)
        edits = layers.keep_to(graph, INFERENCE, most)
        assert len(edits) == operators(graph).count("ConvTranspose") == kinds
        assert layers.count(to_model(graph), INFERENCE) == 6 - kinds
        assert_equivalent(before, graph)
    assert operators(graph) == ["Pad", "ConvTranspose"] * 2
    assert layers.keep_to(from_model(before), BARRACUDA_3, 1) == [], "it counts no layers"
