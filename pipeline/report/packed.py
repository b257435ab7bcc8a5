"""Report on packed weights: sentences, a table, and a plot of size against PSNR."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

REBUILDING, IMPORTING = 0.13, 0.4
"""Seconds per million weights: to rebuild them (in mono), and for the inference package to import them (.NET
Core 3.1), on one core of a server (docs/compression.md)."""

_WIDTH, _HEIGHT = 560, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 70, 20, 50
_PSNR_STEP = 10


def sentences(facts: Mapping[str, Any], weights: int) -> list[str]:
    """Sentences on size, quality, and the effect on loading time."""
    kept = f", required {facts['min_psnr']:g}" if "min_psnr" in facts else ""
    near = (
        f"On the worst of {len(facts['measured'])} pictures that were not used for rounding, the PSNR relative to "
        f"the float network is {_db(facts['psnr'])} (peak 255{kept})."
        if facts["measured"]
        else "The quality was not measured."
    )
    own = facts["own_integers"]
    kinds = (
        f"{own} tensors were already integers and keep them and their scales: nothing is rounded twice."
        if own
        else f"Rounded with {_calibration(facts['calibration'])}."
    )
    return [
        f"The weights are stored as {facts['weights']}: {facts['bytes']:,} bytes are loaded by Unity, instead of "
        f"{facts['float_bytes']:,} as floats; the source file has {facts['source_bytes']:,}.",
        f"{near} {kinds}",
        facts.get("consequence")
        or "This saves bytes: in the download, on disk, in the repository. It does not make the "
        "network faster: when the model is "
        "loaded its weights become float32 again, and Unity computes with those. Loading takes longer: about "
        f"{weights / 1e6 * REBUILDING:.1g} s to rebuild the model, on another thread, and about "
        f"{weights / 1e6 * IMPORTING:.1g} s for the inference package to import it, on the game's own (measured "
        "on a server).",
    ]


def _calibration(calibration: Any) -> str:
    return calibration if isinstance(calibration, str) else ", ".join(calibration)


def rows(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The table of ways to store the weights, with bytes and PSNR, largest first; `chosen` marks the bundle's."""
    chosen = {"weights": facts["weights"], "bytes": facts["bytes"], "psnr": facts["psnr"], "chosen": True}
    floats = {"weights": "float", "bytes": facts["float_bytes"], "psnr": None, "chosen": False}
    others = [{**row, "chosen": False} for row in facts.get("table", ())]
    found = sorted([floats, chosen, *others], key=lambda row: -row["bytes"])
    return [{**row, "quality": _db(row["psnr"]), "share": row["bytes"] / facts["float_bytes"]} for row in found]


def markdown(facts: Mapping[str, Any], weights: int) -> list[str]:
    """The section of the Markdown report."""
    lines = ["## File size", ""]
    for sentence in sentences(facts, weights):
        lines += [sentence, ""]
    lines += ["| weights | bytes | relative to float | PSNR |", "|---|---:|---:|---:|"]
    for row in rows(facts):
        mark = "**" if row["chosen"] else ""
        lines.append(
            f"| {mark}{row['weights']}{mark} | {row['bytes']:,} | {100 * row['share']:.0f} % | {row['quality']} |"
        )
    return [*lines, ""]


def plot(facts: Mapping[str, Any]) -> str:
    """A plot (SVG) of size (logarithmic) against PSNR; "" where fewer than two points are measured."""
    points = [row for row in rows(facts) if row["psnr"] is not None]
    if len(points) < 2:
        return ""
    low, high = min(p["bytes"] for p in points), max(p["bytes"] for p in points)
    bottom = _PSNR_STEP * math.floor(min(p["psnr"] for p in points) / _PSNR_STEP)
    top = _PSNR_STEP * math.ceil(max(p["psnr"] for p in points) / _PSNR_STEP)

    def x(size: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * math.log(size / low) / (math.log(high / low) or 1)

    def y(psnr: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (psnr - bottom) / (top - bottom)

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img" '
        'aria-label="Size against PSNR" font-family="system-ui, sans-serif" font-size="12">'
    ]
    for level in range(bottom, top + 1, _PSNR_STEP):
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(level):.1f}" y2="{y(level):.1f}" '
            'stroke="var(--line)"/>'
            f'<text x="{_LEFT - 8}" y="{y(level) + 4:.1f}" text-anchor="end" fill="var(--quiet)">{level} dB</text>'
        )
    fixed = sorted((p for p in points if not p["chosen"]), key=lambda p: p["bytes"])
    line = " ".join(f"{x(p['bytes']):.1f},{y(p['psnr']):.1f}" for p in fixed)
    parts.append(f'<polyline points="{line}" fill="none" stroke="var(--quiet)"/>')
    for point in points:
        colour = "var(--c1)" if point["chosen"] else "var(--quiet)"
        place = f'cx="{x(point["bytes"]):.1f}" cy="{y(point["psnr"]):.1f}"'
        parts.append(f'<circle {place} r="{5 if point["chosen"] else 3}" fill="{colour}"/>')
        below = 18 if point["chosen"] else -9
        parts.append(
            f'<text x="{x(point["bytes"]):.1f}" y="{y(point["psnr"]) + below:.1f}" fill="{colour}">'
            f"{point['weights']} {_short(point['bytes'])}</text>"
        )
    parts.append(
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 10}" text-anchor="middle" '
        'fill="var(--quiet)">bytes that Unity loads (logarithmic scale)</text></svg>'
    )
    return "".join(parts)


def _short(size: int) -> str:
    return f"{size / 1e6:.2f} MB" if size >= 1e6 else f"{size / 1e3:.1f} KB"


def _db(psnr: float | None) -> str:
    return "the same picture" if psnr is None else f"{psnr:.1f} dB"
