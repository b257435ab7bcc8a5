"""Packed files for tests."""

from __future__ import annotations

import numpy as np

from pipeline.compress.packed import HALVES, STEPS, Filling, pack


def filling(offset: int, integers: np.ndarray, scales: np.ndarray, inner: int) -> Filling:
    """Of kind STEPS."""
    return Filling(
        offset, STEPS, np.asarray(integers, np.int64).reshape(-1), np.asarray(scales, np.float32), inner
    )


def halves(offset: int, values: np.ndarray) -> Filling:
    """Of kind HALVES."""
    bits = np.asarray(values, np.float16).reshape(-1).view(np.uint16).astype(np.int64)
    integers = np.where(bits & 0x8000, -(bits & 0x7FFF), bits)
    return Filling(offset, HALVES, integers, np.zeros(0, np.float32))


def model_with(fillings_at: list[tuple[bytes, Filling]], tail: bytes = b"tail") -> tuple[bytes, list[Filling]]:
    """A model of pieces of text, each followed by the numbers of a filling (whose offset is set)."""
    model, placed = b"", []
    for text, one in fillings_at:
        model += text
        placed.append(Filling(len(model), one.kind, one.integers, one.scales, one.inner))
        model += one.real().astype("<f4").tobytes()
    return model + tail, placed


def mixed(seed: int = 0) -> tuple[bytes, bytes]:
    """A model with every kind of filling, and its packed file."""
    rng = np.random.default_rng(seed)
    model, placed = model_with(
        [
            (b"head " * 40, filling(0, np.rint(rng.normal(0, 30, 4000)), rng.uniform(1e-3, 1, 8), 500)),
            (b"", filling(0, rng.integers(-2, 3, 999), rng.uniform(1e-3, 1, 3), 1)),
            (b"x", halves(0, np.concatenate([rng.normal(0, 1, 200), [0, 6e-8, -6e-5, 65504, -65504]]))),
            (b"y" * 300, filling(0, [0, 1, -1, 2**24, -(2**24), 255], [1.5], 6)),
            (b"z", filling(0, np.zeros(3000), [0.25], 3000)),
        ]
    )
    return model, pack(model, placed)
