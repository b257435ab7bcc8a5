"""How far two pictures are apart."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.verify.compare import difference


def test_one_level_in_one_place_is_found_and_named():
    a = np.full((1, 3, 4, 5), 0.5, np.float32)
    b = a.copy()
    b[0, 2, 1, 3] += 1 / 255
    d = difference(a, b, "x")
    assert d.max_levels == pytest.approx(1.0, abs=1e-4)
    assert d.mean_levels == pytest.approx(1 / 60, rel=1e-4)
    assert d.worst == (2, 1, 3)
    assert d.psnr == pytest.approx(10 * np.log10(60 * 255**2), abs=0.01)


def test_equal_pictures_have_no_psnr():
    a = np.zeros((1, 1, 2, 2))
    assert difference(a, a, "x").psnr is None


def test_values_beyond_0_and_1_count_as_clamped():
    assert difference(np.full((1, 1, 1, 1), 1.5), np.full((1, 1, 1, 1), 1.0), "x").max_levels == 0


def test_nan_is_the_largest_difference():
    assert difference(np.zeros((1, 1, 1, 1)), np.full((1, 1, 1, 1), np.nan), "x").max_levels == 255


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="shapes"):
        difference(np.zeros((1, 3, 4, 4)), np.zeros((1, 3, 4, 8)), "x")
