"""The first inputs of benchmarks/fuzz.py: whatever the file holds, validate and convert answer with a code."""

from __future__ import annotations

import os
import sys
import time

import pytest

from tests.conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "benchmarks"))
from fuzz import LONGEST, inputs, outcome, read_and_validated

COUNT = int(os.environ.get("FUZZ_CONVERT", "150"))
"""Inputs of each part: 450 go through convert; of other formats 2,400 through the readers (tests/sources)."""
READ = 500
"""Inputs of each part that are only read and validated: 1,000 in all."""


@pytest.mark.parametrize("part", range(3))
def test_no_input_ends_in_a_bug_or_takes_long(tmp_path, part):
    for number, content in enumerate(inputs(part + 1, COUNT)):
        started = time.monotonic()
        verdict, code = outcome(content, tmp_path)
        assert verdict and code and code != "not-handled", number
        assert time.monotonic() - started < LONGEST, number


@pytest.mark.parametrize("part", range(2))
def test_no_input_breaks_reading_or_validating(tmp_path, part):
    for number, content in enumerate(inputs(part + 11, READ)):
        verdict, code = read_and_validated(content, tmp_path)
        assert verdict and code and code != "not-handled", number
