"""Between an ONNX file and a graph in memory: reading, writing, sizes, and whether it is image-to-image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import onnx_graphsurgeon as gs

from pipeline.graph.onnx_inference import inferred_by_onnx
from pipeline.graph.shapes import LazyShapes, infer, spatial_axes
from pipeline.graph.structure import check_structure, pictures
from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.graph.shape import Shapes

PRODUCER = "unity-bridge-pipeline"
"""Barracuda treats files by tf2onnx, keras2onnx and pytorch specially (importer.md section 3): never those."""
OPSET = 18
"""The opset of the one valid form: what every graph in memory is, from reading to the last rewrite."""
IR_VERSION = 8
"""The IR version that came with opset 18."""
_ODD_TYPES = frozenset(
    number
    for name, number in onnx.TensorProto.DataType.items()
    if name.startswith(("FLOAT8", "FLOAT4", "FLOAT6", "INT4", "UINT4", "INT2", "UINT2", "COMPLEX"))
)
"""Element types that numpy, graphsurgeon and Barracuda do not support."""
_PACKED = ("int4", "uint4", "int2", "uint2", "float4")
"""Name prefixes of the element types that pack several numbers into one byte."""
_TAKE_ODD_TYPES = ("QuantizeLinear", "DequantizeLinear")


def from_model(model: onnx.ModelProto) -> gs.Graph:
    """The graph of a model in the one valid form (`OPSET`), local functions inlined and nodes named.

    The model is not changed; it may be of any opset, and may mix forms of several as Barracuda's files do. Names
    of nodes and tensors stay. Raises PipelineError `unsupported-tensor` where anything but Q/DQ nodes reads
    constants of packed types (int4, float8), and `opset-too-new` for what the valid form cannot say.
    """
    from pipeline.graph.newer import expand

    check_structure(model)
    opset = declared_opset(model)
    if model.functions:
        from onnx import inliner

        model = inliner.inline_local_functions(model)
    graph = as_written(expand(model) if opset > OPSET else model)
    convert(graph, opset)
    return graph


def convert(graph: gs.Graph, opset: int) -> None:
    """Bring the nodes of a graph, written in `opset`, to the forms of `OPSET`, in place."""
    from pipeline.graph import newer, older

    shapes = LazyShapes(graph)
    before = len(graph.nodes)
    for node in list(graph.nodes):
        if node.domain not in (None, "", "ai.onnx") or not node.outputs:
            continue
        for attribute in node.attrs.values():
            if isinstance(attribute, gs.Graph):
                convert(attribute, opset)
        if opset > OPSET:
            newer.lower_node(graph, node, opset, shapes)
        if node.outputs and node.domain in (None, "", "ai.onnx"):
            older.raise_node(graph, node, opset, shapes)
    graph.opset = OPSET
    if len(graph.nodes) != before:
        graph.cleanup(remove_unused_graph_inputs=False).toposort()


def declared_opset(model: onnx.ModelProto) -> int:
    """The declared version of the standard operator set; 1 when none is declared."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def as_written(model: onnx.ModelProto) -> gs.Graph:
    """The graph of a model with each node in the opset form of the file; nodes are named, nothing is converted.

    For inspecting files and reading a target's dialect; everything else uses `from_model`.
    Raises PipelineError `unsupported-tensor` as `from_model` does.
    """
    check_structure(model)
    _refuse_odd_types(model)
    try:
        graph = gs.import_onnx(model)
    except Exception as error:  # of many kinds, for what it does not expect in a file
        raise PipelineError(
            "invalid-onnx",
            f"the ONNX model cannot be converted to a graph ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]})",
            remedy="Export it again; if it was edited by hand or by a tool, use the file from before.",
        ) from error
    graph.opset = declared_opset(model)
    graph.inputs = [tensor for tensor in graph.inputs if not isinstance(tensor, gs.Constant)]
    _name_nodes(graph)
    return graph


def _refuse_odd_types(model: onnx.ModelProto) -> None:
    """Raise PipelineError `unsupported-tensor` for a constant of `_ODD_TYPES` that anything but Q/DQ nodes reads.

    Those that Q/DQ nodes read are accepted: the rewrite `quantised` converts them to floats.
    """
    others = [node for node in model.graph.node if node.op_type not in _TAKE_ODD_TYPES]
    read_elsewhere = {name for node in others for name in node.input}
    constants = [tensor for tensor in model.graph.initializer if tensor.name in read_elsewhere]
    for node in model.graph.node:
        if read_elsewhere.intersection(node.output):
            constants += [attribute.t for attribute in node.attribute if attribute.HasField("t")]
    for tensor in constants:
        if tensor.data_type in _ODD_TYPES:
            kind = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
            raise PipelineError(
                "unsupported-tensor",
                f"the constant {tensor.name or '(unnamed)'} is of type {kind}",
                remedy="Store it as float32, float16 or int8.",
            )


def to_model(graph: gs.Graph, metadata: Mapping[str, str] | None = None) -> onnx.ModelProto:
    """A strictly valid model of a graph in the one valid form; the same graph gives the same bytes.

    Initializers are inline raw_data; nothing but the graph and `metadata` (sorted) is in the file: no value_info,
    doc strings or exporter's remarks. Raises PipelineError `unsupported-tensor` for constants of packed types
    that no rewrite made floats of.
    """
    return assemble(graph, OPSET, IR_VERSION, metadata)


def valid(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model itself if onnx.checker accepts it, else an equivalent model in the one valid form.

    For files that mix the forms of several opsets, as Barracuda's do.
    """
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError):
        return to_model(from_model(model), {entry.key: entry.value for entry in model.metadata_props})
    return model


def assemble(
    graph: gs.Graph,
    opset: int,
    ir_version: int,
    metadata: Mapping[str, str] | None = None,
    shapes: Shapes | None = None,
) -> onnx.ModelProto:
    """A model that declares `opset` and holds the nodes of a graph as they are, whatever form that is.

    `shapes` are the graph's shapes, if they were inferred already.
    """
    _name_nodes(graph)
    _refuse_packed(graph)
    shapes = infer(graph) if shapes is None else shapes
    exported = gs.export_onnx(graph, do_type_check=False)
    proto = exported.graph
    del proto.value_info[:]
    proto.doc_string = ""
    proto.name = graph.name or "graph"
    for node in proto.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value, output in zip(proto.output, graph.outputs, strict=True):
        shape = shapes.of(output)
        if shape is not None:
            sizes = [f"{output.name}_{axis}" if size is None else size for axis, size in enumerate(shape)]
            kind = value.type.tensor_type.elem_type or onnx.TensorProto.FLOAT
            value.CopyFrom(onnx.helper.make_tensor_value_info(output.name, kind, sizes))
    for value in [*proto.input, *proto.output]:
        value.doc_string = ""
        del value.metadata_props[:]
    tensors = [_raw(tensor) for tensor in proto.initializer]
    del proto.initializer[:]
    proto.initializer.extend(tensors)
    opsets = [onnx.helper.make_opsetid("", opset)]
    versions = {entry.domain: entry.version for entry in exported.opset_import}
    foreign = sorted({node.domain for node in proto.node} - {"", "ai.onnx"})
    opsets += [onnx.helper.make_opsetid(domain, versions.get(domain, 1)) for domain in foreign]
    model = onnx.helper.make_model(proto, producer_name=PRODUCER, opset_imports=opsets, ir_version=ir_version)
    onnx.helper.set_model_props(model, dict(sorted((metadata or {}).items())))
    return model


def packed_constants(graph: gs.Graph) -> list[gs.Constant]:
    """The constants of packed types (several numbers in one byte), with which a graph cannot be written."""
    constants = (tensor for tensor in graph.tensors().values() if isinstance(tensor, gs.Constant))
    return [tensor for tensor in constants if getattr(tensor.dtype, "name", "").startswith(_PACKED)]


def _refuse_packed(graph: gs.Graph) -> None:
    for tensor in packed_constants(graph):
        raise PipelineError(
            "unsupported-tensor",
            f"the constant {tensor.name or '(unnamed)'} is of type {tensor.dtype.name}, and the quantisation of "
            "the nodes that read it cannot be undone",
            remedy="Store it as float32, float16 or int8.",
        )


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
        base = node.name or (node.outputs[0].name if node.outputs else "") or node.op
        name, count = base, last.get(base, 1)
        while name in taken:
            count += 1
            name = f"{base}_{count}"
        last[base] = count
        node.name = name
        taken.add(name)


def declare_size(model: onnx.ModelProto, height: int, width: int, batch: int = 1) -> onnx.ModelProto:
    """A copy of a model with the input declared as `batch` pictures of height x width, all shapes inferred again.

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
        inferred = inferred_by_onnx(copy)
    except Exception:  # models above 2 GiB and broken type annotations: the size itself is declared
        return copy
    return inferred


def _image_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    images = pictures(inputs)
    if len(images) != 1:
        raise _not_image_to_image(
            f"it has {len(images)} inputs of rank 4 among {', '.join(value.name for value in inputs) or 'none'}"
        )
    return images[0]


def single_input_output(graph: gs.Graph) -> tuple[gs.Variable, gs.Variable]:
    """The one picture that goes into an image-to-image graph, and the one output.

    A style's vector (1, K, 1, 1) may be its second input.

    Raises PipelineError `not-image-to-image`, saying what the graph is instead, when it has several inputs or
    outputs, or when one of them is known not to be a rank 4 tensor of floating point numbers or bytes.
    """
    vectors = [value for value in graph.inputs[1:] if value.shape is not None and list(value.shape[2:]) == [1, 1]]
    images = [value for value in graph.inputs if all(value is not other for other in vectors[:1])]
    for side, tensors in (("input", images), ("output", graph.outputs)):
        if len(tensors) != 1:
            names = ", ".join(tensor.name for tensor in tensors) or "none"
            raise _not_image_to_image(f"it has {len(tensors)} {side}s ({names}), not one")
    source, result = images[0], graph.outputs[0]
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
        f"the model does not have one picture as input and one as output: {what}",
        remedy="Only networks with one (N, C, H, W) input and one (N, C, H, W) output are supported.",
    )
