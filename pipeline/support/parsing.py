"""JSON and TOML from files that anybody may have written: whatever is wrong with the text is a ValueError."""

from __future__ import annotations

import json
from typing import Any


def from_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError for what is not JSON, and for what is nested too deep."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def from_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text. Raises ValueError for what is not TOML, and for what is nested too deep."""
    import tomllib

    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
