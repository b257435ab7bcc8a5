"""How ONNX Runtime is asked to open a model."""

from __future__ import annotations

import onnxruntime as ort
import pytest

from pipeline.graph.opening import MANY_NODES, opened


def test_only_graphs_of_few_nodes_are_optimised(monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[ort.GraphOptimizationLevel] = []
    monkeypatch.setattr(
        ort,
        "InferenceSession",
        lambda content, options, providers: levels.append(options.graph_optimization_level),
    )
    opened(b"", MANY_NODES)
    opened(b"", MANY_NODES + 1)
    assert levels == [
        ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
        ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    ]
