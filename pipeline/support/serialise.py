"""Serialise the report as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.support.plain_text import dump_json


def render_json(report: Mapping[str, Any]) -> bytes:
    """UTF-8 JSON, indented by two spaces, with keys in the report's order and LF at the end."""
    return (dump_json(report) + "\n").encode()
