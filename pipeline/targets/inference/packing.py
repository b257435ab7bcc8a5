"""Packed weights for this family: a `.sentis` file whose convolutions keep their weights as bytes, or as float16.

The package's ModelQuantizer gives a tensor one scale, rounds to the nearest step, and rounds biases too. Here
every output channel has its own scale, rounding passes errors on (`compress.rounding`), and what is not a weight
of a convolution or product stays float32: the same bytes, less error. What is packed is expanded at every run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    from pipeline.compress.packed import Filling
    from pipeline.compress.weights import Weight
    from pipeline.contract import ImageContract
    from pipeline.integers import QuantizedTensor
    from pipeline.targets.inference.sentis.layers import Packed

KINDS = ("half", "int8", "auto")
"""Ways to store weights in a `.sentis` file."""


@dataclass(frozen=True)
class SentisFile:
    """The bytes of the file, and the facts about it as plain data."""

    data: bytes
    facts: dict[str, Any]


def _quiet(_: str) -> None:
    pass


def pack(
    model: bytes,
    kind: str,
    *,
    contract: ImageContract | None = None,
    min_psnr: float = 40.0,
    calibrate: Sequence[Path] = (),
    picture: Path | None = None,
    given: Sequence[QuantizedTensor] = (),
    progress: Callable[[str], None] = _quiet,
) -> SentisFile:
    """A `.sentis` file of an ONNX model in this family's dialect, its weights stored as `kind` says.

    `auto` takes the smaller of int8, half and float32 that keeps `min_psnr`. `given` are integers that the source
    came with; they are kept where they fit into a byte. Raises PipelineError `bad-weights` for another kind,
    `no-sentis-layer` for operators that are not written, and what running the model raises.
    """
    import onnx

    from pipeline.compress.calibrate import moments as measure
    from pipeline.compress.choose import worst
    from pipeline.compress.holes import find_holes, with_raw_data
    from pipeline.compress.running import Running
    from pipeline.compress.sites import find_sites
    from pipeline.compress.weights import collect, replaced
    from pipeline.targets.inference.sentis.format import encode
    from pipeline.targets.inference.sentis.layers import program_of

    check_kind(kind)
    proto = onnx.load_from_string(model)
    program_of(proto)
    running = Running(proto, contract, calibrate, picture)
    sites = find_sites(running.model)
    progress("rounding with what the layers see")
    moments = measure(running.model, sites, running.weights, running.calibration)
    data = with_raw_data(proto)
    holes = find_holes(data)
    weights = [held for held in collect(data, holes, sites, [], moments, list(given), {}) if held.site is not None]
    found: dict[str, tuple[bytes, float]] = {}
    for way in ("int8", "half") if kind == "auto" else (kind,):
        fillings = [_filling(weight, way) for weight in weights]
        psnr = worst(running.psnr(replaced(weights, fillings)))
        packed = {w.name: _packed(w, f) for w, f in zip(weights, fillings, strict=True)} if way == "int8" else {}
        halves = frozenset(w.name for w in weights) if way == "half" else frozenset()
        found[way] = encode(program_of(proto, packed, halves)), psnr
    chosen = next((way for way, (_, psnr) in found.items() if kind != "auto" or psnr >= min_psnr), "float")
    if chosen == "float":
        found["float"] = encode(program_of(proto)), float("inf")
    content, psnr = found[chosen]
    facts: dict[str, Any] = {
        "weights": chosen,
        "format": "sentis",
        "bytes": len(content),
        "float_bytes": len(encode(program_of(proto))),
        "psnr": _told(psnr),
        "tensors": len(weights),
        "own_integers": sum(weight.given is not None for weight in weights),
        "calibration": [path.name for path in calibrate] or "drawn pictures",
    }
    return SentisFile(content, facts)


def check_kind(kind: str) -> None:
    """Raise PipelineError `bad-weights` for a kind that these files do not hold."""
    if kind not in KINDS:
        raise PipelineError(
            "bad-weights",
            f"the package's files hold weights as float32, float16 or bytes, not as {kind}",
            subject="--weights",
            remedy=f"Use one of {', '.join(KINDS)}, or float.",
        )


def _filling(weight: Weight, kind: str) -> Filling:
    if kind == "half":
        held = weight.half()
        if held is None:
            raise PipelineError(
                "bad-weights",
                f"a number of {weight.name} is too large for float16",
                subject="--weights",
                remedy="Use --weights int8 or float.",
            )
        return held
    if weight.given is not None:
        own = weight.own()
        if int(own.integers.max(initial=0)) - int(own.integers.min(initial=0)) < 256:
            return own
    return weight.in_bits(8)


def _packed(weight: Weight, filling: Filling) -> Packed:
    """Integers as bytes above a zero point, with their scales along an axis."""
    from pipeline.targets.inference.sentis.layers import Packed

    shape = weight.hole.shape
    integers = filling.integers.reshape(shape)
    low = int(min(integers.min(initial=0), 0))
    zero = 128 if low >= -128 and integers.max(initial=0) <= 127 else -low
    scales, axis = filling.scales, 0
    for place, size in enumerate(shape):
        if size == scales.size and int(np.prod(shape[place + 1 :])) == filling.inner:
            axis = place
    return Packed(integers + zero, zero, scales, axis)


def _told(psnr: float) -> float | None:
    from pipeline.verify.compare import FLOAT_NOISE

    return None if psnr > FLOAT_NOISE else round(psnr, 1)
