"""Running the command line inside the test process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def pipeline(capsys, monkeypatch, tmp_path) -> Callable[..., Outcome]:
    """`pipeline("build-unity", path)`: exit code, stdout and stderr; in an empty folder, with its own cache.

    Flicker, which is a third of building a small network, is measured on small frames.
    """
    from pipeline.cli import cli
    from pipeline.cli.console import run
    from pipeline.flicker import measure
    from pipeline.support.size import Size

    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("PIPELINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(measure, "SIZE", Size(96, 64))

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["pipeline", *map(str, arguments)])
        capsys.readouterr()
        code = run(cli)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call
