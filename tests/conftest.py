"""Fixtures for all tests."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_MODELS = REPOSITORY.parent / "shared" / "models"

gc.set_threshold(50_000, 20, 20)
"""The tests make many small graphs: Python's default pace of collecting garbage is a tenth of their time."""


def pytest_collection_finish() -> None:
    """What was imported and collected stays until the end: the collector need not look at it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def shared_models() -> Path:
    """The folder of real networks beside the repository; extra checks on real files skip without it."""
    if not SHARED_MODELS.is_dir():
        pytest.skip("no real networks beside this clone (../shared/models)")
    return SHARED_MODELS
