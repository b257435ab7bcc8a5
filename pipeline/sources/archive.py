"""The containers that hold tensors: torch zip files, legacy torch files, plain pickles, safetensors.

Each opener gives an `Archive`: the object tree that the file describes (dicts, inert records, `TensorRef`s) and
a function that turns one reference into a NumPy array after checking every number in it against the file.
Formats: torch/serialization.py (torch 2.13: `_load`, `_legacy_load`), huggingface/safetensors README.
"""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from pipeline.integers import QuantizedTensor
from pipeline.sources import unpickle
from pipeline.sources.pickled import Global, QuantisedRef, Storage, TensorRef, Unsupported
from pipeline.sources.triage import TORCH_LEGACY_MAGIC
from pipeline.sources.unpickle import Malformed
from pipeline.support.errors import PipelineError

T = TypeVar("T")

MAX_TOTAL = 8 << 30
"""Bytes that a file may unpack to."""
MAX_RATIO = 200
"""Unpacked size over file size above which an archive is taken for a zip bomb."""
MAX_PICKLE = 256 << 20
MAX_EXPANDED = 1 << 24
"""Values of a tensor that repeats its storage (stride 0)."""

DTYPES = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "BFloat16Storage": "bf16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
"""torch's storage classes as NumPy types; bf16 is widened by hand."""
INTEGERS = {"QInt8Storage": "i1", "QUInt8Storage": "u1", "QInt32Storage": "i4"}
"""The storage classes of quantised tensors."""
_PACKED = ("QUInt4x2Storage", "QUInt2x4Storage")


@dataclass(frozen=True)
class Archive:
    """`root` is the described object; `tensor(name, reference)` reads one tensor of it: float32, int64, or
    for a quantised one its integers and scales."""

    root: Any
    tensor: Callable[[str, Any], np.ndarray | QuantizedTensor]
    metadata: dict[str, str]


def open_archive(path: Path, format_name: str) -> Archive:
    """Open a file of format torch-zip, torch-legacy, pickle or safetensors.

    Raises PipelineError: truncated-file, damaged-file, zip-bomb, unsafe-pickle, unsupported-format.
    """
    opener = {
        "torch-zip": _open_zip,
        "torch-legacy": _open_legacy,
        "pickle": _open_pickle,
        "safetensors": _open_safetensors,
    }[format_name]
    return guarded(path, lambda: opener(path))


def guarded(path: Path, action: Callable[[], T]) -> T:
    """Run a parser of untrusted bytes: whatever it stumbles over becomes one PipelineError."""
    try:
        return action()
    except PipelineError:
        raise
    except (EOFError, IndexError) as error:
        raise damaged(path, str(error) or "it ends too early", "truncated-file") from error
    except Exception as error:
        # Any other exception means bytes that no honest writer makes: the file is damaged, not this program.
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise damaged(path, text) from error


def damaged(path: Path, detail: str, code: str = "damaged-file") -> PipelineError:
    what = "the file is cut off" if code == "truncated-file" else "the file is damaged"
    return PipelineError(code, f"{what}: {detail}", subject=str(path), remedy="Download or export it again.")


# --- torch zip ------------------------------------------------------------------------------------------------


def check_zip(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse archives that unpack to absurd sizes (code zip-bomb), before anything is unpacked."""
    size = path.stat().st_size
    entries = archive.infolist()
    total = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if total > MAX_TOTAL or total > MAX_RATIO * size or packed > size:
        raise PipelineError(
            "zip-bomb",
            f"the archive of {size:,} bytes claims to unpack to {total:,} bytes: no network does",
            subject=str(path),
            remedy="Nothing was unpacked. Get the file from a source that you trust.",
        )


def _open_zip(path: Path) -> Archive:
    archive = zipfile.ZipFile(path)
    check_zip(path, archive)
    pickles = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise damaged(path, f"{len(pickles)} entries are named data.pkl")
    prefix = pickles[0][: -len("data.pkl")]
    if archive.getinfo(pickles[0]).file_size > MAX_PICKLE:
        raise damaged(path, "its pickle is absurdly long")
    order = "<"
    if f"{prefix}byteorder" in archive.namelist() and archive.read(f"{prefix}byteorder") == b"big":
        order = ">"

    def persistent(identifier: Any) -> Any:
        return scan_storage(identifier)

    def load(storage: Storage) -> bytes:
        try:
            return archive.read(f"{prefix}data/{storage.key}")
        except KeyError:
            raise damaged(path, f"the numbers of storage {storage.key} are missing", "truncated-file") from None

    root = unpickle.load(io.BytesIO(archive.read(pickles[0])), persistent, str(path), _nested(path))
    return Archive(root, _reader(path, load, order), {})


def scan_storage(identifier: Any) -> Any:
    """The answer to a persistent id: ('storage', type, key, device, numel[, view]) or ('module', class, ...)."""
    if not isinstance(identifier, tuple) or not identifier:
        raise Malformed("a persistent id is no tuple")
    if identifier[0] == "module" and len(identifier) >= 2:
        return identifier[1]
    if identifier[0] != "storage" or len(identifier) not in (5, 6):
        raise Malformed("a persistent id is of an unknown kind")
    _, kind, key, _, numel, *view = identifier
    if not isinstance(kind, Global) or not isinstance(key, (str, int)) or not _count(numel):
        raise Malformed("a persistent id is malformed")
    start = 0
    if view and view[0] is not None:
        _, start, numel = view[0]
        if not _count(start) or not _count(numel):
            raise Malformed("a view of a storage is malformed")
    return Storage(str(key), kind.name.rpartition(".")[2], numel, start)


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 40


def _nested(path: Path) -> Callable[[bytes], Any]:
    """Storages inside the pickle itself, as plain pickle.dump writes them (torch.storage._load_from_bytes)."""

    def load(data: bytes) -> Storage:
        if not isinstance(data, bytes):
            raise Malformed("an embedded storage is no bytes")
        root, read = _legacy(io.BytesIO(data), len(data), path, None)
        if not isinstance(root, Storage):
            raise Malformed("an embedded storage is none")
        return Storage(root.key, root.dtype, root.numel, root.start, read)

    return load


# --- legacy torch and plain pickle ----------------------------------------------------------------------------


class _Bounded:
    """A stream that never allocates more than is left of the file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size = file, size
        self.readline = file.readline
        self.tell = file.tell

    def read(self, count: int = -1) -> bytes:
        left = max(self.size - self.file.tell(), 0)
        return self.file.read(left if count < 0 else min(count, left))


def _open_legacy(path: Path) -> Archive:
    size = path.stat().st_size
    with path.open("rb") as file:
        root, load = _legacy(file, size, path, _nested(path))

    return Archive(root, _reader(path, load, "<"), {})


def _legacy(
    file: BinaryIO, size: int, path: Path, nested: Callable[[bytes], Any] | None
) -> tuple[Any, Callable[[Storage], bytes]]:
    """The object of a legacy torch file, and the reader of its storages."""
    stream: Any = _Bounded(file, size)
    subject = str(path)
    storages: dict[str, Storage] = {}

    def persistent(identifier: Any) -> Any:
        answer = scan_storage(identifier)
        if isinstance(answer, Storage):
            storages[answer.key] = answer
        return answer

    def plain(_: Any) -> Any:
        raise Malformed("a persistent id where none belongs")

    if unpickle.load(stream, plain, subject) != TORCH_LEGACY_MAGIC:
        raise Malformed("its magic number is wrong")
    if unpickle.load(stream, plain, subject) != 1001:
        raise Malformed("its protocol version is unknown")
    system = unpickle.load(stream, plain, subject)
    order = "big" if isinstance(system, dict) and system.get("little_endian") is False else "little"
    if order == "big":
        raise Malformed("it was written on a big-endian machine")
    root = unpickle.load(stream, persistent, subject, nested)
    keys = unpickle.load(stream, plain, subject)
    if not isinstance(keys, list):
        raise Malformed("its list of storages is none")
    places: dict[str, tuple[int, int]] = {}
    for key in keys:
        storage = storages.get(str(key))
        head = stream.read(8)
        if len(head) < 8:
            raise EOFError("its last tensors are missing")
        if storage is None:
            raise Malformed("a storage is listed that nothing uses")
        numel = struct.unpack("<q", head)[0]
        length = numel * _item_size(storage.dtype)
        if numel < 0:
            raise Malformed("a storage has a negative size")
        if file.tell() + length > size:
            raise EOFError("its last tensors are missing")
        places[storage.key] = (file.tell(), length)
        file.seek(length, io.SEEK_CUR)
    embedded = file if isinstance(file, io.BytesIO) else None

    def load(storage: Storage) -> bytes:
        if storage.key not in places:
            raise EOFError(f"the numbers of storage {storage.key} are missing")
        offset, length = places[storage.key]
        if embedded is not None:
            return embedded.getvalue()[offset : offset + length]
        with path.open("rb") as again:
            again.seek(offset)
            return again.read(length)

    return root, load


def _open_pickle(path: Path) -> Archive:
    def persistent(_: Any) -> Any:
        raise Malformed("a plain pickle with a persistent id")

    def load(storage: Storage) -> bytes:
        raise Malformed("a plain pickle with an outside storage")

    with path.open("rb") as file:
        stream: Any = _Bounded(file, path.stat().st_size)
        root = unpickle.load(stream, persistent, str(path), _nested(path))
    return Archive(root, _reader(path, load, "<"), {})


# --- references to arrays -------------------------------------------------------------------------------------


def _item_size(dtype: str) -> int:
    if dtype in _PACKED:
        return 1
    if dtype in INTEGERS:
        return np.dtype(INTEGERS[dtype]).itemsize
    if dtype in ("ComplexFloatStorage", "ComplexDoubleStorage"):
        return 16 if "Double" in dtype else 8
    kind = DTYPES.get(dtype)
    if kind is None:
        raise Malformed(f"a storage is of the unknown type {dtype}")
    return 2 if kind == "bf16" else np.dtype(kind).itemsize


def _reader(
    path: Path, load: Callable[[Storage], bytes], order: str
) -> Callable[[str, Any], np.ndarray | QuantizedTensor]:
    last: dict[str, bytes] = {}
    total = 0

    def plain(name: str, reference: Any, kinds: dict[str, str]) -> np.ndarray:
        """The numbers as they are stored (bf16 as its 16 bits)."""
        nonlocal total
        storage = reference.storage
        if not isinstance(storage, Storage):
            raise damaged(path, f"tensor {name!r} has no storage")
        if storage.dtype not in kinds:
            raise _unsupported(path, name, f"of type {storage.dtype}")
        kind = kinds[storage.dtype]
        dtype = np.dtype(order + ("u2" if kind == "bf16" else kind))
        shape, stride, values = _checked(path, name, reference, storage)
        total += values
        if total * 4 > MAX_TOTAL:
            raise damaged(path, "its tensors add up to more than 8 GiB")
        if not values:
            return np.zeros(shape, dtype)
        if storage.load is not None:
            data = storage.load(storage)
        else:
            if storage.key not in last:
                last.clear()
                last[storage.key] = load(storage)
            data = last[storage.key]
        if (storage.start + storage.numel) * dtype.itemsize > len(data):
            raise damaged(path, f"tensor {name!r} needs more numbers than are there", "truncated-file")
        flat = np.frombuffer(data, dtype, storage.numel, storage.start * dtype.itemsize)
        return np.lib.stride_tricks.as_strided(
            flat[reference.offset :], shape, tuple(s * dtype.itemsize for s in stride), writeable=False
        )

    def tensor(name: str, reference: Any) -> np.ndarray | QuantizedTensor:
        if isinstance(reference, Unsupported):
            raise _unsupported(path, name, reference.what)
        if isinstance(reference, QuantisedRef):
            return quantised(name, reference)
        view = plain(name, reference, DTYPES)
        return widen(view, DTYPES[reference.storage.dtype])

    def quantised(name: str, reference: QuantisedRef) -> QuantizedTensor:
        ints = np.array(plain(name, reference.integers, INTEGERS), order="C")
        scale, zero_point = (
            np.asarray(tensor(f"{name}.{part}", value) if is_tensor(value) else value)
            for part, value in (("scale", reference.scale), ("zero_point", reference.zero_point))
        )
        axis = reference.axis
        whole = axis is None and scale.shape == zero_point.shape == ()
        sliced = (
            type(axis) is int and 0 <= axis < ints.ndim and scale.shape == zero_point.shape == (ints.shape[axis],)
        )
        info = np.iinfo(ints.dtype)
        sound = (whole or sliced) and scale.dtype.kind == "f" and zero_point.dtype.kind == "i"
        if not sound or np.any(zero_point < info.min) or np.any(zero_point > info.max):
            raise damaged(path, f"tensor {name!r} has an impossible scale or zero point")
        return QuantizedTensor(name, ints, scale.astype(np.float32), zero_point.astype(ints.dtype), axis)

    return lambda name, reference: guarded(path, lambda: tensor(name, reference))


def _checked(
    path: Path, name: str, reference: TensorRef, storage: Storage
) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Shape, strides and number of values, after checking that the view stays inside its storage."""
    shape, stride = reference.shape, reference.stride
    sound = (
        isinstance(shape, (tuple, list))
        and isinstance(stride, (tuple, list))
        and len(shape) == len(stride) <= 8
        and all(_count(v) for v in (*shape, *stride, reference.offset))
    )
    if not sound:
        raise damaged(path, f"tensor {name!r} has an impossible shape")
    values = math.prod(shape)
    last = reference.offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
    if values and last >= storage.numel:
        raise damaged(path, f"tensor {name!r} reaches beyond its storage")
    if values > max(storage.numel, MAX_EXPANDED):
        raise damaged(path, f"tensor {name!r} has the absurd shape {list(shape)}")
    return tuple(shape), tuple(stride), values


def widen(values: np.ndarray, kind: str) -> np.ndarray:
    """A contiguous float32 copy of floating point values (bf16 given as its 16 bits), int64 of integers."""
    if kind == "bf16":
        return (np.ascontiguousarray(values).astype(np.uint32) << 16).view(np.float32).reshape(values.shape)
    if kind.startswith("f"):
        with np.errstate(over="ignore"):
            return np.array(values, dtype=np.float32, order="C")
    return np.array(values, dtype=np.int64, order="C")


def _unsupported(path: Path, name: str, what: str) -> PipelineError:
    return PipelineError(
        "unsupported-tensor",
        f"tensor {name!r} is {what}, plain numbers are needed",
        subject=str(path),
        remedy="Save the float network's state dict instead.",
    )


# --- safetensors ----------------------------------------------------------------------------------------------

_SAFE_DTYPES = {
    "F64": "f8",
    "F32": "f4",
    "F16": "f2",
    "BF16": "bf16",
    "I64": "i8",
    "I32": "i4",
    "I16": "i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}


@dataclass(frozen=True)
class _SafeRef:
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def _open_safetensors(path: Path) -> Archive:
    size = path.stat().st_size
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(min(length, size)))
    if not isinstance(header, dict):
        raise Malformed("its header is no table of tensors")
    metadata = header.pop("__metadata__", {})
    start = 8 + length
    root: dict[str, TensorRef | _SafeRef] = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        shape = tuple(entry["shape"])
        if not all(_count(v) for v in (begin, end, *shape)) or len(shape) > 8 or begin > end:
            raise Malformed(f"tensor {name!r} has an impossible shape or place")
        if start + end > size:
            raise EOFError(f"the numbers of tensor {name!r} are missing")
        root[name] = _SafeRef(str(entry["dtype"]), shape, start + begin, start + end)

    def tensor(name: str, reference: Any) -> np.ndarray:
        kind = _SAFE_DTYPES.get(reference.dtype)
        if kind is None:
            raise _unsupported(path, name, f"of type {reference.dtype}")
        dtype = np.dtype("<u2" if kind == "bf16" else kind)
        if math.prod(reference.shape) * dtype.itemsize != reference.end - reference.begin:
            raise Malformed(f"tensor {name!r} has the shape {list(reference.shape)}, but not as many numbers")
        with path.open("rb") as file:
            file.seek(reference.begin)
            data = file.read(reference.end - reference.begin)
        return widen(np.frombuffer(data, dtype).reshape(reference.shape), kind)

    known = metadata if isinstance(metadata, dict) else {}
    return Archive(
        root,
        lambda name, reference: guarded(path, lambda: tensor(name, reference)),
        {str(k): str(v) for k, v in known.items()},
    )


def is_tensor(value: Any) -> bool:
    """Whether an object of an archive's tree is a tensor, readable or not."""
    return isinstance(value, (TensorRef, QuantisedRef, Unsupported, _SafeRef))


def rank(value: Any) -> int:
    """The number of dimensions that a tensor reference claims to have; 2 for a kind that cannot be read."""
    if isinstance(value, Unsupported):
        return 2
    if isinstance(value, QuantisedRef):
        value = value.integers
    shape = getattr(value, "shape", ())
    return len(shape) if isinstance(shape, (tuple, list)) else 0
