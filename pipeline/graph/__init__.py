"""Graphs: reading and writing them, their shapes, simplifying, counting. The ground floor: imports no rewrite.

`nodes` looks around and replaces nodes, `forms` reads a node's parameters in any opset's form, `shapes` infers,
`model` converts from and to files, `runnable` makes what ONNX Runtime takes, `simplify` and `statistics` say it.
"""

from __future__ import annotations

from pipeline.graph.model import (
    declare_size,
    from_model,
    load,
    needed_opset,
    single_input_output,
    to_model,
)
from pipeline.graph.shapes import Shapes, infer

__all__ = [
    "Shapes",
    "declare_size",
    "from_model",
    "infer",
    "load",
    "needed_opset",
    "single_input_output",
    "to_model",
]
