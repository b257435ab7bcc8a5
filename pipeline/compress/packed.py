"""The packed file: a model's bytes with holes, and the integers that fill them.

The format does not depend on the model's: a hole is a run of little-endian float32 values anywhere in the bytes.
docs/packed-format.md specifies every byte, for other readers.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.compress.coding import BrokenStream, Decoder, Encoder, Models
from pipeline.sources.budget import Budget
from pipeline.support.errors import PipelineError

MAGIC = b"STPK"
VERSION = 1
MOST_BYTES = 1 << 30
"""Maximum size of a model: a packed file that declares more is refused."""
MOST_HOLES = 1 << 17
"""Maximum number of holes, several times that of the largest graphs: even an empty hole takes some time to
read."""
LARGEST_INTEGER = 1 << 24
"""Largest integer up to which all are exact in float32."""
LARGEST_HALF = 0x7BFF
"""The bits of the largest finite float16."""

STEPS, HALVES = 0, 1

_HEADER = struct.Struct("<4sHHIIIIIII")


@dataclass(frozen=True)
class Filling:
    """The content of one hole: `integers` (flat, int64), and how they are decoded.

    `offset` is in bytes from the start of the model. Of kind STEPS, number i is
    float32(integers[i]) * scales[(i // inner) % scales.size], one float32 multiplication; of kind HALVES it is
    the float16 with the bits |integers[i]| and the sign of integers[i], and `scales` is empty.
    """

    offset: int
    kind: int
    integers: np.ndarray
    scales: np.ndarray
    inner: int = 1

    @property
    def largest(self) -> int:
        """The largest magnitude that an integer of this kind may have."""
        return LARGEST_HALF if self.kind == HALVES else LARGEST_INTEGER

    def real(self) -> np.ndarray:
        """The float32 numbers, flat."""
        integers = self.integers.reshape(-1)
        if self.kind == HALVES:
            bits = np.abs(integers).astype(np.uint16) | np.where(integers < 0, 0x8000, 0).astype(np.uint16)
            return bits.view(np.float16).astype(np.float32)
        channels = (np.arange(integers.size) // self.inner) % self.scales.size
        return integers.astype(np.float32) * self.scales[channels]


@dataclass(frozen=True)
class Unpacked:
    """A packed file, read: the model's bytes, the fillings, and how many bits each takes in the file."""

    model: bytes
    fillings: tuple[Filling, ...]
    bits: tuple[int, ...]
    template_bytes: int
    """Size in the file of the template and the table of holes."""
    checksum: int
    """CRC-32 of the model's bytes."""


def is_packed(data: bytes) -> bool:
    """Whether bytes begin with the magic number of a packed file."""
    return data[:4] == MAGIC


def pack(model: bytes, fillings: Sequence[Filling]) -> bytes:
    """The packed file of `model`. The bytes in the holes must be what the fillings stand for, bit for bit.

    Raises ValueError where they are not, where holes overlap, and for integers beyond `LARGEST_INTEGER`.
    """
    encoder, numbers, scales = Encoder(), Models(), Models()
    fillings = sorted(fillings, key=lambda filling: filling.offset)
    table, template, place = bytearray(_varint(len(fillings))), bytearray(), 0
    for filling in fillings:
        real = filling.real().astype("<f4").tobytes()
        end = filling.offset + len(real)
        if filling.offset < place or model[filling.offset : end] != real:
            raise ValueError(f"the numbers at byte {filling.offset} do not match their integers")
        if np.abs(filling.integers).max(initial=0) > filling.largest:
            raise ValueError(f"an integer at byte {filling.offset} is too large")
        table += _varint(filling.offset - place) + bytes([filling.kind]) + _varint(filling.integers.size)
        template += model[place : filling.offset]
        place = end
        if filling.kind == STEPS:
            shift, codes = _scale_codes(filling.scales)
            table += _varint(filling.scales.size) + _varint(filling.inner) + bytes([shift])
            encoder.add(np.diff(codes, prepend=0), scales)
        encoder.add(filling.integers, numbers)
    head = bytes(table + template + model[place:])
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    deflated = compressor.compress(head) + compressor.flush()
    symbols, bits = encoder.finish()
    sizes = (len(model), zlib.crc32(model), len(head), len(deflated), len(symbols), len(bits))
    body = deflated + symbols + bits
    start = _HEADER.pack(MAGIC, VERSION, 0, *sizes, 0)[:-4]
    return start + struct.pack("<I", zlib.crc32(body, zlib.crc32(start))) + body


def unpack(data: bytes, subject: str = "") -> Unpacked:
    """Read a packed file.

    Raises PipelineError: `not-packed`, `packed-version`, `damaged-packed-file`, `over-budget` (a small file that
    unpacks to a giant model).
    """
    if not is_packed(data):
        raise PipelineError(
            "not-packed",
            "this is not a packed model: it does not begin with STPK",
            subject=subject,
            remedy="Packed models are made by pipeline compress and by build-unity --weights.",
        )
    if len(data) < _HEADER.size:
        raise _damaged(subject, f"it has {len(data)} bytes, less than its header")
    _, version, flags, size, checksum, head_size, deflated_size, symbols_size, bits_size, crc = _HEADER.unpack(
        data[: _HEADER.size]
    )
    if version != VERSION or flags:
        raise PipelineError(
            "packed-version",
            f"the packed file has format version {version}, this tool reads {VERSION}",
            subject=subject,
            remedy="Use the tool that wrote it, or pack the model again.",
        )
    if len(data) != _HEADER.size + deflated_size + symbols_size + bits_size:
        raise _damaged(subject, "its length differs from the one in its header")
    body = data[_HEADER.size :]
    if zlib.crc32(body, zlib.crc32(data[: _HEADER.size - 4])) != crc:
        raise _damaged(subject, "its checksum is wrong")
    if size > MOST_BYTES or head_size > MOST_BYTES:
        raise _damaged(subject, f"its header declares a model of {size:,} bytes")
    Budget(subject, len(data)).take(max(size, head_size))
    try:
        head = _inflate(body[:deflated_size], head_size)
        symbols = body[deflated_size : deflated_size + symbols_size]
        model, fillings, bits = _fill(head, Decoder(symbols, body[deflated_size + symbols_size :]), size)
    except (BrokenStream, zlib.error, IndexError) as error:
        raise _damaged(subject, str(error)) from error
    if zlib.crc32(model) != checksum:
        raise _damaged(subject, "the model's checksum is wrong")
    return Unpacked(model, fillings, bits, _HEADER.size + deflated_size, checksum)


def _fill(head: bytes, decoder: Decoder, size: int) -> tuple[bytes, tuple[Filling, ...], tuple[int, ...]]:
    holes = _Table(head)
    template = len(head) - holes.end
    if template + 4 * sum(hole["count"] for hole in holes) != size:
        raise BrokenStream("template and holes do not add up to the model's length")
    numbers, kinds = Models(), Models()
    model, fillings, bits, place = bytearray(), [], [], holes.end
    for hole in holes:
        before = decoder.used_bits
        scales = np.zeros(0, np.float32)
        if hole["kind"] == STEPS:
            codes = np.cumsum(decoder.take(hole["scales"], kinds))
            if codes.min(initial=0) < 0 or codes.max(initial=0) << hole["shift"] >= 1 << 32:
                raise BrokenStream("a scale is not a float32")
            scales = (codes << hole["shift"]).astype(np.uint32).view(np.float32)
        integers = decoder.take(hole["count"], numbers)
        if place + hole["gap"] > len(head):
            raise BrokenStream("a hole is outside the template")
        model += head[place : place + hole["gap"]]
        place += hole["gap"]
        filling = Filling(len(model), hole["kind"], integers, scales, hole["inner"])
        if np.abs(integers).max(initial=0) > filling.largest:
            raise BrokenStream("an integer is out of range")
        model += filling.real().astype("<f4").tobytes()
        fillings.append(filling)
        bits.append(decoder.used_bits - before)
    decoder.finish()
    return bytes(model + head[place:]), tuple(fillings), tuple(bits)


class _Table:
    """The table of holes at the begin of the head; `end` is where the template begins."""

    def __init__(self, head: bytes) -> None:
        self._head, self.end = head, 0
        self._holes = [self._hole() for _ in range(self._checked(self._number(), MOST_HOLES))]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._holes)

    def _hole(self) -> dict[str, Any]:
        hole = {
            "gap": self._number(),
            "kind": self._byte(),
            "count": self._checked(self._number(), MOST_BYTES // 4),
        }
        hole |= {"scales": 0, "inner": 1, "shift": 0}
        if hole["kind"] == STEPS:
            hole |= {"scales": self._checked(self._number(), hole["count"]), "inner": self._number()}
            hole["shift"] = self._checked(self._byte(), 31)
            if not hole["scales"] or not hole["inner"]:
                raise BrokenStream("a hole has no scales")
        elif hole["kind"] != HALVES:
            raise BrokenStream(f"{hole['kind']} is not a known kind of numbers")
        return hole

    def _checked(self, number: int, most: int) -> int:
        if number > most:
            raise BrokenStream(f"{number} in the table of holes is too large")
        return number

    def _byte(self) -> int:
        self.end += 1
        return self._head[self.end - 1]

    def _number(self) -> int:
        number = 0
        for shift in range(0, 35, 7):
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
        raise BrokenStream("a number in the table of holes is not terminated")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _scale_codes(scales: np.ndarray) -> tuple[int, np.ndarray]:
    """The bits of the scales without the low bits that are zero in all of them, and how many these are."""
    bits = np.ascontiguousarray(scales, dtype="<f4").view("<u4").astype(np.int64)
    together = int(np.bitwise_or.reduce(bits))
    shift = (together & -together).bit_length() - 1 if together else 0
    return min(shift, 31), bits >> min(shift, 31)


def _inflate(deflated: bytes, size: int) -> bytes:
    inflater = zlib.decompressobj(-15)
    head = inflater.decompress(deflated, size + 1)
    if len(head) != size or not inflater.eof or inflater.unused_data:
        raise BrokenStream("the length of the template differs from the one in the header")
    return head


def _damaged(subject: str, why: str) -> PipelineError:
    return PipelineError(
        "damaged-packed-file",
        f"the packed model is damaged: {why}",
        subject=subject,
        remedy="Copy or build it again.",
    )
