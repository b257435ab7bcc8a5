"""ONNX Runtime, also where its own fusions spoil a model."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from pipeline.graph.runtime import run, session
from tests.rewrites.cases import model


def quantised(name: str, source: str) -> list:
    return [
        helper.make_node("QuantizeLinear", [source, "s", "z"], [f"{name}_q"], axis=0),
        helper.make_node("DequantizeLinear", [f"{name}_q", "s", "z"], [name], axis=0),
    ]


def test_a_model_that_its_fusions_spoil_runs_without_them():
    """Fake quantisation as PyTorch exports it: ONNX Runtime 1.31 fuses the Add, and then refuses its scale."""
    nodes = [*quantised("a", "x"), *quantised("b", "x"), helper.make_node("Add", ["a", "b"], ["c"])]
    source = model([*nodes, *quantised("y", "c")], {"s": np.float32([0.5]), "z": np.uint8([0])}, (1, 1, 2, 2))
    picture = np.full((1, 1, 2, 2), 1.1, np.float32)
    assert run(session(source), picture).reshape(-1).tolist() == [2.0] * 4


def test_a_model_that_it_does_not_know_raises():
    with pytest.raises(Exception, match="Unheard"):
        session(model([helper.make_node("Unheard", ["x"], ["y"])], {}, (1, 1, 2, 2)))
