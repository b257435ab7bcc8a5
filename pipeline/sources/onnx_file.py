"""Read ONNX files with their external data, and check them before use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.contract import ImageContract, ImageSide, Layout
from pipeline.sources.budget import Budget
from pipeline.sources.failures import damaged
from pipeline.sources.pickled import shown
from pipeline.sources.triage import FileFormat, identify_onnx
from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    import onnx

TRAINED = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (1, 2),
    "MatMul": (0, 1),
    "InstanceNormalization": (1, 2),
    "BatchNormalization": (1, 2),
    "PRelu": (1,),
    "ConvInteger": (1,),
    "QLinearConv": (3, 8),
    "DequantizeLinear": (0,),
    "DynamicQuantizeLinear": (),
}
"""Input indices of trained values, by operator; `trained_values` also counts non-scalar elementwise constants."""
_WEIGHT_TYPES = (1, 2, 3, 6, 10, 11, 16)
"""FLOAT, UINT8, INT8, INT32, FLOAT16, DOUBLE, BFLOAT16 of onnx.TensorProto."""
ELEMENTWISE = ("Mul", "Add", "Sub", "Div")


def load_model(path: Path) -> onnx.ModelProto:
    """The model in an .onnx file with its external data loaded; nothing else is changed.

    It is not checked with onnx.checker: some targets accept older operator forms under a newer opset, and this
    pipeline's own output uses them; `validate` reports what the target does with each node. Raises what
    `identify_onnx` raises, and PipelineError: truncated-file, invalid-onnx, missing-external-data,
    external-data-outside, over-budget.
    """
    path = Path(path)
    return read_onnx(path, identify_onnx(path), strict=False)[0]


def read_onnx(
    path: Path, file_format: FileFormat, *, strict: bool = True
) -> tuple[onnx.ModelProto, list[Path], dict[str, Any]]:
    """The model, the external data files that were read, and with `strict` a description of the file's own graph.

    With `strict`, the model is checked with onnx.checker; a file that this pipeline wrote in a target's mixture of
    operator forms is converted to one opset first. Raises PipelineError as `load_model` does.
    """
    import onnx
    from google.protobuf.message import DecodeError

    from pipeline.graph.structure import check_structure
    from pipeline.graph.text import repair_text

    try:
        model = onnx.load_model(str(path), load_external_data=False)
    except DecodeError:
        raise damaged(path, "its protobuf cannot be decoded", "truncated-file") from None
    except Exception as error:  # onnx raises its own kinds for what protobuf accepts and it does not
        raise damaged(path, str(error).splitlines()[0][:200] if str(error) else "onnx cannot read it") from error
    repair_text(model)
    if not model.graph.node or not model.opset_import:
        raise damaged(path, "the ONNX model has no nodes or no opset", "truncated-file")
    check_structure(model)
    budget = Budget(path, path.stat().st_size)
    companions = _load_external_data(path, model, budget)
    _check_tensors(path, model, budget)
    about: dict[str, Any] = {}
    if strict:
        from pipeline.graph.statistics import described

        about = described(model) | {"weights": trained_values(model)}
    _raise_ir_version(model)
    if strict:
        from pipeline.graph.model import PRODUCER, valid

        if model.producer_name == PRODUCER:
            model = valid(model)
        _sort(model.graph)
        _declare_outputs(model)
        _check_nodes(path, model)
        if not model.graph.output:
            raise _invalid(path, "it has no output")
    return model, companions, about


def _raise_ir_version(model: onnx.ModelProto) -> None:
    """Declare IR 4 where initializers are not graph inputs, which IR versions before 4 require.

    Such files (waifu2x, output of quantisers) declare IR 3 and are accepted by ONNX Runtime and Barracuda.
    """
    if 0 < model.ir_version < 4:
        inputs = {value.name for value in model.graph.input}
        if any(tensor.name not in inputs for tensor in model.graph.initializer):
            model.ir_version = 4


def _sort(graph: onnx.GraphProto) -> None:
    """Sort the nodes topologically, in place: float16 converters append nodes at the end.

    Graphs with subgraphs, which read outer values, and graphs with cycles are not changed.
    """
    producers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    reads = [sorted({producers[name] for name in node.input if name in producers}) for node in graph.node]
    if all(producer < index for index, needed in enumerate(reads) for producer in needed):
        return
    if any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute):
        return
    try:
        order = list(TopologicalSorter(dict(enumerate(reads))).static_order())
    except CycleError:
        return
    nodes = [graph.node[index] for index in order]
    del graph.node[:]
    graph.node.extend(nodes)


def _declare_outputs(model: onnx.ModelProto) -> None:
    """Give outputs without a declared shape the inferred one: onnx.checker requires one, the runtimes do not."""
    from pipeline.graph.estimate import light
    from pipeline.graph.standard import infer_shapes

    without_shape = [value for value in model.graph.output if not value.type.tensor_type.HasField("shape")]
    if not without_shape:
        return
    try:
        inferred = {value.name: value for value in infer_shapes(light(model)).graph.output}
    except Exception:  # whatever onnx raises for an invalid graph: onnx.checker reports it better
        return
    for value in without_shape:
        found = inferred.get(value.name)
        if found is not None and found.type.tensor_type.HasField("shape"):
            value.CopyFrom(found)


def tensors(message: Any) -> Iterator[onnx.TensorProto]:
    """Every tensor in a model, graph or node: in initializers, attributes, sparse tensors, subgraphs, functions
    and training graphs."""
    import onnx

    pending = [message]
    while pending:
        current = pending.pop()
        if isinstance(current, onnx.TensorProto):
            yield current
            continue
        for name, repeated in _message_fields(current.DESCRIPTOR):
            if repeated:
                pending += reversed(getattr(current, name))
            elif current.HasField(name):
                pending.append(getattr(current, name))


@cache
def _message_fields(descriptor: Any) -> tuple[tuple[str, bool], ...]:
    """The message fields of a protobuf message, last first, each with whether it is repeated."""
    found = [field for field in descriptor.fields if field.type == field.TYPE_MESSAGE]
    return tuple((field.name, _is_repeated(field)) for field in reversed(found))


def _is_repeated(field: Any) -> bool:
    repeated = getattr(field, "is_repeated", None)  # protobuf 6; `label` before
    return bool(field.label == field.LABEL_REPEATED if repeated is None else repeated)


def drop_external_locations(model: onnx.ModelProto) -> None:
    """Remove the file locations of external tensors that were not read: onnx and ONNX Runtime would otherwise look
    for these files in the current folder."""
    for tensor in tensors(model):
        del tensor.external_data[:]


def _load_external_data(path: Path, model: onnx.ModelProto, budget: Budget) -> list[Path]:
    """Load external tensors, only from files in the model's folder; returns these files."""
    import onnx

    read: dict[Path, None] = {}
    for tensor in tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            file, offset, length = external_location(path, tensor)
            if file not in read:
                budget.add_file(file.stat().st_size)
            budget.take(length)
            with file.open("rb") as data:
                data.seek(offset)
                tensor.raw_data = data.read(length)
            tensor.data_location = onnx.TensorProto.DEFAULT
            read[file] = None
        del tensor.external_data[:]
    return list(read)


def external_location(path: Path, tensor: onnx.TensorProto) -> tuple[Path, int, int]:
    """(file, offset, length in bytes) of an external tensor of the model at `path`; the file is not read.

    Raises PipelineError: external-data-outside, missing-external-data, damaged-file, truncated-file.
    """
    folder = path.resolve().parent
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    name = shown(tensor.name)
    try:
        file = (folder / location).resolve() if location and "\0" not in location else folder
    except (OSError, RuntimeError, ValueError):  # a name that is too long, links that form a cycle
        file = folder
    if not file.is_relative_to(folder) or Path(location).is_absolute() or file == folder:
        raise PipelineError(
            "external-data-outside",
            f"tensor {name} refers to numbers in {shown(location)}, outside the model's folder",
            subject=str(path),
            remedy="Nothing was read. Get the model from a source that you trust, or save it as one file.",
        )
    if not os.path.isfile(file):  # unlike Path's, false for a name that is too long
        raise PipelineError(
            "missing-external-data",
            f"the weights are in {shown(location)}, which does not exist (first needed by {name})",
            subject=str(path),
            remedy=f"Put {shown(location)} next to the .onnx file, or save the model as one file.",
        )
    size = file.stat().st_size
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries["length"]) if "length" in entries else size - offset
    except ValueError:
        raise damaged(path, f"the position of tensor {name} is not a number") from None
    if offset < 0 or length < 0:
        raise damaged(path, f"the position of tensor {name} is negative")
    if offset + length > size:
        raise damaged(file, f"tensor {name} reaches beyond its end", "truncated-file")
    return file, offset, length


def _check_tensors(path: Path, model: onnx.ModelProto, budget: Budget) -> None:
    """Refuse tensors whose data does not match their shape, and sparse tensors whose dense form is too large."""
    for sparse in model.graph.sparse_initializer:
        budget.take(8 * math.prod(max(size, 0) for size in sparse.dims))
    for tensor in tensors(model):
        name = shown(tensor.name)
        if tensor.data_type not in _STORED:
            raise _invalid(path, f"tensor {name} has the unknown type {tensor.data_type}")
        if any(d < 0 for d in tensor.dims):
            raise _invalid(path, f"tensor {name} has the shape {list(tensor.dims)[:8]}")
        if tensor.HasField("segment"):
            raise _invalid(path, f"tensor {name} is stored in segments, which are not supported")
        bits, field, packed = _STORED[tensor.data_type]
        values = math.prod(tensor.dims)
        if tensor.HasField("raw_data"):
            stored, expected, unit = len(tensor.raw_data), (values * bits + 7) // 8, "bytes"
        else:
            stored, expected, unit = len(getattr(tensor, field)), -(-values // packed), "values"
            if tensor.data_type in _COMPLEX:
                expected *= 2
        if stored != expected:
            raise _invalid(path, f"tensor {name} has {stored} {unit} instead of {expected}")


_COMPLEX = (14, 15)
_STORED = {
    1: (32, "float_data", 1),
    2: (8, "int32_data", 1),
    3: (8, "int32_data", 1),
    4: (16, "int32_data", 1),
    5: (16, "int32_data", 1),
    6: (32, "int32_data", 1),
    7: (64, "int64_data", 1),
    8: (0, "string_data", 1),
    9: (8, "int32_data", 1),
    10: (16, "int32_data", 1),
    11: (64, "double_data", 1),
    12: (32, "uint64_data", 1),
    13: (64, "uint64_data", 1),
    14: (64, "float_data", 1),
    15: (128, "double_data", 1),
    16: (16, "int32_data", 1),
    17: (8, "int32_data", 1),
    18: (8, "int32_data", 1),
    19: (8, "int32_data", 1),
    20: (8, "int32_data", 1),
    21: (4, "int32_data", 2),
    22: (4, "int32_data", 2),
    23: (4, "int32_data", 2),
    24: (8, "int32_data", 1),
    25: (2, "int32_data", 4),
    26: (2, "int32_data", 4),
}
"""Element types of onnx.TensorProto: bits per value, the typed field that can be used instead of raw_data, and the
number of values in one entry of that field (onnx/onnx.proto)."""


def _check_nodes(path: Path, model: onnx.ModelProto) -> None:
    """Refuse models that onnx.checker rejects, except for operators of older opsets."""
    import onnx

    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        text = str(error).splitlines()[0]
        # Targets accept operators of older opsets (Upsample after opset 9); validate reports how they treat them.
        if "deprecated" not in text and "No Op registered" not in text:
            raise _invalid(path, text[:300]) from None
    except Exception as error:
        raise _invalid(path, str(error).splitlines()[0][:300] if str(error) else type(error).__name__) from None


def _invalid(path: Path, detail: str) -> PipelineError:
    return PipelineError(
        "invalid-onnx",
        f"the ONNX model is not valid: {detail}",
        subject=str(path),
        remedy="Export it again; if it was edited by hand or by a tool, use the file from before.",
    )


# --- contents -------------------------------------------------------------------------------------------------


def trained_values(model: onnx.ModelProto) -> int:
    """The number of trained values: weights, biases, norm parameters, and non-scalar constants of elementwise
    operators. Shapes, resize scales, clip bounds and batch-norm statistics do not count."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.output]
    for node in nodes:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    constants[node.output[0]] = attribute.t
    moved = ("Reshape", "Unsqueeze", "Cast", "Identity", "DequantizeLinear", "Transpose", "Squeeze")
    origin = {node.output[0]: node.input[0] for node in nodes if node.op_type in moved and node.input}
    counted: dict[str, int] = {}
    for node in nodes:
        elementwise = node.op_type in ELEMENTWISE
        for index in range(len(node.input)) if elementwise else TRAINED.get(node.op_type, ()):
            if index >= len(node.input):
                continue
            name = node.input[index]
            for _ in range(8):
                if name in constants or name not in origin:
                    break
                name = origin[name]
            tensor = constants.get(name)
            values = math.prod(tensor.dims) if tensor is not None else 0
            if tensor is not None and tensor.data_type in _WEIGHT_TYPES and (values > 1 or not elementwise):
                counted[name] = values
    return sum(counted.values())


def check_finite(model: onnx.ModelProto, path: Path) -> None:
    """Raise PipelineError `not-finite-weights` for trained weights that contain NaN or infinity."""
    from onnx import numpy_helper

    from pipeline.sources import plain

    used = {
        name
        for node in model.graph.node
        for index, name in enumerate(node.input)
        if index in TRAINED.get(node.op_type, ())
    }
    weights = {
        tensor.name: np.asarray(numpy_helper.to_array(tensor))
        for tensor in model.graph.initializer
        if tensor.name in used and tensor.data_type in (1, 10, 11)
    }
    plain.check_finite(weights, str(path))


def image_input(model: onnx.ModelProto) -> onnx.ValueInfoProto | None:
    """The only graph input that can be a picture (initializers excluded); None where there is not exactly one."""
    from pipeline.graph.structure import pictures

    constants = {tensor.name for tensor in model.graph.initializer}
    images = pictures(value for value in model.graph.input if value.name not in constants)
    return images[0] if len(images) == 1 else None


def with_batch_of_one(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """The model with a declared batch size above 1 replaced by 1, and the batch size that it declared.

    Exporters write the batch size of their example input. A model with a batch of 1, or 0 for a free one, is
    returned itself.
    """
    image = image_input(model)
    batch = 0 if image is None else int(image.type.tensor_type.shape.dim[0].dim_value)
    if batch <= 1:
        return model, batch
    copy = type(model)()
    copy.CopyFrom(model)
    constants = {tensor.name for tensor in copy.graph.initializer}
    for value in (*copy.graph.input, *copy.graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.name not in constants and len(dims) and dims[0].dim_value == batch:
            dims[0].dim_value = 1
    del copy.graph.value_info[:]
    return copy, batch


def layout_of(value: onnx.ValueInfoProto, fallback: Layout = "nchw") -> tuple[Layout, int]:
    """(layout, channels) of a rank-4 tensor from its declared shape; 0 channels where they are not declared.

    `fallback` is the layout for shapes from which it cannot be determined.
    """
    dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    if len(dims) != 4:
        return fallback, 0
    first, last = dims[1], dims[3]
    if dims[2:] == [1, 1]:
        return "nchw", first  # a vector
    small = (1, 3, 4)
    if last in small and first not in small:
        return "nhwc", last
    if first in small and last not in small:
        return "nchw", first
    return fallback, dims[3] if fallback == "nhwc" else dims[1]


def takes_uint8(model: onnx.ModelProto) -> bool:
    """Whether the model's input picture has the type uint8."""
    import onnx

    image = image_input(model)
    return image is not None and image.type.tensor_type.elem_type == onnx.TensorProto.UINT8


def uint8_contract(model: onnx.ModelProto) -> ImageContract | None:
    """The contract of a network whose input and output pictures are uint8, so 0..255; None for other networks."""
    import onnx

    image, output = image_input(model), next(iter(model.graph.output), None)
    if image is None or output is None or not takes_uint8(model):
        return None
    if output.type.tensor_type.elem_type != onnx.TensorProto.UINT8:
        return None
    layout, channels = layout_of(image)
    out_layout, out_channels = layout_of(output, layout)
    source = "the type of the pictures is uint8"
    return ImageContract(
        ImageSide("0..255", channels=channels or 3, layout=layout),
        ImageSide("0..255", channels=out_channels or channels or 3, layout=out_layout),
        sources={
            "input_range": source,
            "output_range": source,
            "channel_order": "the usual order, not declared",
            "size_multiple": "the usual multiple, not declared",
        },
    )
