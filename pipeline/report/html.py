"""Render the build report as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.report import packed
from pipeline.report.charts import bars
from pipeline.report.markdown import (
    arranged_sentences,
    built_for,
    further_sentences,
    look,
    plan_size,
    silence,
    sizes,
    styles,
)
from pipeline.report.page import data_url, render


def render_html(report: Mapping[str, Any], pictures: Mapping[str, bytes]) -> bytes:
    """The report as UTF-8 HTML with embedded pictures (PNG bytes by caption); deterministic."""
    return render(
        "report",
        r=report,
        built_for=built_for(report["target"]),
        plan_size=plan_size,
        arranged=arranged_sentences(report.get("arranged")),
        further=further_sentences(report),
        packed=packed.sentences(report["packed"], report["model"]["weights"]) if "packed" in report else [],
        packed_rows=packed.rows(report["packed"]) if "packed" in report else [],
        packed_plot=packed.plot(report["packed"]) if "packed" in report else "",
        silence=silence(report["findings"]),
        sizes=sizes(report["model"]),
        look=look(report),
        styles=styles(report),
        operators=sorted({*report["before"]["operators"], *report["model"]["operators"]}),
        pictures=[(caption, data_url(content)) for caption, content in pictures.items()],
        predicted=_bars(report["cost"]),
    )


def _bars(cost: Mapping[str, Any]) -> str:
    """A bar chart (SVG) of predicted milliseconds per device class and size."""
    titles = {device["name"]: device["title"] for device in cost["devices"]}
    groups = {
        title: {size: facts["predicted"][name] for size, facts in cost["sizes"].items()}
        for name, title in titles.items()
        if name != "here"
    }
    return bars(groups, "predicted milliseconds for a picture", "ms")
