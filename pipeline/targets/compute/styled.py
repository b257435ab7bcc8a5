"""Reads nodes that compute from the style vector alone: their outputs are constants that depend on the style."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.shape import Shapes
from pipeline.targets.compute.linear import Constant, Linear
from pipeline.targets.compute.reading import constant
from pipeline.targets.compute.steps import ELSEWHERE, Refused, Unsupported

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

Styled = dict[str, Linear]
"""Constants that depend on the style, by the name of their tensor."""

_SHAPED = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout")


def style_constants(graph: gs.Graph, vector: gs.Tensor, shapes: Shapes) -> tuple[Styled, list[Refused]]:
    """What the nodes compute that read only the style vector, of shape (1, K, 1, 1), and constants."""
    length = (shapes.static(vector) or (1, 0))[1]
    found: Styled = {vector.name: Linear.of_vector(length)}
    refused: list[Refused] = []
    for node in graph.nodes:
        computed = [tensor for tensor in node.inputs if tensor.name and n.value(tensor) is None]
        if not computed or any(tensor.name not in found for tensor in computed):
            continue
        try:
            for output, result in zip(node.outputs, _outputs(node, found, shapes), strict=True):
                found[output.name] = result
        except Unsupported as error:
            refused.append(Refused(node.name, node.op, error.reason, error.fix))
            found.update((output.name, Linear(np.zeros(()))) for output in node.outputs)
    return found, refused


def _outputs(node: gs.Node, found: Styled, shapes: Shapes) -> list[Linear]:
    value = found.get(node.inputs[0].name)
    if value is not None and node.op in _SHAPED:
        shape = shapes.static(node.outputs[0])
        if shape is None:
            raise Unsupported(f"the shape of {node.outputs[0].name} is not known")
        return [value.reshape(shape)]
    if value is not None and node.op == "Transpose":
        order = n.ints(node, "perm", tuple(reversed(range(value.ndim))))
        return [value.moved(lambda array: array.transpose(order))]
    if value is not None and node.op == "Slice":
        return [_sliced(node, value)]
    if value is not None and node.op == "Split":
        axis, sizes = int(node.attrs.get("axis", 0)), [shapes.static(output) for output in node.outputs]
        if any(size is None for size in sizes):
            raise Unsupported("the sizes of its outputs are not known")
        ends = np.cumsum([size[axis] for size in sizes if size is not None])[:-1]
        parts = range(len(node.outputs))
        return [value.moved(lambda array, part=part: np.split(array, ends, axis)[part]) for part in parts]  # type: ignore[misc]
    if node.op in ("Add", "Sub", "Mul", "Div"):
        one, other = (_operand(tensor, found) for tensor in node.inputs)
        result = {
            "Add": lambda: one + other,
            "Sub": lambda: one - other,
            "Mul": lambda: one * other,
            "Div": lambda: one / other,
        }[node.op]()
        assert isinstance(result, Linear)
        return [result]
    raise Unsupported(f"{node.op} of values that depend on the style is not supported", ELSEWHERE)


def _operand(tensor: gs.Tensor, found: Styled) -> Constant:
    value = n.value(tensor)
    return found[tensor.name] if value is None else value.astype(np.float64)


def _sliced(node: gs.Node, value: Linear) -> Linear:
    starts, ends = constant(node, 1, "starts"), constant(node, 2, "ends")
    axes, steps = constant(node, 3, "axes"), constant(node, 4, "steps")
    if starts is None or ends is None:
        raise Unsupported("its starts or ends are missing")
    ranges = [slice(None)] * value.ndim
    for place, (start, end) in enumerate(zip(starts.reshape(-1), ends.reshape(-1), strict=True)):
        axis = place if axes is None else int(axes.reshape(-1)[place])
        step = 1 if steps is None else int(steps.reshape(-1)[place])
        ranges[axis] = slice(int(start), int(end) if end > -value.shape[axis] - 1 else None, step)
    return value[tuple(ranges)]
