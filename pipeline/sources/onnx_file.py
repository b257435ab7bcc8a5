"""ONNX files: read as they are, with their external data, and never believed before they are checked."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.contract import ImageContract, ImageSide
from pipeline.sources.failures import damaged
from pipeline.sources.triage import FileFormat, identify
from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    import onnx

CONTRACT_KEY = "image_contract"
"""metadata_props entry in which this pipeline keeps the image contract (JSON of ImageContract.as_dict)."""

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

    Not held against onnx.checker: Barracuda takes older forms under a newer opset, and so does this pipeline's own
    output; what the target makes of a node is for `validate` to say. Raises PipelineError: what `identify` raises,
    unsupported-format (a model of another kind), truncated-file, invalid-onnx, missing-external-data,
    external-data-outside.
    """
    path = Path(path)
    file_format = identify(path)
    if file_format.name != "onnx":
        raise PipelineError(
            "not-onnx",
            f"this is {file_format.description}, not an ONNX model",
            subject=str(path),
            remedy="Convert it first: pipeline convert.",
        )
    return read_onnx(path, file_format, strict=False)[0]


def read_onnx(path: Path, file_format: FileFormat, *, strict: bool = True) -> tuple[onnx.ModelProto, list[Path]]:
    """The model, and the external data files that were read.

    `strict` holds it against onnx.checker; a file that this pipeline wrote in Barracuda's mixture of forms is then
    brought to one opset first.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model(str(path), load_external_data=False)
    except DecodeError:
        raise damaged(path, "its protobuf cannot be decoded", "truncated-file") from None
    except Exception as error:  # onnx raises its own kinds for what protobuf accepts and it does not
        raise damaged(path, str(error).splitlines()[0][:200] if str(error) else "onnx cannot read it") from error
    if not model.graph.node or not model.opset_import:
        raise damaged(path, "the ONNX model has no nodes or no opset", "truncated-file")
    companions = _load_external_data(path, model)
    _check_tensors(path, model)
    if strict:
        from pipeline.graph.model import PRODUCER
        from pipeline.graph.runnable import runnable

        if model.producer_name == PRODUCER:
            model = runnable(model)
        _sort(model.graph)
        _check_nodes(path, model)
    return model, companions


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


def tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a graph: initializers and the values of attributes, subgraphs included."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("g"):
                yield from tensors(attribute.g)
            for inner in attribute.graphs:
                yield from tensors(inner)


def _load_external_data(path: Path, model: onnx.ModelProto) -> list[Path]:
    """Fetch external tensors from files beside the model, and from nowhere else."""
    import onnx

    folder = path.resolve().parent
    read: dict[Path, None] = {}
    for tensor in tensors(model.graph):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        file = (folder / location).resolve() if location and "\0" not in location else folder
        if not file.is_relative_to(folder) or Path(location).is_absolute() or file == folder:
            raise PipelineError(
                "external-data-outside",
                f"tensor {tensor.name!r} wants its numbers from {location!r}, outside the model's folder",
                subject=str(path),
                remedy="Nothing was read. Get the model from a source that you trust, or save it as one file.",
            )
        if not file.is_file():
            raise PipelineError(
                "missing-external-data",
                f"the weights lie in {location!r}, which is not there (first needed by {tensor.name!r})",
                subject=str(path),
                remedy=f"Put {location} beside the .onnx file, or save the model as one file.",
            )
        try:
            offset = int(entries.get("offset", 0))
            length = int(entries["length"]) if "length" in entries else file.stat().st_size - offset
        except ValueError:
            raise damaged(path, f"the place of tensor {tensor.name!r} is no number") from None
        if offset < 0 or length < 0:
            raise damaged(path, f"the place of tensor {tensor.name!r} is negative")
        if offset + length > file.stat().st_size:
            raise damaged(file, f"tensor {tensor.name!r} reaches beyond its end", "truncated-file")
        with file.open("rb") as data:
            data.seek(offset)
            tensor.raw_data = data.read(length)
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
        read[file] = None
    return list(read)


def _check_tensors(path: Path, model: onnx.ModelProto) -> None:
    """Refuse tensors without their numbers."""
    import onnx

    for tensor in tensors(model.graph):
        try:
            item = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        except (KeyError, ValueError, TypeError):
            raise _invalid(path, f"tensor {tensor.name!r} has the unknown type {tensor.data_type}") from None
        if any(d < 0 for d in tensor.dims):
            raise _invalid(path, f"tensor {tensor.name!r} has the shape {list(tensor.dims)}")
        if tensor.HasField("raw_data") and item >= 1 and tensor.data_type < 17:
            expected = math.prod(tensor.dims) * item
            if len(tensor.raw_data) != expected:
                held = len(tensor.raw_data)
                raise _invalid(path, f"tensor {tensor.name!r} has {held} bytes instead of {expected}")


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
        remedy="Export it again; if it was edited by hand or by a tool, undo that.",
    )


# --- what is in it --------------------------------------------------------------------------------------------


def trained_values(model: onnx.ModelProto) -> int:
    """The number of trained values: weights, biases, norm scales, and constants of elementwise operators that
    are one per channel. Shapes, scales of resizes, clip bounds and batch-norm statistics are not."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    constants[node.output[0]] = attribute.t
    moved = ("Reshape", "Unsqueeze", "Cast", "Identity", "DequantizeLinear", "Transpose", "Squeeze")
    origin = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type in moved and node.input}
    counted: dict[str, int] = {}
    for node in model.graph.node:
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
    """The one graph input that is no initializer and of rank 4, or None."""
    constants = {tensor.name for tensor in model.graph.initializer}
    images = [
        value
        for value in model.graph.input
        if value.name not in constants and len(value.type.tensor_type.shape.dim) == 4
    ]
    return images[0] if len(images) == 1 else None


def layout_of(value: onnx.ValueInfoProto, fallback: str = "nchw") -> tuple[str, int]:
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


def stored_contract(model: onnx.ModelProto, path: Path) -> ImageContract | None:
    """The contract that this pipeline wrote into the file's metadata, if it did."""
    text = next((entry.value for entry in model.metadata_props if entry.key == CONTRACT_KEY), None)
    if text is None:
        return None
    try:
        data = json.loads(text)
        fixed = data.get("fixed_size")
        facts = ("input_range", "output_range", "channel_order", "size_multiple")
        return ImageContract(
            _side(data["input"]),
            _side(data["output"]),
            int(data.get("size_multiple", 4)),
            (int(fixed[0]), int(fixed[1])) if fixed else None,
            dict.fromkeys(facts, f"the file's metadata ({CONTRACT_KEY})"),
        )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise damaged(path, f"its {CONTRACT_KEY} metadata cannot be read ({error})") from None


def _side(data: dict[str, Any]) -> ImageSide:
    order, layout = data.get("order", "rgb"), data.get("layout", "nchw")
    if order not in ("rgb", "bgr") or layout not in ("nchw", "nhwc"):
        raise ValueError(f"order {order!r}, layout {layout!r}")
    return ImageSide(str(data["range"]), int(data.get("channels", 3)), order, layout)
