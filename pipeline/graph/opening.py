"""Opens a model in ONNX Runtime, in this process or in one that may be ended (`pipeline.graph.apart`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime


MANY_NODES = 5_000
"""Nodes above which a graph runs as it is: optimising 20,000 of them takes 3 s, and a run 0.4 s either way."""


def opened(content: bytes, nodes: int = 0) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU that keeps its log to itself.

    `nodes` is how many the model has, where that is known. A model that its fusions spoil runs without them (QDQ
    around an Add whose scale has one dimension, as PyTorch exports fake quantisation). Raises
    whatever ONNX Runtime raises for a model that it cannot load.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False
    # Planning which buffers share memory takes the square of the nodes: 3.4 s at 3,000, and 0.05 s without. What
    # is not read any more is freed either way.
    options.enable_mem_reuse = False
    # Threads that wait for the next operator in a loop double the processor time of graphs of many small ones.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The layout optimisations after this level keep a second, reordered copy of every weight.
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_DISABLE_ALL if nodes > MANY_NODES else levels.ORT_ENABLE_EXTENDED
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception:
        options.graph_optimization_level = levels.ORT_DISABLE_ALL
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
