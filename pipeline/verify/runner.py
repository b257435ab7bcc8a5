"""Runs a graph in ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx
    import onnxruntime


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU that keeps its log to itself.

    Raises whatever ONNX Runtime raises for a model that it cannot load.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(session: onnxruntime.InferenceSession, picture: np.ndarray) -> np.ndarray:
    """The first output for the one input."""
    return np.asarray(session.run(None, {session.get_inputs()[0].name: picture})[0])
