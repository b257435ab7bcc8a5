"""One operator on channels-last tensors, rewritten to do the same on channels-first ones.

`remap` is what `layout` moves a Transpose across an operator with: the operator reads what the Transpose read,
its axes, pads, scales and constants follow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.graph import nodes as n
from pipeline.graph.elementwise import BROADCASTING, UNARY
from pipeline.graph.forms import axes_of, filler, pads_of, slice_spec

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.graph.shape import Shapes

_AXES = (0, 2, 3, 1)
"""Channels-last axis i is channels-first axis _AXES[i] (the permutation of the Transpose to channels last)."""
_LAST_TO_FIRST = (0, 3, 1, 2)

_ELEMENTWISE = UNARY | BROADCASTING
_REDUCING = frozenset(["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"])
_ALONG = frozenset(["Concat", "Split", "Gather", "ArgMax", "ArgMin", "Softmax", "LogSoftmax"])
MOVED = _ELEMENTWISE | _REDUCING | _ALONG | {"Pad", "Slice", "Resize", "MatMul"}
"""The operators that a Transpose to channels last can move across."""


def remap(graph: gs.Graph, node: gs.Node, shapes: Shapes) -> list[int] | None:
    """Let `node`, which reads Transposes to channels last, read what they read; None if that cannot be, unchanged.

    Returns the positions of the outputs that must be transposed to be what they were (all, unless an operator
    removes the axes in question).
    """
    build = n.Builder(graph, node, "layout")
    if node.op in _ELEMENTWISE:
        count = len(node.inputs) if node.op in BROADCASTING or node.op == "PRelu" else 1
        return _everywhere(build, node, shapes, count)
    if node.op == "Concat":
        return _everywhere(build, node, shapes, len(node.inputs), lambda: _axis(node))
    if _source(node.inputs[0]) is None:
        return None
    match node.op:
        case "MatMul":
            return _product(build, node)
        case op if op in _REDUCING or op.startswith("Arg"):
            return _reduce(build, node, shapes)
        case "Softmax" | "LogSoftmax" | "Split":
            change = _axis
        case "Gather":
            picks = n.value(n.given(node, 1))
            if picks is None or picks.ndim != 1:
                return None
            change = _axis
        case "Pad":
            if not _pad(build, node):
                return None
            change = _nothing
        case "Slice":
            if not _slice(build, node, shapes):
                return None
            change = _nothing
        case _:
            if not _resize(build, node):
                return None
            change = _nothing
    change(node)
    node.inputs[0] = _source(node.inputs[0])
    return list(range(len(node.outputs)))


def _nothing(node: gs.Node) -> None:
    """Already done."""


def _source(tensor: gs.Tensor) -> gs.Tensor | None:
    """What a Transpose to channels last reads, if such a one makes the tensor."""
    maker = n.producer(tensor)
    if maker is None or maker.op != "Transpose" or n.ints(maker, "perm") != _AXES:
        return None
    return maker.inputs[0]


def _axis(node: gs.Node) -> None:
    default = -1 if node.op in ("Softmax", "LogSoftmax") else 0
    node.attrs["axis"] = _AXES[int(node.attrs.get("axis", default)) % 4]


def _everywhere(
    build: n.Builder, node: gs.Node, shapes: Shapes, count: int, change: Callable[[], None] | None = None
) -> list[int] | None:
    """All first `count` inputs are Transposes, or constants that are transposed here."""
    sources: list[gs.Tensor] = []
    for tensor in node.inputs[:count]:
        constant = n.value(tensor)
        source = _source(tensor)
        if source is not None or tensor.is_empty() or (constant is not None and constant.size == 1):
            sources.append(tensor if source is None else source)
        elif constant is not None and constant.ndim <= 4:
            full = constant.reshape((1,) * (4 - constant.ndim) + constant.shape)
            sources.append(build.const(full.transpose(_LAST_TO_FIRST), "constant", constant.dtype))
        elif set(shapes.static(tensor) or ()) == {1}:
            sources.append(tensor)
        else:
            return None
    if change is not None:
        change()
    node.inputs = [*sources, *node.inputs[count:]]
    return list(range(len(node.outputs)))


def _product(build: n.Builder, node: gs.Node) -> list[int] | None:
    """A product with a constant matrix (C, K) over the last axis is a 1x1 Conv."""
    matrix = n.value(node.inputs[1])
    if matrix is None or matrix.ndim != 2:
        return None
    weights = build.const(matrix.T[:, :, None, None], "weights", matrix.dtype)
    node.inputs = [_source(node.inputs[0]), weights]
    node.op, node.attrs = "Conv", {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0, 0, 0, 0]}
    node.attrs |= {"dilations": [1, 1], "group": 1}
    return [0]


def _reduce(build: n.Builder, node: gs.Node, shapes: Shapes) -> list[int] | None:
    axes = [int(node.attrs.get("axis", 0))] if node.op.startswith("Arg") else axes_of(node, shapes)
    if not axes:
        return None
    moved = sorted(_AXES[axis % 4] for axis in axes)
    kept = [_AXES[axis] for axis in range(4) if axis not in {a % 4 for a in axes}]
    keeps = bool(node.attrs.get("keepdims", 1))
    if not keeps and kept != sorted(kept):
        return None
    if node.op.startswith("Arg"):
        node.attrs["axis"] = moved[0]
    else:
        build.set(node, axes=moved)
    node.inputs[0] = _source(node.inputs[0])
    return [0] if keeps else []


def _pad(build: n.Builder, node: gs.Node) -> bool:
    pads, value = pads_of(node, 4), filler(node)
    if pads is None or value is None:
        return False
    moved = [0] * 8
    for axis, first in enumerate(_AXES):
        moved[first], moved[first + 4] = pads[axis], pads[axis + 4]
    build.set(node, pads=moved, value=value or None)
    return True


def _slice(build: n.Builder, node: gs.Node, shapes: Shapes) -> bool:
    spec = slice_spec(node, shapes)
    if spec is None:
        return False
    starts, ends, axes, steps = spec
    moved = [_AXES[axis % 4] for axis in axes]
    build.set(node, starts=starts, ends=ends, axes=moved, steps=None if set(steps) == {1} else steps)
    return True


def _resize(build: n.Builder, node: gs.Node) -> bool:
    """Scales and sizes; all constant, or nothing happens."""
    if "crop" in n.text(node, "coordinate_transformation_mode"):
        return False
    if "axes" in node.attrs:
        node.attrs["axes"] = [_AXES[axis % 4] for axis in n.ints(node, "axes", ())]
        return True
    changed = {}
    for position in (2, 3):
        tensor = n.given(node, position)
        values = n.value(tensor)
        if tensor is None or (values is not None and values.size == 0):
            continue
        if values is None or values.size != 4:
            return False
        changed[position] = build.const(values[list(_LAST_TO_FIRST)], "size", values.dtype)
    for position, tensor in changed.items():
        node.inputs[position] = tensor
    return bool(changed)
