"""Integers go through the coder unchanged, in few bits, and damage is noticed."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.compress import coding
from pipeline.compress.coding import BrokenStream, Decoder, Encoder, Models

ARRAYS = {
    "nothing": [],
    "zero": [0],
    "one large": [-(2**32 - 1)],
    "every edge": [sign * (1 << bit) + off for bit in range(2, 32) for off in (-1, 0, 1) for sign in (1, -1)],
    "long zeros": [0] * 10_000,
    "small": np.random.default_rng(1).integers(-3, 4, 5000),
    "weights": np.rint(np.random.default_rng(2).normal(0, 30, 20_000)),
    "growing": np.arange(-4000, 4000) ** 3 // 10_000,
}


def coded(arrays: list[np.ndarray]) -> tuple[bytes, bytes]:
    encoder, models = Encoder(), (Models(), Models())
    for number, values in enumerate(arrays):
        encoder.add(values, models[number % 2])
    return encoder.finish()


def decoded(symbols: bytes, bits: bytes, sizes: list[int]) -> list[np.ndarray]:
    decoder, models = Decoder(symbols, bits), (Models(), Models())
    found = [decoder.take(size, models[number % 2]) for number, size in enumerate(sizes)]
    decoder.finish()
    return found


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_comes_back(name):
    values = np.asarray(ARRAYS[name], np.int64)
    assert np.array_equal(decoded(*coded([values]), [values.size])[0], values)


def test_arrays_after_one_another_come_back():
    arrays = [np.asarray(values, np.int64) for values in ARRAYS.values()]
    for found, expected in zip(decoded(*coded(arrays), [a.size for a in arrays]), arrays, strict=True):
        assert np.array_equal(found, expected)


def test_the_chunks_of_a_large_array_join(monkeypatch):
    values = np.asarray(ARRAYS["weights"], np.int64)
    whole = coded([values])
    monkeypatch.setattr(coding, "_CHUNK", 777)
    assert coded([values]) == whole
    assert np.array_equal(decoded(*whole, [values.size])[0], values)


@pytest.mark.parametrize("sigma", [0.3, 1, 5, 30])
def test_normal_weights_take_little_more_than_their_entropy(sigma):
    values = np.rint(np.random.default_rng(3).normal(0, sigma, 100_000)).astype(np.int64)
    _, counts = np.unique(values, return_counts=True)
    entropy = -(counts * np.log2(counts / values.size)).sum()
    symbols, bits = coded([values])
    assert 8 * (len(symbols) + len(bits)) < 1.015 * entropy


def test_zeros_take_next_to_nothing():
    assert sum(map(len, coded([np.zeros(100_000, np.int64)]))) < 400


def test_symbols_and_low_bits_are_those_of_the_document():
    values = np.array([0, 1, 7, 8, 9, 10, 15, 16, 20, 31, 32, 255, 2**32 - 1])
    symbols, low, rest = coding.split(values)
    assert symbols.tolist() == [0, 1, 7, 8, 8, 9, 11, 12, 13, 15, 16, 27, 123]
    assert low.tolist() == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 5, 29]
    floors, count = coding.join(symbols)
    assert np.array_equal(floors + rest, values) and np.array_equal(count, low)


@pytest.mark.parametrize("cut", ["symbols", "bits"])
def test_what_is_cut_off_is_noticed(cut):
    values = np.asarray(ARRAYS["weights"], np.int64)
    symbols, bits = coded([values])
    symbols, bits = (symbols[:-4], bits) if cut == "symbols" else (symbols, bits[:-1])
    with pytest.raises(BrokenStream):
        decoded(symbols, bits, [values.size])


def test_what_is_left_over_is_noticed():
    symbols, bits = coded([np.arange(100)])
    for more in ((symbols + b"\0\0\0\0", bits), (symbols, bits + b"\0")):
        with pytest.raises(BrokenStream):
            decoded(*more, [100])
    with pytest.raises(BrokenStream):
        decoded(symbols, bits, [99])
