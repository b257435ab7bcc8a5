"""After every rewrite that changed a graph in these tests, the graph is held against onnx.checker."""

from __future__ import annotations

import onnx
import pytest

from pipeline.graph import to_model
from pipeline.rewrites import base


@pytest.fixture(autouse=True)
def strictly_valid(monkeypatch):
    settle = base.settle

    def checked(graph):
        settle(graph)
        made = to_model(graph.copy())
        # onnx cannot infer the types inside its own definition of this operator at opset 18
        infers = all(node.op_type != "MeanVarianceNormalization" for node in made.graph.node)
        onnx.checker.check_model(made, full_check=infers)

    monkeypatch.setattr(base, "settle", checked)
