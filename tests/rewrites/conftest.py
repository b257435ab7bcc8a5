"""After every rewrite that changed a graph in these tests, onnx.checker checks the graph."""

from __future__ import annotations

import onnx
import pytest

from pipeline.graph import to_model
from pipeline.rewrites import driver


@pytest.fixture(autouse=True)
def strictly_valid(monkeypatch):
    settle = driver.settle

    def checked(graph):
        settle(graph)
        model = to_model(graph.copy())
        # onnx cannot infer types behind operators of other domains, nor inside its own definition of this one
        unknown = [node for node in model.graph.node if node.domain or node.op_type == "MeanVarianceNormalization"]
        onnx.checker.check_model(model, full_check=not unknown)

    monkeypatch.setattr(driver, "settle", checked)
