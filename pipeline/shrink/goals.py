"""Parses goals such as `60 fps at 720x540 on desktop`, `50 KB`, `20k weights`, `5 GMAC`, `50%`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.cost.model import SIZES, at_size, class_for, device
from pipeline.graph.statistics import held_weights
from pipeline.support.errors import PipelineError
from pipeline.support.size import LARGEST, SMALLEST, Size

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.cost.model import Layer
    from pipeline.targets import Target

_GOAL = re.compile(
    r"\s*(?P<number>\d[\d,]*\.?\d*|\.\d+)\s*(?P<scale>[km](?!i?b|s\b|mac))?\s*"
    r"(?P<unit>%|fps|ms|(?:[km]i?)?b|bytes|weights?|parameters?|gmacs?|mmacs?)"
    r"(?:\s+of\s+(?P<of>weights|gmac|ms|bytes))?(?:\s+at\s+(?P<width>\d+)\s*[x×]\s*(?P<height>\d+))?"
    r"(?:\s+on\s+(?:an?\s+|the\s+)?(?P<device>[\w-]+))?\s*",
    re.IGNORECASE,
)
EXAMPLES = "'60 fps at 720x540', '16 ms at 1280x720 on desktop', '50 KB', '20k weights', '5 GMAC', '50%'"
USUAL = "desktop"
"""The device class of goals that name none."""
_BYTES = {"b": 1, "bytes": 1, "kb": 1000, "kib": 1024, "mb": 1000**2, "mib": 1024**2}
_SCALE = {None: 1, "k": 1000, "m": 1000**2}


@dataclass(frozen=True)
class Goal:
    """At most `limit` of `kind`: weights, bytes, macs or milliseconds; `part` is set for a share of the original.

    Bytes are those of the ONNX file in Unity; macs and milliseconds are of one picture of `size`;
    milliseconds are predicted for the device class `device`.
    """

    text: str
    kind: str
    limit: float
    size: Size = SIZES[0]
    device: str = USUAL
    part: bool = False

    def value(self, graph: gs.Graph, file_bytes: int | None = None) -> float:
        """The value of this kind for a graph. `file_bytes` is the size of its file, if it is already known."""
        if self.kind == "bytes":
            from pipeline.graph import to_model

            return float(file_bytes or to_model(graph).ByteSize())
        if self.kind == "weights":
            return float(sum(weight.size for weight in held_weights(graph)))
        return self.of_layers(at_size(graph, self.size))

    def of_layers(self, found: list[Layer]) -> float:
        """The multiply-adds or milliseconds of layers at the goal's size."""
        if self.kind == "macs":
            return float(sum(layer.macs for layer in found))
        return device(self.device).milliseconds(found)

    def for_original(self, original: float) -> float:
        """The limit in the unit of the kind, given the original network's value."""
        return original * self.limit if self.part else self.limit

    def describe(self, value: float) -> str:
        """A value of this kind as text, with its unit."""
        match self.kind:
            case "weights":
                return f"{value:,.0f} weights"
            case "bytes":
                return f"{value / 1000:,.1f} KB"
            case "macs":
                return f"{value * 1e-9:.2f} GMAC at {self.size}"
            case _:
                return f"{value:.1f} ms at {self.size} on {self.device}"


def parse(text: str, default_device: str = USUAL, target: Target | None = None) -> Goal:
    """Parse a goal; device classes have the names of the family of `target`.

    Raises PipelineError `bad-goal`, `unknown-device`.
    """
    match = _GOAL.fullmatch(text)
    if match is None:
        raise _bad(text, "it is not a number with fps, ms, KB, weights, GMAC or %")
    number = float(match["number"].replace(",", "")) * _SCALE[(match["scale"] or "").lower() or None]
    unit = match["unit"].lower()
    if number <= 0:
        raise _bad(text, "it must be more than zero")
    size = Size(int(match["width"]), int(match["height"])) if match["width"] else SIZES[0]
    if not all(SMALLEST <= side <= LARGEST for side in size.hw):
        raise _bad(text, f"a picture has {SMALLEST} to {LARGEST} pixels on each side")
    on = (match["device"] or default_device).lower()
    on = on if target is None else class_for(on, target)
    device(on)
    if match["of"] and unit != "%":
        raise _bad(text, "only a percentage can be followed by 'of'")
    if unit == "%":
        if number > 100:
            raise _bad(text, "a goal of more than 100% would not be smaller")
        kind = {"gmac": "macs", "ms": "milliseconds"}.get(match["of"] or "weights", match["of"] or "weights")
        return Goal(text, kind, number / 100, size, on, part=True)
    if unit == "fps":
        return Goal(text, "milliseconds", 1000 / number, size, on)
    if unit == "ms":
        return Goal(text, "milliseconds", number, size, on)
    if unit in _BYTES:
        return Goal(text, "bytes", number * _BYTES[unit], size, on)
    if unit.startswith(("weight", "parameter")):
        return Goal(text, "weights", number, size, on)
    return Goal(text, "macs", number * (1e9 if unit.startswith("g") else 1e6), size, on)


def _bad(text: str, reason: str) -> PipelineError:
    return PipelineError(
        "bad-goal", f"{text!r} is not a goal: {reason}", subject="--goal", remedy=f"Examples: {EXAMPLES}."
    )
