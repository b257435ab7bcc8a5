"""Kinds of rule about a whole graph that only this family's data files name: opsets, weights, constant sums."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import onnx

from pipeline.targets.inference.operators import importer_opset
from pipeline.validation.findings import Severity
from pipeline.validation.kinds import Hit
from pipeline.validation.view import View, attribute, given, label

if TYPE_CHECKING:
    from pipeline.targets import Rule
    from pipeline.validation.graphs import GraphKind

Found = Iterator[tuple[onnx.NodeProto | None, Hit]]
_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
_INT32 = (-(2**31), 2**31 - 1)


def _constants(view: View) -> Iterator[tuple[onnx.NodeProto | None, str, onnx.TensorProto]]:
    for tensor in view.graph.initializer:
        yield None, tensor.name, tensor
    for node in view.nodes:
        tensor_value = attribute(node, "value") if node.op_type == "Constant" else None
        if isinstance(tensor_value, onnx.TensorProto):
            yield node, label(node), tensor_value


def opset_domain(view: View, rule: Rule) -> Found:
    """The opset is declared only for `ai.onnx`, and the file is read as opset 15."""
    if view.opset != 15 and importer_opset(view) == 15 and all(entry.domain for entry in view.model.opset_import):
        yield (
            None,
            Hit(
                f'opset {view.opset} is declared for the domain "ai.onnx" instead of "", which is not '
                "recognised: the file is read as opset 15"
            ),
        )


def external_offset(view: View, rule: Rule) -> Found:
    """External data at other offsets than the importer reads: it reads one tensor after the other."""
    ends: dict[str, int] = defaultdict(int)
    for node, name, tensor in _constants(view):
        if tensor.data_location != onnx.TensorProto.EXTERNAL and not tensor.external_data:
            continue
        location = {entry.key: entry.value for entry in tensor.external_data}
        try:
            offset, length = int(location.get("offset", 0) or 0), int(location.get("length", 0) or 0)
        except ValueError:
            continue
        expected = 0 if node is not None else ends[location.get("location", "")]
        if offset != expected:
            yield (
                node,
                Hit(
                    f"{name} is stored at byte {offset} of {location.get('location', '?')} but read at byte "
                    f"{expected}, because the importer ignores the offset",
                    name,
                ),
            )
            return
        if node is None:
            ends[location.get("location", "")] = offset + length


def typed_fields(view: View, rule: Rule) -> Found:
    """Constants in typed fields that the importer does not read, or misreads."""
    reads, bits = rule.options["reads"], rule.options.get("as_bits", {})
    for node, name, tensor in _constants(view):
        if tensor.raw_data or tensor.external_data:
            continue
        field = next((candidate for candidate in _FIELDS if len(getattr(tensor, candidate))), None)
        if field is None or tensor.data_type not in onnx.TensorProto.DataType.values():
            continue
        kind = onnx.TensorProto.DataType.Name(tensor.data_type)
        if kind in reads.get(field, ()):
            continue
        if kind in bits.get(field, ()):
            yield (
                node,
                Hit(
                    f"{name}: {kind} values stored in {field} are read as different numbers", name, Severity.WRONG
                ),
            )
        else:
            yield node, Hit(f"{name}: {kind} values stored in {field} are not read", name)


def wide_integers(view: View, rule: Rule) -> Found:
    """Integers beyond 32 bits, which are clamped; this has no effect on bounds of a Slice."""
    for node, name, tensor in _constants(view):
        if tensor.data_type not in (onnx.TensorProto.INT64, onnx.TensorProto.UINT32, onnx.TensorProto.UINT64):
            continue
        tensor_name = name if node is None else next((output for output in node.output if output), name)
        value = view.value(tensor_name)
        if value is None or not value.size or value.dtype.kind not in "iu":
            continue
        low, high = int(value.min()), int(value.max())
        readers = {reader.op_type for reader in view.consumers(tensor_name)}
        if (low < _INT32[0] or high > _INT32[1]) and readers - {"Slice", "Identity", "Concat", "Unsqueeze"}:
            reason = (
                f"{name} has integers beyond 32 bits ({low if low < _INT32[0] else high}), which are truncated"
            )
            yield node, Hit(reason, name)


def subtracted_sum(view: View, rule: Rule) -> Found:
    """An array plus data, and then a difference with a second array: merged with the wrong sign, or not at all.

    LayerFusingHelper.cs:124@2.1.3: the constant is written to the operand where it stood in neither node.
    """
    for node in view.nodes:
        if node.op_type != "Sub" or len(node.input) != 2 or not node.output:
            continue
        left, right = (_unmerged(view, name) for name in node.input)
        if left == right:
            continue
        inner = view.maker(node.input[1] if left else node.input[0])
        if inner is None or inner.op_type != "Add" or len(inner.input) != 2:
            continue
        if view.only_consumer(inner.output[0]) is None:
            continue
        first, second = (_unmerged(view, name) for name in inner.input)
        if first == second:
            continue
        if left and first:
            reason = (
                f"{node.input[0]} - ({inner.input[0]} + x) is merged into ({node.input[0]} + {inner.input[0]}) - x"
            )
            yield node, Hit(reason, node.input[0], Severity.WRONG)
        elif left or first:
            yield node, Hit(f"the importer tries to merge this Sub with {label(inner)} and throws")


def _array(view: View, name: str) -> bool:
    """Whether a tensor is a constant of more than one element (a single number becomes part of another layer)."""
    if name not in view.folds:
        return False
    shape = view.shape(name)
    return shape is None or bool(np.prod([size or 2 for size in shape]) != 1)


def _unmerged(view: View, name: str) -> bool:
    """Whether a constant stays an operand up to 2.3, because it has more than one element or rank 2 or more.

    ContractSubExpressionsPass.cs:175@2.1.3.
    """
    return _array(view, name) or (name in view.folds and len(view.shape(name) or ()) > 1)


def product_and_number(view: View, rule: Rule) -> Found:
    """A product with a constant of rank 3 or more, plus one number: merged into a layer for matrices of rank 2.

    FuseDensePass.cs:49@2.4.0: the rank of the weights is asked for Add, not for an added number.
    """
    for node in view.nodes:
        if node.op_type != "MatMul" or len(node.input) != 2 or not node.output:
            continue
        shape, result = view.shape(node.input[1]), node.output[0]
        reader = view.only_consumer(result)
        while reader is not None and reader.output and _no_layer(view, reader):
            result = reader.output[0]
            reader = view.only_consumer(result)
        if node.input[1] not in view.folds or shape is None or len(shape) < 3 or reader is None:
            continue
        number = next((name for name in reader.input if name != result), "")
        if reader.op_type not in ("Add", "Sub") or number not in view.folds or _array(view, number):
            continue
        if reader.op_type == "Add" or reader.input[0] == result:
            reason = f"the product with {node.input[1]} (rank {len(shape)}) plus one number is computed in 2-D"
            yield node, Hit(reason, node.input[1])


def _no_layer(view: View, node: onnx.NodeProto) -> bool:
    """Whether the optimiser removes a node that copies."""
    if node.op_type == "Cast":
        return view.dtype(given(node, 0)) == attribute(node, "to")
    return node.op_type in ("Identity", "Dropout")


def output_without_maker(view: View, rule: Rule) -> Found:
    """Optional outputs that the layers do not have, but that are used."""
    counts = rule.options["outputs"]
    for node in view.nodes:
        for name in node.output[counts.get(node.op_type, len(node.output)) :]:
            if name and (name in view.readers or name in view.outputs):
                yield node, Hit(f"the target's layer does not have the output {name}", name)


def large_rank(view: View, rule: Rule) -> Found:
    """Tensors of higher rank than the target supports."""
    for node in view.nodes:
        for name in node.output:
            rank = view.rank(name) if name else None
            if rank is not None and rank > rule.options["max"]:
                yield node, Hit(f"{name} has rank {rank}; the target supports at most {rule.options['max']}", name)


def dynamic_names(view: View, rule: Rule) -> Found:
    """More names of free sizes than fit into one byte."""
    names = {
        dim.dim_param
        for graph_input in view.graph.input
        for dim in graph_input.type.tensor_type.shape.dim
        if dim.HasField("dim_param")
    }
    if len(names) > rule.options["max"]:
        yield (
            None,
            Hit(f"the model has {len(names)} names of free sizes; at most {rule.options['max']} are supported"),
        )


def missing_scale(view: View, rule: Rule) -> Found:
    """A LayerNormalization without a bias."""
    for node in view.nodes:
        if node.op_type == "LayerNormalization" and not given(node, 2):
            yield node, Hit("the bias B is missing: shape inference throws a NullReferenceException", "B")


GRAPH_KINDS: dict[str, GraphKind] = {
    "opset-domain": opset_domain,
    "external-offset": external_offset,
    "typed-fields": typed_fields,
    "wide-integers": wide_integers,
    "subtracted-sum": subtracted_sum,
    "product-and-number": product_and_number,
    "output-without-maker": output_without_maker,
    "large-rank": large_rank,
    "dynamic-names": dynamic_names,
    "missing-bias": missing_scale,
}
