"""onnx's own shape inference, kept from what ends the process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx

Sizes = Mapping[str, tuple[int | None, ...]]
_HIDDEN = "hidden"
_MOST_PASSES = 8


def inferred_by_onnx(model: onnx.ModelProto, data_prop: bool = False) -> onnx.ModelProto:
    """The model with the shapes that onnx itself infers. Raises whatever onnx raises.

    onnx 1.20 ends the whole process at a Slice of a tensor whose size it takes for negative: declared so, or made
    by a kernel that is larger than its picture. So a Slice is shown to it only once the sizes before it are known
    not to be; behind `_MOST_PASSES` of them in a row the sizes stay unknown.
    """
    infer = onnx.shape_inference.infer_shapes
    if not any(node.op_type == "Slice" for node in _nodes_of(model)):
        return infer(model, data_prop=data_prop)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    was = [(node, node.domain) for node in _nodes_of(copy) if node.op_type == "Slice"]
    for node, _ in was:
        node.domain = _HIDDEN
    copy.opset_import.add(domain=_HIDDEN, version=1)
    at = {id(node): domain for node, domain in was}
    waiting = [node for node in copy.graph.node if node.op_type == "Slice"]
    for _ in range(_MOST_PASSES):
        inferred = infer(copy, data_prop=data_prop)
        sizes = sizes_in(inferred.graph)
        safe = [
            node
            for node in waiting
            if node.input
            and node.input[0] in sizes
            and all(size is None or size >= 0 for size in sizes[node.input[0]])
        ]
        if not safe:
            break
        shown = {id(node) for node in safe}
        for node in safe:
            node.domain = at[id(node)]
        waiting = [node for node in waiting if id(node) not in shown]
    else:
        inferred = infer(copy, data_prop=data_prop)
    for node, first in zip(_nodes_of(inferred), _nodes_of(model), strict=True):
        node.domain = first.domain
    del inferred.opset_import[:]
    inferred.opset_import.extend(model.opset_import)
    return inferred


def _nodes_of(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those of functions and of graphs inside nodes included."""
    pending = [model.graph.node, *(function.node for function in model.functions)]
    while pending:
        for node in pending.pop():
            yield node
            for attribute in node.attribute:
                pending += [graph.node for graph in (attribute.g, *attribute.graphs) if graph.node]


def sizes_in(graph: onnx.GraphProto) -> Sizes:
    """The sizes of tensors by name, as far as they are declared; None for an open one."""
    found: dict[str, tuple[int | None, ...]] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        sizes = declared_sizes(value)
        if sizes is not None:
            found[value.name] = sizes
    return found


def declared_sizes(value: onnx.ValueInfoProto) -> tuple[int | None, ...] | None:
    """The sizes that a tensor is declared to have, None for an open one; None where it has no shape."""
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    dims = kind.shape.dim
    sizes = tuple([dim.dim_value for dim in dims])
    if 0 in sizes:  # what an open size has, too
        return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in dims)
    return sizes
