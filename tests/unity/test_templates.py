from __future__ import annotations

import struct

import jinja2
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.unity.templates import fill, yaml_float, yaml_string


@pytest.mark.parametrize("text", ["Mosaic", "fast-neural-style", "Starry Night", "barracuda-3.0", "a/b.pth"])
def test_a_harmless_string_is_plain(text: str) -> None:
    assert yaml_string(text) == text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Caf\u00e9", r'"Caf\xE9"'),
        ("\u65e5\u672c", r'"\u65E5\u672C"'),
        ("\U0001f600", r'"\U0001F600"'),
        ('say "hi"', r'"say \"hi\""'),
        ("C:\\models", r'"C:\\models"'),
        ("two\nlines", r'"two\nlines"'),
        ("a: b", '"a: b"'),
        ("no # comment", '"no # comment"'),
        ("0123", '"0123"'),
        ("true", '"true"'),
        ("", ""),
    ],
)
def test_a_string_that_yaml_would_take_for_something_else_is_quoted(text: str, written: str) -> None:
    assert yaml_string(text) == written


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_string_comes_back_as_it_was_from_one_line_of_ascii(text: str) -> None:
    written = yaml_string(text)
    assert written.isascii() and written.isprintable()
    assert (yaml.safe_load(f"key: {written}")["key"] or "") == text


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1.0, "1"),
        (0.5, "0.5"),
        (1e-5, "1e-05"),
        (50, "50"),
        (1e10, "1e+10"),
        (42.125, "42.125"),
        (0.0, "0"),
        (-2, "-2"),
    ],
)
def test_a_float_is_written_as_unity_writes_it(value: float, written: str) -> None:
    assert yaml_float(value) == written


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_any_float_reads_back_as_the_same_float32(value: float) -> None:
    assert struct.pack("<f", float(yaml_float(value))) == struct.pack("<f", value)


def test_what_is_not_a_number_has_no_text() -> None:
    with pytest.raises(ValueError, match="finite"):
        yaml_float(float("nan"))


def test_a_template_with_a_missing_value_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        fill("yaml/texture.meta.j2", guid="0" * 32)
