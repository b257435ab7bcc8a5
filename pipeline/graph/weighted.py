"""Graphs that differ only in constants become one graph with a second input: a weight for each.

The second input has shape (1, S, 1, 1), a number for each graph. With 1 for one graph and 0 for the others the
result is that graph; between them, its constants are interpolated. Each constant that differs is computed by a 1x1
convolution of the weights, whose kernel is the table of its values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

INPUT = "style_weights"
"""The name of the second input."""
_NORMS = ("InstanceNormalization", "BatchNormalization")
_ELEMENTWISE = ("Add", "Sub", "Mul", "Div")
_CONVOLUTIONS = ("Conv", "ConvTranspose")
_SAME = 1e-6
"""Kernels whose rows differ by a factor are taken for one kernel, up to this share of their largest value."""


def weighted(graphs: Sequence[gs.Graph]) -> gs.Graph:
    """The one graph; the given ones are not changed. The weights are its last input.

    Raises PipelineError `styles-differ` where the graphs differ in more than constants that can be interpolated.
    """
    import onnx_graphsurgeon as gs

    same_structure(graphs)
    base = graphs[0].copy()
    weights = gs.Variable(n.fresh_name(base, INPUT), dtype=np.float32, shape=[1, len(graphs), 1, 1])
    base.inputs.append(weights)
    for number, node in enumerate(list(base.nodes)):
        tables = {
            index: np.stack([np.asarray(graph.nodes[number].inputs[index].values) for graph in graphs])
            for index, tensor in enumerate(node.inputs)
            if isinstance(tensor, gs.Constant)
            and _differs([graph.nodes[number].inputs[index] for graph in graphs])
        }
        if tables:
            _Conditioned(base, node, weights).by(tables)
    base.cleanup(remove_unused_graph_inputs=False).toposort()
    return base


def same_structure(graphs: Sequence[gs.Graph]) -> None:
    """Raise PipelineError `styles-differ` unless all have the nodes of the first one, with its attributes."""
    import onnx_graphsurgeon as gs

    first = graphs[0]
    for other in graphs[1:]:
        same = len(first.nodes) == len(other.nodes)
        for a, b in zip(first.nodes, other.nodes, strict=False):
            same = same and a.op == b.op and len(a.inputs) == len(b.inputs) and _same_attributes(a, b)
            for tensor, counterpart in zip(a.inputs, b.inputs, strict=False):
                constant = isinstance(tensor, gs.Constant)
                same = same and constant == isinstance(counterpart, gs.Constant)
                same = same and (np.shape(tensor.values) == np.shape(counterpart.values) if constant else True)
                same = same and (constant or tensor.name == counterpart.name)
            if not same:
                raise _differ(f"{a.op} {a.name} is not the same in all of them")
        if not same:
            raise _differ("their nodes differ")


def _same_attributes(a: gs.Node, b: gs.Node) -> bool:
    if a.attrs.keys() != b.attrs.keys():
        return False
    return all(np.array_equal(np.asarray(value), np.asarray(b.attrs[key])) for key, value in a.attrs.items())


def _differs(constants: Sequence[gs.Constant]) -> bool:
    first = np.asarray(constants[0].values)
    return any(not np.array_equal(first, np.asarray(constant.values)) for constant in constants[1:])


def _differ(what: str) -> PipelineError:
    return PipelineError(
        "styles-differ",
        f"the bound styles cannot share one network: {what}",
        subject="--bind",
        remedy="Build each style separately, with one --bind and its own --name.",
    )


class _Conditioned:
    """One node whose constants depend on the weights."""

    def __init__(self, graph: gs.Graph, node: gs.Node, weights: gs.Variable) -> None:
        self.graph, self.node, self.weights = graph, node, weights
        self.make = n.Builder(graph, node, "styles")
        self.count = int(weights.shape[1])

    def by(self, tables: dict[int, np.ndarray]) -> None:
        node = self.node
        if node.op in _NORMS and set(tables) <= {1, 2}:
            self._norm(tables)
        elif node.op in _ELEMENTWISE and len(tables) == 1:
            ((index, values),) = tables.items()
            node.inputs[index] = self._computed(self._channels(values))
        elif node.op in _CONVOLUTIONS and set(tables) <= {1, 2}:
            self._convolution(tables)
        else:
            raise _differ(f"{node.op} {node.name} has constants that cannot be interpolated")

    def _computed(self, table: np.ndarray) -> gs.Tensor:
        """The tensor (1, C, 1, 1) of a table (S, C)."""
        kernel = self.make.const(table.T[:, :, None, None], "table")
        return self.make.op("Conv", self.weights, kernel, kernel_shape=[1, 1], leaf="of_weights")

    def _channels(self, values: np.ndarray) -> np.ndarray:
        """A table (S, C) of constants that are one number, or one for each channel of (N, C, H, W)."""
        shape = values.shape[1:]
        shape = (1,) * (4 - len(shape)) + shape
        if len(shape) != 4 or (shape[0], shape[2], shape[3]) != (1, 1, 1):
            raise _differ(
                f"{self.node.op} {self.node.name} has a constant whose shape does not match its channels"
            )
        return values.reshape(self.count, -1).astype(np.float64)

    def _after(self, scale: np.ndarray | None, shift: np.ndarray | None) -> None:
        """Scale and shift the node's output, by tables (S, C); None leaves that out."""
        import onnx_graphsurgeon as gs

        output = self.node.outputs[0]
        value: gs.Tensor = gs.Variable(n.fresh_name(self.graph, f"{self.make.stem}/plain"), dtype=np.float32)
        self.node.outputs = [value]
        steps = [(op, table) for op, table in (("Mul", scale), ("Add", shift)) if table is not None]
        for number, (op, table) in enumerate(steps, start=1):
            value = self.make.op(op, value, self._computed(table), out=output if number == len(steps) else None)

    def _constant(self, index: int, table: np.ndarray | None) -> np.ndarray:
        """The table of an input: itself, or the same values for every graph."""
        if table is not None:
            return table.astype(np.float64)
        values = np.asarray(self.node.inputs[index].values, np.float64)
        return np.repeat(values[None], self.count, axis=0)

    def _norm(self, tables: dict[int, np.ndarray]) -> None:
        scale = self._constant(1, tables.get(1))
        shift = self._constant(2, tables.get(2))
        length = scale.shape[1]
        self.node.inputs[2] = self.make.const(np.zeros(length), "zeros")
        if 1 in tables:
            self.node.inputs[1] = self.make.const(np.ones(length), "ones")
        self._after(scale if 1 in tables else None, shift)

    def _convolution(self, tables: dict[int, np.ndarray]) -> None:
        node = self.node
        biased = n.given(node, 2) is not None
        shift = self._constant(2, tables.get(2)) if biased else None
        kernel = tables.get(1)
        factor = None if kernel is None else self._factors(kernel)
        if kernel is not None and factor is None:
            self._side_by_side(kernel)
        if 2 not in tables and factor is None:
            return
        if biased:
            node.inputs = [node.inputs[0], node.inputs[1]]
        self._after(factor, shift)

    def _factors(self, kernel: np.ndarray) -> np.ndarray | None:
        """A table (S, C) that makes the rows of the first kernel those of the others; None where none does."""
        if self.node.op != "Conv":
            return None
        rows = kernel.reshape(self.count, kernel.shape[1], -1).astype(np.float64)
        peak = np.abs(rows[0]).argmax(axis=1)
        at = np.take_along_axis(rows, peak[None, :, None].repeat(self.count, 0), axis=2)[..., 0]
        if np.any(at[0] == 0):
            return None
        factor = at / at[0]
        error = np.abs(rows - factor[..., None] * rows[0]).max()
        return factor if error <= _SAME * np.abs(rows).max() else None

    def _side_by_side(self, kernel: np.ndarray) -> None:
        """One convolution of the input once for each graph, each times its weight: kernels are linear in them."""
        node, source = self.node, self.node.inputs[0]
        if node.attrs.get("group", 1) != 1:
            raise _differ(f"the kernels of the grouped {node.op} {node.name} differ")
        axis = 1 if node.op == "Conv" else 0
        inputs = kernel.shape[1 + axis]
        copies = self.make.op("Concat", *[source] * self.count, axis=1)
        which = np.repeat(np.eye(self.count), inputs, axis=1)
        node.inputs[0] = self.make.op("Mul", copies, self._computed(which))
        node.inputs[1] = self.make.const(np.concatenate(list(kernel), axis=axis), "kernels")
