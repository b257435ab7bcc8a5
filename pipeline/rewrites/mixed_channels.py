"""A matrix times the channels of every pixel, written with reshapes, is a 1x1 convolution.

Networks with a matrix of the style (MSG-Net's Inspiration layer, whitening and colouring) flatten a picture to
(N, C, H*W), multiply from the left, and shape it back. As a convolution it runs at every size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.rewrites.base import Edit, Needed, Outcome, Rewrite
from pipeline.rewrites.free_sizes import shapes_at

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.graph import Shapes
    from pipeline.targets import Target


class MixedChannels(Rewrite):
    """Reshape to (N, C, H*W), MatMul by a constant from the left, Reshape back becomes a 1x1 Conv."""

    name = "mixed-channels"
    summary = "a constant matrix times the channels of every pixel becomes a 1x1 Conv"
    reason = "a convolution runs at every size, and needs no reshapes"

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        matches = [match for node in n.nodes_of(graph, "MatMul") if (match := _around(graph, node))]
        if not matches:
            return []
        at = shapes_at(graph)
        return [edit for match in matches if (edit := self._convolution(graph, *match, at))]

    def _convolution(
        self, graph: gs.Graph, first: gs.Node, product: gs.Node, last: gs.Node, at: list[Shapes]
    ) -> Edit | None:
        values = n.value(product.inputs[0])
        assert values is not None
        matrix = values.reshape(values.shape[-2:])
        if not all(_is_mixing(shapes, first, last, matrix.shape) for shapes in at):
            return None
        make = n.Builder(graph, product, self.name)
        kernel = make.const(matrix[:, :, None, None].astype(np.float32), "kernel")
        make.op("Conv", first.inputs[0], kernel, out=last.outputs[0], kernel_shape=[1, 1])
        return Edit(
            self.name, (first.name, product.name, last.name), "the matrix became a 1x1 convolution", self.reason
        )


def _around(graph: gs.Graph, product: gs.Node) -> tuple[gs.Node, gs.Node, gs.Node] | None:
    """The reshapes before and behind a product with a constant on its left, that nothing else reads."""
    matrix = n.value(product.inputs[0])
    first, last = n.producer(product.inputs[1]), n.only_consumer(graph, product.outputs[0])
    if matrix is None or matrix.ndim not in (2, 3) or matrix.size != matrix.shape[-1] * matrix.shape[-2]:
        return None
    if first is None or last is None or first.op != "Reshape" or last.op != "Reshape":
        return None
    return (first, product, last) if last.inputs[0] is product.outputs[0] else None


def _is_mixing(shapes: Shapes, first: gs.Node, last: gs.Node, matrix: tuple[int, ...]) -> bool:
    """Whether (1, C, H, W) goes in flattened, and (1, M, H, W) comes out, for a matrix (M, C)."""
    before, flat = shapes.static(first.inputs[0]), shapes.static(first.outputs[0])
    behind = shapes.static(last.outputs[0])
    if before is None or flat is None or behind is None or len(before) != 4 or before[0] != 1:
        return False
    _, channels, height, width = before
    if channels != matrix[1] or tuple(flat)[-2:] != (channels, height * width):
        return False
    return len(flat) <= 3 and tuple(behind) == (1, matrix[0], height, width)
