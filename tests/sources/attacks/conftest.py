"""Fixtures of the tests of hostile archives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sources.attacks import MARK, Members, programs


@pytest.fixture
def whole() -> dict[str, Members]:
    """A copy of `programs`, for a test to change."""
    return {kind: dict(members) for kind, members in programs().items()}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / MARK).exists()
    assert sorted(p.name for p in tmp_path.iterdir()) in (["a.pt"], ["a.pt2"], ["a.pt", "secret"])
