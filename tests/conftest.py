"""Fixtures for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_MODELS = REPOSITORY.parent / "shared" / "models"


@pytest.fixture
def shared_models() -> Path:
    """The folder of real networks beside the repository; extra checks on real files skip without it."""
    if not SHARED_MODELS.is_dir():
        pytest.skip("no real networks beside this clone (../shared/models)")
    return SHARED_MODELS
