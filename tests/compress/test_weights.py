"""Each way to store one tensor, by itself."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.compress.holes import Hole
from pipeline.compress.rounding import Moments
from pipeline.compress.sites import Site
from pipeline.compress.weights import VECTOR_BITS, Weight

VALUES = np.random.default_rng(0).laplace(0, 0.1, (8, 4, 3, 3)).astype(np.float32)
SITE = Site("w", "Conv", "x", VALUES.shape)


def weight(values: np.ndarray = VALUES, site: Site | None = SITE, **more) -> Weight:
    return Weight(Hole("w", values.shape, 0), values, site, **more)


@pytest.mark.parametrize("bits", [8, 6, 4])
def test_bits_bound_the_integers_and_each_channel_uses_them_all(bits):
    filling = weight().in_bits(bits)
    most = np.abs(filling.integers.reshape(8, -1)).max(axis=1)
    assert filling.scales.size == 8 and filling.inner == 36
    assert most.max() == 2 ** (bits - 1) - 1 and most.min() > 0.9 * most.max() - 1
    assert np.abs(filling.real().reshape(VALUES.shape) - VALUES).max() < 0.3


def test_a_vector_has_one_scale_and_more_bits():
    values = np.linspace(-1, 1, 24, dtype=np.float32)
    filling = weight(values, None).in_bits(8)
    assert filling.scales.size == 1 and np.abs(filling.integers).max() > 2 ** (7 + VECTOR_BITS) * 0.9
    assert np.abs(filling.real() - values).max() < 2.0 ** -(7 + VECTOR_BITS)


def test_steps_are_in_proportion_to_the_factor():
    fine, coarse = (weight().in_steps(factor) for factor in (0.25, 1.0))
    assert np.allclose(fine.scales * 4, coarse.scales)
    assert np.abs(fine.integers).max() > 3 * np.abs(coarse.integers).max()


def test_behind_a_normalisation_loud_channels_get_coarser_steps_and_strong_gains_finer():
    rows = VALUES.reshape(8, -1)
    loud = rows * np.linspace(1, 8, 8)[:, None]
    site = Site("w", "Conv", "x", VALUES.shape, normalised=True, gain=np.float32([1, 1, 1, 1, 1, 1, 1, 5]))
    moments = [Moments.of(np.eye(36), loud)]
    scales = weight(loud.reshape(VALUES.shape).astype(np.float32), site, moments=moments).in_steps(1.0).scales
    assert scales[5] > 2.5 * scales[0] and scales[7] < scales[5]


def test_a_half_that_would_be_infinite_is_none():
    assert weight(np.float32([1, 2, 7e4, 4]), None).half() is None
    assert np.array_equal(weight().half().real(), VALUES.reshape(-1).astype(np.float16))


def test_a_tensor_of_zeros_takes_any_step():
    filling = weight(np.zeros_like(VALUES)).in_steps(1.0)
    assert not filling.integers.any() and np.isfinite(filling.scales).all()
    assert not weight(np.zeros(8, np.float32), None).in_steps(1.0).integers.any()
