"""Small operators in forms that every target computes right: clips, squeezes, products, comparisons, choices.

Barracuda ignores alpha and beta of a Gemm, reads one axis of a Squeeze up to 2.2, and lacks Where and some
comparisons in 1.0 (importer.md, measured.md, recipes_measured.md). Slices, reductions, softmax, resizes and pads
have modules of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.forms import axes_of, has, parameter
from pipeline.graph.shapes import LazyShapes
from pipeline.rewrites.base import Edit, Outcome, Refusal
from pipeline.rewrites.constants import kind_of

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

NAME = "forms"
LARGEST_FLOAT = 3.4e38
"""A Clip bound at or beyond this (torch writes float32's largest number) bounds nothing."""


class Forms:
    """Clip by constants, Squeeze and Unsqueeze by constant axes, Gemm without factors, Where and comparisons.

    Refused: axes and bounds that are computed from the picture.
    """

    name = NAME
    summary = "clips, squeezes, Gemm, Flatten, comparisons and Where take forms that the target computes right"
    removes = (
        "optional-input-dropped",
        "axes-not-an-attribute",
        "negative-axes",
        "only-first-axis",
        "attribute-ignored",
        "gemm-bias-lost",
        "transpose-without-permutation",
        "flatten-of-a-map",
        "unknown-operator",
    )

    def apply(self, graph: gs.Graph, target: Target) -> Outcome:
        shapes = LazyShapes(graph)
        outcome: Outcome = []
        for node in n.nodes_of(graph, *_FORMS):
            if n.is_output(graph, node.outputs[0]) or node.outputs[0].outputs or len(node.outputs) > 1:
                outcome += _FORMS[node.op](graph, node, target, shapes)
        return outcome


def _refuse(node: gs.Node, code: str, reason: str, fix: str = "") -> Outcome:
    return [Refusal(NAME, code, node.name, node.op, reason, fix)]


def _edit(node: gs.Node, what: str, why: str) -> Outcome:
    return [Edit(NAME, (node.name,), what, why)]


def _clip(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    bounds = [parameter(node, name) for name in ("min", "max")]
    if any(held is None and has(node, name) for held, name in zip(bounds, ("min", "max"), strict=True)):
        make = n.Builder(graph, node, NAME)
        tensor, output = node.inputs[0], node.outputs[0]
        given = [n.given(node, 1), n.given(node, 2)]
        steps = [(op, bound) for op, bound in zip(("Max", "Min"), given, strict=True) if bound is not None]
        for index, (op, bound) in enumerate(steps):
            tensor = make.op(op, tensor, bound, out=output if index == len(steps) - 1 else None)
        make.drop()
        return _edit(node, "became Max and Min", "its bounds are not constant")
    low, high = (None if held is None else float(held.reshape(())) for held in bounds)
    low = None if low is None or low <= -LARGEST_FLOAT else low
    high = None if high is None or high >= LARGEST_FLOAT else high
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
    if (low is None and bounds[0] is not None) or (high is None and bounds[1] is not None):
        n.Builder(graph, node, NAME).set(node, min=low, max=high)
        return _edit(node, "lost a bound", "it bounds nothing")
    return []


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
            return _refuse(node, "rank-unknown", "its axes count from the end of a tensor whose rank is not known")
        total = rank if node.op == "Squeeze" else rank + len(axes)
        axes = [axis % total for axis in axes]
    axes = sorted(axes)
    before = n.producer(node.inputs[0])
    if (
        node.op == "Unsqueeze"
        and before is not None
        and before.op == "Squeeze"
        and sorted(axes_of(before) or ()) == axes
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
    if axes_of(node) is not None and has(node, "axes"):
        return []
    n.Builder(graph, node, NAME).set(node, axes=axes)
    return _edit(node, "its axes were written out", "computed axes are an error")


def _flatten(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    """Flatten as Reshape to what it gives: in front of Gemm 2.0 takes its rows in another order (measured)."""
    rows, columns = (shapes.fixed_size(node.outputs[0], axis) for axis in (0, 1))
    if rows is None and columns is None:
        return []
    make = n.Builder(graph, node, NAME)
    shape = make.const([rows or -1, -1 if rows else columns], "shape", np.int64)
    make.op("Reshape", node.inputs[0], shape, out=node.outputs[0])
    make.drop()
    return _edit(node, "became Reshape", "2.0 flattens a map in another order in front of Gemm")


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


def _single(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    """Sum, Mean, Max and Min of one tensor, Concat of one tensor: the tensor itself."""
    if len(node.inputs) == 1 and n.bypass(graph, node):
        return _edit(node, "removed", f"{node.op} of one tensor is the tensor")
    return []


_FORMS: dict[str, Callable[[gs.Graph, gs.Node, Target, LazyShapes], Outcome]] = {
    "Clip": _clip,
    "Squeeze": _squeeze,
    "Unsqueeze": _squeeze,
    "Concat": _single,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GreaterOrEqual": _comparison,
    "LessOrEqual": _comparison,
    "Where": _where,
    "Pow": _pow,
    "Sum": _single,
    "Mean": _single,
    "Max": _single,
    "Min": _single,
}
