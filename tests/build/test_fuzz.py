"""The first inputs of benchmarks/fuzz.py: whatever the file holds, validate and convert answer with a code."""

from __future__ import annotations

import os
import sys
import time

import pytest

from tests.conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "benchmarks"))
from fuzz import LONGEST, inputs, outcome

COUNT = int(os.environ.get("FUZZ_CONVERT", "150"))
"""Inputs of each part: of all tests together 450 go through convert, 2,400 through the readers."""


@pytest.mark.parametrize("part", range(3))
def test_no_input_ends_in_a_bug_or_takes_long(tmp_path, part):
    for number, content in enumerate(inputs(part + 1, COUNT)):
        started = time.monotonic()
        verdict, code = outcome(content, tmp_path)
        assert verdict and code and code != "not-handled", number
        assert time.monotonic() - started < LONGEST, number
