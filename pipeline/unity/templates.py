"""Fills the templates in `unity_templates`, and writes values the way UnityYAML reads them."""

from __future__ import annotations

import functools
import math
import re
from ctypes import c_float
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.support.resources import resource

if TYPE_CHECKING:
    import jinja2


@functools.cache
def templates_folder() -> Path:
    """The folder `unity_templates` of this installation."""
    return resource("unity_templates")


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_folder()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["yaml_string"] = yaml_string
    environment.filters["yaml_float"] = yaml_float
    return environment


def fill(template: str, /, **values: Any) -> bytes:
    """The template at `unity_templates/<template>`, filled; UTF-8, LF. A missing value is an error."""
    text = _environment().get_template(template).render(**values)
    return text.replace("\r\n", "\n").encode("utf-8")


_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./()-]*( [A-Za-z0-9_./()-]+)*")
_READ_AS_OTHER = re.compile(r"(?i:true|false|yes|no|on|off|null|y|n|nan|inf)")


def yaml_string(value: str) -> str:
    r"""A string as a UnityYAML scalar: plain where that is safe, else double-quoted, always ASCII.

    UnityYAML decodes non-ASCII only inside double quotes, as \xE9, \u65E5 or \U0001F600 (formats.md, 3.1).
    The empty string is nothing after the colon.
    """
    if not value:
        return ""
    if _PLAIN.fullmatch(value) and not _READ_AS_OTHER.fullmatch(value):
        return value
    out = []
    for char in value:
        code = ord(char)
        if char in '"\\':
            out.append("\\" + char)
        elif char in "\n\t\r":
            out.append({"\n": "\\n", "\t": "\\t", "\r": "\\r"}[char])
        elif 0x20 <= code < 0x7F:
            out.append(char)
        elif code <= 0xFF:
            out.append(f"\\x{code:02X}")
        else:
            out.append(f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}")
    return '"' + "".join(out) + '"'


def yaml_float(value: float) -> str:
    """A number as Unity writes a C# float: the shortest decimal that reads back as the same float32."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    rounded = c_float(value).value
    texts = (f"{value:.{digits}g}" for digits in range(1, 10))
    shortest = next(text for text in texts if c_float(float(text)).value == rounded)
    return format(Decimal(shortest), "f") if 1e-4 <= abs(value) < 1e7 else shortest
