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
from pipeline.rewrites.base import Edit, Needed, Outcome, Rewrite
from pipeline.rewrites.element_types import kind_of

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

LARGEST_FLOAT = 3.4e38
"""A Clip bound at or beyond this (torch writes float32's largest number) bounds nothing."""


class Forms(Rewrite):
    """Clip by constants, Squeeze and Unsqueeze by constant axes, Gemm without factors, Where and comparisons.

    Refused: axes and bounds that are computed from the picture.
    """

    name = "forms"
    summary = "clips, squeezes, Gemm, Flatten, comparisons and Where get forms that the target computes correctly"
    removes = (
        "optional-input-dropped",
        "axes-not-an-attribute",
        "negative-axes",
        "only-first-axis",
        "attribute-ignored",
        "gemm-bias-lost",
        "gemm-bias-size",
        "input-missing",
        "unsqueeze-of-input",
        "transpose-without-permutation",
        "flatten-of-a-map",
        "clip-order",
        "single-operand",
        "input-not-constant",
        "unknown-operator",
    )

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        shapes = LazyShapes(graph)
        outcome: Outcome = []
        for node in n.nodes_of(graph, *_FORMS):
            read = n.is_output(graph, node.outputs[0]) or node.outputs[0].outputs or len(node.outputs) > 1
            if read and needed(node):
                outcome += _FORMS[node.op](graph, node, target, shapes)
        return outcome


def _clip(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    bounds = [parameter(node, name) for name in ("min", "max")]
    if any(
        bound_values is None and has(node, name) for bound_values, name in zip(bounds, ("min", "max"), strict=True)
    ):
        make = n.Builder(graph, node, Forms.name)
        tensor, output = node.inputs[0], node.outputs[0]
        given = [n.given(node, 1), n.given(node, 2)]
        steps = [(op, bound) for op, bound in zip(("Max", "Min"), given, strict=True) if bound is not None]
        for index, (op, bound) in enumerate(steps):
            tensor = make.op(op, tensor, bound, out=output if index == len(steps) - 1 else None)
        make.drop()
        return Forms.edit(node, "became Max and Min", "its bounds are not constant")
    low, high = (None if bound_values is None else float(bound_values.reshape(())) for bound_values in bounds)
    if low is not None and high is not None and low > high:
        make = n.Builder(graph, node, Forms.name)
        make.op("Min", make.op("Max", node.inputs[0], low), high, out=node.outputs[0])
        make.drop()
        return Forms.edit(node, "became Max and Min", "its minimum is above its maximum")
    return []


def _squeeze(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    if kind_of(node.inputs[0]) in ("i", "u"):
        return []
    axes, rank = axes_of(node, shapes.here), shapes.here.rank(node.inputs[0])
    if axes is None:
        return Forms.refuse(node, "axes-not-constant", "its axes are computed")
    if not axes:
        shape = shapes.here.static(node.inputs[0])
        if shape is None:
            return Forms.refuse(node, "squeeze-without-axes", "it removes axes of size 1, which are not known")
        axes = [axis for axis, size in enumerate(shape) if size == 1]
    if any(axis < 0 for axis in axes):
        if rank is None:
            return Forms.refuse(node, "rank-unknown", "its axes count from the end, and the rank is not known")
        total = rank if node.op == "Squeeze" else rank + len(axes)
        axes = [axis % total for axis in axes]
    axes = sorted(axes)
    if len(axes) > 1 and not target.can("squeeze-of-several-axes"):
        make = n.Builder(graph, node, Forms.name)
        tensor, output, op = node.inputs[0], node.outputs[0], node.op
        order = list(reversed(axes)) if op == "Squeeze" else axes
        for position, axis in enumerate(order):
            tensor = make.op(op, tensor, axes=[axis], out=output if position == len(order) - 1 else None)
        make.drop()
        return Forms.edit(node, f"became one {op} per axis")
    if axes_of(node) is not None and has(node, "axes"):
        return []
    n.Builder(graph, node, Forms.name).set(node, axes=axes)
    return Forms.edit(node, "its axes were made explicit")


def _flatten(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    """Flatten as Reshape to what it gives: in front of Gemm 2.0 takes its rows in another order (measured)."""
    rows, columns = (shapes.fixed_size(node.outputs[0], axis) for axis in (0, 1))
    if rows is None and columns is None:
        return []
    make = n.Builder(graph, node, Forms.name)
    shape = make.const([rows or -1, -1 if rows else columns], "shape", np.int64)
    make.op("Reshape", node.inputs[0], shape, out=node.outputs[0])
    make.drop()
    return Forms.edit(node, "became Reshape")


def _gemm(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    weights, bias = n.value(node.inputs[1]), n.value(n.given(node, 2))
    alpha, beta = float(node.attrs.get("alpha", 1.0)), float(node.attrs.get("beta", 1.0))
    if weights is None or (n.given(node, 2) is not None and bias is None):
        return []
    columns = weights.shape[0 if node.attrs.get("transB") else 1]
    if alpha == 1.0 and beta == 1.0 and bias is not None and bias.shape == (columns,):
        return []
    make = n.Builder(graph, node, Forms.name)
    if bias is not None and ((bias.ndim > 1 and bias.shape[0] != 1) or bias.size not in (1, columns)):
        return Forms.refuse(node, "gemm-bias-shape", f"its bias of shape {bias.shape} differs per row")
    full = np.zeros(columns) if bias is None else np.broadcast_to(bias.reshape(-1) * np.float32(beta), (columns,))
    if alpha != 1.0:
        node.inputs[1] = make.const(weights * np.float32(alpha), "weights")
    node.inputs = [*node.inputs[:2], make.const(full, "bias")]
    node.attrs.pop("alpha", None)
    node.attrs.pop("beta", None)
    return Forms.edit(node, "alpha and beta folded, bias written as a vector")


def _comparison(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    make = n.Builder(graph, node, Forms.name)
    opposite = "Less" if node.op == "GreaterOrEqual" else "Greater"
    make.op("Not", make.op(opposite, *node.inputs), out=node.outputs[0])
    make.drop()
    return Forms.edit(node, f"became Not({opposite})")


def _where(graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
    """mask * a + (1 - mask) * b (measured); both branches must be finite, as they are in a picture network."""
    make = n.Builder(graph, node, Forms.name)
    condition, chosen, other = node.inputs
    mask = make.op("Cast", condition, to=1)
    rest = make.op("Mul", make.op("Sub", 1.0, mask), other)
    make.op("Add", make.op("Mul", mask, chosen), rest, out=node.outputs[0])
    make.drop()
    return Forms.edit(node, "became a blend by the mask")


_FORMS: dict[str, Callable[[gs.Graph, gs.Node, Target, LazyShapes], Outcome]] = {
    "Clip": _clip,
    "Squeeze": _squeeze,
    "Unsqueeze": _squeeze,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GreaterOrEqual": _comparison,
    "LessOrEqual": _comparison,
    "Where": _where,
}


class NoOps(Rewrite):
    """What computes nothing goes: clips without bounds, sums of one tensor, a Resize by 1, a Squeeze and its
    Unsqueeze.

    A Clip from 0 on is the Relu that it computes, which every target fuses.
    """

    name = "no-ops"
    summary = (
        "clips without bounds, sums of one tensor, and shape changes that cancel are removed; a Clip from 0 on "
        "becomes Relu"
    )
    reason = "one layer fewer"

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        for node in n.nodes_of(graph, "Clip", "Concat", "Sum", "Mean", "Max", "Min", "Resize", "Unsqueeze"):
            what = self._clip(graph, node) if node.op == "Clip" else self._passes(graph, node)
            if what:
                outcome.append(Edit(self.name, (node.name,), what, self.reason))
        return outcome

    def _clip(self, graph: gs.Graph, node: gs.Node) -> str:
        bounds = {name: parameter(node, name) for name in ("min", "max")}
        if any(value is None and has(node, name) for name, value in bounds.items()):
            return ""
        low, high = (None if value is None else float(value.reshape(())) for value in bounds.values())
        low = None if low is None or low <= -LARGEST_FLOAT else low
        high = None if high is None or high >= LARGEST_FLOAT else high
        if low is None and high is None:
            return "removed: it has no effect" if n.bypass(graph, node) else ""
        if low == 0.0 and high is None:
            node.op, node.attrs, node.inputs = "Relu", {}, [node.inputs[0]]
            return "became Relu"
        if (low is None and bounds["min"] is not None) or (high is None and bounds["max"] is not None):
            n.Builder(graph, node, self.name).set(node, min=low, max=high)
            return "a bound without effect was removed"
        return ""

    def _passes(self, graph: gs.Graph, node: gs.Node) -> str:
        if node.op == "Resize":
            scales = n.value(n.given(node, 2))
            same = scales is not None and bool(scales.size) and bool(np.all(scales == 1))
            moves = n.text(node, "coordinate_transformation_mode") == "tf_crop_and_resize"
            return "removed: Resize by 1" if same and not moves and n.bypass(graph, node) else ""
        if node.op != "Unsqueeze":
            return f"removed: {node.op} of one tensor" if len(node.inputs) == 1 and n.bypass(graph, node) else ""
        before = n.producer(node.inputs[0])
        axes = axes_of(node)
        if before is None or before.op != "Squeeze" or not axes or min(axes) < 0:
            return ""
        same = sorted(axes_of(before) or ()) == sorted(axes)
        undone = same and n.bypass(graph, node, before.inputs[0])
        return "removed together with the Squeeze before it" if undone else ""
