"""From a model file to a packed file and back: the jobs behind `pipeline compress` and `pipeline decompress`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.compress.job import Compressed, CompressOptions, compress, describe
from pipeline.compress.packed import VERSION, is_packed, unpack
from pipeline.support.files import existing_file
from pipeline.support.untrusted import on_a_file

if TYPE_CHECKING:
    import onnx

    from pipeline.contract import ImageContract
    from pipeline.graph.integers import QuantizedTensor
    from pipeline.sources import ReadOptions


@on_a_file
def compress_file(
    source: str | Path,
    options: CompressOptions,
    declared: ReadOptions | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Compressed:
    """Pack an .onnx file. A quantised one becomes the float network that it stands for, its integers kept.

    `declared` says which output is kept, what inputs are bound to, and the value ranges where the file does not
    tell them. Facts get `source_bytes` and `notes`.
    """
    from pipeline import sources
    from pipeline.sources import onnx_file

    path = existing_file(source)
    if declared is not None and (declared.take or declared.bind or declared.mask):
        network = sources.read_one(path, declared)
        assert network.model is not None
        model, contract = network.model, network.contract
    else:
        model = onnx_file.load_model(path)
        onnx_file.check_finite(model, path)
        contract = _contract(path, declared)
    size, notes = path.stat().st_size, []
    if contract is None and options.weights != "half":
        notes.append(
            "the value ranges are not declared: quality is measured with an input of RGB 0..1, and with the "
            "output range that fits the values (declare them with --input-range and --output-range)"
        )
    model, integers = _floats_behind(model)
    if integers:
        notes.append(f"already quantised: {len(integers)} weights keep their integers and scales")
    done = compress(
        model.SerializeToString(deterministic=True),
        options,
        contract=contract,
        given=integers,
        subject=str(path),
        progress=progress,
    )
    return replace(done, facts={"file": path.name, "source_bytes": size, **done.facts, "notes": notes})


def _contract(path: Path, declared: ReadOptions | None) -> ImageContract | None:
    """What the file or the user says of the pictures; None where neither does."""
    from pipeline import sources
    from pipeline.support.errors import PipelineError

    if declared is not None and declared != sources.ReadOptions():
        return sources.read(path, declared).contract
    try:
        return sources.read(path).contract
    except PipelineError:  # no picture network, or a form that strict reading refuses: then nothing is known
        return None


def _floats_behind(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[QuantizedTensor]]:
    """A quantised model with its quantisation undone, and the integers; any other as it is."""
    from pipeline.quantisation.names import is_quantised

    if not is_quantised(model):
        return model, []
    from pipeline.graph import from_model, to_model
    from pipeline.quantisation.rewrite import integers as integer_weights
    from pipeline.quantisation.rewrite import undo

    integers = list(integer_weights(model))
    graph = from_model(model)
    undo(graph)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return to_model(graph, metadata), integers


@on_a_file
def read_packed(source: str | Path) -> tuple[bytes, dict[str, Any]]:
    """The model in a packed file, and what the file is, as plain data."""
    path = existing_file(source)
    data = path.read_bytes()
    done = unpack(data, str(path))
    tensors = describe(done)
    return done.model, {
        "file": path.name,
        "format": "packed",
        "format_version": VERSION,
        "bytes": len(data),
        "model_bytes": len(done.model),
        "model_crc32": f"{done.checksum:08x}",
        "template_bytes": done.template_bytes,
        "tensors": tensors,
    }


def is_packed_file(path: Path) -> bool:
    """Whether a file begins as a packed one does."""
    with path.open("rb") as file:
        return is_packed(file.read(4))
