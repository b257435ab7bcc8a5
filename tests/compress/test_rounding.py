"""Rounding: errors are passed on, zeros and ranges are kept, scales are few bits."""

from __future__ import annotations

import numpy as np

from pipeline.compress import rounding
from pipeline.compress.rounding import Moments, fitting_scales, round_rows, written


def correlated(inputs: int, seed: int = 0) -> np.ndarray:
    """Second moments of inputs that move together, as neighbouring pixels do."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(inputs, inputs // 3 + 1))
    return mixing @ mixing.T + 0.05 * np.eye(inputs)


def cost(rows: np.ndarray, integers: np.ndarray, scales: np.ndarray, second: np.ndarray) -> float:
    error = rows - integers * scales[:, None].astype(np.float64)
    return float(((error @ second) * error).sum())


def test_passing_errors_on_costs_less_at_the_outputs():
    rng = np.random.default_rng(1)
    rows, second = rng.normal(size=(8, 60)), correlated(60)
    scales = fitting_scales(rows, 15)
    plain = round_rows(rows, scales, 15)
    passed_on = round_rows(rows, scales, 15, Moments.of(second, rows))
    assert cost(rows, passed_on, scales, second) < 0.4 * cost(rows, plain, scales, second)
    assert np.abs(passed_on).max() <= 15


def test_inputs_that_do_not_move_together_are_rounded_to_the_nearest():
    rows = np.random.default_rng(2).normal(size=(4, 30))
    scales = fitting_scales(rows, 31)
    assert np.array_equal(round_rows(rows, scales, 31, Moments.of(np.eye(30), rows)), round_rows(rows, scales, 31))


def test_wide_rows_are_rounded_in_pieces(monkeypatch):
    monkeypatch.setattr(rounding, "WIDEST", 30)
    rows, second = np.random.default_rng(3).normal(size=(2, 80)), correlated(80)
    moments = Moments.of(second, rows)
    assert [len(order) for order in moments.order] == [26, 27, 27]
    scales = fitting_scales(rows, 7)
    found = round_rows(rows, scales, 7, moments)
    assert cost(rows, found, scales, second) < 0.7 * cost(rows, round_rows(rows, scales, 7), scales, second)


def test_weights_of_zero_stay_zero_and_inputs_that_are_never_there_do_no_harm():
    rows = np.random.default_rng(4).normal(size=(5, 40))
    rows[:, ::3] = 0
    second = correlated(40)
    second[7] = second[:, 7] = 0
    found = round_rows(rows, fitting_scales(rows, 7), 7, Moments.of(second, rows))
    assert not found[:, ::3].any() and found.any()
    silent = round_rows(rows, fitting_scales(rows, 7), 7, Moments.of(np.zeros((40, 40)), rows))
    assert np.array_equal(silent, round_rows(rows, fitting_scales(rows, 7), 7))


def test_with_few_bits_the_range_does_not_reach_the_outliers():
    rows = np.random.default_rng(5).normal(size=(3, 500))
    rows[:, 0] = 12
    narrow, wide = fitting_scales(rows, 7), fitting_scales(rows, 127)
    assert (narrow < 12 / 7 * 0.95).all() and (wide * 127 >= 12).all()


def test_scales_are_written_with_four_bits_of_mantissa():
    scales = np.random.default_rng(6).lognormal(0, 3, 1000).astype(np.float32)
    for up in (False, True):
        found = written(scales, up)
        assert not (found.view(np.uint32) & ((1 << 19) - 1)).any()
        assert (found / scales < 1.0626).all() and (found / scales > (0.9999999 if up else 0.969)).all()
    assert np.array_equal(written(found), found)


def test_a_row_of_zeros_has_a_scale():
    scales = fitting_scales(np.zeros((2, 9)), 7)
    assert np.isfinite(scales).all() and (scales > 0).all()
