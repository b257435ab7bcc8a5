"""Rules that look at more than one node: the whole graph, its tensors, names, layout and fusing.

A graph rule is a function of (view, rule) that yields (node or None, Hit).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import onnx

from pipeline.targets import Rule
from pipeline.validate.findings import Severity
from pipeline.validate.kinds import Hit, variable
from pipeline.validate.replacing import what_replaces
from pipeline.validate.shaping import axes_of
from pipeline.validate.view import View, attribute, given, label, layer

GraphKind = Callable[[View, Rule], Iterator[tuple[onnx.NodeProto | None, Hit]]]
GRAPH_KINDS: dict[str, GraphKind] = {}

Found = Iterator[tuple[onnx.NodeProto | None, Hit]]


def graph_kind(name: str) -> Callable[[GraphKind], GraphKind]:
    """Register a function as the graph rule of that name."""

    def register(function: GraphKind) -> GraphKind:
        GRAPH_KINDS[name] = function
        return function

    return register


# ------------------------------------------------------------------------------------------------ form
@graph_kind("unknown-operators")
def _unknown(view: View, rule: Rule) -> Found:
    functions = {held.name for held in view.model.functions}
    for node in view.nodes:
        if view.target.accepts(node.op_type) or node.op_type in functions:
            continue
        domain = "" if node.domain in ("", "ai.onnx") else f" of domain {node.domain}"
        reason = f"{view.target.name} has no operator {node.op_type or '(empty)'}{domain}"
        yield node, Hit(reason, fix=what_replaces(node.op_type, node.domain))


@graph_kind("local-functions")
def _functions(view: View, rule: Rule) -> Found:
    functions = {held.name for held in view.model.functions}
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


@graph_kind("malformed")
def _malformed(view: View, rule: Rule) -> Found:
    known = {*view.initializers, *view.inputs, *view.producer}
    if not view.nodes and not view.outputs:
        yield None, Hit("the graph is empty")
    if len(view.order) < len(view.nodes):
        inside = set(range(len(view.nodes))) - set(view.order)
        first = view.nodes[min(inside)]
        yield first, Hit(f"{len(inside)} nodes wait for each other: the graph has a cycle")
    for node in view.nodes:
        for name in node.input:
            if name and name not in known:
                yield (
                    node,
                    Hit(f"its input {name[:80]} is made by no node and is no input of the graph", name[:80]),
                )
        if not node.op_type:
            yield node, Hit("it has no operator type")
        if not any(node.output):
            yield node, Hit("it has no output")
    for name in view.outputs:
        if name not in known:
            yield None, Hit(f"the graph's output {name[:80]} is made by no node", name[:80])
    for held in view.graph.input:
        if any(dim.dim_value > 1 << 31 or dim.dim_value < -1 for dim in held.type.tensor_type.shape.dim):
            yield None, Hit(f"the input {held.name[:80]} declares an impossible size", held.name[:80])
    for tensor in view.graph.initializer:
        if any(size < 0 for size in tensor.dims):
            yield None, Hit(f"the initializer {tensor.name[:80]} has a negative size", tensor.name[:80])


@graph_kind("duplicate-names")
def _duplicates(view: View, rule: Rule) -> Found:
    made = Counter(name for node in view.nodes for name in node.output if name)
    for name in sorted(name for name, count in made.items() if count > 1):
        yield view.maker(name), Hit(f"{made[name]} outputs are called {name}", name)
    stored = Counter(tensor.name for tensor in view.graph.initializer)
    for name in sorted(name for name, count in stored.items() if count > 1):
        yield None, Hit(f"{stored[name]} initializers are called {name}", name)
    for name in sorted((set(view.initializers) | set(view.inputs)) & set(made)):
        yield view.maker(name), Hit(f"{name} is an output of a node and an input or initializer too", name)


@graph_kind("duplicate-metadata")
def _metadata(view: View, rule: Rule) -> Found:
    keys = Counter(held.key for held in view.model.metadata_props)
    for key in sorted(key for key, count in keys.items() if count > 1):
        yield None, Hit(f"the metadata key {key} occurs {keys[key]} times", key)


@graph_kind("unsorted-nodes")
def _unsorted(view: View, rule: Rule) -> Found:
    for index, node in enumerate(view.nodes):
        if any(view.producer.get(name, -1) > index for name in node.input if name):
            yield node, Hit("it stands before the node that makes its input, and this version does not sort")


@graph_kind("input-shapes")
def _input_shapes(view: View, rule: Rule) -> Found:
    for name, held in view.inputs.items():
        if not held.type.tensor_type.HasField("shape"):
            yield None, Hit(f"the input {name} declares no shape", name)


@graph_kind("input-dtype")
def _input_dtype(view: View, rule: Rule) -> Found:
    for name, held in view.inputs.items():
        if held.type.tensor_type.elem_type == onnx.TensorProto.STRING:
            yield None, Hit(f"the input {name} holds text, and tensors hold numbers", name)


@graph_kind("input-rank")
def _input_rank(view: View, rule: Rule) -> Found:
    for name, held in view.inputs.items():
        rank = len(held.type.tensor_type.shape.dim)
        if rank > rule.options["max"]:
            yield (
                None,
                Hit(f"the input {name} has rank {rank}, the target takes at most {rule.options['max']}", name),
            )


@graph_kind("unknown-dims")
def _unknown_dims(view: View, rule: Rule) -> Found:
    for name, held in view.inputs.items():
        dims = held.type.tensor_type.shape.dim
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
            held = attribute(node, "value")
            if isinstance(held, onnx.TensorProto):
                yield node, held


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


# ------------------------------------------------------------------------------------------------ features
@graph_kind("stale-features")
def _stale(view: View, rule: Rule) -> Found:
    """The number of channels that the importer believes a tensor has, against the length of scale."""
    count: dict[str, int] = {}
    for name in view.inputs:
        shape = view.shape(name)
        count[name] = shape[1] if shape is not None and len(shape) > 1 and shape[1] else -1
    for index in view.order:
        node = view.nodes[index]
        weight = view.shape(given(node, 1))
        source = count.get(given(node, 0), -1)
        match node.op_type:
            case "Conv" if weight:
                tracked = weight[0] or -1
            case "ConvTranspose" if weight and len(weight) > 1:
                tracked = weight[1] or -1
            case "Gemm" | "MatMul" | "OneHot" | "Unsqueeze" | "Squeeze" | "Constant":
                tracked = -1
            case name if not view.target.accepts(name):
                tracked = -1
            case "Concat" if rule.options["concat_adds"] and attribute(node, "axis") in (1, -3):
                parts = [count.get(name, -1) for name in node.input]
                tracked = -1 if -1 in parts else sum(parts)
            case _:
                tracked = source
        if node.op_type == "InstanceNormalization":
            scale = view.shape(given(node, 1))
            if scale and len(scale) == 1 and scale[0] and source not in (-1, scale[0]):
                yield (
                    node,
                    Hit(
                        f"the importer believes that {given(node, 0)} has {source} channels, scale has "
                        f"{scale[0]}: the count is not updated by Concat, Reshape, Slice and their like",
                        given(node, 0),
                        values={"expected": source, "got": scale[0]},
                    ),
                )
        for output in node.output[:1]:
            count[output] = tracked


# ------------------------------------------------------------------------------------------------ fusing
def _constant_operand(view: View, node: onnx.NodeProto) -> tuple[str, str] | None:
    """(constant, data) of an Add or Mul with one constant operand."""
    if len(node.input) != 2:
        return None
    first, second = node.input
    if first in view.folds and second not in view.folds:
        return first, second
    if second in view.folds and first not in view.folds:
        return second, first
    return None


def _fuses_backwards(view: View, node: onnx.NodeProto) -> bool:
    """Whether a scalar Add is merged into a convolution before it, through Mul and Add with constants."""
    current = node
    for _ in range(64):
        operands = _constant_operand(view, current)
        name = operands[1] if operands is not None else given(current, 0)
        maker = view.maker(name)
        if maker is None or view.only_consumer(name) is None:
            return False
        if maker.op_type in ("Conv", "BatchNormalization"):
            return maker.op_type == "Conv" or _fuses_backwards(view, maker)
        if maker.op_type not in ("Add", "Mul") or _constant_operand(view, maker) is None:
            return False
        current = maker
    return False


@graph_kind("shift-before-padding")
def _shift(view: View, rule: Rule) -> Found:
    for node in view.nodes:
        if node.op_type not in ("Add", "Sum") or not node.output:
            continue
        operands = _constant_operand(view, node)
        conv = view.only_consumer(node.output[0])
        if operands is None or conv is None or conv.op_type != "Conv" or given(conv, 0) != node.output[0]:
            continue
        shape, value = view.shape(operands[0]), view.value(operands[0])
        if shape is None or math.prod(size or 2 for size in shape) != 1 or attribute(conv, "group", 1) != 1:
            continue
        if value is not None and not value.any():
            continue
        padded = any(attribute(conv, "pads", [])) or str(attribute(conv, "auto_pad", "NOTSET")).startswith("SAME")
        if padded and not _fuses_backwards(view, node):
            yield (
                node,
                Hit(
                    f"adding one number before {label(conv)}, which pads with zeros, is folded into its bias: "
                    "the border is computed as if the padding had been shifted too",
                    operands[0],
                ),
            )


@graph_kind("width-constant")
def _width(view: View, rule: Rule) -> Found:
    """A constant along the width beside a Conv with as many outputs (LayerFusingHelper.cs:331@3.0.0)."""
    for node in view.nodes:
        operands = _constant_operand(view, node) if node.op_type in ("Add", "Mul", "Sum") else None
        if operands is None or not node.output or node.output[0] in view.outputs:
            continue
        shape, data = view.shape(operands[0]), view.shape(operands[1])
        if not shape or len(shape) not in rule.options["ranks"] or shape[-1] in (1, None):
            continue
        if any(size != 1 for size in shape[:-1]) or data is None or len(data) != 4:
            continue
        before, after = view.maker(operands[1]), view.only_consumer(node.output[0])
        for conv in (before if view.only_consumer(operands[1]) is not None else None, after):
            weight = view.shape(given(conv, 1)) if conv is not None and conv.op_type == "Conv" else None
            if weight and weight[0] == shape[-1]:
                yield (
                    node,
                    Hit(
                        f"the constant {operands[0]} along the width has {shape[-1]} values, as many as "
                        f"{label(conv)} has output channels: it is fused as if it were per channel",
                        operands[0],
                    ),
                )
                break


# ------------------------------------------------------------------------------------------------ layout
_TO_LAST, _TO_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


@graph_kind("channels-last")
def _channels_last(view: View, rule: Rule) -> Found:
    turns = [
        node
        for node in view.nodes
        if node.op_type == "Transpose"
        and attribute(node, "perm") in (_TO_LAST, _TO_FIRST)
        and node.output
        and variable(view, given(node, 0))
    ]
    if not turns or not any(node.op_type in ("Conv", "ConvTranspose") for node in view.nodes):
        return
    behind = _behind(view)
    for node in turns:
        if attribute(node, "perm") == _TO_FIRST:
            if given(node, 0) in view.inputs:
                yield (
                    node,
                    Hit("the input is channels-last: it must be fed with its sizes in the order of the file"),
                )
            continue
        operators = behind.get(node.output[0], frozenset())
        if not operators:
            continue
        if "product" in operators:
            told = "a matrix product on channels-last data between two transposes throws when it runs"
            yield node, Hit(told, severity=Severity.ERROR)
        elif "reduction" in operators:
            told = (
                "a reduction with a negative axis on channels-last data between two transposes reduces the batch"
            )
            yield node, Hit(told, severity=Severity.WRONG)
        else:
            yield (
                node,
                Hit(
                    "data is turned to channels-last inside the graph: the importer guesses the layout of "
                    "what follows"
                ),
            )


def _behind(view: View) -> dict[str, frozenset[str]]:
    """What lies behind a tensor, up to the next transpose or to where it is no image any more."""
    found: dict[str, frozenset[str]] = {}
    for index in reversed(view.order):
        node = view.nodes[index]
        for output in node.output:
            kinds: set[str] = set()
            for reader in view.consumers(output):
                if reader.op_type in ("Transpose", "Reshape", "Flatten"):
                    continue
                kinds.add(_role(view, reader))
                for later in reader.output:
                    kinds |= found.get(later, frozenset())
            if output and kinds:
                found[output] = frozenset(kinds)
    return found


def _role(view: View, node: onnx.NodeProto) -> str:
    if view.rank(given(node, 0)) not in (4, None):
        return "other"
    if node.op_type in ("MatMul", "Gemm"):
        return "product"
    return "reduction" if negative_reduction(view, node) else "other"


def negative_reduction(view: View, node: onnx.NodeProto) -> bool:
    """Whether a node reduces axes counted from the end."""
    return node.op_type.startswith("Reduce") and min(axes_of(view, node) or [0]) < 0


@graph_kind("shapes-disagree")
def _disagree(view: View, rule: Rule) -> Found:
    """Nodes whose inputs fit together in ONNX's reading, and no longer in the target's."""
    from pipeline.validate.consequences import disagreements

    names = {label(node): node for node in view.nodes}
    for name, problem in disagreements(view):
        yield names.get(name), Hit(f"as the target computes what comes before, {problem}: it throws when it runs")
