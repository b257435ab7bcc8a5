"""The report as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.support.plain_text import dump_json


def render_json(report: Mapping[str, Any]) -> bytes:
    """UTF-8 JSON with two spaces of indent, keys in the order in which the report was made, LF at the end."""
    return (dump_json(report) + "\n").encode()
