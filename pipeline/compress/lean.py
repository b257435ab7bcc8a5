"""Removes from a model what a packed file does not need: internal names and shapes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, product
from string import ascii_lowercase
from typing import TYPE_CHECKING

from pipeline.targets.family import FORM

if TYPE_CHECKING:
    import onnx

UNUSED_METADATA = ("architecture", FORM, "source_file", "target", "tool")
"""Metadata entries that are also in the model's asset; the others are compared when a model is loaded."""


def make_lean(model: onnx.ModelProto) -> dict[str, str]:
    """Shorten the names of weights and inner tensors, drop those of nodes and all shapes inside. In place.

    Returns new name -> old name of the initializers. Inputs, outputs and numbers stay as they are. A model with
    graphs inside nodes, or functions, is left alone.
    """
    graph = model.graph
    inside = any(a.HasField("g") or a.graphs for node in graph.node for a in node.attribute)
    if inside or model.functions or graph.sparse_initializer or graph.quantization_annotation:
        return {}
    outside = {value.name for value in (*graph.input, *graph.output)}
    names = _short(outside)
    new: dict[str, str] = {"": ""} | {name: name for name in outside}
    for tensor in graph.initializer:
        new.setdefault(tensor.name, next(names))
    for node in graph.node:
        for name in (*node.input, *node.output):
            if name not in new:
                new[name] = next(names)
    for node in graph.node:
        node.ClearField("name")
        node.ClearField("doc_string")
        node.input[:] = [new[name] for name in node.input]
        node.output[:] = [new[name] for name in node.output]
    was = {}
    for tensor in graph.initializer:
        was[new[tensor.name]] = tensor.name
        tensor.name = new[tensor.name]
        tensor.ClearField("doc_string")
    del graph.value_info[:]
    kept = [entry for entry in model.metadata_props if entry.key not in UNUSED_METADATA]
    if any(entry.key == "source_digest" for entry in kept):
        del model.metadata_props[:]
        model.metadata_props.extend(kept)
    return was


def _short(taken: set[str]) -> Iterator[str]:
    """a, b, ..., z, aa, ab, ... without those that are taken."""
    for length in count(1):
        for letters in product(ascii_lowercase, repeat=length):
            name = "".join(letters)
            if name not in taken:
                yield name
