"""Slices, splits and picked channels in forms that every target computes right.

A Slice with steps is off by one in 1.0 and goes nowhere backwards up to 2.0; 1.0 has no Split, and later versions
know the channels of its first part only (importer.md, measured.md, recipes_measured.md).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.forms import TO_THE_END, slice_spec, split_sizes
from pipeline.graph.shapes import LazyShapes
from pipeline.rewrites.base import Needed, Outcome, Rewrite
from pipeline.rewrites.element_types import kind_of
from pipeline.rewrites.kernels import nearest

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

_RANK = "its axes count from the end of a tensor whose rank is not known"


class Slices(Rewrite):
    """Slice by constant bounds without steps, Split as Slices, Gather by constant indices from the front.

    Left alone: integer sub-graphs (they are folded). Refused: bounds and sizes that are computed from the picture.
    """

    name = "slicing"
    summary = "slices with steps, splits, and single or negative indices become plain slices, pools and gathers"
    removes = (
        "negative-axes",
        "only-first-axis",
        "split-without-attribute",
        "split-second-output",
        "slice-end-int64",
        "slice-steps",
        "slice-backwards",
        "slice-without-steps",
        "gather-scalar-index",
        "gather-negative-index",
        "slice-of-rank-three",
        "attribute-ignored",
        "input-not-constant",
        "input-does-not-fold",
        "unknown-operator",
        "not-compiled",
    )

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        shapes = LazyShapes(graph)
        outcome: Outcome = []
        for node in n.nodes_of(graph, *_FORMS):
            if needed(node) and kind_of(node.inputs[0]) not in ("i", "u"):
                outcome += _FORMS[node.op](graph, node, shapes)
        return outcome


def _slice(graph: gs.Graph, node: gs.Node, shapes: LazyShapes) -> Outcome:
    spec = slice_spec(node, shapes.here)
    if spec is None:
        return Slices.refuse(
            node, "slice-not-constant", "its bounds are computed from the picture", "use constant bounds"
        )
    rank = shapes.here.rank(node.inputs[0])
    if rank is None and any(axis < 0 for axis in spec[2]):
        return Slices.refuse(node, "rank-unknown", _RANK)
    bounds = []
    for start, end, axis, step in sorted(zip(*spec, strict=True), key=lambda bound: bound[2] % (rank or 8)):
        axis = axis if axis >= 0 else axis + rank  # type: ignore[operator]
        fixed = shapes.fixed_size(node.inputs[0], axis)
        if fixed is not None and step > 0:
            start, end, _ = slice(start, end).indices(fixed)
        elif end >= TO_THE_END:
            end = TO_THE_END
        bounds.append((start, end, axis, step))
    steps = {axis: step for _, _, axis, step in bounds if step != 1}
    if any(step < 0 or axis not in (2, 3) or rank != 4 for axis, step in steps.items()):
        return _stepped_gather(graph, node, bounds, shapes)
    plain = [(s, e, a) for s, e, a, _ in bounds if (s, e) != (0, TO_THE_END)]
    plain = [(s, e, a) for s, e, a in plain if (s, e) != (0, shapes.fixed_size(node.inputs[0], a))]
    starts, ends, axes = [list(column) for column in zip(*plain, strict=True)] if plain else ([], [], [])
    if steps:
        return _stepped_pool(graph, node, (starts, ends, axes), steps)
    if not axes:
        if n.bypass(graph, node):
            return Slices.edit(node, "removed", "it removes nothing")
        starts, ends, axes = [[value] for value in bounds[0][:3]]
    if slice_spec(node) == (starts, ends, axes, [1] * len(axes)):
        return []
    n.Builder(graph, node, Slices.name).set(node, starts=starts, ends=ends, axes=axes)
    return Slices.edit(node, "its bounds were made explicit")


def _stepped_pool(
    graph: gs.Graph, node: gs.Node, bounds: tuple[list[int], list[int], list[int]], steps: dict[int, int]
) -> Outcome:
    """Every k-th row and column: MaxPool with kernel 1 and stride k; unequal strides after repeating rows."""
    make = n.Builder(graph, node, Slices.name)
    tensor, output = node.inputs[0], node.outputs[0]
    if bounds[2]:
        tensor = make.op("Slice", tensor, starts=bounds[0], ends=bounds[1], axes=bounds[2])
    rows, columns = steps.get(2, 1), steps.get(3, 1)
    stride = math.lcm(rows, columns)
    if rows != columns:
        tensor = nearest(make, tensor, (stride // rows, stride // columns))
    make.op("MaxPool", tensor, kernel_shape=[1, 1], strides=[stride, stride], out=output)
    make.drop()
    return Slices.edit(node, "became a MaxPool of kernel 1 with strides")


def _stepped_gather(
    graph: gs.Graph, node: gs.Node, bounds: list[tuple[int, int, int, int]], shapes: LazyShapes
) -> Outcome:
    """Backward or channel steps: Gather with constant indices, where the size along the axis is known."""
    make = n.Builder(graph, node, Slices.name)
    tensor, output = node.inputs[0], node.outputs[0]
    shape = shapes.here.of(tensor)
    baked = False
    indices = []
    for start, end, axis, step in bounds:
        size = None if shape is None else shape[axis]
        if size is None:
            return Slices.refuse(
                node,
                "slice-steps-need-size",
                f"it has the step {step} along axis {axis}, whose size is not known",
                "declare the picture's height and width",
            )
        baked = baked or shapes.fixed_size(tensor, axis) is None
        stop = max(end, -size - 1) if step < 0 else end
        n.room(size, item=8)
        indices.append((axis, np.arange(size)[slice(start, None if stop == -size - 1 else stop, step)]))
    for position, (axis, picks) in enumerate(indices):
        out = output if position == len(indices) - 1 else None
        tensor = make.op("Gather", tensor, make.const(picks, "indices", np.int64), axis=axis, out=out)
    make.drop()
    note = " only for the declared picture size" if baked else ""
    return Slices.edit(node, f"became Gather with constant indices{note}")


def _split(graph: gs.Graph, node: gs.Node, shapes: LazyShapes) -> Outcome:
    shape = shapes.here.of(node.inputs[0])
    axis = int(node.attrs.get("axis", 0))
    parts = split_sizes(node, shape, shapes.here)
    if parts is None or (axis < 0 and shape is None):
        return Slices.refuse(
            node, "split-sizes-unknown", "the sizes of its parts are not known", "declare the picture's size"
        )
    axis = axis if axis >= 0 else axis + len(shape)  # type: ignore[arg-type]
    explicit = n.given(node, 1) is not None
    baked = not explicit and shapes.fixed_size(node.inputs[0], axis) is None
    make = n.Builder(graph, node, Slices.name)
    outputs, source, start = list(node.outputs), node.inputs[0], 0
    make.drop()
    for output, size in zip(outputs, parts, strict=True):
        make.op("Slice", source, starts=[start], ends=[start + size], axes=[axis], out=output)
        start += size
    note = " only for the declared picture size" if baked else ""
    return Slices.edit(node, f"became Slices{note}")


def _gather(graph: gs.Graph, node: gs.Node, shapes: LazyShapes) -> Outcome:
    indices, axis = n.value(n.given(node, 1)), int(node.attrs.get("axis", 0))
    rank = shapes.here.rank(node.inputs[0])
    if indices is None:
        return []
    if axis < 0 and rank is None:
        return Slices.refuse(node, "rank-unknown", _RANK)
    axis = axis if axis >= 0 else axis + rank  # type: ignore[operator]
    if indices.ndim == 0:
        start = int(indices)
        make = n.Builder(graph, node, Slices.name)
        part = make.op(
            "Slice", node.inputs[0], starts=[start], ends=[TO_THE_END if start == -1 else start + 1], axes=[axis]
        )
        make.op("Squeeze", part, axes=[axis], out=node.outputs[0])
        make.drop()
        return Slices.edit(node, "became Slice and Squeeze")
    if (indices < 0).any():
        size = shapes.fixed_size(node.inputs[0], axis)
        if size is None:
            return Slices.refuse(
                node, "gather-negative-index", "its negative indices refer to an axis of unknown size"
            )
        make = n.Builder(graph, node, Slices.name)
        node.inputs[1] = make.const(np.where(indices < 0, indices + size, indices), "indices", np.int64)
        return Slices.edit(node, "negative indices became positive")
    return []


_FORMS = {"Slice": _slice, "Split": _split, "Gather": _gather}
