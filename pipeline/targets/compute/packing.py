"""Plans whose weights are small integers at rest: a packed file, which the engine unpacks when it loads.

Weights are rounded as those of an ONNX file are (`pipeline.compress`): errors are passed on, `auto` measures how
much each layer tolerates. The numbers of a packed plan are computed with as they are unpacked, so the emulation
shows exactly what they cost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.compress.packed import HALVES, Filling, is_packed, pack, unpack
from pipeline.targets.compute import file
from pipeline.targets.compute.calibration import Running, name_of, sites
from pipeline.targets.compute.plan import Plan

if TYPE_CHECKING:
    from pipeline.compress.bundling import Packing
    from pipeline.compress.weights import Weight

KINDS = ("int4", "int5", "int6", "int7", "int8", "half")
"""Ways to store all weights in the same number of bits, smallest first."""
_CONSEQUENCE = (
    "This saves space in the download, on disk and in the repository. It saves neither time nor memory, because "
    "the weights are unpacked to float32 once, when the style is loaded."
)


def plan_of(data: bytes) -> Plan:
    """The plan in a file, packed or not. PipelineError `damaged-plan` or `damaged-packed-file` for others."""
    return file.parse(unpack(data).model if is_packed(data) else data)


def pack_plan(data: bytes, wanted: Packing) -> tuple[bytes, dict[str, Any]]:
    """A plan's file packed as wanted, and the facts for the report.

    Raises PipelineError `quality-not-reached` where `auto` cannot keep what is asked for.
    """
    from pipeline.compress.choose import by_effect, worst
    from pipeline.compress.job import stored
    from pipeline.compress.lean import UNUSED_METADATA
    from pipeline.compress.weights import replaced

    plan, options = file.parse(data), wanted.options
    whole = len(data)
    plan.metadata = {key: text for key, text in plan.metadata.items() if key not in UNUSED_METADATA}
    data = file.write(plan)
    running = Running(plan, wanted)
    weights = _weights(plan, running, wanted)

    def made(fillings: Sequence[Filling]) -> tuple[bytes, dict[str, float]]:
        return _packed(data, fillings), running.psnr(replaced(weights, fillings))

    if options.weights == "auto":
        fillings = by_effect(running, weights, options.min_psnr, lambda _: None)
    else:
        fillings = stored(weights, options.weights)
    packed, found = made(fillings)
    unpacked = unpack(packed)
    facts: dict[str, Any] = {
        "weights": options.weights,
        "bytes": len(packed),
        "plan_bytes": unpacked.template_bytes,
        "float_bytes": whole,
        "psnr": _told(worst(found)),
        "measured": {name: _told(value) for name, value in found.items()},
        "calibration": [path.name for path in options.calibrate] or "drawn pictures",
        "own_integers": sum(weight.given is not None for weight in weights),
        "tensors": _tensors(plan, weights, unpacked.fillings, unpacked.bits),
        "consequence": _CONSEQUENCE,
    }
    if options.weights == "auto":
        facts["min_psnr"] = options.min_psnr
    if options.table:
        rows = {kind: made(stored(weights, kind)) for kind in KINDS if kind != options.weights}
        facts["table"] = [
            {"weights": kind, "bytes": len(way), "psnr": _told(worst(psnr))} for kind, (way, psnr) in rows.items()
        ]
    return packed, facts


def _weights(plan: Plan, running: Running, wanted: Packing) -> list[Weight]:
    """The weights of a plan as what can be rounded, in the order in which they lie in its file."""
    from pipeline.compress.holes import Hole
    from pipeline.compress.known import known
    from pipeline.compress.weights import Weight

    of = sites(plan)
    given = list(wanted.given)
    moments = running.moments(of) if wanted.options.weights != "half" or wanted.options.table else {}
    found = []
    for number, ((offset, _), held) in enumerate(zip(file.holes(plan), plan.weights, strict=True)):
        if not np.isfinite(held.data).all():
            continue
        hole = Hole(name_of(number), held.data.shape, offset)
        own = known(held.data, hole.name, given) if number in of else None
        parts = 1 if number in of else held.data.shape[0]
        found.append(Weight(hole, held.data, of.get(number), moments.get(number), own, parts))
    return found


def _packed(data: bytes, fillings: Sequence[Filling]) -> bytes:
    rounded = bytearray(data)
    for filling in fillings:
        real = filling.real().astype("<f4").tobytes()
        rounded[filling.offset : filling.offset + len(real)] = real
    return pack(bytes(rounded), fillings)


def _tensors(
    plan: Plan, weights: Sequence[Weight], fillings: Sequence[Filling], bits: Sequence[int]
) -> list[dict[str, Any]]:
    """For each weight how it is stored, and the bytes that it takes in the packed file."""
    named = {weight.hole.offset: weight for weight in weights}
    used = {f"{d.fixed['WEIGHTS_AT']}": d.title for d in plan.dispatches if "WEIGHTS_AT" in d.fixed}
    at = {name_of(number): held.at for number, held in enumerate(plan.weights)}
    found = []
    for filling, count in zip(fillings, bits, strict=True):
        weight = named[filling.offset]
        most = int(np.abs(filling.integers).max(initial=0))
        found.append(
            {
                "name": weight.name,
                "of": used.get(str(at[weight.name]), ""),
                "shape": list(weight.hole.shape),
                "kind": "half" if filling.kind == HALVES else "integers",
                "bits": 16 if filling.kind == HALVES else math.ceil(math.log2(2 * most + 1)),
                "scales": int(filling.scales.size),
                "bytes": round(count / 8),
            }
        )
    return found


def _told(psnr: float) -> float | None:
    from pipeline.verify.compare import FLOAT_NOISE

    return None if psnr > FLOAT_NOISE else round(psnr, 1)
