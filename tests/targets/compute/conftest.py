"""Small networks are measured with small pictures, which show the same in less time."""

from __future__ import annotations

import pytest

from pipeline.compress import calibrate, running
from pipeline.support.size import Size


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    monkeypatch.setattr(running, "SIZES", (Size(64, 64),))
    monkeypatch.setattr(running, "WIDE", Size(128, 96))
    monkeypatch.setattr(calibrate, "PICTURES", 2)
