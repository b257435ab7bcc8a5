"""The byte ranges of the float32 tensors in an ONNX file.

The file is walked as protobuf, not searched: the raw_data of initializers and of the tensors of Constant nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

_GRAPH = 7
_NODE, _INITIALIZER = 1, 5
_ATTRIBUTE, _ATTRIBUTE_TENSOR = 5, 5
_OUTPUT = 2
_DIMS, _TYPE, _NAME, _RAW = 1, 2, 8, 9
_FLOAT = 1


@dataclass(frozen=True)
class Hole:
    """A float32 tensor in the file: its name (of a Constant node: that of its output), shape and first byte."""

    name: str
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def values(self, model: bytes) -> np.ndarray:
        """The values of the tensor (a copy)."""
        return np.frombuffer(model, "<f4", self.size, self.offset).reshape(self.shape).copy()


def with_raw_data(model: onnx.ModelProto) -> bytes:
    """The model's bytes with every float32 tensor stored as raw_data, as `find_holes` needs it. Changes
    `model`."""
    from onnx import TensorProto, numpy_helper

    tensors = list(model.graph.initializer)
    tensors += [a.t for node in model.graph.node for a in node.attribute if a.HasField("t")]
    for tensor in tensors:
        if tensor.data_type == TensorProto.FLOAT and not tensor.HasField("raw_data"):
            plain = numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name)
            tensor.CopyFrom(plain)
    return model.SerializeToString(deterministic=True)


def find_holes(model: bytes) -> list[Hole]:
    """The float32 tensors of an ONNX file that are stored as raw_data, in file order."""
    holes: list[Hole] = []
    for field, begin, end in _fields(model, 0, len(model)):
        if field != _GRAPH:
            continue
        for part, start, stop in _fields(model, begin, end):
            if part == _INITIALIZER:
                holes += _tensor(model, start, stop, "")
            elif part == _NODE:
                holes += _constants(model, start, stop)
    return holes


def _constants(model: bytes, begin: int, end: int) -> Iterator[Hole]:
    fields = list(_fields(model, begin, end))
    name = next((model[start:stop].decode() for field, start, stop in fields if field == _OUTPUT), "")
    for field, start, stop in fields:
        if field == _ATTRIBUTE:
            for inner, first, last in _fields(model, start, stop):
                if inner == _ATTRIBUTE_TENSOR:
                    yield from _tensor(model, first, last, name)


def _tensor(model: bytes, begin: int, end: int, name: str) -> Iterator[Hole]:
    shape: list[int] = []
    kind, raw = 0, None
    for field, start, stop in _fields(model, begin, end):
        if field == _DIMS:
            shape += _dims(model, start, stop)
        elif field == _TYPE:
            kind = _varint(model, start)[0]
        elif field == _NAME:
            name = model[start:stop].decode() or name
        elif field == _RAW:
            raw = (start, stop)
    if kind == _FLOAT and raw is not None and raw[1] - raw[0] == 4 * int(np.prod(shape, dtype=np.int64)) > 0:
        yield Hole(name, tuple(shape), raw[0])


def _dims(model: bytes, begin: int, end: int) -> Iterator[int]:
    """One number, or several where the writer packed them."""
    while begin < end:
        number, begin = _varint(model, begin)
        yield number


def _fields(model: bytes, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(field number, first byte, byte behind the last) of a protobuf message's fields."""
    while begin < end:
        key, begin = _varint(model, begin)
        match key & 7:
            case 0:
                stop = _varint(model, begin)[1]
            case 1:
                stop = begin + 8
            case 2:
                length, begin = _varint(model, begin)
                stop = begin + length
            case 5:
                stop = begin + 4
            case _:
                raise ValueError(f"wire type {key & 7} at byte {begin}")
        yield key >> 3, begin, stop
        begin = stop


def _varint(data: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[place]
        number |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return number, place
