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
    missed = ""
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
            made = second.run(None, {held.name: feeds[held.name] for held in second.get_inputs()})
        except Exception as error:
            missed = f"the graph after it does not run ({_line(error)})"
            continue
        off = _difference(expected, made)
        return ("different", off) if off else ("same", "")
    return ("different", missed) if missed else ("not compared", reason)


def _open(graph: gs.Graph) -> onnxruntime.InferenceSession:
    from pipeline.graph import to_model
    from pipeline.graph.runtime import free_size, session

    model = to_model(graph.copy())
    for held in model.graph.output:
        held.type.tensor_type.ClearField("shape")
    return session(free_size(model))


def _noise(graph: gs.Graph, size: Size | None) -> dict[str, np.ndarray] | None:
    """Numbers between 0 and 1 for every input; None where the size is declared nowhere."""
    generator = np.random.default_rng(0)
    feeds = {}
    for tensor in graph.inputs:
        shape = [held if isinstance(held, int) and held > 0 else None for held in tensor.shape or ()]
        if size is not None and len(shape) == 4:
            shape[2:] = size.hw
        if None in shape[1:]:
            return None
        kind = np.dtype(tensor.dtype or np.float32)
        numbers = generator.uniform(0, 1, [held or 1 for held in shape])
        feeds[tensor.name] = (numbers * (255 if kind.kind in "iu" else 1)).astype(kind)
    return feeds


def _difference(expected: list[np.ndarray], made: list[np.ndarray]) -> str:
    for wanted, got in zip(expected, made, strict=True):
        if wanted.shape != got.shape:
            return f"the output has the shape {got.shape} instead of {wanted.shape}"
        wanted, got = wanted.astype(np.float64), got.astype(np.float64)
        scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=1.0)
        if not np.allclose(got, wanted, rtol=0, atol=TOLERANCE * scale, equal_nan=True):
            with np.errstate(invalid="ignore"):
                return f"the output differs by {np.abs(got - wanted).max():.2g}, its values reach {scale:.2g}"
    return ""


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
