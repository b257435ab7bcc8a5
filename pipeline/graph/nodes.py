"""Small helpers over onnx-graphsurgeon: read constants, look around a node, replace it.

Everything that makes nodes does so through `Builder`, so that new nodes are named after the node that they
replace and the rewrite that made them (`<old>/<rewrite>/<operator>`), and tensors keep their names.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pipeline.graph import surgeon  # noqa: F401 - it makes onnx-graphsurgeon linear in the nodes
from pipeline.support import limits
from pipeline.support.errors import PipelineError

_REDUCTIONS = tuple(
    f"Reduce{kind}"
    for kind in ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"]
)
PARAMETERS: dict[str, tuple[str, ...]] = {
    "Clip": ("min", "max"),
    "Pad": ("pads", "value", "axes"),
    "Resize": ("roi", "scales", "sizes"),
    "Slice": ("starts", "ends", "axes", "steps"),
    "Split": ("split",),
    "Squeeze": ("axes",),
    "TopK": ("k",),
    "Unsqueeze": ("axes",),
    **dict.fromkeys(_REDUCTIONS, ("axes",)),
}
"""The inputs after the first of operators that have parameters there; older opsets have them as attributes."""
_FLOATS = frozenset(["min", "max", "value", "roi", "scales"])
_SCALARS = frozenset(["min", "max", "value"])


def value(tensor: gs.Tensor | None) -> np.ndarray | None:
    """The values of a constant tensor (initializer, or output of a Constant node), else None."""
    if tensor is None:
        return None
    if isinstance(tensor, gs.Constant):
        return np.asarray(tensor.values)
    node = producer(tensor)
    if node is not None and node.op == "Constant" and not node.domain:
        return constant_node_value(node)
    return None


def constant_node_value(node: gs.Node) -> np.ndarray | None:
    """The values of a Constant node, in any of its attribute forms; None for strings and sparse tensors."""
    for name, attribute in node.attrs.items():
        if name == "value":
            return np.asarray(attribute.values)
        if name in ("value_float", "value_floats"):
            return np.asarray(attribute, dtype=np.float32)
        if name in ("value_int", "value_ints"):
            return np.asarray(attribute, dtype=np.int64)
    return None


def scalar(tensor: gs.Tensor | None) -> float | None:
    """The one value of a constant tensor with one element, of any rank, else None."""
    values = value(tensor)
    return float(values.reshape(())) if values is not None and values.size == 1 else None


def type_number(dtype: object) -> int:
    """The number of an ONNX element type, given as that or as a numpy type. Raises KeyError and TypeError."""
    return dtype if isinstance(dtype, int) else int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))  # type: ignore[call-overload]


def given(node: gs.Node, index: int) -> gs.Tensor | None:
    """Input `index` of a node, or None when it is absent or empty (an omitted optional input)."""
    if index >= len(node.inputs):
        return None
    tensor = node.inputs[index]
    return None if tensor is None or tensor.is_empty() else tensor


def empty() -> gs.Variable:
    """What stands for an omitted optional input."""
    return gs.Variable.empty()


def producer(tensor: gs.Tensor | None) -> gs.Node | None:
    """The node that makes a tensor; None for graph inputs and initializers."""
    return tensor.inputs[0] if tensor is not None and tensor.inputs else None


def consumers(tensor: gs.Tensor) -> list[gs.Node]:
    """The nodes that read a tensor, each once, in order."""
    return list({id(node): node for node in tensor.outputs}.values())


def is_output(graph: gs.Graph, tensor: gs.Tensor) -> bool:
    """Whether a tensor is an output of the graph."""
    return any(tensor is output for output in graph.outputs)


def is_input(graph: gs.Graph, tensor: gs.Tensor) -> bool:
    """Whether a tensor is an input of the graph."""
    return any(tensor is given_ for given_ in graph.inputs)


def only_consumer(graph: gs.Graph, tensor: gs.Tensor) -> gs.Node | None:
    """The only node that reads a tensor which is not an output of the graph, else None."""
    readers = consumers(tensor)
    return readers[0] if len(readers) == 1 and not is_output(graph, tensor) else None


def read_only_by(graph: gs.Graph, tensor: gs.Tensor, node: gs.Node) -> bool:
    """Whether `node` is the only reader of a tensor, which is not an output of the graph."""
    return only_consumer(graph, tensor) is node


def nodes_of(graph: gs.Graph, *operators: str) -> Iterator[gs.Node]:
    """The graph's nodes of these standard operators; the graph may be changed while iterating."""
    for node in list(graph.nodes):
        if node.op in operators and node.domain in (None, "", "ai.onnx") and node.outputs:
            yield node


@overload
def ints(node: gs.Node, attribute: str, default: Sequence[int]) -> tuple[int, ...]: ...


@overload
def ints(node: gs.Node, attribute: str, default: None = None) -> tuple[int, ...] | None: ...


def ints(node: gs.Node, attribute: str, default: Sequence[int] | None = None) -> tuple[int, ...] | None:
    """An integer list attribute as a tuple; `default` when it is absent."""
    values = node.attrs.get(attribute, default)
    return None if values is None else tuple(int(v) for v in values)


def text(node: gs.Node, attribute: str, default: str = "") -> str:
    """A string attribute; `default` when it is absent."""
    value = node.attrs.get(attribute, default)
    return value.decode() if isinstance(value, bytes) else str(value)


class _Names:
    """The names of a graph's nodes and tensors, collected once; gives out unused ones."""

    def __init__(self, graph: gs.Graph) -> None:
        self._taken = {node.name for node in graph.nodes}
        self._taken.update(tensor.name for tensor in (*graph.inputs, *graph.outputs))
        for node in graph.nodes:
            self._taken.update(tensor.name for tensor in (*node.inputs, *node.outputs))
        self._last: dict[str, int] = {}

    def free(self, base: str) -> str:
        name, count = base, self._last.get(base, 1)
        while name in self._taken:
            count += 1
            name = f"{base}_{count}"
        self._last[base] = count
        self._taken.add(name)
        return name


_NAMES = "_names_taken"
"""The key in a graph's `__dict__` under which its `_Names` are cached; a copy of a graph starts without."""


def forget_names(graph: gs.Graph) -> None:
    """Discard the cached names of a graph, after nodes were added without `fresh_name`."""
    graph.__dict__.pop(_NAMES, None)


def fresh_name(graph: gs.Graph, base: str) -> str:
    """`base`, or the first of `base_2`, `base_3`, ... that no node and no tensor has; the name is then reserved.

    The names are collected on the first call for a graph (and after `forget_names`), not on every call, so that
    lowering a graph takes time linear in its nodes.
    """
    names: _Names | None = graph.__dict__.get(_NAMES)
    if names is None:
        names = graph.__dict__[_NAMES] = _Names(graph)
    return names.free(base)


def bypass(graph: gs.Graph, node: gs.Node, source: gs.Tensor | None = None) -> bool:
    """Remove a node that passes `source` (by default its first input) on unchanged; False if it must stay.

    It must stay if it connects a graph input, a constant or another output to an output of the graph: both names
    are then part of the network's interface.
    """
    source = node.inputs[0] if source is None else source
    output = node.outputs[0]
    if is_output(graph, output):
        maker = producer(source)
        if maker is None or is_output(graph, source):
            return False
        readers = consumers(source)
        position = next(i for i, tensor in enumerate(maker.outputs) if tensor is source)
        node.outputs.clear()
        maker.outputs[position] = output
        _redirect(readers, source, output)
        node.inputs.clear()
        return True
    node.outputs.clear()
    _redirect(consumers(output), output, source)
    node.inputs.clear()
    return True


def replace_everywhere(graph: gs.Graph, old: gs.Tensor, new: gs.Tensor) -> None:
    """Let every reader of `old` read `new` instead; `old` must not be an output of the graph."""
    if is_output(graph, old):
        raise ValueError(f"{old.name} is an output of the graph")
    _redirect(consumers(old), old, new)


def _redirect(readers: Sequence[gs.Node], old: gs.Tensor, new: gs.Tensor) -> None:
    for reader in readers:
        for index, tensor in enumerate(reader.inputs):
            if tensor is old:
                reader.inputs[index] = new


def replace_output(new: gs.Tensor, output: gs.Tensor) -> None:
    """Let the producer of `new` produce `output` instead, which keeps its name and its readers."""
    maker = producer(new)
    if maker is None:
        raise ValueError(f"no node makes {new.name}")
    for old in list(output.inputs):
        old.outputs = [tensor for tensor in old.outputs if tensor is not output]
    maker.outputs = [output if tensor is new else tensor for tensor in maker.outputs]


MOST_MADE = 256 << 20
"""Largest number of bytes of one constant that a rewrite makes. All of them together may have four times as many,
plus four times the bytes of the graph's own constants."""
MOST_NODES = 4096
"""Largest number of nodes that may replace one node."""
_MADE = "_bytes_made"


def room(*sizes: int, item: int = 4) -> None:
    """Raise PipelineError `memory-limit` if a constant of shape `sizes` (`item` bytes per element) is too large.

    Call it before allocating an array whose size a file determines: dilations, groups and pads multiply sizes.
    """
    total = math.prod(max(int(size), 0) for size in sizes) * item
    if total > MOST_MADE:
        shape = "x".join(str(size) for size in sizes)[:80]
        raise PipelineError(
            "memory-limit",
            f"a rewrite would make constants of {limits.amount(total)} ({shape}); the limit is "
            f"{limits.amount(MOST_MADE)}",
            remedy="Use smaller dilations, strides, pads, groups or sizes there, or leave the rewrite out "
            "(--skip).",
        )


def _account(graph: gs.Graph, size: int) -> None:
    """Count the bytes of a constant that was made for a graph. Raises PipelineError `memory-limit`."""
    used, limit = graph.__dict__.get(_MADE, (0, 0))
    if not limit:
        constants = (t for node in graph.nodes for t in node.inputs if isinstance(t, gs.Constant))
        sizes = {id(tensor): int(getattr(tensor._values, "nbytes", 0)) for tensor in constants}
        limit = 4 * MOST_MADE + 4 * sum(sizes.values())
    graph.__dict__[_MADE] = used + size, limit
    if used + size > limit:
        raise PipelineError(
            "memory-limit",
            f"the rewrites would make constants of more than {limits.amount(limit)} together",
            remedy="Use smaller dilations, strides, pads, groups or sizes, or leave rewrites out (--skip).",
        )


class Builder:
    """Makes the nodes that take the place of `node`.

    Every new node and tensor is named `<node>/<rewrite>/<operator>`; `op(..., out=tensor)` lets the last one
    make the old node's output tensor, which keeps its name and its readers.
    """

    def __init__(self, graph: gs.Graph, node: gs.Node, rewrite: str) -> None:
        self.graph = graph
        self.node = node
        self.stem = f"{node.name}/{rewrite}"
        self._count = 0

    def _name(self, leaf: str) -> str:
        return fresh_name(self.graph, f"{self.stem}/{leaf}")

    def const(self, values: Any, leaf: str = "constant", dtype: Any = np.float32) -> gs.Constant:
        """A new initializer: float32 unless `dtype` says otherwise. Raises PipelineError `memory-limit`."""
        room(*np.shape(values), item=np.dtype(dtype).itemsize)
        _account(self.graph, math.prod(np.shape(values)) * np.dtype(dtype).itemsize)
        return gs.Constant(self._name(leaf), np.ascontiguousarray(np.asarray(values, dtype=dtype)))

    def op(
        self, operator: str, *inputs: Any, out: gs.Tensor | None = None, leaf: str = "", **attrs: Any
    ) -> gs.Tensor:
        """A new node; numbers among the inputs become initializers of shape [1]. Returns its output.

        `out` is an existing tensor that this node makes from now on (its old producer lets go of it).
        Keywords that are inputs of the operator in the one valid form (`PARAMETERS`) become initializers.
        Raises PipelineError `graph-too-large` for more than `MOST_NODES` nodes in place of one.
        """
        self._count += 1
        if self._count > MOST_NODES:
            raise PipelineError(
                "graph-too-large",
                f"a rewrite would make more than {MOST_NODES:,} nodes of {self.node.op} {self.node.name}",
                remedy="Use fewer groups, a smaller kernel or a smaller scale there, or leave the rewrite out "
                "(--skip).",
            )
        given_ = {name: attrs.pop(name) for name in PARAMETERS.get(operator, ()) if name in attrs}
        inputs = (*inputs, *self.parameters(operator, given_)[len(inputs) - 1 :]) if given_ else inputs
        tensors = [
            self.const([value], leaf=f"{leaf or operator}_value") if isinstance(value, (int, float)) else value
            for value in inputs
        ]
        name = self._name(leaf or operator)
        if out is None:
            out = gs.Variable(f"{name}_output", dtype=np.float32)
        else:
            for maker in list(out.inputs):
                maker.outputs = [tensor for tensor in maker.outputs if tensor is not out]
        given_attrs = {key: value for key, value in attrs.items() if value is not None}
        self.graph.nodes.append(gs.Node(operator, name, attrs=given_attrs, inputs=tensors, outputs=[out]))
        return out

    def parameters(self, operator: str, given_: dict[str, Any]) -> list[gs.Tensor]:
        """The inputs after the first of an operator with these parameters (None: left out)."""
        tensors: list[gs.Tensor] = []
        for name in PARAMETERS[operator]:
            values = given_.get(name)
            if values is None:
                tensors.append(empty())
                continue
            array = np.asarray(values, dtype=np.float32 if name in _FLOATS else np.int64)
            shaped = array.reshape(() if name in _SCALARS else -1)
            constant = gs.Constant(self._name(name), np.ascontiguousarray(shaped).reshape(shaped.shape))
            tensors.append(constant)
        while tensors and tensors[-1].is_empty():
            tensors.pop()
        return tensors

    def set(self, node: gs.Node, **given_: Any) -> None:
        """Give `node` these parameters, and no others that are inputs (`PARAMETERS`)."""
        node.inputs = [node.inputs[0], *self.parameters(node.op, given_)]

    def drop(self) -> None:
        """Disconnect the replaced node; the clean-up after the rewrite removes it."""
        self.node.outputs.clear()
        self.node.inputs.clear()
