"""What a model from a file must keep to before anything is done with it: its text, its nesting, its functions.

    check_structure(model)      # PipelineError where it does not

Takes time linear in the size of the file, whatever is in it; nothing is evaluated, inlined or inferred here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import onnx

from pipeline.support.errors import PipelineError

MOST_NODES = 200_000
"""Nodes of a graph with its local functions written out. Networks for pictures have some thousand at most."""
DEEPEST = 16
"""Levels of graphs inside nodes (If, Loop), and of functions that call functions."""
_COMPLEX = (onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128)
_ITEMS: dict[str, Callable[[onnx.TensorProto], int]] = {
    "float_data": lambda tensor: 2 if tensor.data_type in _COMPLEX else 1,
    "double_data": lambda tensor: 2 if tensor.data_type in _COMPLEX else 1,
    "int32_data": lambda tensor: 1,
    "int64_data": lambda tensor: 1,
    "uint64_data": lambda tensor: 1,
    "string_data": lambda tensor: 1,
}
"""Fields that hold a tensor's numbers one by one, and how many of them make one number."""
_BITS = {
    name: bits
    for bits, names in {
        2: ("INT2", "UINT2"),
        4: ("INT4", "UINT4", "FLOAT4E2M1"),
        8: (
            "INT8",
            "UINT8",
            "BOOL",
            "FLOAT8E4M3FN",
            "FLOAT8E4M3FNUZ",
            "FLOAT8E5M2",
            "FLOAT8E5M2FNUZ",
            "FLOAT8E8M0",
        ),
        16: ("INT16", "UINT16", "FLOAT16", "BFLOAT16"),
        32: ("INT32", "UINT32", "FLOAT"),
        64: ("INT64", "UINT64", "DOUBLE", "COMPLEX64"),
        128: ("COMPLEX128",),
    }.items()
    for name in names
}


def check_structure(model: onnx.ModelProto) -> None:
    """Refuse what no exporter writes and what the libraries behind this one crash or hang on.

    Raises PipelineError `invalid-onnx` (graphs nested too deep, functions that call themselves, attributes that
    refer to a function outside of one, tensors whose numbers do not fill their shape) or `graph-too-large` (more
    than `MOST_NODES` nodes with all functions written out).
    """
    functions = {(function.domain, function.name, function.overload): function for function in model.functions}
    for nodes, inside in ((model.graph.node, False), *((function.node, True) for function in model.functions)):
        _check_attributes(nodes, inside)
    for tensor in tensors(model):
        if problem := tensor_problem(tensor):
            raise _invalid(f"the tensor {tensor.name!r} {problem}")
    count = _written_out(model.graph.node, functions, {}, 0)
    if count > MOST_NODES:
        raise PipelineError(
            "graph-too-large",
            f"the graph has {'more than 10^12' if count > 10**12 else f'{count:,}'} nodes after its functions are "
            f"expanded; at most {MOST_NODES:,} are supported",
            remedy="Export the network without unrolled loops.",
        )


def _check_attributes(nodes: Any, inside: bool, depth: int = 0) -> None:
    if depth > DEEPEST:
        raise _invalid(f"subgraphs are nested more than {DEEPEST} deep")
    for node in nodes:
        for attribute in node.attribute:
            counts = attribute.name in _COUNTS and attribute.type == onnx.AttributeProto.INT
            if counts and not 0 < attribute.i <= _COUNTS[attribute.name]:
                raise _invalid(f"{attribute.name} of {node.op_type} {label(node)} is {attribute.i}")
            if attribute.ref_attr_name and not inside:
                raise _invalid(
                    f"{node.op_type} {label(node)}: the attribute {attribute.name} refers to a function"
                )
            for graph in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                _check_attributes(graph.node, inside, depth + 1)


def _written_out(nodes: Any, functions: dict[tuple[str, str, str], Any], known: dict[int, int], depth: int) -> int:
    """How many nodes there are when each call of a local function is replaced by what is in it."""
    if depth > 2 * DEEPEST + len(functions) or depth > 200:
        raise _invalid("its functions call each other, or themselves, endlessly")
    count = 0
    for node in nodes:
        count += 1
        function = functions.get((node.domain, node.op_type, node.overload)) if functions else None
        if function is not None:
            if id(function) not in known:
                known[id(function)] = _written_out(function.node, functions, known, depth + 1)
            count += known[id(function)]
        for attribute in node.attribute:
            for graph in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                count += _written_out(graph.node, functions, known, depth + 1)
    return count


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a model: initializers and attributes, those of subgraphs and functions included."""
    yield from _in_graph(model.graph)
    for function in model.functions:
        yield from _in_nodes(function.node)
        for attribute in function.attribute_proto:
            yield from _in_attribute(attribute)


def _in_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    yield from _in_nodes(graph.node)


def _in_nodes(nodes: Any) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from _in_attribute(attribute)


def _in_attribute(attribute: onnx.AttributeProto) -> Iterator[onnx.TensorProto]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    for sparse in (*((attribute.sparse_tensor,) if attribute.HasField("sparse_tensor") else ()),):
        yield sparse.values
        yield sparse.indices
    for graph in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
        yield from _in_graph(graph)


def tensor_problem(tensor: onnx.TensorProto) -> str:
    """What is wrong with a tensor's storage, as the end of a sentence; "" where its numbers fill its shape.

    Tensors whose numbers lie in another file have none here, and no problem.
    """
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return ""
    if any(size < 0 for size in tensor.dims):
        return f"has the shape {_sizes(tensor.dims)}"
    count = math.prod(tensor.dims)
    if tensor.HasField("raw_data"):
        name = onnx.TensorProto.DataType.Name(tensor.data_type) if tensor.data_type in _NUMBERS else ""
        expected = -(-count * _BITS.get(name, 0) // 8)
        if name in _BITS and len(tensor.raw_data) != expected:
            return f"has {len(tensor.raw_data)} bytes instead of {_number(expected)}"
        return ""
    if tensor.HasField("segment"):
        return "is one segment of a tensor"
    packed = onnx.TensorProto.DataType.Name(tensor.data_type) if tensor.data_type in _NUMBERS else ""
    share = 8 // _BITS[packed] if _BITS.get(packed, 8) < 8 else 1
    count_stored = max((len(getattr(tensor, name)) // of(tensor) for name, of in _ITEMS.items()), default=0)
    expected = -(-count // share)
    if count_stored != expected:
        return f"has {count_stored} numbers instead of {_number(expected)}"
    return ""


def _number(count: int) -> str:
    return str(count) if count < 10**15 else "more than 10^15"


_COUNTS = {"group": 1 << 13, "num_outputs": 1 << 13, "num_groups": 1 << 13}
"""Attributes that count what is made one by one, and the largest that a network has."""
_NUMBERS = frozenset(onnx.TensorProto.DataType.values())


def _sizes(dims: Any) -> str:
    shown = "x".join(str(size) for size in list(dims)[:8])
    return f"{shown}..." if len(dims) > 8 else shown or "()"


def label(node: onnx.NodeProto) -> str:
    """A node's name, or its first output's."""
    return node.name or next((name for name in node.output if name), "")


def _invalid(detail: str) -> PipelineError:
    return PipelineError(
        "invalid-onnx",
        f"the ONNX model is not valid: {detail}",
        remedy="Export it again; if it was edited by hand or by a tool, use the file from before.",
    )


def pictures(values: Iterable[onnx.ValueInfoProto]) -> list[onnx.ValueInfoProto]:
    """Of the inputs of a model those that may be its picture: of rank 4, no vector (1, K, 1, 1) beside another."""
    images = [value for value in values if len(value.type.tensor_type.shape.dim) == 4]
    larger = [
        value for value in images if [dim.dim_value for dim in value.type.tensor_type.shape.dim[2:]] != [1, 1]
    ]
    return larger or images
