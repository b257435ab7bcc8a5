"""Changes one member of an object in the text of a JSON file, and leaves every other byte as it is."""

from __future__ import annotations

import json
from json.decoder import JSONDecoder


def exchange(text: str, package: str, version: str) -> str:
    """The JSON text with another value for the member `package` of `dependencies`; nothing else changes."""
    keys = dict(_members(text, text.index("{")))
    opening = text.index("{", _skip(text, _end_of_string(text, keys["dependencies"])) + 1)
    name = dict(_members(text, opening))[package]
    value = _skip(text, _skip(text, _end_of_string(text, name)) + 1)
    return f"{text[:value]}{json.dumps(version)}{text[_end_of_value(text, name) :]}"


def insert(text: str, package: str, version: str) -> str:
    """The JSON text with one more member in `dependencies`: before the first name that sorts after it."""
    start = text.index("{")
    keys = dict(_members(text, start))
    if "dependencies" not in keys:
        return insert(_into_object(text, start, None, '"dependencies": {}'), package, version)
    entry = f"{json.dumps(package)}: {json.dumps(version)}"
    opening = text.index("{", _skip(text, _end_of_string(text, keys["dependencies"])) + 1)
    later = [position for name, position in _members(text, opening) if name > package]
    return _into_object(text, opening, later[0] if later else None, entry)


def insert_testable(text: str, package: str) -> str:
    """The JSON text with one more package in `testables`, the list of packages whose tests Unity shows."""
    start = text.index("{")
    keys = dict(_members(text, start))
    if "testables" not in keys:
        return _into_object(text, start, None, f'"testables": [{json.dumps(package)}]')
    opening = _skip(text, _skip(text, _end_of_string(text, keys["testables"])) + 1)
    empty = text[_skip(text, opening + 1)] == "]"
    return f"{text[: opening + 1]}{json.dumps(package)}{'' if empty else ', '}{text[opening + 1 :]}"


def _into_object(text: str, opening: int, before: int | None, entry: str) -> str:
    """Inserts a member before the one at `before`, else as the last of the object at `opening`."""
    members = list(_members(text, opening))
    if before is not None:
        gap = _gap(text, max(text.rfind(",", opening, before), opening), before)
        return f"{text[:before]}{entry},{gap}{text[before:]}"
    if members:
        last = _end_of_value(text, members[-1][1])
        return f"{text[:last]},{_gap(text, opening)}{entry}{text[last:]}"
    line = text[text.rfind("\n", 0, opening) + 1 : opening]
    indent = line[: len(line) - len(line.lstrip())]
    newline = "\r\n" if "\r\n" in text else "\n"
    closing = text.index("}", opening)
    return f"{text[: opening + 1]}{newline}{indent}  {entry}{newline}{indent}{text[closing:]}"


def _gap(text: str, after: int, until: int | None = None) -> str:
    """The white space that follows the character at `after`: how this file separates members."""
    return text[after + 1 : _skip(text, after + 1) if until is None else until]


def _members(text: str, opening: int) -> list[tuple[str, int]]:
    """Names and their positions in the object whose brace is at `opening`, in well-formed JSON."""
    found = []
    position = _skip(text, opening + 1)
    while text[position] != "}":
        found.append((json.loads(text[position : _end_of_string(text, position)]), position))
        position = _skip(text, _end_of_value(text, position))
        if text[position] == ",":
            position = _skip(text, position + 1)
    return found


def _end_of_value(text: str, key: int) -> int:
    colon = _skip(text, _end_of_string(text, key))
    return JSONDecoder().raw_decode(text, _skip(text, colon + 1))[1]


def _end_of_string(text: str, quote: int) -> int:
    return JSONDecoder().raw_decode(text, quote)[1]


def _skip(text: str, position: int) -> int:
    while text[position] in " \t\r\n":
        position += 1
    return position
