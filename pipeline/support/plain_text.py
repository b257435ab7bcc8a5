"""The one way by which text reaches a terminal, a log or a report: it cannot break out of its line there.

Operator names, tensor names, producers, file names and the messages of libraries come from files that anybody may
have made. A line break in them would start a line of its own (`::error ...` is a command to GitHub Actions), an
ESC would command the terminal, a bidirectional override would show something other than what is there.

`plain` makes text harmless. `Console` and `validate` print only lines, each through `line`; colours are put in by
`styled` with a mark that no file can know, and become escape sequences in `line`.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

LONGEST = 2000
"""Characters of one text that are shown; of longer ones the middle is left out."""
_MARK = f"\x1b<{secrets.token_hex(8)}>"
_STYLE = re.compile(re.escape(_MARK) + r"([0-9;]*m)")
_COMMAND = re.compile(r"^(\s*)(::|##)")
_INNER_COMMAND = re.compile(r"##(?=\w*\[)")
"""Azure DevOps (##vso[...]) and TeamCity (##teamcity[...]) look for commands within lines too."""


def plain(text: object, limit: int = LONGEST) -> str:
    """`text` as one line of printable characters; all others become escapes (\\x1b, \\n).

    At most `limit` characters of the text are shown; of a longer one the middle is left out.
    """
    told = str(text)
    if len(told) > limit:
        told = f"{told[: limit // 2]}...{told[len(told) - limit // 2 + 3 :]}"
    return told if told.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in told)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def styled(text: object, **style: Any) -> str:
    """Text in a colour or weight (`fg`, `bold`, `dim`, as click.style has them); the text itself is made plain."""
    import click

    return click.style(plain(text), **style).replace("\x1b[", _MARK)


def line(text: str, *, colour: bool = False, commands: bool = False) -> str:
    """One line as it may be printed, without its end: plain, but for the styles that `styled` put in.

    What looks like a command to a CI system is broken by a space. With `commands` it may be a workflow command of
    GitHub, which its maker has escaped.
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
    """Lines, each kept to one and made plain but for its styles, as one text of as many lines."""
    return "\n".join(
        "".join(f"{_MARK}{part}" if at % 2 else plain(part) for at, part in enumerate(_STYLE.split(held)))
        for held in lines
    )


def unstyled(text: str) -> str:
    """Text without the styles that `styled` put in."""
    return _STYLE.sub("", text)


def cleaned(value: Any) -> Any:
    """Data with all its texts made plain, keys included: what reports are rendered from."""
    if isinstance(value, str):
        return plain(value, 10 * LONGEST)
    if isinstance(value, Mapping):
        return {plain(key, LONGEST) if isinstance(key, str) else key: cleaned(held) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [cleaned(held) for held in value]
    return value


def dump_json(value: Any) -> str:
    """Data as JSON of the same meaning, with every character escaped that is not printable; no line end."""
    told = json.dumps(value, indent=2, ensure_ascii=False).replace("##", "#\\u0023")  # no CI system's command
    if told.replace("\n", "").isprintable():
        return told
    return "".join(c if c.isprintable() or c == "\n" else _json_escape(c) for c in told)


def _json_escape(character: str) -> str:
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    return f"\\u{0xD800 + (code - 0x10000 >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def plural(count: int, noun: str) -> str:
    """`1 error`, `7 errors`, `1,200 nodes`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
