"""Nodes that a target reads as something else, in a form that means the same and is read right.

A LayerNormalization gets the bias that it may leave out; sizes become scales that give them in float32; constant
arrays on both sides of data become one; a number behind a product of rank 3 becomes an array; a Cast to bool asks
whether the value is 0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx

from pipeline.graph import nodes as n
from pipeline.graph.shapes import LazyShapes
from pipeline.rewrites.base import Needed, Outcome, Rewrite

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target


class ExactForms(Rewrite):
    """One form for another, node by node, where a finding asks for it; every one exact."""

    name = "exact-forms"
    summary = "nodes that the target misreads are written in a form that it reads correctly"
    removes = ("input-missing", "resize-size-short", "subtracted-sum", "product-and-number", "cast-to-bool")

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        shapes, edits = LazyShapes(graph), []
        changes = {
            "LayerNormalization": self._bias,
            "Resize": self._scales,
            "Sub": self._one_constant,
            "MatMul": self._array,
            "Cast": self._compared,
        }
        for node in n.nodes_of(graph, *changes):
            if needed(node) and (what := changes[node.op](graph, node, shapes)):
                edits += self.edit(node, what)
        return list(edits)

    def _bias(self, graph: gs.Graph, node: gs.Node, shapes: LazyShapes) -> str:
        scale = shapes.here.static(n.given(node, 1))
        if n.given(node, 2) is not None or scale is None:
            return ""
        zeros = n.Builder(graph, node, self.name).const(np.zeros(scale), "bias")
        node.inputs = [*node.inputs[:2], zeros]
        return "a bias of zeros was added"

    def _scales(self, graph: gs.Graph, node: gs.Node, shapes: LazyShapes) -> str:
        sizes, shape = shapes.here.value(n.given(node, 3)), shapes.here.static(node.inputs[0])
        if sizes is None or shape is None or sizes.size != len(shape) or "axes" in node.attrs:
            return ""
        scales = np.asarray([_scale(size, int(new_size)) for size, new_size in zip(shape, sizes, strict=True)])
        node.inputs = [node.inputs[0], n.empty(), n.Builder(graph, node, self.name).const(scales, "scales")]
        return "its sizes became scales"

    def _one_constant(self, graph: gs.Graph, node: gs.Node, shapes: LazyShapes) -> str:
        """B - (A + x) = (B - A) - x, and (A + x) - B = x + (A - B)."""
        left, right = (n.value(tensor) for tensor in node.inputs)
        inner = n.producer(node.inputs[1] if left is not None else node.inputs[0])
        if (left is None) == (right is None) or inner is None or inner.op != "Add":
            return ""
        operands = [n.value(tensor) for tensor in inner.inputs]
        if (operands[0] is None) == (operands[1] is None):
            return ""
        constant, data = (
            (operands[0], inner.inputs[1]) if operands[0] is not None else (operands[1], inner.inputs[0])
        )
        make = n.Builder(graph, node, self.name)
        if left is not None:
            node.inputs = [make.const(left - constant, "difference", left.dtype), data]
        else:
            assert right is not None and constant is not None
            node.op, node.inputs = "Add", [data, make.const(constant - right, "difference", right.dtype)]
        return "the two constants around the data became one"

    def _array(self, graph: gs.Graph, node: gs.Node, shapes: LazyShapes) -> str:
        reader, width = n.only_consumer(graph, node.outputs[0]), shapes.here.of(node.outputs[0])
        if reader is None or reader.op not in ("Add", "Sub") or not width or not isinstance(width[-1], int):
            return ""
        for position, tensor in enumerate(reader.inputs):
            constant = n.value(tensor)
            if constant is not None and constant.size == 1:
                full = np.full(max(width[-1], 2) if width[-1] > 1 else 1, constant.reshape(()), constant.dtype)
                reader.inputs[position] = n.Builder(graph, reader, self.name).const(full, "array", constant.dtype)
                return "the number added after it became an array"
        return ""

    def _compared(self, graph: gs.Graph, node: gs.Node, shapes: LazyShapes) -> str:
        kind = node.inputs[0].dtype
        if node.attrs.get("to") != onnx.TensorProto.BOOL or kind is None:
            return ""
        make = n.Builder(graph, node, self.name)
        same = make.op("Equal", node.inputs[0], make.const(np.zeros(()), "zero", np.dtype(kind)))
        make.op("Not", same, out=node.outputs[0])
        make.drop()
        return "it tests whether the value is 0"


def _scale(size: int, new_size: int) -> np.float32:
    """The float32 scale nearest to new_size / size for which floor(size * scale), in float32, is `new_size`."""
    scale = np.float32(np.float32(new_size) / np.float32(size))
    while math.floor(np.float32(size) * scale) < new_size:
        scale = np.nextafter(scale, np.float32(np.inf))
    return scale
