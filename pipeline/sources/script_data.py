"""Read the pickles of a TorchScript archive with the inert unpickler, check them, and rewrite them for torch.

torch's own unpickler (torch/csrc/jit/serialization/unpickler.cpp, torch 2.13) sets a tensor's sizes and strides
without checking the size of its storage, and calls `__setstate__`. The rewritten pickles contain only modules of
the classes that the archive's code defines, tensors that were checked against their storages, and plain values.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.sources import unpickle
from pipeline.sources.archive import scan_storage
from pipeline.sources.arrays import DTYPES, item_size, strided
from pipeline.sources.budget import Budget
from pipeline.sources.constructors import CONSTRUCTORS
from pipeline.sources.pickled import Malformed, Record, Storage, TensorRef, shown
from pipeline.sources.script_code import Class, Refused, quoted

MAX_DEPTH = 200
_LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")
_REBUILD = "torch._utils._rebuild_tensor_v2"


@dataclass(eq=False)
class TypedList:
    """A typed list; `maker` is the function of torch.jit._pickle that creates it."""

    maker: str
    items: Any


def _constructors() -> Mapping[str, Callable[..., Any]]:
    def typed(maker: str) -> Callable[[Any], TypedList]:
        return lambda items: TypedList(maker, items)

    def untagged(value: Any, _: Any) -> Any:  # torch knows the type from the attribute that holds the value
        return value

    constructors: dict[str, Callable[..., Any]] = {f"torch.jit._pickle.{name}": typed(name) for name in _LISTS}
    constructors["torch.jit._pickle.restore_type_tag"] = untagged
    constructors[_REBUILD] = CONSTRUCTORS[_REBUILD]
    constructors["collections.OrderedDict"] = CONSTRUCTORS["collections.OrderedDict"]
    return constructors


_CONSTRUCTORS = _constructors()


class ScriptData:
    """Rewrites the pickles of one archive, and collects the storages of their tensors."""

    def __init__(
        self, path: Path, members: Mapping[str, bytes], classes: Mapping[str, Class], budget: Budget
    ) -> None:
        self.path, self.members, self.classes, self.budget = path, members, classes, budget

    def rewrite(self, pickle: str, folder: str) -> dict[str, bytes]:
        """The rewritten members of a pickle (`data.pkl`) and of its storages (`data/0`, ...)."""

        def allowed(name: str) -> bool:
            return name in self.classes or name in _CONSTRUCTORS or name.removeprefix("torch.") in DTYPES

        root, _ = unpickle.load(
            self.members[pickle],
            scan_storage,
            str(self.path),
            allowed=allowed,
            constructors=_CONSTRUCTORS,
        )
        writer = _PickleWriter(self, folder)
        members = {pickle: writer.pickle(root)}
        for key, number in writer.storages.items():
            members[f"{folder}/{number}"] = self.members[f"{folder}/{key}"]
        return members

    def checked(self, reference: TensorRef, folder: str) -> Storage:
        """The storage of a tensor, after checking that the tensor lies within it.

        Raises Refused, EOFError, Malformed, and PipelineError `over-budget`.
        """
        storage = reference.storage
        if not isinstance(storage, Storage) or storage.dtype not in DTYPES or storage.start:
            raise Refused("it has a tensor of an unsupported type")
        name = f"{folder}/{storage.key}"
        if name not in self.members:
            raise EOFError(f"the numbers of storage {shown(storage.key)} are missing")
        size = item_size(storage.dtype)
        if storage.numel * size != len(self.members[name]):
            raise Malformed(f"storage {shown(storage.key)} has a size that contradicts the pickle")
        shape, _ = strided(self.path, storage.key, reference, storage.numel)
        self.budget.take(math.prod(shape) * size)
        return storage


class _PickleWriter:
    """Writes protocol 2 as torch/csrc/jit/serialization/pickler.cpp does."""

    def __init__(self, data: ScriptData, folder: str) -> None:
        self.data, self.folder = data, folder
        self.out = bytearray()
        self.memo: dict[int, int] = {}
        self.remembered: list[Any] = []
        self.storages: dict[str, int] = {}

    def pickle(self, root: Any) -> bytes:
        self.out += b"\x80\x02"
        self.value(root, 0)
        self.out += b"."
        return bytes(self.out)

    def value(self, value: Any, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise Malformed("its objects are nested endlessly")
        if value is None or isinstance(value, (bool, int, float, str)):
            self.plain(value)
        elif id(value) in self.memo:
            self.out += b"j" + struct.pack("<I", self.memo[id(value)])
        elif isinstance(value, tuple):
            self.out += b"("
            for item in value:
                self.value(item, depth + 1)
            self.out += b"t"
        elif isinstance(value, TensorRef):
            self.tensor(value)
            self.remember(value)
        elif isinstance(value, Record) and str(value.cls) in self.data.classes:
            self.record(value, depth)
        elif isinstance(value, list):
            self.out += b"]"
            self.remember(value)
            self.items(value, depth, b"e")
        elif isinstance(value, dict):
            self.out += b"}"
            self.remember(value)
            self.items([part for pair in value.items() for part in pair], depth, b"u")
        elif isinstance(value, TypedList) and isinstance(value.items, list):
            self.name("torch.jit._pickle", value.maker)
            self.out += b"]"
            self.items(value.items, depth, b"e")
            self.out += b"\x85R"
            self.remember(value)
        else:
            raise Refused(f"it contains {shown(value)}")

    def items(self, values: list[Any], depth: int, end: bytes) -> None:
        if values:
            self.out += b"("
            for value in values:
                self.value(value, depth + 1)
            self.out += end

    def remember(self, value: Any) -> None:
        self.memo[id(value)] = len(self.remembered)
        self.remembered.append(value)  # keeps the object alive, so that its id is not reused
        self.out += b"r" + struct.pack("<I", self.memo[id(value)])

    def plain(self, value: Any) -> None:
        match value:
            case None:
                self.out += b"N"
            case bool():
                self.out += b"\x88" if value else b"\x89"
            case int():
                if not -(1 << 63) <= value < 1 << 63:
                    raise Malformed("a number is not a 64-bit integer")
                self.out += b"\x8a\x08" + struct.pack("<q", value)
            case float():
                self.out += b"G" + struct.pack(">d", value)
            case str():
                quoted(value)
                self.text(value)

    def text(self, value: str) -> None:
        data = value.encode()
        self.out += b"X" + struct.pack("<I", len(data)) + data

    def name(self, module: str, name: str) -> None:
        self.out += f"c{module}\n{name}\n".encode("ascii")

    def record(self, record: Record, depth: int) -> None:
        if record.args or record.items or record.packed or not all(isinstance(k, str) for k in record.state):
            raise Refused(f"it contains {shown(record)} with a custom state")
        if set(record.state) != self.data.classes[str(record.cls)].slots:
            raise Malformed(f"{shown(record)} has attributes that its code does not declare")
        module, _, name = str(record.cls).rpartition(".")
        self.name(module, name)
        self.out += b")\x81"
        self.remember(record)
        self.out += b"}"
        self.items([part for pair in record.state.items() for part in pair], depth, b"u")
        self.out += b"b"

    def tensor(self, reference: TensorRef) -> None:
        storage = self.data.checked(reference, self.folder)
        number = self.storages.setdefault(storage.key, len(self.storages))
        self.name("torch._utils", "_rebuild_tensor_v2")
        self.out += b"(("
        self.text("storage")
        self.name("torch", storage.dtype)
        self.text(str(number))
        self.text("cpu")
        self.plain(storage.numel)
        self.out += b"tQ"
        self.plain(reference.offset)
        for numbers in (reference.shape, reference.stride):
            self.out += b"("
            for size in numbers:
                self.plain(size)
            self.out += b"t"
        self.out += b"\x89"
        self.name("collections", "OrderedDict")
        self.out += b")RtR"
