"""onnx-graphsurgeon for graphs of any size: its lists, copies, import and sort in time linear in the nodes.

Its own `toposort` calls itself once for each node that stands before what it reads, which ends at some 300 nodes;
its lists compare nodes field by field to find one; and making one of its tensors takes 20 microseconds, which a
graph of 20,000 nodes pays a million times in one conversion. Importing this module replaces those methods by
others that do the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import onnx_graphsurgeon as gs
from onnx_graphsurgeon.importers.onnx_importer import OnnxImporter
from onnx_graphsurgeon.logger import G_LOGGER
from onnx_graphsurgeon.util.misc import SynchronizedList

from pipeline.support.sorting import topological

G_LOGGER.severity = G_LOGGER.CRITICAL + 1

_copy_with_subgraphs = gs.Graph.copy
_tensors_checked = gs.Graph.tensors
_subgraphs_of = gs.Node.subgraphs


# --- lists -----------------------------------------------------------------------------------------------------


def _list(owner: Any, field: str, held: Iterable[Any] = ()) -> SynchronizedList:
    """The tensors of a node, or the nodes of a tensor; `owner` stands in their list `field`."""
    made = SynchronizedList.__new__(SynchronizedList)
    made.parent_obj, made.field_name = owner, field
    for element in held:
        list.append(made, element)
        list.append(element.__dict__[field], owner)
    return made


def _remove_from(self: SynchronizedList, element: Any) -> None:
    held, owner = getattr(element, self.field_name), self.parent_obj
    for place, other in enumerate(held):
        if other is owner:
            list.__delitem__(held, place)
            return
    raise ValueError(f"{owner.name!r} is not in the list")


SynchronizedList._remove_from_elem = _remove_from


# --- tensors and nodes -----------------------------------------------------------------------------------------


def _variable(
    self: gs.Variable, name: str, dtype: Any = None, shape: Any = None, type: str = "tensor_type"
) -> None:
    self.__dict__.update(
        name=name,
        inputs=_list(self, "outputs"),
        outputs=_list(self, "inputs"),
        dtype=dtype,
        shape=shape,
        type=type,
    )


def _node(
    self: gs.Node,
    op: str,
    name: str | None = None,
    attrs: dict[str, Any] | None = None,
    inputs: Iterable[gs.Tensor] | None = None,
    outputs: Iterable[gs.Tensor] | None = None,
    domain: str | None = None,
) -> None:
    self.__dict__.update(
        op=op,
        name=name or "",
        attrs=OrderedDict() if attrs is None else attrs,
        inputs=_list(self, "outputs", inputs or ()),
        outputs=_list(self, "inputs", outputs or ()),
        domain=domain,
    )


def _set(self: Any, name: str, value: Any) -> None:
    if name in ("inputs", "outputs") and name in self.__dict__:
        held = self.__dict__[name]
        if held is not value:
            held.clear()
            held.extend(value)
        return
    object.__setattr__(self, name, value)


gs.Variable.__init__ = _variable
gs.Node.__init__ = _node
gs.Variable.__setattr__ = gs.Node.__setattr__ = _set


def _subgraphs(self: gs.Node, recursive: bool = False) -> Iterator[gs.Graph]:
    if any([isinstance(held, gs.Graph) for held in self.attrs.values()]):
        return _subgraphs_of(self, recursive)  # type: ignore[no-any-return]
    return iter(())


gs.Node.subgraphs = _subgraphs


# --- graphs ----------------------------------------------------------------------------------------------------


def _tensors(self: gs.Graph, check_duplicates: bool = False) -> dict[str, gs.Tensor]:
    if check_duplicates:
        return _tensors_checked(self, check_duplicates)  # type: ignore[no-any-return]
    found: dict[str, gs.Tensor] = OrderedDict()
    for tensor in self.inputs:
        found[tensor.name] = tensor
    for node in self.nodes:
        for tensor in node.inputs:
            found[tensor.name] = tensor
        for tensor in node.outputs:
            found[tensor.name] = tensor
    for tensor in self.outputs:
        found[tensor.name] = tensor
    found.pop("", None)
    return found


def _copied(tensor: gs.Tensor) -> gs.Tensor:
    if type(tensor) is gs.Variable:
        return gs.Variable(tensor.name, tensor.dtype, tensor.shape)
    return tensor.copy()


def _copy(self: gs.Graph, tensor_map: dict[str, gs.Tensor] | None = None) -> gs.Graph:
    if tensor_map is not None or any(next(node.subgraphs(), None) for node in self.nodes):
        return _copy_with_subgraphs(self, tensor_map)
    made = {name: _copied(tensor) for name, tensor in self.tensors().items()}

    def of(tensors: Iterable[gs.Tensor]) -> list[gs.Tensor]:
        return [made[tensor.name] if tensor.name else gs.Variable("") for tensor in tensors]

    nodes = [
        gs.Node(node.op, node.name, OrderedDict(node.attrs), of(node.inputs), of(node.outputs), node.domain)
        for node in self.nodes
    ]
    return gs.Graph(
        nodes=nodes,
        inputs=of(self.inputs),
        outputs=of(self.outputs),
        name=self.name,
        doc_string=self.doc_string,
        opset=self.opset,
        import_domains=self.import_domains,
        functions=list(self.functions),
        ir_version=self.ir_version,
    )


def _import_node(
    proto: Any, outside: dict[str, gs.Tensor], inside: dict[str, gs.Tensor], opset: Any, import_domains: Any
) -> gs.Node:
    def found(name: str, outer: dict[str, gs.Tensor]) -> gs.Tensor:
        tensor = inside.get(name)
        if tensor is None:
            tensor = outer.get(name)
        if tensor is None:
            tensor = gs.Variable(name)
            if name:
                inside[name] = tensor
        return tensor

    attrs = (
        OnnxImporter.import_attributes(proto.attribute, outside, inside, opset, import_domains)
        if proto.attribute
        else None
    )
    return gs.Node(
        proto.op_type,
        proto.name,
        attrs,
        [found(name, outside) for name in proto.input],
        [found(name, {}) for name in proto.output],
        proto.domain if proto.HasField("domain") else None,
    )


gs.Graph.tensors = _tensors
gs.Graph.copy = _copy
OnnxImporter.import_node = staticmethod(_import_node)


# --- order -----------------------------------------------------------------------------------------------------


def _makers(node: gs.Node) -> list[gs.Node]:
    """The nodes whose results a node reads, those that its subgraphs read included."""
    made = [maker for tensor in node.inputs for maker in tensor.inputs]
    for subgraph in node.subgraphs():
        made += [maker for tensor in subgraph._foreign_tensors().values() for maker in tensor.inputs]
    return made


def sorted_nodes(graph: gs.Graph) -> list[gs.Node]:
    """The nodes so that producers come first; nodes of a cycle, and those that read from one, are left out."""
    number = {id(node): index for index, node in enumerate(graph.nodes)}
    makers = [[number.get(id(maker), -1) for maker in _makers(node)] for node in graph.nodes]
    if all([max(needed, default=-1) < index for index, needed in enumerate(makers)]):
        return list(graph.nodes)
    inside = [[held for held in needed if held >= 0] for needed in makers]
    return [graph.nodes[index] for index in topological(len(graph.nodes), inside.__getitem__)]


def _toposort(graph: gs.Graph, *_: Any, **__: Any) -> gs.Graph:
    """`Graph.toposort` without recursion, in the same order. Raises ValueError for a graph with a cycle."""
    for subgraph in graph.subgraphs():
        _toposort(subgraph)
    order = sorted_nodes(graph)
    if len(order) < len(graph.nodes):
        raise ValueError("the graph has a cycle")
    level: dict[int, int] = {}
    for node in order:
        level[id(node)] = 1 + max((level.get(id(maker), -1) for maker in _makers(node)), default=-1)
    graph.nodes = sorted(order, key=lambda node: level[id(node)])
    return graph


gs.Graph.toposort = _toposort
