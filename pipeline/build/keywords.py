"""The keywords of the functions that Python calls, for editors and type checkers.

Made by `python -m pipeline.build.pages` from pipeline/build/options.py: change that, not this.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from pipeline.support.size import Size


class ReadKeywords(TypedDict, total=False):
    """How a model file is read."""

    architecture: str | None
    prefix: str | None
    input_range: str | None
    output_range: str | None
    channel_order: str | None
    input_channels: str | None
    take: str | None
    bind: Sequence[str]
    mask: str | None


class ConvertKeywords(ReadKeywords, total=False):
    """Options of `pipeline convert`."""

    target: str
    size: Size | str
    style_input: str | None
    tolerance: float
    picture: str | Path | None
    guides: str | Path | None
    original: str | Path | None
    skip: Sequence[str]
    check: bool
    precision: str
    device: str | None
    use_cache: bool
    force: bool
    dry_run: bool


class BuildKeywords(ConvertKeywords, total=False):
    """Options of `pipeline build-unity`."""

    name: str | None
    strength: float
    keep_colors: float
    weights: str
    min_psnr: float
    calibrate: Sequence[str | Path]
    output: str | Path | None
    project: str | Path | None
    preview: str | Path | None
    project_version: str | None
    package: bool
    switch_package: bool
