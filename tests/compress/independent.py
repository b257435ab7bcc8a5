"""A reader of packed files written from docs/packed-format.md alone: nothing of the pipeline is used.

Slow and plain, number by number, so that it can be held beside the document.
"""

import struct
import zlib
from fractions import Fraction


def read(data: bytes) -> bytes:
    """The model in a packed file; AssertionError for whatever the document calls damaged."""
    assert data[:4] == b"STPK"
    version, flags = struct.unpack("<HH", data[4:8])
    assert (version, flags) == (1, 0)
    m, model_crc, h, d, s, b, crc = struct.unpack("<7I", data[8:36])
    assert len(data) == 36 + d + s + b and m <= 2**30 and h <= 2**30
    assert zlib.crc32(data[:32] + data[36:]) == crc
    head = zlib.decompress(data[36 : 36 + d], -15)
    assert len(head) == h
    holes, template = table(head)
    assert len(template) + 4 * sum(hole["count"] for hole in holes) == m
    stream = Stream(data[36 + d : 36 + d + s], data[36 + d + s :])
    model = b""
    for hole in holes:
        assert hole["gap"] <= len(template)
        model, template = model + template[: hole["gap"]], template[hole["gap"] :]
        model += steps(hole, stream) if hole["kind"] == 0 else halves(hole, stream)
    stream.end()
    model += template
    assert zlib.crc32(model) == model_crc
    return model


def table(head: bytes) -> tuple[list[dict], bytes]:
    place = 0

    def number() -> int:
        nonlocal place
        value = 0
        for index in range(5):
            byte = head[place]
            place += 1
            value += (byte % 128) * 128**index
            if byte < 128:
                return value
        raise AssertionError("varint")

    holes = []
    for _ in range(number()):
        hole = {"gap": number(), "kind": number(), "count": number()}
        if hole["kind"] == 0:
            hole |= {"scales": number(), "inner": number(), "shift": number()}
            assert 1 <= hole["scales"] <= hole["count"] and hole["inner"] >= 1 and hole["shift"] <= 31
        else:
            assert hole["kind"] == 1
        holes.append(hole)
    return holes, head[place:]


def steps(hole: dict, stream: "Stream") -> bytes:
    code, scales = 0, []
    for difference in stream.array(hole["scales"], "scales"):
        code += difference
        assert 0 <= code < 2 ** (32 - hole["shift"])
        scales.append(struct.unpack("<f", struct.pack("<I", code * 2 ** hole["shift"]))[0])
    found = b""
    for i, integer in enumerate(stream.array(hole["count"], "numbers")):
        assert abs(integer) <= 2**24
        # The product of two float32 numbers is exact in a double; packing rounds it once.
        found += struct.pack("<f", float(integer) * scales[i // hole["inner"] % hole["scales"]])
    return found


def halves(hole: dict, stream: "Stream") -> bytes:
    found = b""
    for integer in stream.array(hole["count"], "numbers"):
        bits = abs(integer)
        assert bits <= 0x7BFF
        exponent, mantissa = bits // 1024, bits % 1024
        value = Fraction(mantissa, 1024) * Fraction(1, 2**14)
        if exponent > 0:
            value = (1 + Fraction(mantissa, 1024)) * Fraction(2) ** (exponent - 15)
        found += struct.pack("<f", float(value) if integer >= 0 else -float(value))
    return found


class Context:
    def __init__(self) -> None:
        self.c, self.n, self.renewal, self.f = [1] * 124, 0, 0, []

    def renew(self) -> None:
        if sum(self.c) > 65536:
            self.c = [count // 2 for count in self.c]
        t = sum(self.c)
        self.f = [1 + count * (65536 - 124) // t for count in self.c]
        self.f[0] += 65536 - sum(self.f)
        self.renewal = self.n + min(max(self.n // 4, 4), 2048)


class Stream:
    def __init__(self, symbols: bytes, bits: bytes) -> None:
        assert len(symbols) % 4 == 0
        self.words = list(struct.unpack(f"<{len(symbols) // 4}I", symbols))
        self.x = self.words.pop(0) * 2**32 + self.words.pop(0)
        self.bits, self.bit = bits, 0
        self.sets = {name: [Context() for _ in range(16)] for name in ("numbers", "scales")}

    def array(self, count: int, name: str) -> list[int]:
        floors: list[int] = []
        found = []
        for _ in range(count):
            window = sum(floors[-16:])
            s = self.symbol(self.sets[name][min(window.bit_length(), 15)])
            e = max(s // 4 - 1, 0)
            floors.append((s - 4 * e) * 2**e)
            if s == 0:
                found.append(0)
                continue
            negative = self.take()
            magnitude = floors[-1] + sum(self.take() << place for place in range(e))
            found.append(-magnitude if negative else magnitude)
        return found

    def symbol(self, context: Context) -> int:
        if context.n == context.renewal:
            context.renew()
        slot, s, before = self.x % 2**16, 0, 0
        while not before <= slot < before + context.f[s]:
            before += context.f[s]
            s += 1
        self.x = context.f[s] * (self.x // 2**16) + slot - before
        if self.x < 2**31:
            self.x = self.x * 2**32 + self.words.pop(0)
        context.c[s] += 32
        context.n += 1
        return s

    def take(self) -> int:
        self.bit += 1
        return self.bits[(self.bit - 1) // 8] >> (self.bit - 1) % 8 & 1

    def end(self) -> None:
        assert self.x == 2**31 and not self.words and (self.bit + 7) // 8 == len(self.bits)
