"""Render a benchmark report (`pipeline bench`) as text and as an HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.report.charts import bars, number


def render_html(report: Mapping[str, Any]) -> bytes:
    """The report as one HTML file with tables and charts."""
    from pipeline.report.page import render

    return render("bench", r=report, measured=measured_bars(report), unity=unity_bars(report))


def measured_bars(report: Mapping[str, Any]) -> str:
    """A bar chart (SVG) of medians with their spread per picture size, marked with the prediction."""
    groups, marks = {}, {}
    for size in report["sizes"]:
        groups[size] = {
            m["label"]: tuple(m["sizes"][size]["measured"][key] for key in ("minimum", "median", "p95"))
            for m in report["models"]
        }
        if report["threads"] == 1:
            marks[size] = {m["label"]: m["sizes"][size]["predicted"]["here"] for m in report["models"]}
    return bars(groups, "milliseconds for a picture, measured and predicted", "ms", marks)


def unity_bars(report: Mapping[str, Any]) -> str:
    """A bar chart (SVG) of times measured in Unity, per model, worker and size; "" where there are none."""
    groups: dict[str, dict[str, float | tuple[float, float, float]]] = {}
    for model in report["models"]:
        for size, workers in model.get("unity", {}).items():
            for worker, times in workers.items():
                middle = times["median"]
                low, high = (times.get(key) or middle for key in ("minimum", "p95"))
                groups.setdefault(f"{size}, {worker}", {})[model["label"]] = (low, middle, high)
    return bars(groups, "milliseconds for a picture, measured in Unity", "ms") if groups else ""


def render_text(report: Mapping[str, Any]) -> Iterator[str]:
    """The report as lines of a table, one row per model and size."""
    width = max([5, *(len(m["label"]) for m in report["models"])])
    heads = ("weights", "KB", "GMAC", "wrote MB", "alive MB", "min ms", "median", "p95", "cpu", "predicted")
    devices = [d["name"] for d in report["devices"] if d["name"] != "here"]
    for size in report["sizes"]:
        yield f"{size:<{width}} " + " ".join(f"{head:>9}" for head in (*heads, *devices))
        for model in report["models"]:
            facts = model["sizes"][size]
            times = facts["measured"]
            cells = [
                f"{model['weights']:,}",
                number(model["bytes"] / 1000),
                f"{facts['giga_macs']:.2f}",
                number(facts["written_megabytes"]),
                number(facts["peak_megabytes"]),
                *(number(times[key]) for key in ("minimum", "median", "p95", "cpu")),
                number(facts["predicted"]["here"]),
                *(number(facts["predicted"][name]) for name in devices),
            ]
            yield f"{model['label']:<{width}} " + " ".join(f"{cell:>9}" for cell in cells)
        yield ""
    yield from _measured_on_gpu(report, width)
    yield from _measured_in_unity(report, width)


def _measured_on_gpu(report: Mapping[str, Any], width: int) -> Iterator[str]:
    """One row per model and size that was timed on this machine's GPU."""
    rows = [
        (model["label"], size, model["sizes"][size]["gpu"])
        for model in report["models"]
        for size in report["sizes"]
        if model["sizes"][size].get("gpu")
    ]
    if not rows:
        return
    width = max(width, len("on the GPU"))
    yield f"{'on the GPU':<{width}} {'size':>9} {'min ms':>9} {'median':>9}"
    for label, size, timing in rows:
        if "left_out_seconds" in timing:
            seconds = timing["left_out_seconds"]
            yield f"{label:<{width}} {size:>9} left out: one run would take about {seconds:.0f} s"
            continue
        times = f"{number(timing['minimum']):>9} {number(timing['median']):>9}"
        yield f"{label:<{width}} {size:>9} {times}  {timing['device']}"
    yield ""


def _measured_in_unity(report: Mapping[str, Any], width: int) -> Iterator[str]:
    """One row per model, size and worker in an imported table of the benchmark scene."""
    rows = [
        (model["label"], size, worker, measurement)
        for model in report["models"]
        for size, workers in model.get("unity", {}).items()
        for worker, measurement in workers.items()
    ]
    if not rows:
        return
    longest = max(len(worker) for _, _, worker, _ in rows)
    yield f"{'in Unity':<{width}} {'size':>9}  {'worker':<{longest}} {'median':>9} {'p95':>9}"
    for label, size, worker, measurement in rows:
        times = f"{number(measurement['median']):>9} {number(measurement.get('p95', measurement['median'])):>9}"
        yield f"{label:<{width}} {size:>9}  {worker:<{longest}} {times}  {measurement.get('device', '')}".rstrip()
    yield ""
