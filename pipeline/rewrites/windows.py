"""Operators over windows that are convolutions: LRN over channels, Col2Im over pixels.

Sentis and Inference Engine run LRN on the main thread after a blocking download; no target has Col2Im.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.shapes import LazyShapes
from pipeline.rewrites.base import Needed, Outcome, Rewrite

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

_MOST = 1 << 22
"""Weights up to which a convolution is made, 16 MB."""


class Windows(Rewrite):
    """LRN becomes a 1x1 convolution of the squares, Pow and Div; Col2Im a ConvTranspose that adds pixels up.

    Left alone: LRN of an unknown number of channels, Col2Im of other ranks than 3 or with computed sizes, and both
    where the weights would be more than 16 MB.
    """

    name = "windows"
    summary = "LRN and Col2Im become convolutions with constant weights"
    removes = ("main-thread", "unknown-operator")

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        shapes = LazyShapes(graph)
        for node in n.nodes_of(graph, "LRN", "Col2Im"):
            if not needed(node):
                continue
            make = n.Builder(graph, node, self.name)
            change = _normalised(make, node, shapes) if node.op == "LRN" else _put_back(make, node, shapes)
            if change:
                make.drop()
                outcome += self.edit(node, change)
        return outcome


def _normalised(make: n.Builder, node: gs.Node, shapes: LazyShapes) -> str:
    """y = x / (bias + alpha / size * sum of squares over `size` channels) ^ beta (ONNX, LRN)."""
    shape = shapes.here.of(node.inputs[0])
    channels = shape[1] if shape is not None and 3 <= len(shape) <= 5 else None
    if shape is None or channels is None or channels**2 > _MOST:
        return ""
    size = int(node.attrs["size"])
    place = np.arange(channels)
    offset = place[None, :] - place[:, None]
    band = (offset >= -((size - 1) // 2)) & (offset <= size // 2)
    weights = (float(node.attrs.get("alpha", 1e-4)) / size * band).reshape(
        channels, channels, *[1] * (len(shape) - 2)
    )
    bias = make.const(np.full(channels, float(node.attrs.get("bias", 1.0))), "bias")
    x = node.inputs[0]
    sums = make.op(
        "Conv", make.op("Mul", x, x), make.const(weights, "weights"), bias, kernel_shape=weights.shape[2:]
    )
    make.op("Div", x, make.op("Pow", sums, float(node.attrs.get("beta", 0.75))), out=node.outputs[0])
    return "became a 1x1 convolution of the squares, Pow and Div"


def _put_back(make: n.Builder, node: gs.Node, shapes: LazyShapes) -> str:
    """[N, C * kh * kw, windows] added up to [N, C, height, width] (ONNX, Col2Im)."""
    shape = shapes.here.of(node.inputs[0])
    image, block = (shapes.here.value(tensor) for tensor in node.inputs[1:3])
    if shape is None or len(shape) != 3 or shape[1] is None or image is None or block is None:
        return ""
    sides, kernel = [int(side) for side in image], [int(side) for side in block]
    if len(sides) != 2 or len(kernel) != 2:
        return ""
    strides, dilations = n.ints(node, "strides", (1, 1)), n.ints(node, "dilations", (1, 1))
    pads = n.ints(node, "pads", (0, 0, 0, 0))
    taps = kernel[0] * kernel[1]
    rows = shape[1]
    if min(*kernel, *strides, *dilations) < 1 or rows % taps or rows * rows > _MOST:
        return ""
    padded = [sides[axis] + pads[axis] + pads[axis + 2] for axis in (0, 1)]
    reach = [dilations[axis] * (kernel[axis] - 1) + 1 for axis in (0, 1)]
    counts = [(padded[axis] - reach[axis]) // strides[axis] + 1 for axis in (0, 1)]
    rest = [padded[axis] - reach[axis] - strides[axis] * (counts[axis] - 1) for axis in (0, 1)]
    weights = np.eye(rows).reshape(rows, rows // taps, *kernel)
    batch = shape[0] if shape[0] is not None else -1
    wide = make.op("Reshape", node.inputs[0], make.const([batch, rows, *counts], "shape", np.int64))
    make.op(
        "ConvTranspose",
        wide,
        make.const(weights, "weights"),
        kernel_shape=kernel,
        strides=list(strides),
        dilations=list(dilations),
        pads=list(pads),
        output_padding=rest,
        out=node.outputs[0],
    )
    return "became a ConvTranspose of ones and zeros"
