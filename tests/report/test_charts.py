"""Charts are well-formed SVG whose geometry is that of their numbers."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pytest

from pipeline.report.charts import _tick, _ticks, bars, number, scatter, standalone

SVG = "{http://www.w3.org/2000/svg}"


def test_bars_are_as_long_as_their_values() -> None:
    drawn = ET.fromstring(bars({"a": {"x": 10.0, "y & z": (10.0, 20.0, 40.0)}}, "title", "ms"))
    widths = [float(rect.get("width")) for rect in drawn.iter(f"{SVG}rect")]
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.01)
    reported = [text.text for text in drawn.iter(f"{SVG}text")]
    assert "y & z" in reported and "10.0 ms" in reported and "20.0 ms" in reported


def test_a_mark_stands_at_its_value() -> None:
    drawn = bars({"a": {"x": 10.0}}, "t", marks={"a": {"x": 20.0}})
    (bar,) = ET.fromstring(drawn).iter(f"{SVG}rect")
    (mark,) = [p for p in ET.fromstring(drawn).iter(f"{SVG}path") if p.get("stroke-dasharray")]
    at = float(re.match(r"M([\d.]+)", mark.get("d"))[1])
    assert at - float(bar.get("x")) == pytest.approx(2 * float(bar.get("width")), rel=0.01)


def test_points_on_the_diagonal_lie_on_it() -> None:
    drawn = ET.fromstring(scatter([(1, 1, "s"), (100, 100, "s"), (10, 10, "t")], "l", "x", "y", diagonal=True))
    places = [(float(c.get("cx")), float(c.get("cy"))) for c in drawn.iter(f"{SVG}circle")][:3]
    (x0, y0), (x1, y1), (x2, y2) = places
    assert x2 == pytest.approx((x0 + x1) / 2, abs=0.2) and y2 == pytest.approx((y0 + y1) / 2, abs=0.2)
    assert x1 > x0 and y1 < y0


def test_a_file_of_its_own_has_its_colours_for_light_and_dark() -> None:
    text = standalone(bars({"a": {"x": 1.0}}, "t"))
    ET.fromstring(text)
    assert "prefers-color-scheme:dark" in text and "--c0" in text


@pytest.mark.parametrize(("value", "expected"), [(1543.2, "1,543"), (60.23, "60.2"), (0.123, "0.12")])
def test_numbers_have_three_figures(value: float, expected: str) -> None:
    assert number(value) == expected


@pytest.mark.parametrize(("low", "high"), [(6.2, 6.9), (1.0, 2.9), (0.3, 0.4), (9, 11), (3, 4000)])
def test_every_range_has_ticks_and_not_too_many(low, high):
    ticks = _ticks(math.log10(low), math.log10(high))
    assert 2 <= len(ticks) <= 10
    assert all(low <= tick <= high for tick in ticks)
    assert len({_tick(tick) for tick in ticks}) == len(ticks)
