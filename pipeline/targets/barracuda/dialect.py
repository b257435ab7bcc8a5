"""Barracuda's dialect: the forms of opset 9 for all that opset 9 has, and newer operators unchanged.

Barracuda's importer checks no opset. It was written for opset 9 and reads parameters as attributes: a Pad-11 is
not padded at all in 1.0, a Clip-11 loses its bounds, an axes input of 2.0 reduces axis 0 (importer.md sections 1
and 11, measured.md). What opset 9 cannot express it reads in a later form: Resize-11 with scales,
DepthToSpace with a mode, newer operators. So a file may mix forms that no single opset has: each node is in the
form of opset 9 or in that of the opset that the file declares, and anything else is not in the dialect (`check`).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import onnx

from pipeline.graph import assemble, declared_opset
from pipeline.graph import nodes as n
from pipeline.graph.forms import (
    TO_THE_END,
    axes_of,
    filler,
    has,
    integers,
    is_nearest_enlarging,
    pads_of,
    parameter,
    slice_spec,
)
from pipeline.graph.shapes import LazyShapes
from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_graphsurgeon as gs

LOWEST_OPSET = 9
"""What is declared unless a node's form is newer: the opset that Unity recommends (Exporting.md:139@3.0.0)."""
IR_VERSION = 4
"""The first in which initializers are not graph inputs; Barracuda's protobuf knows up to 6 (Onnx.cs:171@3.0.0)."""
_STEM = "dialect"
_NEUTRAL = {
    ("auto_pad", "NOTSET"),
    ("ceil_mode", 0),
    ("count_include_pad", 0),
    ("noop_with_empty_axes", 0),
    ("storage_order", 0),
    ("training_mode", 0),
}
"""Attributes with the default value, which some importers warn about."""


# --- writing -------------------------------------------------------------------------------------------------


def write(graph: gs.Graph, metadata: Mapping[str, str] | None = None) -> onnx.ModelProto:
    """The model of a graph of the one valid form, in Barracuda's dialect; the graph is not changed.

    Each node is written by itself and keeps its name. What the dialect cannot express (computed pads, a Slice with
    steps) is written unchanged: validation reports how Barracuda reads it.
    """
    copy = graph.copy()
    copy.name = graph.name
    shapes = LazyShapes(graph)
    for node in list(copy.nodes):
        if node.domain in (None, "", "ai.onnx"):
            _write_node(copy, node, shapes)
    opset = max((_opset_of(node, shapes) for node in copy.nodes if not node.domain), default=LOWEST_OPSET)
    return assemble(copy, opset, IR_VERSION, metadata, shapes.here)


def _write_node(graph: gs.Graph, node: gs.Node, shapes: LazyShapes) -> None:
    for name, value in _NEUTRAL:
        if node.attrs.get(name) == value:
            del node.attrs[name]
    match node.op:
        case "Pad":
            pads = pads_of(node) if not has(node, "axes") else pads_of(node, shapes.here.rank(node.inputs[0]))
            if pads is not None and filler(node) is not None:
                constant = n.text(node, "mode", "constant") == "constant"
                value = filler(node) if constant else 0.0
                node.attrs.setdefault("mode", "constant")
                _attributes(node, pads=list(pads), value=value or None)
        case "Clip":
            bounds = {name: parameter(node, name) for name in ("min", "max")}
            if all(bound is not None or not has(node, name) for name, bound in bounds.items()):
                _attributes(node, **{k: None if v is None else float(v.reshape(())) for k, v in bounds.items()})
        case "Slice":
            _write_slice(node, shapes)
        case "Squeeze" | "Unsqueeze":
            _attributes(node, axes=_from_the_front(node, shapes))
        case "Split":
            node.attrs.pop("num_outputs", None)
            _attributes(node, split=integers(node, "split"))
        case "Resize":
            if is_nearest_enlarging(node):
                node.op, node.inputs, node.attrs = (
                    "Upsample",
                    [node.inputs[0], node.inputs[2]],
                    {"mode": "nearest"},
                )
        case "DepthToSpace":
            if n.text(node, "mode", "DCR") == "DCR":
                node.attrs.pop("mode", None)
        case "Conv" | "ConvTranspose":
            weights = shapes.here.static(n.given(node, 1))
            if weights is not None and len(weights) > 2:
                node.attrs.setdefault("kernel_shape", list(weights[2:]))
        case "Concat" | "ArgMax" | "ArgMin" | "Gather" | "Softmax" | "LogSoftmax" | "Flatten":
            rank, default = shapes.here.rank(node.inputs[0]), -1 if "Softmax" in node.op else None
            axis = node.attrs.get("axis", default)
            if axis is not None and rank is not None:
                node.attrs["axis"] = int(axis) % rank if node.op != "Flatten" or axis < 0 else int(axis)
        case "Transpose":
            rank = shapes.here.rank(node.inputs[0])
            if "perm" not in node.attrs and rank is not None:
                node.attrs["perm"] = list(reversed(range(rank)))
        case "Pow":
            exponent = n.value(node.inputs[1])
            if exponent is not None and exponent.dtype.kind in "iu":  # below opset 12 both are of one type
                node.inputs[1] = n.Builder(graph, node, _STEM).const(exponent, "exponent")
        case op if op.startswith("Reduce") and op in n.PARAMETERS:
            _attributes(node, axes=_from_the_front(node, shapes))
            if axes_of(node) == []:
                node.inputs, _ = node.inputs[:1], node.attrs.pop("axes", None)


def _attributes(node: gs.Node, **parameters: Any) -> None:
    """Write parameters as attributes and remove the inputs after the first; a parameter of None is omitted."""
    known = {name: value for name, value in parameters.items() if value is not None}
    if len(known) or len(node.inputs) == 1 or all(tensor.is_empty() for tensor in node.inputs[1:]):
        node.inputs = [node.inputs[0]]
        node.attrs |= known


def _from_the_front(node: gs.Node, shapes: LazyShapes) -> list[int] | None:
    """Constant axes, ascending and not negative where the rank is known."""
    axes, rank = axes_of(node) if has(node, "axes") else None, shapes.here.rank(node.inputs[0])
    if not axes:
        return None
    if rank is not None:
        rank += len(axes) if node.op == "Unsqueeze" else 0
        axes = [axis % rank for axis in axes]
    return sorted(axes) if min(axes, default=0) >= 0 else axes


def _write_slice(node: gs.Node, shapes: LazyShapes) -> None:
    spec = slice_spec(node)
    if spec is None or set(spec[3]) - {1}:
        return
    starts, ends, axes, _ = spec
    rank = shapes.here.rank(node.inputs[0])
    axes = axes if rank is None else [axis % rank for axis in axes]
    bounds = sorted(zip(axes, starts, (min(end, TO_THE_END) for end in ends), strict=True))
    columns = dict(
        zip(("axes", "starts", "ends"), (list(column) for column in zip(*bounds, strict=True)), strict=True)
    )
    _attributes(node, starts=columns["starts"], ends=columns["ends"], axes=columns["axes"])


def _opset_of(node: gs.Node, shapes: LazyShapes) -> int:
    """The lowest opset from 9 on that has the node's form; 9 if none does."""
    if node.op in ("Softmax", "LogSoftmax"):
        rank, axis = shapes.here.rank(node.inputs[0]), node.attrs.get("axis", -1)
        return 13 if rank is not None and axis not in (-1, rank - 1) else LOWEST_OPSET
    present = tuple(n.given(node, index) is not None for index in range(len(node.inputs)))
    for opset in range(LOWEST_OPSET, onnx.defs.onnx_opset_version() + 1):
        if fits(node.op, present, len(node.outputs), frozenset(node.attrs), opset):
            return opset
    return LOWEST_OPSET


@functools.cache
def fits(operator: str, present: tuple[bool, ...], outputs: int, attributes: frozenset[str], opset: int) -> bool:
    """Whether an opset's definition of an operator takes a node with these inputs, outputs and attributes."""
    try:
        schema = onnx.defs.get_schema(operator, opset)
    except onnx.defs.SchemaError:
        return False
    single = onnx.defs.OpSchema.FormalParameterOption.Single
    required = [index for index, formal in enumerate(schema.inputs) if formal.option == single]
    counts = len(present) <= schema.max_input and outputs <= schema.max_output
    complete = all(index < len(present) and present[index] for index in required)
    required_attributes = {name for name, definition in schema.attributes.items() if definition.required}
    return (
        counts
        and complete
        and not schema.deprecated
        and required_attributes <= attributes <= set(schema.attributes)
    )


# --- what is in the dialect ----------------------------------------------------------------------------------

_OWN = frozenset(["ImageScaler", "Swish"])
"""Operators that Barracuda has but ONNX lacks, or added later."""


def check(model: onnx.ModelProto) -> None:
    """Refuse a file with a node that is neither in the form of the opset that it declares nor in that of opset 9.

    Operators that ONNX does not know are passed over: they have findings of their own. Raises PipelineError
    `not-in-dialect`, naming the first such node.
    """
    declared = declared_opset(model)
    for node in model.graph.node:
        if node.domain in ("", "ai.onnx") and form_of(node, declared) is None:
            raise PipelineError(
                "not-in-dialect",
                f"{node.op_type} {node.name or node.output[0]} is neither in the form of opset {declared}, which "
                f"the file declares, nor in that of opset {LOWEST_OPSET}",
                remedy="If the pipeline wrote this file, that is a bug: please report it.",
            )


def form_of(node: onnx.NodeProto, declared: int) -> int | None:
    """The opset in whose form a node is written: the declared one or 9; None if it is in neither's.

    Resize of opsets 11 and 12 counts in the form of 13, where roi and scales may be left out, as exporters did.
    """
    if node.op_type in _OWN or not _is_known(node.op_type):
        return declared
    present = tuple(bool(name) for name in node.input)
    names = frozenset(attribute.name for attribute in node.attribute)
    later = 13 if node.op_type == "Resize" and declared in (11, 12) else declared
    for opset in (later, LOWEST_OPSET):
        if fits(node.op_type, present, len(node.output), names, opset) and _typed(node, opset):
            return opset
    return None


@functools.cache
def _is_known(operator: str) -> bool:
    return onnx.defs.has(operator)


def _typed(node: onnx.NodeProto, opset: int) -> bool:
    """Whether the attributes hold what the opset's definition says: numbers, lists, text."""
    attributes = onnx.defs.get_schema(node.op_type, opset).attributes
    return all(int(attributes[attribute.name].type) == attribute.type for attribute in node.attribute)  # type: ignore[call-overload]
