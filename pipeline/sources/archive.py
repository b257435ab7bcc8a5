"""Open the containers of tensors: torch zip files, legacy torch files, plain pickles, safetensors.

Each opener returns an `Archive`: the object tree that the file describes (dicts, inert records, `TensorRef`s) and
a reader that turns one reference into a NumPy array after checking every number of the reference against the file.
Formats: torch/serialization.py (torch 2.13: `_load`, `_legacy_load`), huggingface/safetensors README.
"""

from __future__ import annotations

import itertools
import json
import math
import mmap
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.graph.integers import QuantizedTensor
from pipeline.sources import unpickle, zipped
from pipeline.sources.arrays import (
    MAX_RANK,
    Reader,
    SafeRef,
    item_size,
    stored_dtype,
    unsupported,
    widen,
    widened_item_size,
)
from pipeline.sources.budget import Budget
from pipeline.sources.failures import damaged, guarded
from pipeline.sources.pickled import Global, Malformed, Storage, is_count, shown
from pipeline.sources.triage import TORCH_LEGACY_MAGIC

MAX_PICKLE = 256 << 20

MAX_HEADER = 100 << 20
"""Bytes of a safetensors header, as in the format's own reader."""


@dataclass(frozen=True)
class Archive:
    """An opened file: `root` is the object that it describes, `reader` reads single tensors of it."""

    root: Any
    reader: Reader | _SafeReader
    metadata: dict[str, str]

    def tensor(self, name: str, reference: Any) -> np.ndarray | QuantizedTensor:
        """The tensor as float32 or int64; a quantised tensor as its integers and scales."""
        return self.reader.tensor(name, reference)


def open_archive(path: Path, format_name: str) -> Archive:
    """Open a file of format torch-zip, torch-legacy, pickle or safetensors.

    Raises PipelineError: truncated-file, damaged-file, zip-bomb, ambiguous-archive, unsafe-pickle.
    """
    opener = {
        "torch-zip": _open_zip,
        "torch-legacy": _open_legacy,
        "pickle": _open_pickle,
        "safetensors": _open_safetensors,
    }[format_name]
    return guarded(path, lambda: opener(path))


# --- torch zip ------------------------------------------------------------------------------------------------


def _open_zip(path: Path) -> Archive:
    size = path.stat().st_size
    return open_torch_zip(path, zipfile.ZipFile(path), size, Budget(path, size))


def open_torch_zip(
    path: Path, archive: zipfile.ZipFile, size: int, budget: Budget, allowed: Callable[[str], bool] | None = None
) -> Archive:
    """Open an archive that torch.save wrote; `allowed` decides which globals its pickle may name."""
    zipped.check_sizes(path, archive, size)
    zipped.check_agreement(path, archive)
    pickles = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise damaged(path, f"{len(pickles)} entries are named data.pkl")
    prefix = pickles[0][: -len("data.pkl")]
    if archive.getinfo(pickles[0]).file_size > MAX_PICKLE:
        raise damaged(path, "its pickle is too long")
    members = set(archive.namelist())
    order = "<"
    if f"{prefix}byteorder" in members and _small(archive, f"{prefix}byteorder") == b"big":
        order = ">"

    def load(storage: Storage) -> bytes:
        name = f"{prefix}data/{storage.key}"
        if name not in members:
            raise damaged(path, f"the numbers of storage {shown(storage.key)} are missing", "truncated-file")
        return archive.read(name)

    root, _ = unpickle.load(archive.read(pickles[0]), scan_storage, str(path), _nested(path), allowed=allowed)
    return Archive(root, Reader(path, load, budget, order), {})


def _small(archive: zipfile.ZipFile, name: str) -> bytes:
    return archive.read(name) if archive.getinfo(name).file_size < 64 else b""


def scan_storage(identifier: Any) -> Any:
    """Resolve a persistent id: ('storage', type, key, device, numel[, view]) or ('module', class, ...).

    Raises Malformed.
    """
    if not isinstance(identifier, tuple) or not identifier:
        raise Malformed("a persistent id is not a tuple")
    if identifier[0] == "module" and len(identifier) >= 2:
        return identifier[1]
    if identifier[0] != "storage" or len(identifier) not in (5, 6):
        raise Malformed("a persistent id is of an unknown kind")
    _, kind, key, _, numel, *view = identifier
    if not isinstance(kind, Global) or not isinstance(key, (str, int)) or not is_count(numel):
        raise Malformed("a persistent id is malformed")
    start = 0
    if view and view[0] is not None:
        _, start, numel = view[0]
        if not is_count(start) or not is_count(numel):
            raise Malformed("a view of a storage is malformed")
    return Storage(str(key), kind.name.rpartition(".")[2], numel, start)


def _nested(path: Path) -> Callable[[bytes], Any]:
    """A loader of storages inside the pickle itself, as pickle.dump writes them
    (torch.storage._load_from_bytes)."""

    def load(data: bytes) -> Storage:
        if not isinstance(data, bytes):
            raise Malformed("an embedded storage is not bytes")
        root, read = _legacy(data, path, None)
        if not isinstance(root, Storage):
            raise Malformed("an embedded storage is not a storage")
        return Storage(root.key, root.dtype, root.numel, root.start, read)

    return load


# --- legacy torch and plain pickle ----------------------------------------------------------------------------


def _open_legacy(path: Path) -> Archive:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        root, load = _legacy(data, path, _nested(path))
    return Archive(root, Reader(path, load, Budget(path, path.stat().st_size)), {})


def _legacy(
    data: bytes | mmap.mmap, path: Path, nested: Callable[[bytes], Any] | None
) -> tuple[Any, Callable[[Storage], bytes]]:
    """The object in a legacy torch file, and the reader of its storages."""
    subject = str(path)
    storages: dict[str, Storage] = {}

    def persistent(identifier: Any) -> Any:
        answer = scan_storage(identifier)
        if isinstance(answer, Storage):
            storages[answer.key] = answer
        return answer

    def plain(_: Any) -> Any:
        raise Malformed("a persistent id at the wrong position")

    magic, at = unpickle.load(data, plain, subject)
    if magic != TORCH_LEGACY_MAGIC:
        raise Malformed("its magic number is wrong")
    protocol, at = unpickle.load(data, plain, subject, start=at)
    if protocol != 1001:
        raise Malformed("its protocol version is unknown")
    system, at = unpickle.load(data, plain, subject, start=at)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise Malformed("it was written on a big-endian machine")
    root, at = unpickle.load(data, persistent, subject, nested, start=at)
    keys, at = unpickle.load(data, plain, subject, start=at)
    if not isinstance(keys, list):
        raise Malformed("its list of storages is not a list")
    places: dict[str, tuple[int, int]] = {}
    for key in keys:
        storage = storages.get(key) if isinstance(key, str) else None
        if storage is None:
            raise Malformed("a listed storage is not used")
        if at + 8 > len(data):
            raise EOFError("its last tensors are missing")
        (numel,) = struct.unpack("<q", data[at : at + 8])
        length = numel * item_size(storage.dtype)
        if numel < 0:
            raise Malformed("a storage has a negative size")
        at += 8 + length
        if at > len(data):
            raise EOFError("its last tensors are missing")
        places[storage.key] = (at - length, length)

    def load(storage: Storage) -> bytes:
        if storage.key not in places:
            raise EOFError(f"the numbers of storage {shown(storage.key)} are missing")
        offset, length = places[storage.key]
        if isinstance(data, bytes):
            return data[offset : offset + length]
        with path.open("rb") as again:
            again.seek(offset)
            return again.read(length)

    return root, load


def _open_pickle(path: Path) -> Archive:
    def persistent(_: Any) -> Any:
        raise Malformed("a plain pickle with a persistent id")

    def load(storage: Storage) -> bytes:
        raise Malformed("a plain pickle with an outside storage")

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        root, _ = unpickle.load(data, persistent, str(path), _nested(path))
    return Archive(root, Reader(path, load, Budget(path, path.stat().st_size)), {})


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


class _SafeReader:
    """Reads the tensors of a safetensors file."""

    def __init__(self, path: Path, budget: Budget) -> None:
        self.path, self.budget = path, budget

    def tensor(self, name: str, reference: Any) -> np.ndarray:
        """The tensor as float32 or int64. Raises PipelineError as `Reader.tensor` does."""
        return guarded(self.path, lambda: self._tensor(name, reference))

    def _tensor(self, name: str, reference: SafeRef) -> np.ndarray:
        kind = _SAFE_DTYPES.get(reference.dtype)
        if kind is None:
            raise unsupported(self.path, name, f"of type {reference.dtype[:60]}")
        dtype = stored_dtype(kind)
        values = math.prod(reference.shape)
        if values * dtype.itemsize != reference.end - reference.begin:
            raise Malformed(f"tensor {shown(name)} has a number of values that contradicts its shape")
        self.budget.take(values * widened_item_size(kind))
        with self.path.open("rb") as file:
            file.seek(reference.begin)
            data = file.read(reference.end - reference.begin)
        return widen(np.frombuffer(data, dtype).reshape(reference.shape), kind)


def _open_safetensors(path: Path) -> Archive:
    size = path.stat().st_size
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(min(length, size, MAX_HEADER + 1)), object_pairs_hook=_unique)
    if not isinstance(header, dict):
        raise Malformed("its header is not a table of tensors")
    metadata = header.pop("__metadata__", {})
    start = 8 + length
    root: dict[str, SafeRef] = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        shape = tuple(entry["shape"])
        if not all(is_count(v) for v in (begin, end, *shape)) or len(shape) > MAX_RANK or begin > end:
            raise Malformed(f"tensor {shown(name)} has an impossible shape or position")
        if start + end > size:
            raise EOFError(f"the numbers of tensor {shown(name)} are missing")
        if not isinstance(entry["dtype"], str):
            raise Malformed(f"tensor {shown(name)} has no type")
        root[name] = SafeRef(entry["dtype"], shape, start + begin, start + end)
    _check_apart(root)
    known = metadata if isinstance(metadata, dict) else {}
    texts = {k: v for k, v in known.items() if isinstance(v, str)}
    return Archive(root, _SafeReader(path, Budget(path, size)), texts)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise Malformed("its header has two entries of the same name")
    return dict(pairs)


def _check_apart(tensors: dict[str, SafeRef]) -> None:
    """Refuse tensors that share bytes, as the format requires (huggingface/safetensors README, "no
    overlapping")."""
    spans = sorted((t.begin, t.end, name) for name, t in tensors.items() if t.end > t.begin)
    for (_, end, name), (begin, _, other) in itertools.pairwise(spans):
        if begin < end:
            raise Malformed(f"the tensors {shown(name)} and {shown(other)} share their bytes")
