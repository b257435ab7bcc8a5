"""HTML pages that are one file and need nothing beside it: the shared frame, its colours, and pictures inside."""

from __future__ import annotations

import base64
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2


def render(template: str, **facts: Any) -> bytes:
    """A page of this folder's `<template>.html.j2`, UTF-8; the same facts give the same bytes."""
    from pipeline.report.charts import palette

    made = _environment().get_template(f"{template}.html.j2").render(palette=palette(), **facts)
    return made.encode("utf-8", "backslashreplace")


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2

    from pipeline.report.charts import number

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"number": number, "count": lambda value: f"{value:,}"}
    return environment


def data_url(picture: bytes) -> str:
    """The bytes of a PNG or JPEG file as an address that holds them."""
    kind = "jpeg" if picture.startswith(b"\xff\xd8") else "png"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
