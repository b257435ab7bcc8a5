"""Render the report of `pipeline shrink`: the trade-offs as text, and as an HTML page with pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.report.bench import measured_bars
from pipeline.report.charts import number, scatter


def render_html(report: Mapping[str, Any], pictures: Mapping[str, bytes]) -> bytes:
    """The report as an HTML page with embedded pictures (PNG bytes by label)."""
    from pipeline.report.page import data_url, render

    tried = [model for model in report["models"] if model["what"] in ("teacher", "student", "pruned")]
    return render(
        "shrink",
        r=report,
        tried=tried,
        nothing=[model for model in report["models"] if model not in tried],
        bought=list(comparison_lines(report)),
        measured=measured_bars({**report, "models": tried}),
        front=front_chart(report, tried),
        pictures=[(name, data_url(content)) for name, content in pictures.items()],
    )


def front_chart(report: Mapping[str, Any], tried: list[dict[str, Any]]) -> str:
    """A scatter plot (SVG) of predicted cost against texture distance; the teacher's zero is drawn at the axis."""
    size = report["sizes"][0]
    device = report["goal"]["device"]
    points = [
        (m["sizes"][size]["predicted"][device], max(m["quality"]["texture"], 0.01), m["label"]) for m in tried
    ]
    title = f"predicted ms at {size} on {device}"
    return scatter(points, "best trade-offs", title, "texture distance from the teacher", named=True)


def comparison_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """One sentence per comparison that is not a smaller network (masks, 8-bit weights): its measured effect."""
    teacher = report["models"][0]
    size = report["sizes"][0]
    base = teacher["sizes"][size]["measured"]["cpu"]
    for model in report["models"]:
        if model["what"] in ("teacher", "student", "pruned"):
            continue
        cpu = model["sizes"][size]["measured"]["cpu"]
        yield (
            f"{model['label']}: {cpu:.0f} ms of processor time instead of {base:.0f} at {size}, "
            f"{model['quality']['psnr']:.1f} dB from the teacher; {model['what']}"
        )


def render_text(report: Mapping[str, Any]) -> Iterator[str]:
    """The trade-offs as a table, then the comparisons that did not help."""
    width = max([7, *(len(m["label"]) for m in report["models"])])
    heads = ("weights", "KB", "GMAC", "wrote MB", "PSNR", "SSIM", "detail", "texture", "flicker")
    times = [f"ms {size}" for size in report["sizes"]]
    device = report["goal"]["device"]
    yield (
        f"{'':<{width}} "
        + " ".join(f"{head:>8}" for head in heads)
        + f" {device:>9} "
        + " ".join(f"{head:>12}" for head in times)
    )
    first = report["sizes"][0]
    for model in report["models"]:
        costs, quality = model["sizes"][first], model["quality"]
        cells = [
            f"{model['weights']:,}",
            number(model["bytes"] / 1000),
            f"{costs['giga_macs']:.2f}",
            number(costs["written_megabytes"]),
            f"{quality['psnr']:.1f}",
            f"{quality['ssim']:.3f}",
            f"{quality['detail']:.2f}",
            f"{quality['texture']:.2f}",
            f"{model['flicker']:.2f}",
        ]
        measured = " ".join(f"{number(model['sizes'][size]['measured']['cpu']):>12}" for size in report["sizes"])
        mark = "*" if model["label"] in report["front"] else " "
        predicted = number(costs["predicted"][device])
        row = " ".join(f"{cell:>8}" for cell in cells)
        yield f"{model['label']:<{width}}{mark}{row} {predicted:>9} {measured}"
    yield ""
    yield from comparison_lines(report)
