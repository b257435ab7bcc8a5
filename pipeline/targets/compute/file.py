"""Reads and writes the `.bytes` file of a plan, which the C# engine loads (ComputePlan.cs).

Integers are zigzag-encoded varints: n is 2n, or -2n - 1 if negative, in groups of seven bits, the lowest first,
with the highest bit of a byte set if another follows. Other numbers are little-endian float32; strings are a
length in bytes and UTF-8. Weights are stored without padding; `layout` pads them for the GPU.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from pipeline.targets.compute.constants import REAL, REAL_PLACE, SHAPE, SHAPE_PLACE
from pipeline.targets.compute.kernels import kernel_name, macros, variants
from pipeline.targets.compute.plan import MOST_GUIDE_CHANNELS, Dispatch, Extent, Plan, StyleTerm, Value, Weight

MAGIC = b"STCP"
VERSION = 2
STYLED = 3
"""The version of a file with several styles, which has one more section at its end."""
VECTORS = 4
"""The version of the two files of a network with style vectors, which has another section at its end."""
GUIDES = 5
"""The version of a file with guides, whose inputs are named in a section at its end."""
GRIDS = ("tiles", "pixels", "flat", "blocks", "threads")
WEIGHTS = ("conv", "rows", "depthwise")
FORMS = {
    "conv": ("slices", "step_blocks", "lanes", "blocks", "phase_blocks", "phases"),
    "rows": ("phases", "length"),
    "depthwise": (),
}
_MAX_COUNT = 1 << 28
"""Upper bound of every count in a file: anything larger would not fit into a GPU buffer."""


class _Writer:
    def __init__(self) -> None:
        self.data = bytearray()
        self.holes: list[tuple[int, int]] = []

    def ints(self, *numbers: int) -> None:
        for number in numbers:
            left = number << 1 if number >= 0 else (-number << 1) - 1
            while left > 127:
                self.data.append(left & 127 | 128)
                left >>= 7
            self.data.append(left)

    def text(self, text: str) -> None:
        encoded = text.encode()
        self.ints(len(encoded))
        self.data += encoded

    def floats(self, numbers: np.ndarray) -> None:
        self.holes.append((len(self.data), numbers.size))
        self.data += np.ascontiguousarray(numbers, "<f4").tobytes()


def write(plan: Plan) -> bytes:
    """Serialise a plan, deterministically."""
    return bytes(_written(plan).data)


def holes(plan: Plan) -> list[tuple[int, int]]:
    """(byte offset, number of float32) of each weight in the file, in the order of `plan.weights`."""
    return _written(plan).holes


def _written(plan: Plan) -> _Writer:
    to = _Writer()
    to.data += MAGIC
    to.ints(
        _version(plan),
        int(plan.half),
        *plan.size.hw,
        *plan.channels,
        plan.result,
        plan.table_elements,
        plan.slots,
    )
    for text in plan.names:
        to.text(text)
    to.ints(len(plan.metadata))
    for key, text in sorted(plan.metadata.items()):
        to.text(key)
        to.text(text)
    to.ints(len(plan.values))
    for value in plan.values:
        to.ints(value.channels, value.source, value.height.mul, value.height.add, value.height.div)
        to.ints(value.width.mul, value.width.add, value.width.div)
        to.ints(value.root, value.first_block, value.slot, int(value.stored))
    names = variants(plan)
    to.ints(len(names))
    for name, dispatch in names.items():
        to.text(name)
        to.text(dispatch.kernel)
        variant = macros(dispatch, plan.half)
        to.ints(len(variant))
        for macro, number in variant.items():
            to.text(macro)
            to.ints(number)
    order = {name: number for number, name in enumerate(names)}
    numbers = {id(dispatch): number for number, dispatch in enumerate(plan.dispatches)}
    to.ints(len(plan.dispatches))
    for dispatch in plan.dispatches:
        to.text(dispatch.title)
        of = -1 if dispatch.statistics_of is None else numbers[id(dispatch.statistics_of)]
        to.ints(
            order[kernel_name(dispatch, plan.half)], GRIDS.index(dispatch.grid), dispatch.first, dispatch.second
        )
        to.ints(dispatch.output, dispatch.kept, of, int(dispatch.align_corners))
        integers = sorted((SHAPE_PLACE[name], number) for name, number in dispatch.int_constants.items())
        to.ints(len(integers), *(number for pair in integers for number in pair))
        floats = sorted(
            (REAL_PLACE[name] + at, number)
            for name, variant in dispatch.float_constants.items()
            for at, number in enumerate(variant)
        )
        to.ints(len(floats))
        for place, amount in floats:
            to.ints(place)
            to.data += struct.pack("<f", amount)
    to.ints(len(plan.weights))
    for weight in plan.weights:
        to.ints(WEIGHTS.index(weight.kind), weight.offset, *(weight.form[name] for name in FORMS[weight.kind]))
        to.ints(weight.data.ndim, *weight.data.shape)
        to.floats(weight.data)
    if plan.style_count > 1:
        to.ints(plan.style_count, len(plan.styles))
        for number, data in sorted(plan.styles.items()):
            to.ints(number)
            to.data += np.ascontiguousarray(data, "<f4").tobytes()
    elif _version(plan) == VECTORS:
        _write_vectors(to, plan)
    elif plan.guides:
        to.ints(len(plan.guides))
        for name in plan.guides:
            to.text(name)
    return to


def _version(plan: Plan) -> int:
    if plan.style_length or plan.numbers_in >= 0 or plan.numbers_out:
        return VECTORS
    if plan.guides:
        return GUIDES
    return STYLED if plan.style_count > 1 else VERSION


def _write_vectors(to: _Writer, plan: Plan) -> None:
    """Where numbers go in and come out, and how weights depend on the style vector.

    Of each term the differences between successive indices, whether all coefficients are 1, and if not, these.
    """
    to.ints(plan.numbers_in, int(plan.numbers_out), plan.style_length)
    to.text(plan.style_input)
    styled = [(number, weight) for number, weight in enumerate(plan.weights) if weight.style]
    to.ints(len(styled))
    for number, weight in styled:
        to.ints(number, len(weight.style))
        for term in weight.style:
            to.ints(*np.diff(term.indices.reshape(-1), prepend=0).tolist())
            ones = bool(np.all(term.coefficients == 1))
            to.ints(int(ones))
            if not ones:
                to.data += np.ascontiguousarray(term.coefficients, "<f4").tobytes()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def ints(self, count: int) -> tuple[int, ...]:
        if not 0 <= count <= len(self.data) - self.at:
            raise ValueError("a count is larger than the file")
        return tuple(self._number() for _ in range(count))

    def _number(self) -> int:
        number = 0
        for shift in range(0, 35, 7):
            byte = self.data[self.at]
            self.at += 1
            number |= (byte & 127) << shift
            if byte < 128:
                break
        if number >> 32:
            raise ValueError("a number has more than 32 bits")
        return -(number >> 1) - 1 if number & 1 else number >> 1

    def count(self) -> int:
        number = self.ints(1)[0]
        if not 0 <= number <= _MAX_COUNT:
            raise ValueError("a count is out of range")
        return number

    def text(self) -> str:
        length = self.count()
        encoded = self.data[self.at : self.at + length]
        if len(encoded) != length:
            raise ValueError("a text ends too early")
        self.at += length
        return encoded.decode()

    def pairs(self) -> list[tuple[int, float]]:
        count = self.count()
        if count > len(self.data) // 5:
            raise ValueError("a count is larger than the file")
        pairs = []
        for _ in range(count):
            place = self._number()
            pairs.append((place, struct.unpack_from("<f", self.data, self.at)[0]))
            self.at += 4
        return pairs

    def floats(self, shape: Sequence[int]) -> np.ndarray:
        size = int(np.prod([int(s) for s in shape], dtype=object)) if min(shape, default=1) >= 0 else _MAX_COUNT
        if size > (len(self.data) - self.at) // 4:
            raise ValueError("a weight is larger than the file")
        values = np.frombuffer(self.data, "<f4", size, self.at).reshape(shape).astype(np.float32)
        self.at += 4 * size
        return values


def parse(data: bytes, subject: str = "") -> Plan:
    """Parse a plan file. Raises PipelineError `damaged-plan` if it is not one."""
    try:
        if data[:4] != MAGIC:
            raise ValueError("it does not begin with STCP")
        return _parsed(_Reader(data))
    except (ValueError, struct.error, IndexError, UnicodeDecodeError, KeyError) as error:
        raise PipelineError(
            "damaged-plan",
            f"this is not a compiled network: {error}",
            subject=subject,
            remedy="Build it again with --target compute.",
        ) from error


def _parsed(source: _Reader) -> Plan:
    source.at = 4
    version, half, height, width, in_channels, out_channels, result, tables, slots = source.ints(9)
    if version not in (VERSION, STYLED, VECTORS, GUIDES):
        raise ValueError(f"it has version {version}, this tool reads {VERSION} to {GUIDES}")
    names = (source.text(), source.text())
    metadata = {source.text(): source.text() for _ in range(source.count())}
    values = []
    for number in range(source.count()):
        fields = source.ints(12)
        rows, columns = Extent(*fields[2:5]), Extent(*fields[5:8])
        values.append(
            Value(
                number, fields[0], fields[1], rows, columns, "", fields[8], fields[9], bool(fields[11]), fields[10]
            )
        )
    kernels = []
    for _ in range(source.count()):
        source.text()
        file = source.text()
        kernels.append((file, {source.text(): source.ints(1)[0] for _ in range(source.count())}))
    fixed_names = {place: name for name, place in SHAPE_PLACE.items()}
    dispatches: list[Dispatch] = []
    merged: list[int] = []
    for _ in range(source.count()):
        title = source.text()
        kernel, grid, first, second, output, kept, of, align = source.ints(8)
        fixed = source.ints(2 * source.count())
        real: dict[str, tuple[float, ...]] = {}
        for place, value in source.pairs():
            name = next((n for n, p in REAL_PLACE.items() if p == place), "")
            if not name:
                name = REAL[place // 4]
                real[name] = (*real[name], value)
            else:
                real[name] = (value,)
        file, macros_of_file = kernels[kernel]
        dispatches.append(
            Dispatch(
                file,
                {name: number for name, number in macros_of_file.items() if name != "HALF"},
                GRIDS[grid],
                first,
                second,
                output,
                kept,
                None,
                {fixed_names[p]: n for p, n in zip(fixed[::2], fixed[1::2], strict=True)},
                real,
                bool(align),
                (),
                title,
            )
        )
        merged.append(of)
    for dispatch, of in zip(dispatches, merged, strict=True):
        dispatch.statistics_of = dispatches[of] if of >= 0 else None
    weights = []
    for _ in range(source.count()):
        kind = WEIGHTS[source.ints(1)[0]]
        at = source.ints(1)[0]
        form = dict(zip(FORMS[kind], source.ints(len(FORMS[kind])), strict=True))
        shape = source.ints(source.count())
        weights.append(Weight(kind, source.floats(shape), form, at))
    count = 1
    styles: dict[int, np.ndarray] = {}
    if version == STYLED:
        count = source.count()
        for _ in range(source.count()):
            number = source.count()
            styles[number] = source.floats((count, *weights[number].data.shape))
    numbers_in, numbers_out, style_length, style_input = -1, 0, 0, ""
    if version == VECTORS:
        numbers_in, numbers_out, style_length = source.ints(3)
        style_input = source.text()
        _parse_style_terms(source, weights, style_length)
    guides = _parse_guides(source, values) if version == GUIDES else ()
    if source.at != len(source.data):
        raise ValueError("it has data after its end")
    if len(SHAPE) * 4 < max(fixed_names):
        raise ValueError("constants")
    channels = (in_channels, out_channels)
    size = Size(width, height)
    return Plan(
        dispatches,
        values,
        weights,
        tables,
        size,
        channels,
        result,
        bool(half),
        slots,
        names,
        metadata,
        styles,
        count,
        style_input,
        style_length,
        numbers_in,
        bool(numbers_out),
        guides,
    )


def _parse_guides(source: _Reader, values: Sequence[Value]) -> tuple[str, ...]:
    guides = tuple(source.text() for _ in range(source.count()))
    textures = values[1 : len(guides) + 1]
    fit = all(1 <= value.channels <= MOST_GUIDE_CHANNELS and value.slot < 0 for value in textures)
    if not guides or len(textures) != len(guides) or not fit:
        raise ValueError("its guides are not textures")
    return guides


def _parse_style_terms(source: _Reader, weights: Sequence[Weight], length: int) -> None:
    for _ in range(source.count()):
        weight = weights[source.count()]
        shape, terms = weight.data.shape, []
        for _ in range(source.count()):
            indices = np.cumsum(source.ints(weight.data.size), dtype=np.int64).reshape(shape)
            if indices.size and not 0 <= indices.min() <= indices.max() < length:
                raise ValueError("a style vector is shorter than an index")
            ones = source.ints(1)[0]
            terms.append(StyleTerm(np.ones(shape, np.float32) if ones else source.floats(shape), indices))
        weight.style = tuple(terms)
