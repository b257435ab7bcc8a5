"""onnx-graphsurgeon for graphs of any size: two of its methods replaced by ones that do the same in linear time.

- `Graph.toposort` calls itself once for each node that stands before what it reads, which ends at some 300 nodes.
- `SynchronizedList._remove_from_elem` compares nodes field by field to find the one to take out, so that rewriting
  takes the square of the number of nodes that read one constant.

Importing this module replaces them. Faster copies, imports and constructors were measured as well and bring
nothing (under 10 % of the processor time of converting 5,000 nodes), so the library's own are used.
"""

from __future__ import annotations

from typing import Any

import onnx_graphsurgeon as gs
from onnx_graphsurgeon.logger import G_LOGGER
from onnx_graphsurgeon.util.misc import SynchronizedList

from pipeline.support.sorting import topological

G_LOGGER.severity = G_LOGGER.CRITICAL + 1


def _remove_from(self: SynchronizedList, element: Any) -> None:
    nodes, owner = getattr(element, self.field_name), self.parent_obj
    for place, other in enumerate(nodes):
        if other is owner:
            list.__delitem__(nodes, place)
            return
    raise ValueError(f"{owner.name!r} is not in the list")


SynchronizedList._remove_from_elem = _remove_from


def _makers(node: gs.Node) -> list[gs.Node]:
    """The nodes whose results a node reads, those that its subgraphs read included."""
    makers = [maker for tensor in node.inputs for maker in tensor.inputs]
    for subgraph in node.subgraphs():
        makers += [maker for tensor in subgraph._foreign_tensors().values() for maker in tensor.inputs]
    return makers


def sorted_nodes(graph: gs.Graph) -> list[gs.Node]:
    """The nodes so that producers come first; nodes of a cycle, and those that read from one, are left out."""
    number = {id(node): index for index, node in enumerate(graph.nodes)}
    makers = [[number.get(id(maker), -1) for maker in _makers(node)] for node in graph.nodes]
    if all([max(needed, default=-1) < index for index, needed in enumerate(makers)]):
        return list(graph.nodes)
    inside = [[index for index in needed if index >= 0] for needed in makers]
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
