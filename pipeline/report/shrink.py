"""The report of `pipeline shrink`: the front as text, and as a page with pictures side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.report.bench import measured_bars
from pipeline.report.charts import number, scatter


def render_html(report: Mapping[str, Any], pictures: Mapping[str, bytes]) -> bytes:
    """The page, with the pictures (PNG bytes by label) inside."""
    from pipeline.report.page import data_url, render

    tried = [model for model in report["models"] if model["what"] in ("teacher", "student", "pruned")]
    return render(
        "shrink",
        r=report,
        tried=tried,
        nothing=[model for model in report["models"] if model not in tried],
        bought=list(bought_nothing(report)),
        measured=measured_bars({**report, "models": tried}),
        front=front_chart(report, tried),
        pictures=[(name, data_url(content)) for name, content in pictures.items()],
    )


def front_chart(report: Mapping[str, Any], tried: list[dict[str, Any]]) -> str:
    """Predicted cost against texture distance; the teacher's distance of zero is drawn at the axis."""
    size = report["sizes"][0]
    device = report["goal"]["device"]
    points = [
        (m["sizes"][size]["predicted"][device], max(m["quality"]["texture"], 0.01), m["label"]) for m in tried
    ]
    title = f"predicted ms at {size} on {device}"
    return scatter(points, "best trade-offs", title, "texture distance from the teacher", named=True)


def bought_nothing(report: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each thing that is not a smaller network: what it was measured to buy."""
    teacher = report["models"][0]
    size = report["sizes"][0]
    base = teacher["sizes"][size]["measured"]["cpu"]
    for model in report["models"]:
        if model["what"] in ("teacher", "student", "pruned"):
            continue
        now = model["sizes"][size]["measured"]["cpu"]
        yield (
            f"{model['label']}: {now:.0f} ms of processor time instead of {base:.0f} at {size}, "
            f"{model['quality']['psnr']:.1f} dB from the teacher; {model['what']}"
        )


def render_text(report: Mapping[str, Any]) -> Iterator[str]:
    """The best trade-offs as a table, then what did not help."""
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
        held, seen = model["sizes"][first], model["quality"]
        cells = [
            f"{model['weights']:,}",
            number(model["bytes"] / 1000),
            f"{held['giga_macs']:.2f}",
            number(held["written_megabytes"]),
            f"{seen['psnr']:.1f}",
            f"{seen['ssim']:.3f}",
            f"{seen['detail']:.2f}",
            f"{seen['texture']:.2f}",
            f"{model['flicker']:.2f}",
        ]
        measured = " ".join(f"{number(model['sizes'][size]['measured']['cpu']):>12}" for size in report["sizes"])
        mark = "*" if model["label"] in report["front"] else " "
        predicted = number(held["predicted"][device])
        row = " ".join(f"{cell:>8}" for cell in cells)
        yield f"{model['label']:<{width}}{mark}{row} {predicted:>9} {measured}"
    yield ""
    yield from bought_nothing(report)
