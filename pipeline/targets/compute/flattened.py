"""Recognises flattened feature maps, (1, C, H * W), of which AdaIN computes means and deviations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.graph.shape import Shapes
from pipeline.targets.compute.reading import constant, picture_shape, step
from pipeline.targets.compute.steps import Step, Unsupported

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

Flattened = dict[str, tuple[int, int, int]]
"""(channels, height, width) of each tensor of shape (1, C, H * W), by its name."""

_ELEMENTWISE = frozenset(["Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Relu", "Identity"])
_RESHAPES = frozenset(["Reshape", "Flatten"])


def flattened(graph: gs.Graph, shapes: Shapes) -> Flattened:
    """The flattened feature maps of a graph, if only elementwise operators, means and Reshapes back read them."""
    found: Flattened = {}
    for node in graph.nodes:
        if not node.outputs or not node.inputs:
            continue
        before, after = shapes.static(node.inputs[0]), shapes.static(node.outputs[0])
        if before is None or after is None or len(after) != 3 or after[0] != 1:
            continue
        if node.op in _RESHAPES and len(before) == 4 and before[:2] == after[:2]:
            if before[2] * before[3] == after[2] > 1:
                found[node.outputs[0].name] = before[1:]  # type: ignore[assignment]
        elif node.op in _ELEMENTWISE:
            read = next((found[tensor.name] for tensor in node.inputs if tensor.name in found), None)
            if read is not None and after[1:] == (read[0], read[1] * read[2]):
                found[node.outputs[0].name] = read
    if all(_reads(node, shapes, found) for node in graph.nodes):
        return found
    return {}


def _reads(node: gs.Node, shapes: Shapes, found: Flattened) -> bool:
    """Whether a node can read the flattened feature maps among its inputs, if there are any."""
    if not any(tensor.name in found for tensor in node.inputs) or node.op == "ReduceMean":
        return True
    if node.op in _RESHAPES:
        return picture_shape(shapes.static(node.outputs[0]) or ()) == found.get(node.inputs[0].name)
    return node.outputs[0].name in found


def reader(node: gs.Node, shapes: Shapes, found: Flattened) -> list[Step] | None:
    """The steps of a node that flattens, restores or reduces a feature map; None for other nodes.

    Raises Unsupported for a reduction over other axes.
    """
    source, output = node.inputs[0], node.outputs[0]
    if node.op in _RESHAPES and (source.name in found) != (output.name in found):
        before = found.get(source.name) or picture_shape(shapes.static(source) or ())
        after = found.get(output.name) or picture_shape(shapes.static(output) or ())
        return [step("same", node)] if before == after else None
    if node.op == "ReduceMean" and source.name in found:
        axes = constant(node, 1, "axes")
        if axes is None or [int(axis) % 3 for axis in axes.reshape(-1)] != [2]:
            raise Unsupported("only the mean over all pixels of a channel is supported here")
        return [step("mean", node)]
    return None
