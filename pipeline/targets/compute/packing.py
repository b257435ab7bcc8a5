"""Plans whose weights are small integers at rest: a packed file, which the engine unpacks when it loads.

Every output channel of a convolution has its own scale; what is not a weight of a convolution is float16. The
numbers of a packed plan are computed with as they are unpacked, so the emulation shows exactly what they cost.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.compress.packed import HALVES, STEPS, Filling, is_packed, pack, unpack
from pipeline.targets.compute import emulation, file
from pipeline.targets.compute.plan import Plan, Weight

if TYPE_CHECKING:
    from pipeline.compress.bundling import Packing

KINDS = ("int4", "int5", "int6", "int7", "int8", "half")
"""Ways to store the weights of convolutions, smallest first."""
_MEASURED = (256, 448)
"""Height and width of the picture that is measured with; divisible by 64."""
_CONSEQUENCE = (
    "This saves bytes: in the download, on disk and in the repository. It saves neither time nor memory: weights "
    "are unpacked to float32 once, when the style is loaded."
)


def plan_of(data: bytes) -> Plan:
    """The plan in a file, packed or not. PipelineError `damaged-plan` or `damaged-packed-file` for others."""
    return file.parse(unpack(data).model if is_packed(data) else data)


def pack_plan(data: bytes, wanted: Packing) -> tuple[bytes, dict[str, Any]]:
    """A plan's file packed as wanted, and the facts for the report; `auto` is the smallest that keeps the PSNR."""
    from pipeline.compress.choose import worst

    plan = file.parse(data)
    options = wanted.options
    measure = _Measured(plan, wanted)
    automatic = options.weights == "auto"
    ways, found, chosen = {}, {}, "" if automatic else options.weights
    for kind in KINDS if options.table or automatic else (chosen,):
        ways[kind] = _stored(data, plan, kind)
        found[kind] = measure.psnr(ways[kind])
        if automatic and not chosen and worst(found[kind]) >= options.min_psnr:
            chosen = kind
        if chosen and not options.table:
            break
    chosen = chosen or KINDS[-1]
    packed = ways[chosen]
    facts: dict[str, Any] = {
        "weights": chosen,
        "bytes": len(packed),
        "float_bytes": len(data),
        "psnr": _told(worst(found[chosen])),
        "measured": {name: _told(value) for name, value in found[chosen].items()},
        "calibration": "none: each weight is rounded by itself",
        "own_integers": 0,
        "tensors": [
            {"name": f"weight {number}", "shape": list(held.data.shape), "kind": chosen}
            for number, held in enumerate(plan.weights)
            if held.kind != "rows"
        ],
        "consequence": _CONSEQUENCE,
    }
    if options.weights == "auto":
        facts["min_psnr"] = options.min_psnr
    if options.table:
        facts["table"] = [
            {"weights": kind, "bytes": len(way), "psnr": _told(worst(found[kind]))}
            for kind, way in ways.items()
            if kind != chosen
        ]
    return packed, facts


def _stored(data: bytes, plan: Plan, kind: str) -> bytes:
    """The packed file with every weight of a convolution stored in one way."""
    fillings = [
        held
        for (offset, _), weight in zip(file.holes(plan), plan.weights, strict=True)
        if (held := _filling(weight, offset, kind)) is not None
    ]
    rounded = bytearray(data)
    for filling in fillings:
        real = filling.real().astype("<f4").tobytes()
        rounded[filling.offset : filling.offset + len(real)] = real
    return pack(bytes(rounded), fillings)


def _filling(weight: Weight, offset: int, kind: str) -> Filling | None:
    """None where no float16 holds the numbers: they stay float32."""
    from pipeline.compress.rounding import fitting_scales, round_rows

    if not weight.data.any():
        return Filling(
            offset, STEPS, np.zeros(weight.data.size, np.int64), np.ones(1, np.float32), weight.data.size
        )
    if weight.kind == "rows" or kind == "half":
        return _halves(weight.data, offset)
    rows = weight.data.reshape(weight.data.shape[0], -1).astype(np.float64)
    largest = 2 ** (int(kind.removeprefix("int")) - 1) - 1
    scales = fitting_scales(rows, largest)
    return Filling(offset, STEPS, round_rows(rows, scales, largest).reshape(-1), scales, rows.shape[1])


def _halves(data: np.ndarray, offset: int) -> Filling | None:
    with np.errstate(over="ignore"):
        bits = data.astype(np.float16).reshape(-1).view(np.uint16).astype(np.int64)
    integers = np.where(bits & 0x8000, -(bits & 0x7FFF), bits)
    held = Filling(offset, HALVES, integers, np.zeros(0, np.float32))
    return held if np.abs(integers).max(initial=0) <= held.largest else None


class _Measured:
    """What a plan makes of a photograph, to compare a rounded one with."""

    def __init__(self, plan: Plan, wanted: Packing) -> None:
        from pipeline.verify.pictures import load

        picture = wanted.options.picture
        self._picture = load(picture, *_MEASURED, plan.channels[0])
        self._name = "photograph" if picture is None else picture.name
        self._expected = emulation.runner(plan)(self._picture)

    def psnr(self, packed: bytes) -> dict[str, float]:
        """Decibels against a peak of 255 levels; infinite where equal."""
        made = emulation.runner(plan_of(packed))(self._picture)
        error = float(np.mean((made.astype(np.float64) - self._expected) ** 2))
        return {self._name: math.inf if error == 0 else -10 * math.log10(error)}


def _told(psnr: float) -> float | None:
    from pipeline.verify.compare import FLOAT_NOISE

    return None if psnr > FLOAT_NOISE else round(psnr, 1)
