"""Render self-contained HTML pages from this folder's templates."""

from __future__ import annotations

import base64
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2


def render(template: str, **facts: Any) -> bytes:
    """Render `<template>.html.j2` of this folder as UTF-8; deterministic."""
    from pipeline.report.charts import palette

    page = _environment().get_template(f"{template}.html.j2").render(palette=palette(), **facts)
    return page.encode("utf-8", "backslashreplace")


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
    """A data URL with the bytes of a PNG or JPEG file."""
    kind = "jpeg" if picture.startswith(b"\xff\xd8") else "png"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
