"""Parse JSON and TOML from untrusted files: every fault of the text is a ValueError."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_LARGEST = 1 << 20
_DOTS = 1000
"""Most dots in a line of TOML: tomllib needs quadratic time for a dotted key."""


def from_json(text: str | bytes) -> Any:
    """Parse a JSON text. Raises ValueError for invalid or too deeply nested JSON."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def toml_file(path: Path) -> dict[str, Any]:
    """Parse a TOML file of at most 1 MiB. Raises FileNotFoundError, and ValueError for every other fault."""
    if not path.exists():
        raise FileNotFoundError(path)
    if not path.is_file():
        raise ValueError("it is not a regular file")
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise ValueError(error.strerror or "it cannot be read") from None
    if len(data) > _LARGEST:
        raise ValueError("it is larger than 1 MiB")
    return from_toml(data.decode("utf-8"))


def from_toml(text: str) -> dict[str, Any]:
    """Parse a TOML text. Raises ValueError for invalid or too deeply nested TOML."""
    import tomllib

    lines = text.splitlines()
    if any(line.count(".") > _DOTS and not line.lstrip().startswith("#") for line in lines):
        raise ValueError(f"a line in it has more than {_DOTS} dots")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
