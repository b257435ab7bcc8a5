"""Graphs: reading and writing them, their shapes, simplifying, counting. The ground floor: imports no rewrite.

Every graph in memory has one valid form, ONNX opset `OPSET`: `from_model` makes it of any model, `to_model`
writes it. `older` and `newer` hold what other opsets say otherwise. `nodes` looks around and replaces, `forms`
reads a node's parameters, `shapes` infers, `simplify` and `statistics` do what their names say.
"""

from __future__ import annotations

from pipeline.graph.model import (
    OPSET,
    as_written,
    assemble,
    declare_size,
    declared_opset,
    from_model,
    packed_constants,
    single_input_output,
    to_model,
    valid,
)
from pipeline.graph.shape import Shapes
from pipeline.graph.shapes import infer

__all__ = [
    "OPSET",
    "Shapes",
    "as_written",
    "assemble",
    "declare_size",
    "declared_opset",
    "from_model",
    "infer",
    "packed_constants",
    "single_input_output",
    "to_model",
    "valid",
]
