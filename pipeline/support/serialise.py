"""The report as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def render_json(report: Mapping[str, Any]) -> bytes:
    """UTF-8 JSON with two spaces of indent, keys in the order in which the report was made, LF at the end."""
    return (json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode()
