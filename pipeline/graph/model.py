"""Between an ONNX file and a graph in memory: reading, writing, sizes, and whether it is image-to-image."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import onnx_graphsurgeon as gs

from pipeline.graph import nodes as n
from pipeline.graph.shapes import Shapes, infer, spatial_axes
from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Mapping

PRODUCER = "unity-bridge-pipeline"
"""Barracuda treats files by tf2onnx, keras2onnx and pytorch specially (importer.md section 3): never those."""
IR_VERSION = 4
"""The first in which initializers are not graph inputs; Barracuda's protobuf knows up to 6 (Onnx.cs:171@3.0.0)."""
_ODD_TYPES = frozenset(
    number
    for name, number in onnx.TensorProto.DataType.items()
    if name.startswith(("FLOAT8", "FLOAT4", "FLOAT6", "INT4", "UINT4", "INT2", "UINT2", "COMPLEX"))
)
"""Element types that neither numpy nor graphsurgeon nor Barracuda has."""
_PACKED = ("int4", "uint4", "int2", "uint2", "float4")
"""Names of the types of which several share a byte."""
_TAKE_ODD_TYPES = ("QuantizeLinear", "DequantizeLinear")
DIALECT_OPSET = 9
"""What is declared unless a node's form is younger: the opset that Unity recommends (Exporting.md:139@3.0.0)."""


def load(path: Path | str) -> gs.Graph:
    """The graph of an ONNX file, external data included. Raises PipelineError `not-onnx`."""
    try:
        model = onnx.load(str(path))
    except FileNotFoundError as error:
        raise PipelineError("file-not-found", "there is no such file", subject=str(path)) from error
    except Exception as error:
        raise PipelineError(
            "not-onnx",
            "the file cannot be read as an ONNX model",
            subject=str(path),
            remedy="Is it complete?",
        ) from error
    return from_model(model)


def from_model(model: onnx.ModelProto) -> gs.Graph:
    """A graph of a model: local functions inlined, nodes named, initializers not listed as inputs.

    The model is not changed. The graph's opset is that of the model: what its nodes mean.
    Raises PipelineError `unsupported-tensor` where anything but Q/DQ nodes reads constants of packed types
    (int4, float8).
    """
    _refuse_odd_types(model)
    if model.functions:
        from onnx import inliner

        model = inliner.inline_local_functions(model)
    graph = gs.import_onnx(model)
    for domain in model.opset_import:
        if domain.domain in ("", "ai.onnx"):
            graph.opset = domain.version
    graph.inputs = [tensor for tensor in graph.inputs if not isinstance(tensor, gs.Constant)]
    for node in n.nodes_of(graph, "Softmax", "LogSoftmax"):
        node.attrs.setdefault("axis", -1 if graph.opset >= 13 else 1)
    _name_nodes(graph)
    return graph


def _refuse_odd_types(model: onnx.ModelProto) -> None:
    """Packed constants are taken where quantisation reads them: the rewrites make floats of them there."""
    others = [node for node in model.graph.node if node.op_type not in _TAKE_ODD_TYPES]
    read_elsewhere = {name for node in others for name in node.input}
    constants = [held for held in model.graph.initializer if held.name in read_elsewhere]
    for node in model.graph.node:
        if read_elsewhere.intersection(node.output):
            constants += [held.t for held in node.attribute if held.HasField("t")]
    for tensor in constants:
        if tensor.data_type in _ODD_TYPES:
            kind = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
            raise PipelineError(
                "unsupported-tensor",
                f"the constant {tensor.name or '(unnamed)'} is of type {kind}",
                remedy="Store it as float32, float16 or int8.",
            )


def _refuse_packed(graph: gs.Graph) -> None:
    for tensor in graph.tensors().values():
        kind = getattr(tensor.dtype, "name", "") if isinstance(tensor, gs.Constant) else ""
        if kind.startswith(_PACKED):
            raise PipelineError(
                "unsupported-tensor",
                f"the constant {tensor.name or '(unnamed)'} is of type {kind}, and what reads it cannot be undone",
                remedy="Store it as float32, float16 or int8.",
            )


def to_model(
    graph: gs.Graph, metadata: Mapping[str, str] | None = None, opset: int | None = None
) -> onnx.ModelProto:
    """A model of a graph, as Barracuda reads it best; the same graph gives the same bytes.

    Initializers are inline raw_data; nothing but the graph and `metadata` (sorted) is in the file: no value_info,
    doc strings or exporter's remarks. Declares opset 9 unless a node's form needs a younger one (`needed_opset`).
    Barracuda checks no opset, so attribute forms (Pad-2, Slice-1, Clip-6, Upsample-9) may stand in a file that
    declares 11 or more: `runnable` turns such a file into one that ONNX Runtime takes, with the same meaning.
    Raises PipelineError `unsupported-tensor` for constants of packed types that no rewrite made floats of.
    """
    _name_nodes(graph)
    shapes = infer(graph)
    declared = opset or needed_opset(graph, shapes)
    _refuse_packed(graph)
    exported = gs.export_onnx(graph, do_type_check=False)
    proto = exported.graph
    del proto.value_info[:]
    proto.doc_string = ""
    proto.name = graph.name or "graph"
    for node in proto.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for held, output in zip(proto.output, graph.outputs, strict=True):
        shape = shapes.of(output)
        if shape is not None:
            sizes = [f"{output.name}_{axis}" if size is None else size for axis, size in enumerate(shape)]
            kind = held.type.tensor_type.elem_type or onnx.TensorProto.FLOAT
            held.CopyFrom(onnx.helper.make_tensor_value_info(output.name, kind, sizes))
    for held in [*proto.input, *proto.output]:
        held.doc_string = ""
        del held.metadata_props[:]
    tensors = [_raw(tensor) for tensor in proto.initializer]
    del proto.initializer[:]
    proto.initializer.extend(tensors)
    opsets = [onnx.helper.make_opsetid("", declared)]
    opsets += [
        onnx.helper.make_opsetid(held.domain, held.version)
        for held in sorted(exported.opset_import, key=lambda held: held.domain)
        if held.domain not in ("", "ai.onnx") and any(node.domain == held.domain for node in proto.node)
    ]
    model = onnx.helper.make_model(proto, producer_name=PRODUCER, opset_imports=opsets, ir_version=IR_VERSION)
    onnx.helper.set_model_props(model, dict(sorted((metadata or {}).items())))
    return model


def _raw(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """The same tensor with inline raw_data and nothing else."""
    if not tensor.HasField("raw_data") or tensor.doc_string or tensor.metadata_props or tensor.external_data:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype == object:
            return tensor
        return onnx.helper.make_tensor(tensor.name, tensor.data_type, tensor.dims, array.tobytes(), raw=True)
    return tensor


def _name_nodes(graph: gs.Graph) -> None:
    """Give every node a unique, non-empty name: its first output's name when it has none."""
    taken: set[str] = set()
    last: dict[str, int] = {}
    for node in graph.nodes:
        wanted = node.name or (node.outputs[0].name if node.outputs else "") or node.op
        name, count = wanted, last.get(wanted, 1)
        while name in taken:
            count += 1
            name = f"{wanted}_{count}"
        last[wanted] = count
        node.name = name
        taken.add(name)


def needed_opset(graph: gs.Graph, shapes: Shapes | None = None) -> int:
    """The lowest opset, from 9 on, that has every form in the graph that is younger than 9."""
    shapes = shapes or infer(graph)
    return max((_form_opset(node, graph.opset, shapes) for node in graph.nodes if not node.domain), default=9)


def _form_opset(node: gs.Node, source_opset: int, shapes: Shapes) -> int:
    """The lowest opset from 9 on whose definition of the operator takes the node; 9 if none does."""
    if node.op in ("Softmax", "LogSoftmax"):
        rank, axis = shapes.rank(node.inputs[0]), node.attrs.get("axis", -1)
        single = source_opset >= 13 or "/softmax/" in node.name
        return 13 if single and rank is not None and axis not in (-1, rank - 1) else DIALECT_OPSET
    given = tuple(n.given(node, index) is not None for index in range(len(node.inputs)))
    return _lowest_opset(node.op, given, len(node.outputs), frozenset(node.attrs))


@functools.cache
def _lowest_opset(operator: str, given: tuple[bool, ...], outputs: int, attributes: frozenset[str]) -> int:
    for opset in range(DIALECT_OPSET, onnx.defs.onnx_opset_version() + 1):
        try:
            schema = onnx.defs.get_schema(operator, opset)
        except onnx.defs.SchemaError:
            continue
        single = onnx.defs.OpSchema.FormalParameterOption.Single
        required = [index for index, formal in enumerate(schema.inputs) if formal.option == single]
        fits = len(given) <= schema.max_input and outputs <= schema.max_output
        fits = fits and all(index < len(given) and given[index] for index in required)
        if fits and not schema.deprecated and attributes <= set(schema.attributes):
            return opset
    return DIALECT_OPSET


def declare_size(model: onnx.ModelProto, height: int, width: int, batch: int = 1) -> onnx.ModelProto:
    """A copy of a model with the input declared as `batch` pictures of height x width, all shapes inferred anew.

    The channels stay as declared. For a channels-last input (1, H, W, C with C of 1, 3 or 4) H and W are set
    where they are. Raises PipelineError `not-image-to-image` for an input that is not a picture.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    image = _image_input(copy)
    dims = image.type.tensor_type.shape.dim
    rows, columns = spatial_axes([dim.dim_value for dim in dims]) or (2, 3)
    for axis, size in ((0, batch), (rows, height), (columns, width)):
        dims[axis].dim_value = size
    del copy.graph.value_info[:]
    for output in copy.graph.output:
        for dim in output.type.tensor_type.shape.dim:
            dim.Clear()
    try:
        inferred = onnx.shape_inference.infer_shapes(copy)
    except Exception:  # models above 2 GiB and broken type annotations: the size itself is declared
        return copy
    return inferred


def _image_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [held for held in model.graph.input if held.name not in constants]
    pictures = [held for held in inputs if len(held.type.tensor_type.shape.dim) == 4]
    if len(pictures) != 1:
        raise _not_image_to_image(
            f"it has {len(pictures)} inputs of rank 4 among {', '.join(held.name for held in inputs) or 'none'}"
        )
    return pictures[0]


def single_input_output(graph: gs.Graph) -> tuple[gs.Variable, gs.Variable]:
    """The one input and the one output of an image-to-image graph.

    Raises PipelineError `not-image-to-image`, saying what the graph is instead, when it has several inputs or
    outputs, or when one of them is known not to be a rank 4 tensor of floating point numbers or bytes.
    """
    for side, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        if len(tensors) != 1:
            names = ", ".join(tensor.name for tensor in tensors) or "none"
            raise _not_image_to_image(f"it has {len(tensors)} {side}s ({names}), not one")
    source, result = graph.inputs[0], graph.outputs[0]
    shapes = infer(graph)
    for side, tensor in (("input", source), ("output", result)):
        shape = shapes.of(tensor) if shapes.of(tensor) is not None else tensor.shape
        if shape is not None and len(shape) != 4:
            kind = " (a classifier?)" if side == "output" and len(shape) == 2 else ""
            sizes = "x".join("?" if size is None else str(size) for size in shape)
            raise _not_image_to_image(f"its {side} {tensor.name} has shape {sizes}, of rank {len(shape)}{kind}")
    return source, result


def _not_image_to_image(what: str) -> PipelineError:
    return PipelineError(
        "not-image-to-image",
        f"the model does not turn one picture into one picture: {what}",
        remedy="Only networks with one (N, C, H, W) input and one (N, C, H, W) output can be bridged.",
    )
