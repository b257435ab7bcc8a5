"""Small SVG charts, drawn without a library: horizontal bars and scatter plots.

Colours are CSS variables (`--ink`, `--quiet`, `--line`, `--c0` ...), so that a page's light or dark theme applies
to its charts; `standalone` wraps a chart for a file of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

SERIES = 6
"""The number of colours; further series repeat them."""
_STYLE = (
    ":root{--ink:#1c2128;--quiet:#59636e;--line:#d8dee4;--paper:#fff;--c0:#0969da;--c1:#bc4c00;--c2:#1a7f37;"
    "--c3:#8250df;--c4:#bf3989;--c5:#9a6700}"
    "@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--quiet:#9198a1;--line:#3d444d;--paper:#0d1117;"
    "--c0:#4493f8;--c1:#f0883e;--c2:#3fb950;--c3:#ab7df8;--c4:#db61a2;--c5:#d29922}}"
)


def palette() -> str:
    """The CSS variables for a page that shows charts."""
    return _STYLE


def standalone(svg: str) -> str:
    """A chart as a complete SVG file, with its colours and a background."""
    head, _, rest = svg.partition(">")
    return f'{head}><style>{_STYLE}</style><rect width="100%" height="100%" fill="var(--paper)"/>{rest}\n'


def _text(x: float, y: float, words: str, anchor: str = "start", quiet: bool = False, size: int = 12) -> str:
    fill = "quiet" if quiet else "ink"
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="var(--{fill})">'
        f"{escape(words)}</text>"
    )


def _open(width: int, height: float, label: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" role="img" '
        f'aria-label="{escape(label)}" font-family="system-ui, sans-serif">'
    )


def number(value: float) -> str:
    """A number with about three significant digits: 1,543 or 60.2 or 0.12."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def bars(
    groups: Mapping[str, Mapping[str, float | tuple[float, float, float]]],
    label: str,
    unit: str = "",
    marks: Mapping[str, Mapping[str, float]] | None = None,
) -> str:
    """A chart of horizontal bars: one per name in each group, whose key is its title.

    A value of three numbers is (low, middle, high): the bar ends at the middle, with a whisker from low to high.
    `marks` has a second number for some bars, drawn as a dashed line (a prediction beside a measurement).
    """
    names = list(dict.fromkeys(name for entries in groups.values() for name in entries))
    wide, left, row = 720, 190, 20
    marks = marks or {}
    values = [max(v) if isinstance(v, tuple) else v for entries in groups.values() for v in entries.values()]
    values += [v for entries in marks.values() for v in entries.values()]
    largest = max([*values, 1e-9])
    scale = (wide - left - 90) / largest
    parts, y = [], 6.0
    for title, entries in groups.items():
        parts.append(_text(0, y + 13, title, quiet=True))
        y += row
        for name, value in entries.items():
            low, middle, high = value if isinstance(value, tuple) else (value, value, value)
            colour = f"var(--c{names.index(name) % SERIES})"
            parts.append(_text(left - 8, y + 13, _short(name), "end"))
            parts.append(
                f'<rect x="{left}" y="{y + 3:.1f}" width="{max(middle * scale, 1):.1f}" height="{row - 7}" rx="2" '
                f'fill="{colour}"/>'
            )
            if high > low:
                parts.append(_whisker(left + low * scale, left + high * scale, y + row / 2 - 0.5))
            mark = marks.get(title, {}).get(name)
            if mark is not None:
                x = left + mark * scale
                parts.append(
                    f'<path d="M{x:.1f} {y:.1f}v{row - 1}" stroke="var(--ink)" stroke-width="2" '
                    'stroke-dasharray="3 2"/>'
                )
            end = left + max(high, mark or 0) * scale
            parts.append(_text(end + 6, y + 13, f"{number(middle)} {unit}".strip(), quiet=True, size=11))
            y += row
        y += 8
    return _open(wide, y, label) + "".join(parts) + "</svg>"


def _whisker(start: float, end: float, y: float) -> str:
    return (
        f'<path d="M{start:.1f} {y - 3:.1f}v6M{start:.1f} {y:.1f}H{end:.1f}M{end:.1f} {y - 3:.1f}v6" '
        'stroke="var(--ink)" fill="none"/>'
    )


def _short(name: str, most: int = 26) -> str:
    return name if len(name) <= most else f"{name[: most - 2]}.."


def scatter(
    points: Sequence[tuple[float, float, str]],
    label: str,
    x_title: str,
    y_title: str,
    diagonal: bool = False,
    named: bool = False,
) -> str:
    """A scatter plot of points (x, y, series) with two logarithmic axes; x and y are positive.

    With `diagonal`, both axes have the same scale, and the lines x = y and 20 % to either side are drawn. With
    `named`, every point is labelled with its series; otherwise a legend explains the colours.
    """
    wide, high, left, bottom = 640, 420, 62, 46
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    if diagonal:
        xs = ys = xs + ys
    x_low, x_high = _decades(xs)
    y_low, y_high = _decades(ys)

    def at(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - x_low) / (x_high - x_low)
        up = (math.log10(y) - y_low) / (y_high - y_low)
        return left + across * (wide - left - 16), high - bottom - up * (high - bottom - 14)

    parts = []
    for tick in _ticks(x_low, x_high):
        x, _ = at(tick, 10**y_low)
        parts.append(f'<path d="M{x:.1f} 14V{high - bottom}" stroke="var(--line)"/>')
        parts.append(_text(x, high - bottom + 16, _tick(tick), "middle", True, 11))
    for tick in _ticks(y_low, y_high):
        _, y = at(10**x_low, tick)
        parts.append(f'<path d="M{left} {y:.1f}H{wide - 16}" stroke="var(--line)"/>')
        parts.append(_text(left - 6, y + 4, _tick(tick), "end", True, 11))
    if diagonal:
        for factor, dash in ((1.0, ""), (1.2, "3 4"), (1 / 1.2, "3 4")):
            start = max(10**x_low, 10**y_low / factor)
            end = min(10**x_high, 10**y_high / factor)
            (x1, y1), (x2, y2) = at(start, start * factor), at(end, end * factor)
            parts.append(
                f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="var(--quiet)" stroke-dasharray="{dash}"/>'
            )
    series = list(dict.fromkeys(p[2] for p in points))
    for x_value, y_value, name in points:
        x, y = at(x_value, y_value)
        colour = f"var(--c{series.index(name) % SERIES})"
        tip = escape(f"{name}: {number(x_value)}, {number(y_value)}")
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"><title>{tip}</title></circle>')
        if named:
            end = x > wide - 150
            parts.append(_text(x - 8 if end else x + 8, y - 6, _short(name), "end" if end else "start", size=11))
    for index, name in enumerate([] if named else series):
        y = 30 + 17 * index
        parts.append(f'<circle cx="{left + 14}" cy="{y - 4}" r="4.5" fill="var(--c{index % SERIES})"/>')
        parts.append(_text(left + 24, y, _short(name, 40)))
    parts.append(_text((wide + left) / 2, high - 8, x_title, "middle", True))
    side = _text(0, 0, y_title, "middle", True)
    parts.append(f'<g transform="translate(14 {(high - bottom) / 2:.0f}) rotate(-90)">{side}</g>')
    return _open(wide, high, label) + "".join(parts) + "</svg>"


def _tick(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"


def _decades(values: Sequence[float]) -> tuple[float, float]:
    low, high = math.log10(min(values)), math.log10(max(values))
    room = max((high - low) * 0.06, 0.05)
    return low - room, high + room


def _ticks(low: float, high: float) -> list[float]:
    inside: list[float] = []
    for steps in ((1, 2, 5), range(1, 10), [tenth / 10 for tenth in range(10, 100)]):
        every = [float(f"{step}e{e}") for e in range(math.floor(low), math.ceil(high) + 1) for step in steps]
        inside = [tick for tick in every if low <= math.log10(tick) <= high]
        if len(inside) >= 3:
            break
    if len(inside) > 9 and high - low < 1:
        inside = inside[:: math.ceil(len(inside) / 9)]
    whole = [tick for tick in inside if math.log10(tick) == round(math.log10(tick))]
    return inside if len(inside) <= 9 or len(whole) < 2 else whole
