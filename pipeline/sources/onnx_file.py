"""ONNX files: read as they are, with their external data, and never believed before they are checked."""

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
"""Inputs of operators that hold trained values; below, elementwise constants that are not scalars count too."""
_WEIGHT_TYPES = (1, 2, 3, 6, 10, 11, 16)
"""FLOAT, UINT8, INT8, INT32, FLOAT16, DOUBLE, BFLOAT16 of onnx.TensorProto."""
ELEMENTWISE = ("Mul", "Add", "Sub", "Div")


def load_model(path: Path) -> onnx.ModelProto:
    """The model in an .onnx file, external data loaded, nothing else changed.

    Not checked by onnx.checker: Barracuda takes older forms under a newer opset, and so does this pipeline's own
    output; what the target makes of a node is for `validate` to say. Raises PipelineError: what `identify` raises,
    unsupported-format (a model of another kind), truncated-file, invalid-onnx, missing-external-data,
    external-data-outside.
    """
    path = Path(path)
    return read_onnx(path, identify_onnx(path), strict=False)[0]


def read_onnx(
    path: Path, file_format: FileFormat, *, strict: bool = True
) -> tuple[onnx.ModelProto, list[Path], dict[str, Any]]:
    """The model, the external data files that were read, and with `strict` what the file's own graph is.

    `strict` holds it against onnx.checker; a file that this pipeline wrote in Barracuda's mixture of forms is then
    brought to one opset first.
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
    """Before IR 4 every initializer had to be an input too. Files that say 3 and leave the inputs out (waifu2x,
    quantisers) are taken by ONNX Runtime and Barracuda; what they mean is what IR 4 says."""
    if 0 < model.ir_version < 4:
        inputs = {value.name for value in model.graph.input}
        if any(tensor.name not in inputs for tensor in model.graph.initializer):
            model.ir_version = 4


def _sort(graph: onnx.GraphProto) -> None:
    """Bring the nodes into an order in which each reads what was made before; float16 converters append theirs.

    Graphs with subgraphs, which read from outside, and those that cannot be sorted stay as they are.
    """
    makers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    reads = [sorted({makers[name] for name in node.input if name in makers}) for node in graph.node]
    if all(made < index for index, needed in enumerate(reads) for made in needed):
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
    """Give outputs without a shape the inferred one: ONNX's checker wants one, the runtimes do not."""
    from pipeline.graph.estimate import light
    from pipeline.graph.standard import infer_shapes

    bare = [held for held in model.graph.output if not held.type.tensor_type.HasField("shape")]
    if not bare:
        return
    try:
        inferred = {held.name: held for held in infer_shapes(light(model)).graph.output}
    except Exception:  # whatever onnx raises for a graph that is not right: its checker says more
        return
    for held in bare:
        found = inferred.get(held.name)
        if found is not None and found.type.tensor_type.HasField("shape"):
            held.CopyFrom(found)


def tensors(message: Any) -> Iterator[onnx.TensorProto]:
    """Every tensor in a model, graph or node, wherever it stands: initializers, attributes, sparse tensors,
    subgraphs, functions, training graphs."""
    import onnx

    pending = [message]
    while pending:
        held = pending.pop()
        if isinstance(held, onnx.TensorProto):
            yield held
            continue
        for name, repeated in _message_fields(held.DESCRIPTOR):
            if repeated:
                pending += reversed(getattr(held, name))
            elif held.HasField(name):
                pending.append(getattr(held, name))


@cache
def _message_fields(descriptor: Any) -> tuple[tuple[str, bool], ...]:
    """The fields of a protobuf message that hold messages, last first, and whether each holds many."""
    found = [field for field in descriptor.fields if field.type == field.TYPE_MESSAGE]
    return tuple((field.name, _is_repeated(field)) for field in reversed(found))


def _is_repeated(field: Any) -> bool:
    told = getattr(field, "is_repeated", None)  # protobuf 6; `label` before
    return bool(field.label == field.LABEL_REPEATED if told is None else told)


def forget_places(model: onnx.ModelProto) -> None:
    """Take the file names out of external tensors that were not read, so that nothing else looks for them: onnx
    and ONNX Runtime would, in the current folder."""
    for tensor in tensors(model):
        del tensor.external_data[:]


def _load_external_data(path: Path, model: onnx.ModelProto, budget: Budget) -> list[Path]:
    """Fetch external tensors from files beside the model, and from nowhere else."""
    import onnx

    read: dict[Path, None] = {}
    for tensor in tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            file, offset, length = external_place(path, tensor)
            if file not in read:
                budget.more(file.stat().st_size)
            budget.take(length)
            with file.open("rb") as data:
                data.seek(offset)
                tensor.raw_data = data.read(length)
            tensor.data_location = onnx.TensorProto.DEFAULT
            read[file] = None
        del tensor.external_data[:]
    return list(read)


def external_place(path: Path, tensor: onnx.TensorProto) -> tuple[Path, int, int]:
    """File, offset and length in bytes of an external tensor of the model at `path`; nothing is read.

    Raises PipelineError: external-data-outside, missing-external-data, damaged-file, truncated-file.
    """
    folder = path.resolve().parent
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    name = shown(tensor.name)
    try:
        file = (folder / location).resolve() if location and "\0" not in location else folder
    except (OSError, RuntimeError, ValueError):  # longer than a name may be, links that lead to themselves
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
    """Refuse tensors without their numbers, and sparse ones that are absurdly large when written out."""
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
            held, expected, unit = len(tensor.raw_data), (values * bits + 7) // 8, "bytes"
        else:
            held, expected, unit = len(getattr(tensor, field)), -(-values // packed), "values"
            if tensor.data_type in _COMPLEX:
                expected *= 2
        if held != expected:
            raise _invalid(path, f"tensor {name} has {held} {unit} instead of {expected}")


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
"""Element types of onnx.TensorProto: bits of one value, the field that holds values beside raw_data, and how many
values lie in one entry of it (onnx/onnx.proto)."""


def _check_nodes(path: Path, model: onnx.ModelProto) -> None:
    """Refuse models that ONNX does not allow."""
    import onnx

    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        text = str(error).splitlines()[0]
        # Barracuda takes operators of older opsets (Upsample beyond 9): validate says what it makes of them.
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


# --- what is in it --------------------------------------------------------------------------------------------


def trained_values(model: onnx.ModelProto) -> int:
    """The number of trained values: weights, biases, norm scales, and constants of elementwise operators that
    are one per channel. Shapes, scales of resizes, clip bounds and batch-norm statistics are not."""
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
    """Raise `not-finite-weights` for a Conv, Gemm or norm whose weights hold NaN or infinity."""
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
    """The one graph input that is not an initializer and that may be a picture, or None."""
    from pipeline.graph.structure import pictures

    constants = {tensor.name for tensor in model.graph.initializer}
    images = pictures(value for value in model.graph.input if value.name not in constants)
    return images[0] if len(images) == 1 else None


def one_picture(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """The model with a declared batch of several pictures made a batch of one, and the batch that it declared.

    Exporters write the batch of their example. The model itself, and 1 or 0 (open), where it declares no more.
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
    """(layout, channels) of a rank-4 tensor from its declared shape; channels 0 where they are not declared."""
    dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    if len(dims) != 4:
        return fallback, 0
    first, last = dims[1], dims[3]
    small = (1, 3, 4)
    if last in small and first not in small:
        return "nhwc", last
    if first in small and last not in small:
        return "nchw", first
    return fallback, dims[3] if fallback == "nhwc" else dims[1]


def takes_bytes(model: onnx.ModelProto) -> bool:
    """Whether the picture that a model takes is of uint8."""
    import onnx

    image = image_input(model)
    return image is not None and image.type.tensor_type.elem_type == onnx.TensorProto.UINT8


def contract_of_bytes(model: onnx.ModelProto) -> ImageContract | None:
    """The contract of a network that takes and gives uint8 pictures: their type says 0..255; else None."""
    import onnx

    image, output = image_input(model), next(iter(model.graph.output), None)
    if image is None or output is None or not takes_bytes(model):
        return None
    if output.type.tensor_type.elem_type != onnx.TensorProto.UINT8:
        return None
    layout, channels = layout_of(image)
    out_layout, out_channels = layout_of(output, layout)
    told = "the type of the pictures is uint8"
    return ImageContract(
        ImageSide("0..255", channels=channels or 3, layout=layout),
        ImageSide("0..255", channels=out_channels or channels or 3, layout=out_layout),
        sources={
            "input_range": told,
            "output_range": told,
            "channel_order": "the usual order, not declared",
            "size_multiple": "the usual multiple, not declared",
        },
    )
