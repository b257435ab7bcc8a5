"""Packs the weights of a plan as small integers; the engine unpacks the file when it loads.

Weights are rounded like those of an ONNX file (`pipeline.compress`), with error compensation; `auto` measures how
much error each layer tolerates. The emulation computes with the unpacked weights, so it measures exactly the loss
that players see.
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
"""Storage formats that are the same for all weights, smallest first."""
_CONSEQUENCE = (
    "This saves space in the download, on disk and in the repository. It saves neither time nor memory, because "
    "the weights are unpacked to float32 once, when the style is loaded."
)


def plan_of(data: bytes) -> Plan:
    """Parse a plan file, packed or not. Raises PipelineError `damaged-plan` or `damaged-packed-file`."""
    return file.parse(unpack(data).model if is_packed(data) else data)


def pack_plan(data: bytes, request: Packing) -> tuple[bytes, dict[str, Any]]:
    """Pack a plan file as requested; returns the packed file and the facts for the report.

    Raises PipelineError `quality-not-reached` if `auto` cannot reach the requested PSNR.
    """
    from pipeline.compress.choose import by_effect, worst
    from pipeline.compress.job import stored
    from pipeline.compress.lean import UNUSED_METADATA
    from pipeline.compress.weights import replaced

    plan, options = file.parse(data), request.options
    float_bytes = len(data)
    plan.metadata = {key: text for key, text in plan.metadata.items() if key not in UNUSED_METADATA}
    data = file.write(plan)
    running = Running(plan, request)
    weights = _weights(plan, running, request)

    def encoded(fillings: Sequence[Filling]) -> tuple[bytes, dict[str, float]]:
        return _packed(data, fillings), running.psnr(replaced(weights, fillings))

    if options.weights == "auto":
        fillings = by_effect(running, weights, options.min_psnr, lambda _: None)
    else:
        fillings = stored(weights, options.weights)
    packed, measured = encoded(fillings)
    unpacked = unpack(packed)
    facts: dict[str, Any] = {
        "weights": options.weights,
        "bytes": len(packed),
        "plan_bytes": unpacked.template_bytes,
        "float_bytes": float_bytes,
        "psnr": _reported_psnr(worst(measured)),
        "measured": {name: _reported_psnr(value) for name, value in measured.items()},
        "calibration": [path.name for path in options.calibrate] or "drawn pictures",
        "own_integers": sum(weight.given is not None for weight in weights),
        "tensors": _tensors(plan, weights, unpacked.fillings, unpacked.bits),
        "consequence": _CONSEQUENCE,
    }
    if options.weights == "auto":
        facts["min_psnr"] = options.min_psnr
    if options.table:
        rows = {kind: encoded(stored(weights, kind)) for kind in KINDS if kind != options.weights}
        facts["table"] = [
            {"weights": kind, "bytes": len(way), "psnr": _reported_psnr(worst(psnr))}
            for kind, (way, psnr) in rows.items()
        ]
    return packed, facts


def _weights(plan: Plan, running: Running, request: Packing) -> list[Weight]:
    """The weights of a plan that can be rounded, in the order of its file."""
    from pipeline.compress.holes import Hole
    from pipeline.compress.known import known
    from pipeline.compress.weights import Weight

    conv_sites = sites(plan)
    quantised_sources = list(request.given)
    moments = running.moments(conv_sites) if request.options.weights != "half" or request.options.table else {}
    weights = []
    for number, ((offset, _), weight) in enumerate(zip(file.holes(plan), plan.weights, strict=True)):
        if not np.isfinite(weight.data).all():
            continue
        hole = Hole(name_of(number), weight.data.shape, offset)
        own = known(weight.data, hole.name, quantised_sources) if number in conv_sites else None
        parts = 1 if number in conv_sites else weight.data.shape[0]
        weights.append(Weight(hole, weight.data, conv_sites.get(number), moments.get(number), own, parts))
    return weights


def _packed(data: bytes, fillings: Sequence[Filling]) -> bytes:
    rounded = bytearray(data)
    for filling in fillings:
        real = filling.real().astype("<f4").tobytes()
        rounded[filling.offset : filling.offset + len(real)] = real
    return pack(bytes(rounded), fillings)


def _tensors(
    plan: Plan, weights: Sequence[Weight], fillings: Sequence[Filling], bits: Sequence[int]
) -> list[dict[str, Any]]:
    """How each weight is stored, with its bytes in the packed file, for the report."""
    named = {weight.hole.offset: weight for weight in weights}
    used = {
        f"{d.int_constants['WEIGHTS_AT']}": d.title for d in plan.dispatches if "WEIGHTS_AT" in d.int_constants
    }
    offsets = {name_of(number): weight.offset for number, weight in enumerate(plan.weights)}
    tensors = []
    for filling, count in zip(fillings, bits, strict=True):
        weight = named[filling.offset]
        most = int(np.abs(filling.integers).max(initial=0))
        tensors.append(
            {
                "name": weight.name,
                "of": used.get(str(offsets[weight.name]), ""),
                "shape": list(weight.hole.shape),
                "kind": "half" if filling.kind == HALVES else "integers",
                "bits": 16 if filling.kind == HALVES else math.ceil(math.log2(2 * most + 1)),
                "scales": int(filling.scales.size),
                "bytes": round(count / 8),
            }
        )
    return tensors


def _reported_psnr(psnr: float) -> float | None:
    from pipeline.verify.compare import FLOAT_NOISE

    return None if psnr > FLOAT_NOISE else round(psnr, 1)
