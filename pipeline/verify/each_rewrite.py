"""`--check`: every rewrite that changed something is compared by itself, the graph before against the graph after.

Both run in ONNX Runtime as ONNX means them (not as a target computes them), on noise, at a small size or, for a
graph that runs at no other, its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.support.size import Size

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs
    import onnxruntime

TOLERANCE = 1e-4
"""Largest difference, relative to the largest value before the rewrite or 1: what lowering is allowed in all."""
SIZES = (Size(80, 64), Size(192, 128))
"""Tried before the declared one."""


def compare(before: gs.Graph, after: gs.Graph) -> tuple[str, str]:
    """`same`, `different` or `not compared`, and in words why; neither graph is changed.

    A graph that cannot be run before the rewrite is not compared; one that could be and cannot be run after it is
    different.
    """
    try:
        first = _open(before)
    except Exception as error:
        return "not compared", f"ONNX Runtime does not accept the graph before it ({_line(error)})"
    try:
        second = _open(after)
    except Exception as error:
        return "different", f"ONNX Runtime does not accept the graph after it ({_line(error)})"
    reason = "ONNX Runtime does not run the graph before it"
    failure = ""
    for size in (*SIZES, None):
        feeds = _noise(before, size)
        if feeds is None:
            continue
        try:
            expected = first.run(None, feeds)
        except Exception as error:
            reason = f"ONNX Runtime does not run the graph before it ({_line(error)})"
            continue
        try:
            result = second.run(None, {value.name: feeds[value.name] for value in second.get_inputs()})
        except Exception as error:
            failure = f"the graph after it does not run ({_line(error)})"
            continue
        difference = _difference(expected, result)
        return ("different", difference) if difference else ("same", "")
    return ("different", failure) if failure else ("not compared", reason)


def _open(graph: gs.Graph) -> onnxruntime.InferenceSession:
    from pipeline.graph import to_model
    from pipeline.graph.runtime import free_size, session

    model = to_model(graph.copy())
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    return session(free_size(model))


def _noise(graph: gs.Graph, size: Size | None) -> dict[str, np.ndarray] | None:
    """Numbers between 0 and 1 for every input; None where the size is declared nowhere."""
    generator = np.random.default_rng(0)
    feeds = {}
    for tensor in graph.inputs:
        shape = [dim if isinstance(dim, int) and dim > 0 else None for dim in tensor.shape or ()]
        if size is not None and len(shape) == 4:
            shape[2:] = size.hw
        if None in shape[1:]:
            return None
        kind = np.dtype(tensor.dtype or np.float32)
        numbers = generator.uniform(0, 1, [dim or 1 for dim in shape])
        feeds[tensor.name] = (numbers * (255 if kind.kind in "iu" else 1)).astype(kind)
    return feeds


def _difference(expected: list[np.ndarray], results: list[np.ndarray]) -> str:
    for reference, result in zip(expected, results, strict=True):
        if reference.shape != result.shape:
            return f"the output has the shape {result.shape} instead of {reference.shape}"
        reference, result = reference.astype(np.float64), result.astype(np.float64)
        scale = np.abs(reference[np.isfinite(reference)]).max(initial=1.0)
        if not np.allclose(result, reference, rtol=0, atol=TOLERANCE * scale, equal_nan=True):
            with np.errstate(invalid="ignore"):
                return (
                    f"the output differs by {np.abs(result - reference).max():.2g}, its values reach {scale:.2g}"
                )
    return ""


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
