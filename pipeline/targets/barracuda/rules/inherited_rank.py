"""1.0.4 takes the rank of a result from the first input of its node, whatever the others are.

So `Add(c, x)` with a constant c of shape [C, 1, 1] counts as rank 3, and so does what is computed from it, until a
Reshape, Expand or product (ONNXTensor.cs:493@1.0.4). Slice, Concat, Gather and Reduce* look their axes up in the
layout of that rank (ONNXLayout.cs:198@1.0.4; run: a Slice of channels behind such an Add keeps one column).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx

from pipeline.targets.barracuda.rules.register import kind
from pipeline.targets.barracuda.rules.shaping import axes_of, slice_of, text
from pipeline.validation.findings import Severity
from pipeline.validation.kinds import Hit, variable
from pipeline.validation.view import View, attribute, given, label

if TYPE_CHECKING:
    from pipeline.graph.shape import Shape
    from pipeline.targets import Rule

LAYOUT = {0: (-1, -1, -1, -1), 1: (-1, -1, -1, 0), 2: (0, -1, -1, 1), 3: (0, -1, 2, 1), 4: (0, 2, 3, 1)}
"""By rank: the ONNX axis at each place of N, H, W, C (ONNXLayout.cs:46@1.0.4)."""
_RANKS = {"Reshape": 4, "Expand": 4, "Flatten": 2, "Gemm": 2, "MatMul": 2, "LSTM": 2}
"""Operators whose handlers note a rank of their own (ONNXModelImporter.cs:115@1.0.4 and on)."""
_REDUCTIONS = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum")


@dataclass(frozen=True)
class Misread:
    """A node that looks up its axes in the layout of a rank lower than its data have.

    `origin` is the node whose first operand has that rank. `axes` are the ONNX axes that are used (Slice: those of
    `bounds`); None where the import fails.
    """

    origin: onnx.NodeProto
    reader: onnx.NodeProto
    rank: int
    axes: list[int] | None
    bounds: list[tuple[int, int, int]]
    """(start, end, step) for each of the four axes of a Slice, as 1.0.4 applies them."""


def noted_ranks(view: View) -> dict[str, int]:
    """The rank that 1.0.4 notes for each tensor."""
    ranks = {name: len(tensor.dims) for name, tensor in view.initializers.items()}
    for name in view.inputs:
        rank = view.rank(name)
        if rank is not None:
            ranks[name] = rank
    for index in view.order:
        node = view.nodes[index]
        for name in node.output:
            own = view.rank(name) if name in view.constants else _RANKS.get(node.op_type)
            rank = ranks.get(given(node, 0)) if own is None else own
            if name and rank is not None:
                ranks[name] = rank
    return ranks


def misread_axes(view: View) -> list[Misread]:
    """The nodes of a graph whose axes 1.0.4 looks up in the layout of a lower rank; kept with the view."""
    found: list[Misread] | None = view.__dict__.get("misread_axes")
    if found is None:
        found = view.__dict__["misread_axes"] = list(_misread(view))
    return found


def _misread(view: View) -> Iterator[Misread]:
    ranks = noted_ranks(view)
    origins: dict[str, onnx.NodeProto] = {}
    for index in view.order:
        node = view.nodes[index]
        source, result = given(node, 0), node.output[0] if node.output else ""
        rank, origin = ranks.get(source), origins.get(source)
        if origin is not None and rank is not None:
            found = _at(view, node, origin, rank)
            if found is not None:
                yield found
        if ranks.get(result, 4) < 4 and view.rank(result) == 4 and result not in view.constants:
            origins[result] = origin or node


def _at(view: View, node: onnx.NodeProto, origin: onnx.NodeProto, rank: int) -> Misread | None:
    shape = view.shape(given(node, 0))
    if shape is None or len(shape) != 4:
        return None
    if node.op_type == "Slice":
        return _slice(view, node, origin, rank, shape)
    if node.op_type in ("Concat", "Gather"):
        axes: list[int] | None = [int(attribute(node, "axis", 0))]
    elif node.op_type in _REDUCTIONS:
        axes = axes_of(view, node)
    else:
        return None
    if not axes or (node.op_type == "Gather" and not variable(view, given(node, 0))):
        return None
    used = [_looked_up(axis, rank) for axis in axes]
    return None if used == [axis % 4 for axis in axes] else Misread(origin, node, rank, used, [])


def _looked_up(axis: int, rank: int) -> int:
    """The axis that is used for `axis` of rank 4 data that count as `rank`; the channels if there is none."""
    axis = axis + rank if axis < 0 else axis
    layout = LAYOUT[rank]
    return LAYOUT[4][layout.index(axis) if axis in layout else -1]


def _slice(view: View, node: onnx.NodeProto, origin: onnx.NodeProto, rank: int, shape: Shape) -> Misread | None:
    """The import fails for bounds beyond the noted rank; axes beyond it keep only their first element."""
    written = slice_of(view, node)
    if written is None:
        return None
    everything = (0, 2**31 - 1, 1)
    meant = [everything] * 4
    bounds = [everything if axis < rank or shape[axis] == 1 else (0, 1, 1) for axis in range(4)]
    for axis, *bound in written:
        meant[axis % 4] = (bound[0], bound[1], bound[2])
        used = min(max(axis + rank if axis < 0 else axis, 0), rank)
        if used == rank:
            return Misread(origin, node, rank, None, [])
        bounds[used] = (bound[0], bound[1], bound[2])
    return None if bounds == meant else Misread(origin, node, rank, [0, 1, 2, 3], bounds)


@kind("rank-of-first-operand")
def _rank_of_first(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    found = next((entry for entry in misread_axes(view) if entry.origin is node), None)
    if found is None:
        return
    name, reader = given(node, 0), found.reader
    shape = view.shape(name)
    where = f"{reader.op_type} {label(reader)}"
    if found.axes is None:
        effect = f"{where} slices an axis that data of this rank do not have"
    elif reader.op_type == "Slice":
        effect = f"{where} slices the wrong axes"
    else:
        effect = f"{where} works on axis {', '.join(map(str, found.axes))} instead"
    yield Hit(
        f"the importer gives the result rank {found.rank}, the rank of its first operand {name}"
        f"{'' if shape is None else f' ({text(shape)})'}, so that {effect}",
        name,
        Severity.ERROR if found.axes is None or _sizes_clash(view, found) else None,
    )


def _sizes_clash(view: View, found: Misread) -> bool:
    """Whether the operands of a Concat have different sizes on the axes other than the one that is used."""
    shapes = [view.shape(name) for name in found.reader.input]
    if found.reader.op_type != "Concat" or found.axes is None or any(shape is None for shape in shapes):
        return False
    others = [axis for axis in range(4) if axis != found.axes[0]]
    sizes = [{shape[axis] for shape in shapes if shape is not None and len(shape) == 4} for axis in others]
    return any(len(known - {None}) > 1 for known in sizes)
