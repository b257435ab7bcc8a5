"""JSON and TOML from files that anybody may have written: whatever is wrong with the text is a ValueError."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_LARGEST = 1 << 20
_DOTS = 1000
"""In a line of TOML: a dotted key takes tomllib a time that grows with the square of its parts."""


def from_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError for what is not JSON, and for what is nested too deep."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def toml_file(path: Path) -> dict[str, Any]:
    """The tables of a TOML file of at most 1 MiB. Raises FileNotFoundError, and ValueError for everything else."""
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
    """The tables of a TOML text. Raises ValueError for what is not TOML, and for what is nested too deep."""
    import tomllib

    lines = text.splitlines()
    if any(line.count(".") > _DOTS and not line.lstrip().startswith("#") for line in lines):
        raise ValueError(f"a line in it has more than {_DOTS} dots")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
