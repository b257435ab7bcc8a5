"""Integers that a weight came with are recognised, and nothing else is taken for them."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.compress.known import known
from pipeline.graph.integers import QuantizedTensor

RNG = np.random.default_rng(0)
INTS = RNG.integers(-128, 128, (6, 4, 3, 3)).astype(np.int8)


def held(axis: int | None = 0, zero_point: int = 3) -> QuantizedTensor:
    shape = () if axis is None else (INTS.shape[axis],)
    scale = np.asarray(RNG.uniform(1e-3, 1e-2, shape), np.float32)
    return QuantizedTensor("w", INTS, scale, np.full(shape, zero_point, np.int8), axis)


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_the_same_numbers_are_found_under_their_name_and_another(axis):
    one = held(axis)
    assert known(one.real(), "w", [held(axis), one]) is one
    assert known(one.real(), "renamed", [held(axis), one]) is one


@pytest.mark.parametrize(
    "factor",
    [
        np.float32(255),
        RNG.uniform(0.1, 2, (6, 1, 1, 1)).astype(np.float32),
        np.float32([[1], [2], [3], [0.3]])[None, :, :, None],
    ],
    ids=["a number", "one for each output", "one for each input"],
)
def test_a_multiplied_weight_keeps_its_integers(factor):
    one = held(None)
    values = one.real() * factor.reshape(
        factor.shape if factor.ndim < 4 else (factor.shape[0], factor.shape[1], 1, 1)
    )
    found = known(values, "w", [one])
    assert found is not None
    assert np.array_equal(found.ints, INTS.astype(int) - 3)
    assert np.allclose(found.real(), values, rtol=2.0**-21, atol=0)


def test_other_numbers_are_not_taken_for_them():
    one = held()
    assert known(one.real() + np.float32(1e-4), "w", [one]) is None
    assert known(one.real() * RNG.uniform(0.999, 1.001, INTS.shape).astype(np.float32), "w", [one]) is None
    assert known(one.real()[:, :, :2], "w", [one]) is None
    assert known(RNG.normal(size=INTS.shape).astype(np.float32), "w", [one]) is None
