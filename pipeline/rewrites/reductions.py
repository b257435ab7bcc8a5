"""Reductions and softmax: over height and width by pooling, over channels by what every version computes right.

1.0.4 reduces only over channels (any other axis throws NotImplementedException); later ones read `axes` as an
attribute, reduce wrong axes for keepdims=0 with negative axes, and know no ReduceL1, ReduceL2, ReduceLogSum,
ReduceLogSumExp and ReduceSumSquare. The recipes are those of recipes_measured.md, groups reduce and activation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.forms import axes_of
from pipeline.graph.shapes import LazyShapes
from pipeline.rewrites.base import Edit, Needed, Outcome, Refusal, Rewrite
from pipeline.rewrites.element_types import kind_of

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target


PLAIN = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd")
COMPOSED = ("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")
SMALLEST = 1e-30
"""What a norm of 0 is divided by instead: 0 / 1e-30 is 0, as LpNormalization gives."""


class Reductions(Rewrite):
    """Reduce* with attribute axes, ascending, non-negative, keepdims=1; means over H and W as GlobalAveragePool.

    Refused for 1.0: a reduction over only height or only width, and a sum over both without a declared size.
    """

    name = "reductions"
    summary = "reductions get their opset 9 form; means over height and width become GlobalAveragePool"
    removes = (
        "axes-input-ignored",
        "axes-not-an-attribute",
        "negative-axes",
        "reduce-not-over-channels",
        "reduce-drops-wrong-axes",
        "reduce-without-axes",
        "unknown-operator",
    )

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        shapes = LazyShapes(graph)
        outcome: Outcome = []
        for node in n.nodes_of(graph, *COMPOSED):
            if needed(node):
                outcome += self._compose(graph, node, target)
        for node in n.nodes_of(graph, "LpNormalization"):
            if needed(node):
                outcome += self._unit(graph, node, target)
        for node in n.nodes_of(graph, *PLAIN):
            if needed(node) and kind_of(node.inputs[0]) not in ("i", "u"):
                outcome += self._reduce(graph, node, target, shapes)
        return outcome

    def _compose(self, graph: gs.Graph, node: gs.Node, target: Target) -> Outcome:
        """L1, L2, SumSquare, LogSum and LogSumExp out of ReduceSum with the same axes."""
        make = n.Builder(graph, node, self.name)
        source, output, rest = node.inputs[0], node.outputs[0], list(node.inputs[1:])
        attrs = dict(node.attrs)
        kind = node.op.removeprefix("Reduce")
        match kind:
            case "L1":
                source = make.op("Abs", source)
            case "L2" | "SumSquare":
                source = make.op("Mul", source, source)
            case "LogSumExp":
                source = make.op("Exp", source)
        last = {"L2": "Sqrt", "LogSum": "Log", "LogSumExp": "Log"}.get(kind)
        total = make.op("ReduceSum", source, *rest, out=None if last else output, **attrs)
        if last:
            make.op(last, total, out=output)
        make.drop()
        return self.edit(node, f"{node.op} composed from ReduceSum")

    def _unit(self, graph: gs.Graph, node: gs.Node, target: Target) -> Outcome:
        """LpNormalization: over the sum of absolute values, or the root of the sum of squares."""
        make = n.Builder(graph, node, self.name)
        source, axis = node.inputs[0], int(node.attrs.get("axis", -1))
        norm = "ReduceL1" if node.attrs.get("p", 2) == 1 else "ReduceL2"
        length = make.op(norm, source, axes=[axis], keepdims=1)
        make.op("Div", source, make.op("Max", length, SMALLEST), out=node.outputs[0])
        make.drop()
        return self.edit(node, f"composed from {norm}")

    def _reduce(self, graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
        source, output = node.inputs[0], node.outputs[0]
        rank, axes = shapes.here.rank(source), axes_of(node, shapes.here)
        if axes is None:
            return self.refuse(node, "axes-not-constant", "its axes are computed")
        if not axes and node.attrs.get("noop_with_empty_axes"):
            return self.edit(node, "removed", "it reduces no axis") if n.bypass(graph, node) else []
        if rank is None:
            if axes and all(axis >= 0 for axis in axes) and node.attrs.get("keepdims", 1):
                return self._written(graph, node, sorted(axes))
            return self.refuse(node, "rank-unknown", "the rank of its input is not known")
        axes = sorted({axis % rank for axis in axes}) or list(range(rank))
        keep = bool(node.attrs.get("keepdims", 1))
        old = not target.can("reduce-over-any-axis")
        make = n.Builder(graph, node, self.name)
        operator = node.op
        if rank == 4 and axes[-2:] == [2, 3] and 0 not in axes:
            pooled = self._pool(make, operator, source, target, shapes)
            if isinstance(pooled, str):
                return self.refuse(node, "reduce-needs-size", pooled, "declare the picture's height and width")
            if pooled is not None:
                if 1 in axes:
                    pooled = make.op(operator, pooled, axes=[1], keepdims=1)
                if not keep:
                    batch, channels = (shapes.here.of(source) or (None, None))[:2]
                    new_shape = [-1] if 1 in axes else [batch, -1] if batch else [-1, channels]
                    if None in new_shape:
                        pooled = make.op("Flatten", pooled, axis=1)
                    else:
                        pooled = make.op("Reshape", pooled, make.const(new_shape, "shape", np.int64))
                n.replace_output(pooled, output)
                make.drop()
                size = shapes.here.of(source) if operator == "ReduceSum" and old else None
                only = f", only for {size[2]}x{size[3]}" if size else ""
                return self.edit(node, f"became global pooling{only}")
        if old and rank == 4 and (2 in axes or 3 in axes):
            return self.refuse(
                node,
                "reduce-over-height-or-width",
                f"{target.name} reduces over channels only, but this reduces over {axes}",
            )
        if keep:
            return self._written(graph, node, axes)
        kept = make.op(operator, source, axes=axes, keepdims=1)
        make.op("Squeeze", kept, axes=axes, out=output)
        make.drop()
        return self.edit(node, "keepdims=1, then Squeeze")

    def _written(self, graph: gs.Graph, node: gs.Node, axes: list[int]) -> Outcome:
        """The axes as a constant, ascending and counted from the front."""
        if axes_of(node) == axes and node.attrs.get("keepdims", 1):
            return []
        n.Builder(graph, node, self.name).set(node, axes=axes)
        return self.edit(node, "its axes were made explicit")

    def _pool(
        self, make: n.Builder, operator: str, source: gs.Tensor, target: Target, shapes: LazyShapes
    ) -> gs.Tensor | str | None:
        """The reduction over height and width as a pool; None where Reduce itself is as good; or why not."""
        if operator == "ReduceMean":
            return make.op("GlobalAveragePool", source)
        if target.can("reduce-over-any-axis"):
            return None
        if operator == "ReduceMax":
            return make.op("GlobalMaxPool", source)
        if operator == "ReduceMin":
            return make.op("Neg", make.op("GlobalMaxPool", make.op("Neg", source)))
        shape = shapes.here.of(source)
        if operator == "ReduceSum" and shape is not None and None not in shape[2:]:
            return make.op("Mul", make.op("GlobalAveragePool", source), float(shape[2] * shape[3]))  # type: ignore[operator]
        return f"{operator} over height and width is a mean times their size, which is not known"


class Softmaxes(Rewrite):
    """Softmax and LogSoftmax with a written axis that means only that axis; over channels also for 1.0.

    Transpose, Softmax on the last axis, Transpose back (torch below opset 13) is one Softmax.
    """

    name = "softmax"
    summary = "softmax gets an explicit axis, and over channels a form that every version computes correctly"
    removes = ("softmax-axis", "softmax-axis-warning")

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        shapes = LazyShapes(graph)
        outcome: Outcome = []
        for node in n.nodes_of(graph, "Softmax", "LogSoftmax"):
            if not needed(node):
                continue
            outcome += self._softmax(graph, node, target, shapes)
        return outcome

    def _softmax(self, graph: gs.Graph, node: gs.Node, target: Target, shapes: LazyShapes) -> Outcome:
        rank = shapes.here.rank(node.inputs[0])
        if rank is None:
            return [Refusal(self.name, "rank-unknown", node.name, node.op, "the rank of its input is not known")]
        axis = int(node.attrs.get("axis", -1)) % rank
        merged = self._transposed(graph, node, axis, rank)
        if merged:
            return merged
        channels = shapes.here.channels(node.inputs[0])
        log = node.op == "LogSoftmax"
        wrong = ("log-softmax-over-everything" if log else "softmax-over-everything") in target.semantics
        if wrong and rank == 4 and axis == 1 and channels is not None:
            return self._over_channels(graph, node, channels, log)
        if wrong and (rank, axis) != (2, 1):
            if log and "softmax-over-everything" not in target.semantics:
                make = n.Builder(graph, node, self.name)
                make.op("Log", make.op("Softmax", node.inputs[0], axis=axis), out=node.outputs[0])
                make.drop()
                return self.edit(node, "became Log(Softmax)")
            reason = f"{target.name} computes it over another axis than {axis} of {rank}"
            return [Refusal(self.name, "softmax-axis", node.name, node.op, reason)]
        return []

    def _transposed(self, graph: gs.Graph, node: gs.Node, axis: int, rank: int) -> Outcome:
        before, after = n.producer(node.inputs[0]), n.only_consumer(graph, node.outputs[0])
        if before is None or after is None or before.op != "Transpose" or after.op != "Transpose":
            return []
        order, back = n.ints(before, "perm"), n.ints(after, "perm")
        if order is None or back is None or [order[b] for b in back] != list(range(rank)):
            return []
        make = n.Builder(graph, node, self.name)
        make.op(node.op, before.inputs[0], axis=order[axis], out=after.outputs[0])
        make.drop()
        names = (before.name, node.name, after.name)
        return [Edit(self.name, names, f"became one {node.op} on axis {order[axis]}", "the transposes cancel")]

    def _over_channels(self, graph: gs.Graph, node: gs.Node, channels: int, log: bool) -> Outcome:
        make = n.Builder(graph, node, self.name)
        source, output = node.inputs[0], node.outputs[0]
        shifted = make.op("Sub", source, make.op("ReduceMax", source, axes=[1], keepdims=1))
        powers = make.op("Exp", shifted)
        n.room(channels, channels, item=8)
        ones = make.const(np.ones((channels, channels, 1, 1)), "ones")
        total = make.op("Conv", powers, ones, kernel_shape=[1, 1])
        if log:
            make.op("Sub", shifted, make.op("Log", total), out=output)
        else:
            make.op("Div", powers, total, out=output)
        make.drop()
        what = "became Exp over its sum by a 1x1 convolution of ones"
        return self.edit(node, what)
