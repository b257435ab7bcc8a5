"""Limits of memory and time: what their errors propose is enough."""

from __future__ import annotations

import pytest

from pipeline.support import limits


@pytest.mark.parametrize(
    ("needed", "limit", "variable"),
    [
        ("more than the limit", 4 << 30, "16G"),
        ("13.4 GiB (Expand k)", 4 << 30, "17G"),
        ("1,144.4 GiB (Expand k)", 4 << 30, "1431G"),
        ("more than the limit", 32 << 30, "128G"),
        ("300 MiB", 100 << 20, "16G"),
    ],
)
def test_the_limit_that_is_proposed_is_enough(needed, limit, variable):
    assert limits.too_much_memory("running it", needed, limit).error.remedy.endswith(f"={variable}.")


def test_the_time_that_is_proposed_is_longer_than_the_limit():
    assert limits.too_much_time("running it", 30).error.remedy.endswith("=3600.")
    assert limits.too_much_time("running it", 7200).error.remedy.endswith("=28800.")
