"""Younger opsets' forms of an operator become the opset 9 dialect that all Barracudas read.

Barracuda checks no opset; what breaks is each handler that looks for an attribute which became an input
(importer.md sections 1 and 11). The forms written here were run in 1.0.4, 2.0.0 and 3.0.0 (measured.md,
recipes_measured.md). Reductions and softmax have their own module, so have Resize and Pad's recipes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.forms import axes_of, pads_of, slice_spec, split_sizes
from pipeline.graph.shapes import LazyShapes
from pipeline.rewrites.base import Edit, Refusal
from pipeline.rewrites.constants import kind_of

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

NAME = "opset"
INT32_MAX = 2**31 - 1
"""A Slice end that means "to the end" and is right in all versions; INT64_MAX is not in 1.0.4 (measured)."""
LARGEST_FLOAT = 3.4e38
"""A Clip bound at or beyond this (torch writes float32's largest number) bounds nothing."""

Outcome = list[Edit | Refusal]
_ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less")
_RANK = "its axes count from the end of a tensor whose rank is not known"


class OpsetForms:
    """Inputs become attributes, Split becomes Slices, axes become non-negative, and missing defaults are written.

    Left alone: forms that are the dialect's already, integer sub-graphs (they are folded), and nodes whose
    parameters are not constant, which are refused.
    """

    name = NAME
    summary = "operators written for opset 10 and later take their opset 9 form"
    removes = (
        "pads-input-ignored",
        "pads-do-not-fold",
        "pad-axes-ignored",
        "optional-input-dropped",
        "axes-not-an-attribute",
        "negative-axes",
        "only-first-axis",
        "split-without-attribute",
        "split-second-output",
        "slice-end-int64",
        "slice-steps",
        "slice-backwards",
        "slice-without-steps",
        "attribute-ignored",
        "gemm-bias-lost",
        "transpose-without-permutation",
        "flatten-of-a-map",
        "gather-scalar-index",
        "gather-negative-index",
        "unknown-operator",
    )

    def apply(self, graph: gs.Graph, target: Target) -> Outcome:
        shapes = LazyShapes(graph)
        outcome: Outcome = []
        if graph.opset < 7:
            for node in n.nodes_of(graph, *_ARITHMETIC, "Gemm", "BatchNormalization", "Dropout", "PRelu"):
                outcome += _legacy(graph, node)
        outcome += _plain_padding(graph)
        for node in n.nodes_of(graph, *_FORMS):
            if n.is_output(graph, node.outputs[0]) or node.outputs[0].outputs or len(node.outputs) > 1:
                outcome += _FORMS[node.op](graph, node, target, shapes)
        return outcome


def _plain_padding(graph: gs.Graph) -> list[Edit]:
    """auto_pad=NOTSET is the default: torch's dynamo exporter writes it, the others do not."""
    names = []
    for node in graph.nodes:
        if n.text(node, "auto_pad") == "NOTSET":
            del node.attrs["auto_pad"]
            names.append(node.name)
    if not names:
        return []
    return [
        Edit(NAME, tuple(names), "auto_pad NOTSET dropped", "it is the default: the same graph from any exporter")
    ]


def _refuse(node: gs.Node, code: str, reason: str, fix: str = "") -> Outcome:
    return [Refusal(NAME, code, node.name, node.op, reason, fix)]


def _edit(node: gs.Node, what: str, why: str) -> Outcome:
    return [Edit(NAME, (node.name,), what, why)]


def _pad(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    if len(node.inputs) == 1:
        return []
    rank = shapes.here.rank(node.inputs[0])
    if rank is None and n.given(node, 3) is None:
        held = shapes.here.value(n.given(node, 1))
        rank = None if held is None else held.size // 2
    pads = None if rank is None else pads_of(node, rank, shapes.here)
    if pads is None:
        reason = "its pads are computed from the picture"
        return _refuse(node, "pads-not-constant", reason, "pad by constant amounts in the network")
    filler = n.given(node, 2)
    value = 0.0 if filler is None else n.scalar(filler)
    if value is None:
        return _refuse(node, "pad-value-not-constant", "the value that it pads with is computed")
    node.attrs["pads"] = [int(p) for p in pads]
    node.attrs.setdefault("mode", "constant")
    if value and n.text(node, "mode") == "constant":
        node.attrs["value"] = value
    node.inputs = [node.inputs[0]]
    return _edit(node, "pads and value became attributes", "1.0 does not pad at all without, 2.0 drops the value")


def _clip(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    low, high = node.attrs.get("min"), node.attrs.get("max")
    bounds = [n.given(node, 1), n.given(node, 2)]
    if any(bound is not None and n.scalar(bound) is None for bound in bounds):
        make = n.Builder(graph, node, NAME)
        tensor, output = node.inputs[0], node.outputs[0]
        steps = [(op, bound) for op, bound in zip(("Max", "Min"), bounds, strict=True) if bound is not None]
        for index, (op, bound) in enumerate(steps):
            tensor = make.op(op, tensor, bound, out=output if index == len(steps) - 1 else None)
        make.drop()
        return _edit(node, "became Max and Min", "its bounds are not constant")
    changed = len(node.inputs) > 1
    if bounds[0] is not None:
        low = n.scalar(bounds[0])
    if bounds[1] is not None:
        high = n.scalar(bounds[1])
    low = None if low is None or low <= -LARGEST_FLOAT else float(low)
    high = None if high is None or high >= LARGEST_FLOAT else float(high)
    if low is None and high is None:
        return _edit(node, "removed", "it bounds nothing") if n.bypass(graph, node) else []
    if low == 0.0 and high is None:
        node.op, node.attrs, node.inputs = "Relu", {}, [node.inputs[0]]
        return _edit(node, "became Relu", "that is what it computes, and Relu is fused")
    if low is not None and high is not None and low > high:
        make = n.Builder(graph, node, NAME)
        make.op("Min", make.op("Max", node.inputs[0], low), high, out=node.outputs[0])
        make.drop()
        return _edit(node, "became Max and Min", "its minimum is above its maximum")
    if not changed:
        return []
    node.inputs = [node.inputs[0]]
    node.attrs = {key: held for key, held in (("min", low), ("max", high)) if held is not None}
    return _edit(node, "bounds became attributes", "bounds that do not fold are dropped without a word")


def _slice(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    if kind_of(node.inputs[0]) in ("i", "u"):
        return []
    spec = slice_spec(node, shapes.here)
    if spec is None:
        return _refuse(
            node, "slice-not-constant", "its bounds are computed from the picture", "slice by constant bounds"
        )
    rank = shapes.here.rank(node.inputs[0])
    if rank is None and any(axis < 0 for axis in spec[2]):
        return _refuse(node, "rank-unknown", _RANK)
    bounds = []
    for start, end, axis, step in sorted(zip(*spec, strict=True), key=lambda bound: bound[2] % (rank or 8)):
        axis = axis if axis >= 0 else axis + rank  # type: ignore[operator]
        fixed = shapes.fixed_size(node.inputs[0], axis)
        if fixed is not None and step > 0:
            start, end, _ = slice(start, end).indices(fixed)
        elif end >= INT32_MAX:
            end = INT32_MAX
        bounds.append((start, end, axis, step))
    steps = {axis: step for _, _, axis, step in bounds if step != 1}
    if any(step < 0 or axis not in (2, 3) or rank != 4 for axis, step in steps.items()):
        return _stepped_gather(graph, node, bounds, shapes)
    plain = [(s, e, a) for s, e, a, _ in bounds if (s, e) != (0, INT32_MAX)]
    plain = [(s, e, a) for s, e, a in plain if (s, e) != (0, shapes.fixed_size(node.inputs[0], a))]
    starts, ends, axes = [list(column) for column in zip(*plain, strict=True)] if plain else ([], [], [])
    if steps:
        return _stepped_pool(graph, node, (starts, ends, axes), steps)
    if not axes:
        if n.bypass(graph, node):
            return _edit(node, "removed", "it cuts nothing off")
        starts, ends, axes = [[value] for value in bounds[0][:3]]
    wanted = {"starts": starts, "ends": ends, "axes": axes}
    if len(node.inputs) == 1 and {key: list(n.ints(node, key, ())) for key in wanted} == wanted:
        return []
    node.inputs, node.attrs = [node.inputs[0]], wanted
    return _edit(node, "bounds became literal attributes", "computed and 64 bit bounds are read differently")


def _stepped_pool(
    graph: gs.Graph, node: gs.Node, cut: tuple[list[int], list[int], list[int]], steps: dict[int, int]
) -> Outcome:
    """Every k-th row and column: MaxPool with kernel 1 and stride k; unequal strides after repeating rows."""
    make = n.Builder(graph, node, NAME)
    tensor, output = node.inputs[0], node.outputs[0]
    if cut[2]:
        tensor = make.op("Slice", tensor, starts=cut[0], ends=cut[1], axes=cut[2])
    rows, columns = steps.get(2, 1), steps.get(3, 1)
    stride = math.lcm(rows, columns)
    if rows != columns:
        scales = make.const([1, 1, stride // rows, stride // columns], "scales")
        tensor = make.op("Upsample", tensor, scales, mode="nearest")
    make.op("MaxPool", tensor, kernel_shape=[1, 1], strides=[stride, stride], out=output)
    make.drop()
    return _edit(node, "became a MaxPool of kernel 1 with strides", "steps are off by one in 1.0 (measured)")


def _stepped_gather(
    graph: gs.Graph, node: gs.Node, bounds: list[tuple[int, int, int, int]], shapes: LazyShapes
) -> Outcome:
    """Backward or channel steps: Gather with constant indices, where the size along the axis is known."""
    make = n.Builder(graph, node, NAME)
    tensor, output = node.inputs[0], node.outputs[0]
    shape = shapes.here.of(tensor)
    baked = False
    indices = []
    for start, end, axis, step in bounds:
        size = None if shape is None else shape[axis]
        if size is None:
            return _refuse(
                node,
                "slice-steps-need-size",
                f"it takes every {step}th along axis {axis}, whose size is not known",
                "declare the picture's height and width",
            )
        baked = baked or shapes.fixed_size(tensor, axis) is None
        stop = max(end, -size - 1) if step < 0 else end
        indices.append((axis, np.arange(size)[slice(start, None if stop == -size - 1 else stop, step)]))
    for position, (axis, held) in enumerate(indices):
        out = output if position == len(indices) - 1 else None
        tensor = make.op("Gather", tensor, make.const(held, "indices", np.int64), axis=axis, out=out)
    make.drop()
    note = " for the declared picture size alone" if baked else ""
    return _edit(
        node, f"became Gather with constant indices{note}", "backward steps are wrong up to 2.0 (measured)"
    )


def _split(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    if kind_of(node.inputs[0]) in ("i", "u"):
        return []
    shape = shapes.here.of(node.inputs[0])
    axis = int(node.attrs.get("axis", 0))
    parts = split_sizes(node, shape, shapes.here)
    if parts is None or (axis < 0 and shape is None):
        return _refuse(
            node, "split-sizes-unknown", "the sizes of its parts are not known", "declare the picture's size"
        )
    axis = axis if axis >= 0 else axis + len(shape)  # type: ignore[arg-type]
    explicit = "split" in node.attrs or n.given(node, 1) is not None
    baked = not explicit and shapes.fixed_size(node.inputs[0], axis) is None
    make = n.Builder(graph, node, NAME)
    outputs, source, start = list(node.outputs), node.inputs[0], 0
    make.drop()
    for output, size in zip(outputs, parts, strict=True):
        make.op("Slice", source, starts=[start], ends=[start + size], axes=[axis], out=output)
        start += size
    note = " for the declared picture size alone" if baked else ""
    return _edit(node, f"became Slices{note}", "1.0 has no Split, later ones know only its first part's channels")


def _squeeze(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    if kind_of(node.inputs[0]) in ("i", "u"):
        return []
    axes, rank = axes_of(node, shapes.here), shapes.here.rank(node.inputs[0])
    if axes is None:
        return _refuse(node, "axes-not-constant", "its axes are computed")
    if not axes:
        shape = shapes.here.static(node.inputs[0])
        if shape is None:
            return _refuse(node, "squeeze-without-axes", "it removes axes of size 1, which are not known")
        axes = [axis for axis, size in enumerate(shape) if size == 1]
    if any(axis < 0 for axis in axes):
        if rank is None:
            return _refuse(node, "rank-unknown", _RANK)
        total = rank if node.op == "Squeeze" else rank + len(axes)
        axes = [axis % total for axis in axes]
    axes = sorted(axes)
    before = n.producer(node.inputs[0])
    if (
        node.op == "Unsqueeze"
        and before is not None
        and before.op == "Squeeze"
        and sorted(n.ints(before, "axes", ())) == axes
        and n.bypass(graph, node, before.inputs[0])
    ):
        return _edit(node, "removed together with the Squeeze before it", "the two undo each other")
    if len(axes) > 1 and not target.can("squeeze-of-several-axes"):
        make = n.Builder(graph, node, NAME)
        tensor, output, op = node.inputs[0], node.outputs[0], node.op
        order = list(reversed(axes)) if op == "Squeeze" else axes
        for position, axis in enumerate(order):
            tensor = make.op(op, tensor, axes=[axis], out=output if position == len(order) - 1 else None)
        make.drop()
        return _edit(node, f"became one {op} per axis", "up to 2.2 only the first axis is read")
    if len(node.inputs) == 1 and list(n.ints(node, "axes", ())) == axes:
        return []
    node.inputs, node.attrs = [node.inputs[0]], {"axes": axes}
    return _edit(node, "axes became an attribute, counted from the front", "up to 2.0 an axes input is an error")


def _axis(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    """Concat, Gather, ArgMax and ArgMin: their one axis counted from the front."""
    axis = int(node.attrs.get("axis", 0))
    if axis < 0:
        rank = shapes.here.rank(node.inputs[0])
        if rank is None:
            return _refuse(node, "rank-unknown", _RANK)
        node.attrs["axis"] = axis + rank
        return _edit(node, "axis counted from the front", "negative axes are read differently per version")
    return []


def _gather(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    done = _axis(graph, node, target, shapes)
    indices = n.value(n.given(node, 1))
    axis = int(node.attrs.get("axis", 0))
    if done or indices is None or kind_of(node.inputs[0]) in ("i", "u"):
        return done
    if indices.ndim == 0:
        start = int(indices)
        make = n.Builder(graph, node, NAME)
        part = make.op(
            "Slice", node.inputs[0], starts=[start], ends=[INT32_MAX if start == -1 else start + 1], axes=[axis]
        )
        make.op("Squeeze", part, axes=[axis], out=node.outputs[0])
        make.drop()
        return _edit(node, "became Slice and Squeeze", "a single index is read as a list of one")
    if (indices < 0).any():
        size = shapes.fixed_size(node.inputs[0], axis)
        if size is None:
            return _refuse(node, "gather-negative-index", "its indices count from an end that is not known")
        make = n.Builder(graph, node, NAME)
        node.inputs[1] = make.const(np.where(indices < 0, indices + size, indices), "indices", np.int64)
        return _edit(node, "indices counted from the front", "negative indices are not supported")
    return []


def _flatten(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    """Flatten as Reshape to what it gives: in front of Gemm 2.0 takes its rows in another order (measured)."""
    rows, columns = (shapes.fixed_size(node.outputs[0], axis) for axis in (0, 1))
    if rows is None and columns is None:
        return _axis(graph, node, target, shapes) if "axis" in node.attrs else []
    make = n.Builder(graph, node, NAME)
    shape = make.const([rows or -1, -1 if rows else columns], "shape", np.int64)
    make.op("Reshape", node.inputs[0], shape, out=node.outputs[0])
    make.drop()
    return _edit(node, "became Reshape", "2.0 flattens a map in another order in front of Gemm")


def _transpose(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    if "perm" in node.attrs:
        return []
    rank = shapes.here.rank(node.inputs[0])
    if rank is None:
        return _refuse(node, "rank-unknown", "it reverses the axes of a tensor whose rank is not known")
    node.attrs["perm"] = list(reversed(range(rank)))
    return _edit(node, "perm written out", "without it Barracuda from 1.3 on keeps the order")


def _gemm(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    weights, bias = n.value(node.inputs[1]), n.value(n.given(node, 2))
    alpha, beta = float(node.attrs.get("alpha", 1.0)), float(node.attrs.get("beta", 1.0))
    if weights is None or (n.given(node, 2) is not None and bias is None):
        return []
    columns = weights.shape[0 if node.attrs.get("transB") else 1]
    if alpha == 1.0 and beta == 1.0 and bias is not None and bias.shape == (columns,):
        return []
    make = n.Builder(graph, node, NAME)
    if bias is not None and ((bias.ndim > 1 and bias.shape[0] != 1) or bias.size not in (1, columns)):
        return _refuse(node, "gemm-bias-shape", f"its bias of shape {bias.shape} differs per row")
    full = np.zeros(columns) if bias is None else np.broadcast_to(bias.reshape(-1) * np.float32(beta), (columns,))
    if alpha != 1.0:
        node.inputs[1] = make.const(weights * np.float32(alpha), "weights")
    node.inputs = [*node.inputs[:2], make.const(full, "bias")]
    node.attrs.pop("alpha", None)
    node.attrs.pop("beta", None)
    return _edit(node, "alpha and beta folded, bias written as a vector", "alpha and beta are ignored (measured)")


def _comparison(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    if target.accepts(node.op):
        return []
    make = n.Builder(graph, node, NAME)
    opposite = "Less" if node.op == "GreaterOrEqual" else "Greater"
    make.op("Not", make.op(opposite, *node.inputs), out=node.outputs[0])
    make.drop()
    return _edit(node, f"became Not({opposite})", f"{target.name} has no {node.op}")


def _where(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    """mask * a + (1 - mask) * b (measured); both branches must be finite, as they are in a picture network."""
    if target.accepts("Where"):
        return []
    make = n.Builder(graph, node, NAME)
    condition, chosen, other = node.inputs
    mask = make.op("Cast", condition, to=1)
    rest = make.op("Mul", make.op("Sub", 1.0, mask), other)
    make.op("Add", make.op("Mul", mask, chosen), rest, out=node.outputs[0])
    make.drop()
    return _edit(node, "became a blend by the mask", f"{target.name} has no Where")


def _pow(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    exponent = n.value(node.inputs[1])
    if exponent is None or exponent.dtype.kind == "f" or kind_of(node.inputs[0]) in ("i", "u"):
        return []
    node.inputs[1] = n.Builder(graph, node, NAME).const(exponent, "exponent")
    return _edit(node, "exponent became float32", "below opset 12 both operands have one type")


def _legacy(graph: gs.Graph, node: gs.Node) -> Outcome:
    """Attributes that ended with opset 6: `broadcast` and `axis` of arithmetic, `is_test`, `consumed_inputs`."""
    gone = [key for key in ("broadcast", "is_test", "consumed_inputs", "spatial") if key in node.attrs]
    if node.op in _ARITHMETIC and "axis" in node.attrs:
        axis, held = int(node.attrs.pop("axis")), n.value(node.inputs[1])
        rank = LazyShapes(graph).here.rank(node.inputs[0])
        if held is None or rank is None:
            node.attrs["axis"] = axis
            return _refuse(node, "legacy-broadcast", "it broadcasts a computed tensor as before opset 7")
        shape = (*held.shape, *(1,) * (rank - axis % rank - held.ndim))
        node.inputs[1] = n.Builder(graph, node, NAME).const(held.reshape(shape), "aligned")
        gone.append("axis")
    slope = n.value(node.inputs[1]) if node.op == "PRelu" else None
    if slope is not None and slope.ndim == 1 and slope.size > 1:
        rank = LazyShapes(graph).here.rank(node.inputs[0]) or 4
        node.inputs[1] = n.Builder(graph, node, NAME).const(slope.reshape(-1, *(1,) * (rank - 2)), "aligned")
        gone.append("slope per channel")
    if not gone or node.attrs.get("spatial", 1) != 1:
        return []
    node.attrs = {key: held for key, held in node.attrs.items() if key not in gone}
    return _edit(node, f"{', '.join(gone)} dropped", "younger opsets say it by shapes")


def _single(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    """Sum, Mean, Max and Min of one tensor, Concat of one tensor: the tensor itself."""
    if len(node.inputs) == 1 and n.bypass(graph, node):
        return _edit(node, "removed", f"{node.op} of one tensor is the tensor")
    return _axis(graph, node, target, shapes) if node.op == "Concat" and node.inputs else []


def _space_to_depth(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    """`mode` of opset 28: DCR is what older opsets do, CRD the same with the channels in another order."""
    mode, block = n.text(node, "mode", ""), int(node.attrs["blocksize"])
    if not mode:
        return []
    if mode == "CRD":
        size = shapes.here.of(node.inputs[0])
        if size is None or size[1] is None:
            return []
        make = n.Builder(graph, node, NAME)
        order = np.arange(size[1] * block * block).reshape(block * block, size[1]).T.reshape(-1)
        deep = make.op("SpaceToDepth", node.inputs[0], blocksize=block)
        n.replace_output(make.op("Gather", deep, make.const(order, "channels", np.int64), axis=1), node.outputs[0])
        make.drop()
    node.attrs.pop("mode", None)
    return _edit(node, "mode dropped", "Barracuda knows DCR alone and warns of the attribute")


_FORMS: dict[str, Callable[[gs.Graph, gs.Node, Target, LazyShapes], Outcome]] = {
    "Pad": _pad,
    "Clip": _clip,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Unsqueeze": _squeeze,
    "Concat": _single,
    "Gather": _gather,
    "ArgMax": _axis,
    "ArgMin": _axis,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Gemm": _gemm,
    "GreaterOrEqual": _comparison,
    "LessOrEqual": _comparison,
    "Where": _where,
    "Pow": _pow,
    "SpaceToDepth": _space_to_depth,
    "Sum": _single,
    "Mean": _single,
    "Max": _single,
    "Min": _single,
}
