"""The bytes of a `.sentis` file: FlatBuffers, by the schema `Runtime/Core/Serialization/program.fbs`.

An int32 size and the program (values, layers, inputs, outputs), then size and bytes of each chunk of weights.
Format 4 is that of com.unity.sentis 2.1.3; a file in it loads in every later version too (measured.md). Values of
enums are those of the C# enums, which is what `ModelWriter` writes, not the names in the schema.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.support.errors import PipelineError

VERSION = 4
"""ModelWriter.cs:24@2.1.3."""
FLOAT, INT, SHORT, BYTE = range(4)
"""DataType (NativeTensorArray.cs@2.1.3): SHORT holds float16 bits, BYTE unsigned bytes."""
_NUMPY: dict[int, np.dtype] = {
    FLOAT: np.dtype("<f4"),
    INT: np.dtype("<i4"),
    SHORT: np.dtype("<u2"),
    BYTE: np.dtype("u1"),
}
_NULL, _INT, _FLOAT, _BOOL, _TENSOR, _STRING, _INTS, _FLOATS = 0, 2, 3, 4, 6, 7, 8, 9
"""KernelTypes."""
_MOST = 1 << 20
"""Largest number of values, layers and sizes that is read."""

Argument = bool | int | float | str | tuple[int, ...] | tuple[float, ...] | None


@dataclass(frozen=True)
class Weight:
    """A constant: its values in the type in which the file holds them, with their shape."""

    values: np.ndarray
    kind: int

    @property
    def stored(self) -> bytes:
        """The bytes in the file, filled up to whole words of four."""
        data = np.ascontiguousarray(self.values, _NUMPY[self.kind]).tobytes()
        return data + bytes(-len(data) % 4)


@dataclass(frozen=True)
class Layer:
    """One layer: the name of its kernel, tensors in (empty: left out) and out, arguments in the file's order."""

    kernel: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    arguments: tuple[Argument, ...] = ()


@dataclass(frozen=True)
class Input:
    """A graph input. A size is a number, or for a free one its index among the free ones, as text."""

    name: str
    kind: int
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Program:
    """A whole model. `outputs` are (name, tensor)."""

    inputs: tuple[Input, ...]
    outputs: tuple[tuple[str, str], ...]
    layers: tuple[Layer, ...]
    weights: dict[str, Weight] = field(default_factory=dict)
    producer: str = "unity-bridge-pipeline"


# --- writing -------------------------------------------------------------------------------------------------
class _Writer:
    def __init__(self) -> None:
        import flatbuffers

        self.builder = flatbuffers.Builder(1024)
        self.values: list[int] = []
        self.index: dict[str, int] = {}

    def table(self, *slots: tuple[str, int, Any]) -> int:
        """A table with (kind of slot, its number, its value); None leaves a slot out."""
        self.builder.StartObject(max((number for _, number, _ in slots), default=-1) + 1)
        for kind, number, value in slots:
            if value is None:
                continue
            if kind == "offset":
                self.builder.PrependUOffsetTRelativeSlot(number, value, 0)
            else:
                getattr(self.builder, f"Prepend{kind}Slot")(number, value, 0)
        return self.builder.EndObject()

    def ints(self, values: tuple[int, ...] | list[int]) -> int:
        self.builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.builder.PrependInt32(value)
        return self.builder.EndVector()

    def floats(self, values: tuple[float, ...]) -> int:
        self.builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.builder.PrependFloat32(value)
        return self.builder.EndVector()

    def tables(self, offsets: list[int]) -> int:
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return self.builder.EndVector()

    def value(self, kind: int, offset: int | None) -> int:
        """Add a value of the program; its index."""
        self.values.append(self.table(("Uint8", 0, kind), ("offset", 1, offset)))
        return len(self.values) - 1

    def argument(self, value: Argument) -> int:
        if value is None:
            return self.value(_NULL, None)
        if isinstance(value, bool):
            return self.value(_BOOL, self.table(("Bool", 0, value)))
        if isinstance(value, int):
            return self.value(_INT, self.table(("Int32", 0, value)))
        if isinstance(value, float):
            return self.value(_FLOAT, self.table(("Float32", 0, value)))
        if isinstance(value, str):
            return self.value(_STRING, self.table(("offset", 0, self.builder.CreateString(value))))
        if value and isinstance(value[0], float):
            return self.value(_FLOATS, self.table(("offset", 0, self.floats(value))))  # type: ignore[arg-type]
        return self.value(_INTS, self.table(("offset", 0, self.ints(value))))  # type: ignore[arg-type]

    def tensor(self, graph_input: Input) -> int:
        if all(isinstance(size, int) for size in graph_input.shape):
            sizes = [int(size) for size in graph_input.shape]
            length = 4 * int(np.prod(sizes))
            fixed = self.ints(sizes)
            return self.table(("Int8", 0, graph_input.kind), ("Int32", 1, length), ("offset", 2, fixed))
        dims = []
        for size in graph_input.shape:
            if isinstance(size, int):
                dims.append(self.table(("Uint8", 0, 1), ("offset", 1, self.table(("Int32", 0, size)))))
            else:
                dims.append(self.table(("Uint8", 0, 2), ("offset", 1, self.table(("Uint8", 0, int(size))))))
        return self.table(("Int8", 0, graph_input.kind), ("Int8", 5, 1), ("offset", 6, self.tables(dims)))


def encode(program: Program) -> bytes:
    """The file of a program. The same program gives the same bytes."""
    writer = _Writer()
    for item in program.inputs:
        writer.index[item.name] = writer.value(_TENSOR, writer.tensor(item))
    places, length = {}, 0
    for name, weight in program.weights.items():
        places[name] = length
        length += len(weight.stored)
    operators: dict[str, int] = {}
    chains = []
    for layer in program.layers:
        number = operators.setdefault(layer.kernel, len(operators))
        inputs = [-1 if not name else _constant(writer, program, places, name) for name in layer.inputs]
        arguments = [writer.argument(item) for item in layer.arguments]
        for name in layer.outputs:
            writer.index[name] = writer.value(_TENSOR, writer.table())
        outputs = writer.ints([writer.index[name] for name in layer.outputs])
        call = writer.table(("Int32", 0, number), ("offset", 1, writer.ints(arguments)))
        instructions = writer.tables([writer.table(("Uint8", 0, 1), ("offset", 1, call))])
        chains.append(
            writer.table(("offset", 0, writer.ints(inputs)), ("offset", 1, outputs), ("offset", 2, instructions))
        )
    builder = writer.builder
    names = [builder.CreateString(name) for name in operators]
    kernels = writer.tables([writer.table(("offset", 0, name)) for name in names])
    plan = writer.table(
        ("offset", 0, builder.CreateString(program.producer)),
        ("offset", 1, writer.tables(writer.values)),
        ("offset", 2, writer.ints([writer.index[item.name] for item in program.inputs])),
        ("offset", 3, writer.tables([builder.CreateString(item.name) for item in program.inputs])),
        ("offset", 4, writer.ints([writer.index[tensor] for _, tensor in program.outputs])),
        ("offset", 5, writer.tables([builder.CreateString(name) for name, _ in program.outputs])),
        ("offset", 6, writer.tables(chains)),
        ("offset", 7, kernels),
        ("offset", 8, writer.table(("offset", 0, writer.ints([])), ("Int8", 1, 0))),
    )
    segments = writer.tables([writer.table(("Uint64", 0, length), ("Uint64", 1, length))])
    builder.FinishSizePrefixed(writer.table(("Uint32", 0, VERSION), ("offset", 1, plan), ("offset", 3, segments)))
    return bytes(builder.Output()) + _chunk(b"".join(weight.stored for weight in program.weights.values()))


def _constant(writer: _Writer, program: Program, places: dict[str, int], name: str) -> int:
    """The index of a tensor's value; constants become values where they are first read."""
    if name not in writer.index:
        weight = program.weights[name]
        shape = writer.ints([int(size) for size in weight.values.shape])
        tensor = writer.table(
            ("Int8", 0, weight.kind),
            ("Int32", 1, len(weight.stored)),
            ("offset", 2, shape),
            ("Uint32", 3, 1),
            ("Int32", 4, places[name]),
        )
        writer.index[name] = writer.value(_TENSOR, tensor)
    return writer.index[name]


def _chunk(data: bytes) -> bytes:
    """The table `Buffer` with these bytes, size first, laid out by hand so that weights are not copied twice."""
    vtable, table = struct.pack("<HHH", 6, 8, 4), struct.pack("<iI", 8, 4)
    body = struct.pack("<I", 12) + vtable + b"\0\0" + table + struct.pack("<I", len(data)) + data
    return struct.pack("<i", len(body)) + body


# --- reading -------------------------------------------------------------------------------------------------
class _Table:
    """A table of a FlatBuffer; every position is checked against the bytes that are there."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data, self.position = data, position
        self.vtable = position - self._read("<i", position)
        self.size = self._read("<H", self.vtable)

    def _read(self, form: str, position: int) -> Any:
        if not 0 <= position <= len(self.data) - struct.calcsize(form):
            raise _broken("an offset leads out of the file")
        return struct.unpack_from(form, self.data, position)[0]

    def _slot(self, number: int) -> int | None:
        place = 4 + 2 * number
        offset = self._read("<H", self.vtable + place) if place + 2 <= self.size else 0
        return self.position + offset if offset else None

    def scalar(self, number: int, form: str) -> Any:
        slot = self._slot(number)
        return 0 if slot is None else self._read(form, slot)

    def table(self, number: int) -> _Table | None:
        slot = self._slot(number)
        return None if slot is None else _Table(self.data, slot + self._read("<I", slot))

    def needed(self, number: int) -> _Table:
        found = self.table(number)
        if found is None:
            raise _broken("a table is missing")
        return found

    def vector(self, number: int) -> tuple[int, int] | None:
        """Where the elements of a vector begin, and how many there are."""
        slot = self._slot(number)
        if slot is None:
            return None
        start = slot + self._read("<I", slot)
        return start + 4, self._read("<I", start)

    def numbers(self, number: int, form: str = "<i4") -> tuple[Any, ...] | None:
        vector = self.vector(number)
        if vector is None:
            return None
        start, count = vector
        if count > _MOST or start + count * np.dtype(form).itemsize > len(self.data):
            raise _broken("a list is longer than the file")
        return tuple(np.frombuffer(self.data, form, count, start).tolist())

    def tables(self, number: int) -> list[_Table]:
        start, count = self.vector(number) or (0, 0)
        if count > _MOST or start + 4 * count > len(self.data):
            raise _broken("a list is longer than the file")
        return [
            _Table(self.data, start + 4 * index + self._read("<I", start + 4 * index)) for index in range(count)
        ]

    def texts(self, number: int) -> list[str]:
        start, count = self.vector(number) or (0, 0)
        if count > _MOST or start + 4 * count > len(self.data):
            raise _broken("a list is longer than the file")
        return [self._text(start + 4 * index) for index in range(count)]

    def text(self, number: int) -> str:
        slot = self._slot(number)
        return "" if slot is None else self._text(slot)

    def _text(self, slot: int) -> str:
        start = slot + self._read("<I", slot)
        length = self._read("<I", start)
        if start + 4 + length > len(self.data):
            raise _broken("a text is longer than the file")
        return self.data[start + 4 : start + 4 + length].decode("utf-8", "replace")


def is_sentis(data: bytes) -> bool:
    """Whether bytes begin as a `.sentis` file does: a size, and a program of a known version behind it."""
    try:
        size = struct.unpack_from("<i", data, 0)[0]
        if not 16 <= size <= len(data) - 4:
            return False
        return 1 <= _Table(data[: size + 4], 4 + struct.unpack_from("<I", data, 4)[0]).scalar(0, "<I") <= 64
    except (PipelineError, struct.error):
        return False


def decode(data: bytes) -> Program:
    """The program in the bytes of a file. Raises PipelineError `bad-sentis-file` for what is none of format 4."""
    if not is_sentis(data):
        raise _broken("it is not a serialised model")
    size = struct.unpack_from("<i", data, 0)[0]
    root = _Table(data[: size + 4], 4 + struct.unpack_from("<I", data, 4)[0])
    version = root.scalar(0, "<I")
    if version != VERSION:
        raise _broken(f"its format is {version}, format {VERSION} is read")
    weights = _weights(data[size + 4 :])
    plan = root.needed(1)
    values, kernels = plan.tables(1), [kernel.text(0) for kernel in plan.tables(7)]
    names: dict[int, str] = {}
    inputs = []
    for index, name in zip(plan.numbers(2) or (), plan.texts(3), strict=True):
        names[index] = name
        inputs.append(_input(name, _value(values, index).needed(1)))
    layers, constants = [], {}
    for chain in plan.tables(6):
        call = chain.tables(2)[0].needed(1)
        for index in chain.numbers(0) or ():
            if index >= 0 and index not in names:
                names[index] = f"c{index}"
                constants[names[index]] = _weight(_value(values, index).needed(1), weights)
        outputs = chain.numbers(1) or ()
        names.update({index: f"t{index}" for index in outputs})
        number = call.scalar(0, "<i")
        if not 0 <= number < len(kernels):
            raise _broken("a layer has no kernel")
        layers.append(
            Layer(
                kernels[number],
                tuple("" if index < 0 else names[index] for index in chain.numbers(0) or ()),
                tuple(names[index] for index in outputs),
                tuple(_argument(_value(values, index)) for index in call.numbers(1) or ()),
            )
        )
    results = [
        (name, names.get(index, "")) for name, index in zip(plan.texts(5), plan.numbers(4) or (), strict=True)
    ]
    return Program(tuple(inputs), tuple(results), tuple(layers), constants, plan.text(0))


def _value(values: list[_Table], index: int) -> _Table:
    if not 0 <= index < len(values):
        raise _broken("a layer reads a value that is not there")
    return values[index]


def _weights(data: bytes) -> tuple[bytes, int, int]:
    """The bytes of the first chunk, and where in them the storage begins and how long it is."""
    if len(data) < 8:
        return data, 0, 0
    storage = _Table(data, 4 + struct.unpack_from("<I", data, 4)[0]).vector(0) or (0, 0)
    if storage[0] + storage[1] > len(data):
        raise _broken("the weights are cut off")
    return data, *storage


def _weight(tensor: _Table, chunk: tuple[bytes, int, int]) -> Weight:
    data, start, length = chunk
    kind, shape, offset = tensor.scalar(0, "<b"), tensor.numbers(2) or (), tensor.scalar(4, "<i")
    if kind not in _NUMPY or any(size < 0 for size in shape):
        raise _broken("a constant is of no known type")
    count = int(np.prod(shape, dtype=np.float64))
    if tensor.scalar(3, "<I") != 1 or not 0 <= offset <= length - count * _NUMPY[kind].itemsize:
        raise _broken("a constant lies outside the weights")
    return Weight(np.frombuffer(data, _NUMPY[kind], count, start + offset).reshape(shape), kind)


def _input(name: str, tensor: _Table) -> Input:
    if tensor.scalar(5, "<b") == 0:
        return Input(name, tensor.scalar(0, "<b"), tensor.numbers(2) or ())
    sizes: list[int | str] = []
    for dim in tensor.tables(6):
        kind, value = dim.scalar(0, "<B"), dim.table(1)
        if value is None:
            raise _broken("a dimension of an input is missing")
        sizes.append(value.scalar(0, "<i") if kind == 1 else str(value.scalar(0, "<B")))
    return Input(name, tensor.scalar(0, "<b"), tuple(sizes))


def _argument(entry: _Table) -> Argument:
    kind, value = entry.scalar(0, "<B"), entry.table(1)
    if kind == _NULL or value is None:
        return None
    match kind:
        case 2:
            return int(value.scalar(0, "<i"))
        case 3:
            return float(value.scalar(0, "<f"))
        case 4:
            return bool(value.scalar(0, "<B"))
        case 7:
            return value.text(0)
        case 8:
            return value.numbers(0) or ()
        case 9:
            return value.numbers(0, "<f4") or ()
    raise _broken(f"a value is of kind {kind}, which is not known")


def _broken(why: str) -> PipelineError:
    return PipelineError(
        "bad-sentis-file",
        f"this cannot be read as a .sentis file: {why}",
        remedy="Files of format 4 (com.unity.sentis 2.1.3) are read; build the bundle again.",
    )
