"""Additions and multiplications that Barracuda from 1.1 on fuses into a neighbouring convolution wrongly.

Its linear fuser (LayerFusingHelper.cs:331 and :33@3.0.0) adds a single number in front of a zero-padded Conv to
the bias, which is wrong at the borders, and takes a [1, 1, 1, K] constant along the width for one per channel when
K is the number of channels. It never fuses Sub and Div (measured on 2.0.0 and 3.0.0; only 3.0 can switch it off).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.rewrites.base import Edit, Needed, Outcome, Refusal, Rewrite

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

_LINEAR = ("Add", "Mul", "Sub", "Div")


class ShiftsBeforeConvolutions(Rewrite):
    """x + c, one number c, in front of a Conv with pads becomes x - (-c), also through further constant factors.

    Left alone: one number per channel, depthwise convolutions and everything in 1.0, which are right (measured).
    """

    name = "shift-before-conv"
    summary = "adding a number before a zero-padded Conv becomes subtracting the negated number"
    removes = ("shift-before-padded-conv",)

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        for node in n.nodes_of(graph, "Add"):
            if not needed(node):
                continue
            constant = next((tensor for tensor in node.inputs if n.scalar(tensor) is not None), None)
            if constant is None or len(node.inputs) != 2:
                continue
            other = node.inputs[1] if constant is node.inputs[0] else node.inputs[0]
            if n.value(other) is not None:
                continue
            make = n.Builder(graph, node, self.name)
            shift = np.asarray(n.value(constant))
            make.op("Sub", other, make.const(-shift, "shift"), out=node.outputs[0])
            make.drop()
            outcome += self.edit(node, "became Sub of the negated number")
        return outcome


def _reaches_padded_conv(tensor: gs.Tensor) -> bool:
    """Whether a zero-padded, not depthwise Conv reads it, directly or through arithmetic with constants."""
    for reader in n.consumers(tensor):
        if reader.op == "Conv" and reader.inputs[0] is tensor:
            padded = any(n.ints(reader, "pads", ()) or ()) or n.text(reader, "auto_pad").startswith("SAME")
            if padded and int(reader.attrs.get("group", 1)) == 1:
                return True
        arithmetic = reader.op in _LINEAR and any(n.value(other) is not None for other in reader.inputs)
        if arithmetic and _reaches_padded_conv(reader.outputs[0]):
            return True
    return False


class ConstantsAlongWidth(Rewrite):
    """x + c and x * c with c of [1, 1, 1, K] beside a Conv become Sub and Div, which no fuser touches.

    A factor with a zero in it cannot be divided by; it is refused where its length is the Conv's channel number.
    """

    name = "constant-along-width"
    summary = "adding or multiplying by a constant along the width next to a Conv becomes subtracting or dividing"
    removes = ("constant-along-width",)

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        for node in n.nodes_of(graph, "Add", "Mul"):
            if not needed(node):
                continue
            for constant, other in (tuple(node.inputs), tuple(reversed(node.inputs))):
                values = n.value(constant)
                if values is None or n.value(other) is not None or not _along_width(values):
                    continue
                if values.size in _neighbouring_channels(node, other):
                    outcome.append(self._replace(graph, node, values, other))
                break
        return outcome

    def _replace(self, graph: gs.Graph, node: gs.Node, values: np.ndarray, other: gs.Tensor) -> Edit | Refusal:
        if node.op == "Mul" and np.any(values == 0):
            reason = "its constant along the width would be read as one per channel, and contains zeros"
            return Refusal(self.name, "constant-along-width", node.name, node.op, reason)
        make = n.Builder(graph, node, self.name)
        operator = "Sub" if node.op == "Add" else "Div"
        opposite = -values if node.op == "Add" else 1.0 / values.astype(np.float64)
        make.op(operator, other, make.const(opposite.reshape(1, 1, 1, -1), "opposite"), out=node.outputs[0])
        make.drop()
        return Edit(self.name, (node.name,), f"became {operator} with the inverse constant")


def _along_width(values: np.ndarray) -> bool:
    return values.size > 1 and values.shape[-1] == values.size and values.ndim in (1, 2, 4)


def _neighbouring_channels(node: gs.Node, source: gs.Tensor) -> set[int]:
    """The output channels of the convolutions that make what the node reads, or read what it makes."""
    makers = [n.producer(source)]
    neighbours = [maker for maker in makers if maker is not None] + n.consumers(node.outputs[0])
    weights = [n.value(conv.inputs[1]) for conv in neighbours if conv.op == "Conv"]
    return {size for kernel in weights if kernel is not None for size in kernel.shape[:2]}
