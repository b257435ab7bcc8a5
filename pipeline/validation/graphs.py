"""Rules that look at more than one node: the whole graph, its tensors, names, layout and fusing.

A graph rule is a function of (view, rule) that yields (node or None, Hit).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import onnx

from pipeline.graph.structure import tensor_problem
from pipeline.targets import Rule
from pipeline.validation.kinds import Hit, Register
from pipeline.validation.replacing import what_replaces
from pipeline.validation.view import View, attribute, layer

GraphKind = Callable[[View, Rule], Iterator[tuple[onnx.NodeProto | None, Hit]]]
Found = Iterator[tuple[onnx.NodeProto | None, Hit]]
graph_kind: Register[GraphKind] = Register()
GRAPH_KINDS = graph_kind
"""The kinds that every family's data files may name."""


# ------------------------------------------------------------------------------------------------ form
@graph_kind("unknown-operators")
def _unknown(view: View, rule: Rule) -> Found:
    functions = {function.name for function in view.model.functions}
    for node in view.nodes:
        if view.target.accepts(node.op_type) or node.op_type in functions:
            continue
        domain = "" if node.domain in ("", "ai.onnx") else f" of domain {node.domain}"
        reason = f"{view.target.name} has no operator {node.op_type or '(empty)'}{domain}"
        yield node, Hit(reason, fix=what_replaces(node.op_type, node.domain))


@graph_kind("local-functions")
def _functions(view: View, rule: Rule) -> Found:
    functions = {function.name for function in view.model.functions}
    for node in view.nodes:
        if node.op_type in functions and not view.target.accepts(node.op_type):
            values = {
                "text": f"OnnxImportException: Unknown type {node.op_type} encountered while parsing layer "
                f"{layer(node)}."
            }
            yield (
                node,
                Hit(f"{node.op_type} is a function of this file, and functions are not expanded", values=values),
            )


@graph_kind("foreign-domain")
def _foreign(view: View, rule: Rule) -> Found:
    for node in view.nodes:
        if node.domain not in ("", "ai.onnx") and view.target.accepts(node.op_type):
            yield (
                node,
                Hit(f"{node.domain}.{node.op_type} is imported as ONNX's {node.op_type}: the domain is not read"),
            )


_COUNTS = ("group", "blocksize")
_POSITIVE = (*_COUNTS, "kernel_shape", "strides", "dilations")
"""Attributes of nodes that are positive numbers."""
_MOST_NUMBERS = (1 << 31) - 1
"""Elements of a tensor: engines count them in 32 bits."""


@graph_kind("malformed")
def _malformed(view: View, rule: Rule) -> Found:
    known = {*view.initializers, *view.inputs, *view.producer}
    if not view.nodes and not view.outputs:
        yield None, Hit("the graph is empty")
    if len(view.order) < len(view.nodes):
        inside = set(range(len(view.nodes))) - set(view.order)
        first = view.nodes[min(inside)]
        yield first, Hit(f"the graph has a cycle: {len(inside)} nodes are on it or behind it")
    for node in view.nodes:
        for name in node.input:
            if name and name not in known:
                yield (
                    node,
                    Hit(
                        f"its input {name[:80]} is neither the output of a node nor an input of the graph",
                        name[:80],
                    ),
                )
        if not node.op_type:
            yield node, Hit("it has no operator type")
        if not any(node.output):
            yield node, Hit("it has no output")
    for name in view.outputs:
        if name not in known:
            yield None, Hit(f"the graph's output {name[:80]} is made by no node", name[:80])
    for value in view.graph.input:
        if any(dim.dim_value > 1 << 31 or dim.dim_value < -1 for dim in value.type.tensor_type.shape.dim):
            yield None, Hit(f"the input {value.name[:80]} declares an impossible size", value.name[:80])
    for tensor in view.graph.initializer:
        if problem := tensor_problem(tensor):
            yield None, Hit(f"the initializer {tensor.name[:80]} {problem}", tensor.name[:80])
    for node in view.nodes:
        for entry in node.attribute:
            key = entry.name[:80]
            if entry.HasField("t") and (problem := tensor_problem(entry.t)):
                yield node, Hit(f"the tensor in its attribute {key} {problem}", key)
            if entry.ref_attr_name:
                yield node, Hit(f"its attribute {key} is taken from a function's, and it is in no function", key)
            values = [entry.i] if key in _COUNTS and not entry.ints else entry.ints
            if key in _POSITIVE and any(size < 1 for size in values):
                yield node, Hit(f"its attribute {key} is {list(values)[:8]}", key)
        for name in node.output:
            shape = view.shape(name) if name else None
            count = 1
            for size in shape or ():
                count *= size or 1
            if count > _MOST_NUMBERS:
                yield (
                    node,
                    Hit(
                        f"its result {name[:80]} would have {count:,} numbers, more than any engine holds",
                        name[:80],
                    ),
                )


@graph_kind("duplicate-names")
def _duplicates(view: View, rule: Rule) -> Found:
    counts = Counter(name for node in view.nodes for name in node.output if name)
    for name in sorted(name for name, count in counts.items() if count > 1):
        yield view.maker(name), Hit(f"{counts[name]} outputs are called {name}", name)
    stored = Counter(tensor.name for tensor in view.graph.initializer)
    for name in sorted(name for name, count in stored.items() if count > 1):
        yield None, Hit(f"{stored[name]} initializers are called {name}", name)
    for name in sorted((set(view.initializers) | set(view.inputs)) & set(counts)):
        yield view.maker(name), Hit(f"{name} is an output of a node and an input or initializer too", name)


@graph_kind("duplicate-metadata")
def _metadata(view: View, rule: Rule) -> Found:
    keys = Counter(entry.key for entry in view.model.metadata_props)
    for key in sorted(key for key, count in keys.items() if count > 1):
        yield None, Hit(f"the metadata key {key} occurs {keys[key]} times", key)


@graph_kind("unsorted-nodes")
def _unsorted(view: View, rule: Rule) -> Found:
    for index, node in enumerate(view.nodes):
        if any(view.producer.get(name, -1) > index for name in node.input if name):
            yield node, Hit("it stands before the node that makes its input, and this version does not sort")


@graph_kind("input-shapes")
def _input_shapes(view: View, rule: Rule) -> Found:
    for name, value in view.inputs.items():
        if not value.type.tensor_type.HasField("shape"):
            yield None, Hit(f"the input {name} declares no shape", name)


@graph_kind("input-dtype")
def _input_dtype(view: View, rule: Rule) -> Found:
    for name, value in view.inputs.items():
        if value.type.tensor_type.elem_type == onnx.TensorProto.STRING:
            yield None, Hit(f"the input {name} holds text, and tensors hold numbers", name)


@graph_kind("input-rank")
def _input_rank(view: View, rule: Rule) -> Found:
    for name, value in view.inputs.items():
        rank = len(value.type.tensor_type.shape.dim)
        if rank > rule.options["max"]:
            yield (
                None,
                Hit(f"the input {name} has rank {rank}, the target takes at most {rule.options['max']}", name),
            )


@graph_kind("unknown-dims")
def _unknown_dims(view: View, rule: Rule) -> Found:
    for name, value in view.inputs.items():
        dims = value.type.tensor_type.shape.dim
        unknown = [axis for axis, dim in enumerate(dims) if axis and dim.dim_value <= 0]
        if unknown:
            yield (
                None,
                Hit(
                    f"the input {name} leaves the size of axis {', '.join(map(str, unknown))} open: no shapes are "
                    "known at import, which only matters for graphs that compute with shapes",
                    name,
                ),
            )


# ------------------------------------------------------------------------------------------------ tensors
def _tensors(view: View) -> Iterator[tuple[onnx.NodeProto | None, onnx.TensorProto]]:
    for tensor in view.graph.initializer:
        yield None, tensor
    for node in view.nodes:
        if node.op_type == "Constant":
            value = attribute(node, "value")
            if isinstance(value, onnx.TensorProto):
                yield node, value


def _name(node: onnx.NodeProto | None, tensor: onnx.TensorProto) -> str:
    return tensor.name or (layer(node) if node is not None else "")


def _external(tensor: onnx.TensorProto) -> bool:
    return tensor.data_location == onnx.TensorProto.EXTERNAL or bool(tensor.external_data)


def _elements(tensor: onnx.TensorProto) -> float:
    return float(np.prod(tensor.dims, dtype=np.float64)) if tensor.dims else 1.0


@graph_kind("external-data")
def _external_data(view: View, rule: Rule) -> Found:
    found = [_name(node, tensor) for node, tensor in _tensors(view) if _external(tensor)]
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        yield None, Hit(f"the values of {found[0]}{more} lie in another file, which is not read", found[0])


@graph_kind("typed-storage")
def _typed(view: View, rule: Rule) -> Found:
    for node, tensor in _tensors(view):
        if _external(tensor) or tensor.raw_data or not _elements(tensor):
            continue
        for field in ("double_data", "uint64_data", "string_data"):
            if len(getattr(tensor, field)):
                yield (
                    node,
                    Hit(f"{_name(node, tensor)} is stored in {field}, which is not read", _name(node, tensor)),
                )


@graph_kind("tensor-dtype")
def _dtype(view: View, rule: Rule) -> Found:
    for node, tensor in _tensors(view):
        try:
            name = onnx.TensorProto.DataType.Name(tensor.data_type)
        except ValueError:
            name = str(tensor.data_type)
        if name not in view.target.dtypes and name != "STRING" and _elements(tensor):
            yield node, Hit(f"{_name(node, tensor)} is of type {name}, which is not read", _name(node, tensor))


@graph_kind("half-in-int32")
def _half(view: View, rule: Rule) -> Found:
    for node, tensor in _tensors(view):
        if tensor.data_type == onnx.TensorProto.FLOAT16 and not tensor.raw_data and len(tensor.int32_data):
            name = _name(node, tensor)
            yield node, Hit(f"{name}: float16 stored in int32_data is read as whole numbers", name)


@graph_kind("tensor-rank")
def _tensor_rank(view: View, rule: Rule) -> Found:
    for node, tensor in _tensors(view):
        if len(tensor.dims) > view.target.max_rank:
            name, rank = _name(node, tensor), len(tensor.dims)
            yield (
                node,
                Hit(
                    f"the constant {name} has rank {rank}, at most {view.target.max_rank} is read",
                    name,
                    values={"rank": rank, "max_rank": view.target.max_rank},
                ),
            )


@graph_kind("integer-precision")
def _precision(view: View, rule: Rule) -> Found:
    for node, tensor in _tensors(view):
        if tensor.data_type not in (onnx.TensorProto.INT32, onnx.TensorProto.INT64, onnx.TensorProto.UINT32):
            continue
        value = view.value(tensor.name if node is None else node.output[0] if node.output else "")
        if value is not None and value.size and 2**24 < np.abs(value.astype(np.float64)).max() < 2**31 - 1:
            name = _name(node, tensor)
            yield node, Hit(f"{name} holds integers above 2^24, which lose digits as float32", name)
