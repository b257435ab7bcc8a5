"""Runs a model in ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx
    import onnxruntime

NEWEST_IR = 10
"""Newest IR version that every ONNX Runtime from 1.20 on takes; later ones add nothing that a graph here uses."""


def session(model: onnx.ModelProto | bytes) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU that keeps its log to itself; a newer IR version is not held against it.

    `model` may be serialised already, which spares a copy of the weights.
    A model that its fusions spoil runs without them (QDQ around an Add whose scale has one dimension, as PyTorch
    exports fake quantisation). Raises whatever ONNX Runtime raises for a model that it cannot load.
    """
    import onnxruntime as ort

    if not isinstance(model, bytes) and model.ir_version > NEWEST_IR:
        newer, model = model, type(model)()
        model.CopyFrom(newer)
        model.ir_version = NEWEST_IR
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False
    # Planning which buffers share memory takes the square of the nodes: 3.4 s at 3,000, and 0.05 s without. What
    # is not read any more is freed either way.
    options.enable_mem_reuse = False
    # The layout optimisations after this level keep a second, reordered copy of every weight.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    content = model if isinstance(model, bytes) else model.SerializeToString()
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run(session: onnxruntime.InferenceSession, picture: np.ndarray) -> np.ndarray:
    """The first output for the one input."""
    return np.asarray(session.run(None, {session.get_inputs()[0].name: picture})[0])


def free_size(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` itself, with height and width of its inputs and outputs left open and no inferred shapes."""
    constants = {t.name for t in model.graph.initializer}
    for value in (*model.graph.input, *model.graph.output):
        if value.name in constants:
            continue
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if axis >= 2:
                dim.dim_param = f"{value.name}_{axis}"
    del model.graph.value_info[:]
    return model
