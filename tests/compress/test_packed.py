"""Packed files: what goes in comes out, and whatever is wrong is told."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from pipeline.compress.packed import HALVES, MAGIC, STEPS, VERSION, Filling, is_packed, pack, unpack
from pipeline.support.errors import PipelineError
from tests.compress.packs import filling, halves, mixed, model_with


def test_the_model_comes_back_byte_for_byte_and_so_do_the_integers():
    model, packed = mixed()
    found = unpack(packed)
    assert found.model == model
    assert [one.kind for one in found.fillings] == [STEPS, STEPS, HALVES, STEPS, STEPS]
    assert found.fillings[3].integers.tolist() == [0, 1, -1, 2**24, -(2**24), 255]
    assert found.fillings[3].scales.tolist() == [1.5]
    assert pack(model, found.fillings) == packed
    assert is_packed(packed) and not is_packed(model)


def test_a_packed_file_is_small():
    model, packed = mixed()
    assert len(model) > 32_000 and len(packed) < 5_200
    found = unpack(packed)
    spent = found.template_bytes + sum(found.bits) / 8
    assert len(packed) - 24 <= spent <= len(packed)


def test_a_number_is_one_float32_product():
    one = filling(0, np.arange(-300, 300), [0.1, 1 / 3, 1e-30], 100)
    expected = np.float32(one.integers.reshape(2, 3, 100)) * one.scales.reshape(1, 3, 1)
    assert np.array_equal(one.real(), expected.reshape(-1))


def test_halves_are_exact():
    values = np.concatenate([np.random.default_rng(0).normal(size=500), [6e-8, -6e-8, 6.1e-5, 65504]])
    assert np.array_equal(halves(0, values).real(), values.astype(np.float16).astype(np.float32))


def test_a_model_without_holes_is_packed_too():
    assert unpack(pack(b"nothing but text", [])).model == b"nothing but text"


@pytest.mark.parametrize("wrong", ["number", "overlap", "size"])
def test_fillings_that_do_not_fit_their_model_are_refused(wrong):
    model, placed = model_with([(b"abc", filling(0, [1, 2, 3], [0.5], 3)), (b"", filling(0, [4], [1], 1))])
    if wrong == "number":
        model = model[:4] + b"\x01" + model[5:]
    elif wrong == "overlap":
        placed.append(placed[0])
    else:
        model, placed = model_with([(b"", filling(0, [2**25], [1], 1))])
    with pytest.raises(ValueError):
        pack(model, placed)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda p: b"PK" + p[2:], "not-packed"),
        (lambda p: b"", "not-packed"),
        (lambda p: p[:20], "damaged-packed-file"),
        (lambda p: p[:-1], "damaged-packed-file"),
        (lambda p: p[:4] + b"\x02" + p[5:], "packed-version"),
        (lambda p: p[:-1] + bytes([p[-1] ^ 1]), "damaged-packed-file"),
    ],
)
def test_what_is_wrong_is_told(change, code):
    with pytest.raises(PipelineError) as raised:
        unpack(change(mixed()[1]), "a.bytes")
    assert raised.value.code == code and raised.value.subject == "a.bytes" and raised.value.remedy


def test_the_same_model_gives_the_same_file():
    assert mixed()[1] == mixed()[1]


def test_fillings_may_come_in_any_order():
    model, placed = model_with(
        [(b"a", filling(0, [1], [2], 1)), (b"b", Filling(0, HALVES, np.array([5]), np.zeros(0)))]
    )
    assert pack(model, placed[::-1]) == pack(model, placed)


def packed_head(head: bytes, size: int) -> bytes:
    """A packed file with right checksums: `head` is its table of holes and template, `size` that of the model."""
    deflater = zlib.compressobj(1, zlib.DEFLATED, -15)
    deflated = deflater.compress(head) + deflater.flush()
    body = deflated + bytes(8)
    sizes = (size, 0, len(head), len(deflated), 8, 0)
    start = struct.pack("<4sHHIIIIII", MAGIC, VERSION, 0, *sizes)
    return start + struct.pack("<I", zlib.crc32(body, zlib.crc32(start))) + body


def test_a_small_file_that_unpacks_to_a_giant_model_is_refused():
    for head, size in ((b"\0", 1 << 29), (bytes((64 << 20) + 1), 1)):
        with pytest.raises(PipelineError, match="over-budget"):
            unpack(packed_head(head, size))


def test_millions_of_holes_are_refused_before_they_are_read():
    head = b"\xff\xff\x3f" + bytes((0, HALVES, 0)) * 0xFFFFF
    with pytest.raises(PipelineError, match="table of holes is too large"):
        unpack(packed_head(head, 0))
