"""Make text safe to print on a terminal, in a log or in a report.

Operator names, tensor names, producers, file names and libraries' messages come from untrusted files. A line break
in them could start a CI command (`::error ...` for GitHub Actions), an ESC could control the terminal, and a
bidirectional override could hide the real text.

`plain` escapes such characters. `Console` and `validate` print only single lines, each through `line`. `styled`
marks colours with a random token that no file can know; `line` turns these marks into escape sequences.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

LONGEST = 2000
"""Most characters of one text that are shown; the middle of a longer text is left out."""
_MARK = f"\x1b<{os.urandom(8).hex()}>"
_STYLE = re.compile(re.escape(_MARK) + r"([0-9;]*m)")
_COMMAND = re.compile(r"^(\s*)(::|##)")
_INNER_COMMAND = re.compile(r"##(?=\w*\[)")
"""Azure DevOps (##vso[...]) and TeamCity (##teamcity[...]) also find commands in the middle of a line."""


def plain(text: object, limit: int = LONGEST) -> str:
    """`text` as one line of printable characters; all others become escapes (\\x1b, \\n).

    The middle of a text of more than `limit` characters is left out.
    """
    shown = str(text)
    if len(shown) > limit:
        shown = f"{shown[: limit // 2]}...{shown[len(shown) - limit // 2 + 3 :]}"
    return shown if shown.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in shown)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def styled(text: object, **style: Any) -> str:
    """`text` made plain, in a colour or weight (`fg`, `bold`, `dim` of click.style)."""
    import click

    return click.style(plain(text), **style).replace("\x1b[", _MARK)


def line(text: str, *, colour: bool = False, commands: bool = False) -> str:
    """One printable line, without line end: plain text, except for the styles of `styled`.

    A space breaks everything that a CI system would take as a command. With `commands`, the line may be a GitHub
    workflow command, whose parts the caller has escaped.
    """
    parts = [part if at % 2 else plain(part) for at, part in enumerate(_STYLE.split(text))]
    if not commands:
        parts[::2] = [_INNER_COMMAND.sub("# #", part) for part in parts[::2]]
        first = next((at for at in range(0, len(parts), 2) if parts[at].strip()), 0)
        parts[first] = _COMMAND.sub(_broken, parts[first])
    return "".join((f"\x1b[{part}" if colour else "") if at % 2 else part for at, part in enumerate(parts))


def _broken(command: re.Match[str]) -> str:
    return f"{command[1]}{' '.join(command[2])}"


def joined(lines: Iterable[str]) -> str:
    """Join lines with line breaks; each is made plain first, except for its styles."""
    return "\n".join(
        "".join(f"{_MARK}{part}" if at % 2 else plain(part) for at, part in enumerate(_STYLE.split(text)))
        for text in lines
    )


def unstyled(text: str) -> str:
    """Text without the styles of `styled`."""
    return _STYLE.sub("", text)


def cleaned(value: Any) -> Any:
    """Data with all texts made plain, including keys; reports are rendered from it."""
    if isinstance(value, str):
        return plain(value, 10 * LONGEST)
    if isinstance(value, Mapping):
        return {plain(key, LONGEST) if isinstance(key, str) else key: cleaned(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [cleaned(item) for item in value]
    return value


def dump_json(value: Any) -> str:
    """Data as JSON with every non-printable character escaped; no line end."""
    import json

    encoded = json.dumps(value, indent=2, ensure_ascii=False).replace("##", "#\\u0023")  # no CI system's command
    if encoded.replace("\n", "").isprintable():
        return encoded
    return "".join(c if c.isprintable() or c == "\n" else _json_escape(c) for c in encoded)


def _json_escape(character: str) -> str:
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    return f"\\u{0xD800 + (code - 0x10000 >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def plural(count: int, noun: str) -> str:
    """`1 error`, `7 errors`, `1,200 nodes`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
