"""How a built style is shown in Unity: the part of a bundle that is not the network's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.build.options import BuildOptions


def of_options(options: BuildOptions) -> dict[str, Any]:
    """`mask`: the network gives a mask, not a picture; `strength` and `keep_colors`: shares, 0 to 1."""
    return {"mask": options.mask is not None, "strength": options.strength, "keep_colors": options.keep_colors}


def of_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """The same from a report, which may be of another version or malformed: invalid values get the defaults."""
    recorded = report.get("look")
    look = recorded if isinstance(recorded, Mapping) else {}
    return {
        "mask": look.get("mask") is True,
        "strength": _share(look.get("strength"), 1.0),
        "keep_colors": _share(look.get("keep_colors"), 0.0),
    }


def _share(value: Any, default: float) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and 0 <= value <= 1 else default
