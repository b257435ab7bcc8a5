"""LRN and Col2Im as convolutions."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from pipeline import targets
from pipeline.graph import from_model
from pipeline.rewrites import lower
from pipeline.validation import validate
from tests.rewrites import BARRACUDA_3, assert_equivalent, model, node, operators, run

TARGET = targets.get("inference-2")


@pytest.mark.parametrize(("size", "beta"), [(1, 0.75), (3, 0.75), (5, 1.5)])
def test_channels_are_normalised_by_a_convolution(size, beta) -> None:
    before = model(
        [node("LRN", "x", "y", size=size, alpha=0.3, beta=beta, bias=1.5)], {}, input_shape=(1, 6, "h", "w")
    )
    graph = from_model(before)
    assert [f.code for f in validate(before, TARGET)] == ["main-thread"]
    assert [edit.rewrite for edit in lower(graph, TARGET).edits] == ["windows"]
    assert operators(graph) == ["Mul", "Conv", "Pow", "Div"]
    assert_equivalent(before, graph)


def test_a_supported_operator_stays() -> None:
    graph = from_model(model([node("LRN", "x", "y", size=3)], {}))
    lower(graph, BARRACUDA_3)
    assert operators(graph) == ["LRN"]


@pytest.mark.parametrize("name", ["inference-2", "inference-2.2", "barracuda-3.0"])
@pytest.mark.parametrize(
    ("image", "block", "attributes"),
    [
        ((6, 8), (2, 2), {"strides": [2, 2]}),
        ((6, 8), (3, 2), {}),
        ((7, 9), (3, 3), {"pads": [1, 0, 1, 2], "strides": [2, 3]}),
        ((9, 9), (2, 3), {"dilations": [2, 2], "pads": [1, 1, 0, 0]}),
        ((7, 8), (2, 2), {"strides": [2, 3]}),
    ],
)
def test_windows_are_added_up_by_a_transposed_convolution(name, image, block, attributes) -> None:
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    pads = attributes.get("pads", [0, 0, 0, 0])
    counts = [
        (image[axis] + pads[axis] + pads[axis + 2] - dilations[axis] * (block[axis] - 1) - 1) // strides[axis] + 1
        for axis in (0, 1)
    ]
    shape = (1, 3 * block[0] * block[1], counts[0] * counts[1])
    weights = {"i": np.array(image, np.int64), "k": np.array(block, np.int64)}
    before = model([node("Col2Im", "x i k", "y", **attributes)], weights, opset=18, input_shape=shape)
    graph = from_model(before)
    target = targets.get(name)
    lower(graph, target)
    assert "Col2Im" not in operators(graph)
    given = {"x": np.random.default_rng(0).random(shape).astype(np.float32)}
    (expected,) = ReferenceEvaluator(before).run(None, given)
    (output,) = run(onnx.ModelProto.FromString(_bytes(graph)), given)
    np.testing.assert_allclose(output, expected, atol=1e-5)


def _bytes(graph) -> bytes:
    from pipeline.graph import to_model

    return to_model(graph).SerializeToString()
