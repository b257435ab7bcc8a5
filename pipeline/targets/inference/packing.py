"""Packed weights for this family: a `.sentis` file whose convolutions keep their weights as bytes, or as float16.

The package's ModelQuantizer gives a tensor one scale, rounds to the nearest step, and rounds biases too. Here
every output channel has its own scale, rounding passes errors on (`compress.rounding`), and what is not a weight
of a convolution or product stays float32: the same bytes, less error. What is packed is expanded at every run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    import onnx

    from pipeline.compress.bundling import Packing
    from pipeline.compress.packed import Filling
    from pipeline.compress.running import Running
    from pipeline.compress.weights import Weight
    from pipeline.targets.inference.sentis.layers import Packed

_WAYS = ("int8", "half")
"""Ways to store weights in a `.sentis` file, smallest first."""
KINDS = ("half", "int8", "auto")
"""Values of --weights that this family supports."""


_CONSEQUENCE = (
    "This saves space in the download, on disk, in the repository and in memory. It does not make the network "
    "faster: the weights are expanded to float32 at every run, which costs little compared with the convolutions. "
    "The worker GPUPixel cannot expand them: on devices without compute shaders use the CPU worker, or float "
    "weights."
)


def pack(model: bytes, packing: Packing) -> tuple[bytes, dict[str, Any]]:
    """The `.sentis` file of an ONNX model in this family's dialect with packed weights, and facts for the report.

    `auto` takes the smaller of int8, half and float32 that keeps the PSNR. Integers that the source came with are
    kept where they fit into a byte. Raises PipelineError `bad-weights` for another kind, `no-sentis-layer` for
    operators that are not written, and what running the model raises.
    """
    import onnx

    from pipeline.compress.calibrate import moments as measure
    from pipeline.compress.choose import worst
    from pipeline.compress.holes import find_holes, with_raw_data
    from pipeline.compress.running import Running
    from pipeline.compress.sites import find_sites
    from pipeline.compress.weights import collect
    from pipeline.targets.inference.sentis.format import encode
    from pipeline.targets.inference.sentis.layers import program_of

    options = packing.options
    check_kind(options.weights)
    proto = onnx.load_from_string(model)
    plain = encode(program_of(proto))
    running = Running(
        proto, packing.contract, options.calibrate, options.picture, packing.style, packing.is_predictor
    )
    sites = find_sites(running.model)
    moments = measure(running.model, sites, running.weights, running.calibration)
    data = with_raw_data(proto)
    collected = collect(data, find_holes(data), sites, [], moments, list(packing.given), {})
    weights = [w for w in collected if w.site is not None and w.name not in running.of_style]
    ways = {}
    for way in _WAYS if options.table or options.weights == "auto" else (options.weights,):
        try:
            ways[way] = _stored(proto, weights, way, running)
        except PipelineError:
            if way == options.weights:
                raise
    ways["float"] = plain, {name: math.inf for name in running.measured}
    chosen = options.weights
    if chosen == "auto":
        chosen = next(way for way, (_, found) in ways.items() if worst(found) >= options.min_psnr)
    content, found = ways[chosen]
    facts: dict[str, Any] = {
        "weights": chosen,
        "bytes": len(content),
        "float_bytes": len(plain),
        "psnr": _finite(worst(found)),
        "measured": {name: _finite(value) for name, value in found.items()},
        "calibration": [path.name for path in options.calibrate] or "drawn pictures",
        "own_integers": sum(weight.given is not None for weight in weights),
        "tensors": [{"name": weight.name, "shape": list(weight.hole.shape), "kind": chosen} for weight in weights],
        "consequence": _CONSEQUENCE,
    }
    if options.weights == "auto":
        facts["min_psnr"] = options.min_psnr
    if options.table:
        facts["table"] = [
            {"weights": way, "bytes": len(data), "psnr": _finite(worst(found))}
            for way, (data, found) in ways.items()
            if way not in (chosen, "float")
        ]
    return content, facts


def _stored(
    proto: onnx.ModelProto, weights: Sequence[Weight], way: str, running: Running
) -> tuple[bytes, dict[str, float]]:
    """The file with weights stored in one way, and its PSNR in dB for each measured picture."""
    from pipeline.compress.weights import replaced
    from pipeline.targets.inference.sentis.format import encode
    from pipeline.targets.inference.sentis.layers import program_of

    fillings = [_filling(weight, way) for weight in weights]
    packed = {w.name: _packed(w, f) for w, f in zip(weights, fillings, strict=True)} if way == "int8" else {}
    halves = frozenset(w.name for w in weights) if way == "half" else frozenset()
    return encode(program_of(proto, packed, halves)), running.psnr(replaced(weights, fillings))


def check_kind(kind: str) -> None:
    """Raise PipelineError `bad-weights` for a kind of weights that these files do not support."""
    if kind not in KINDS:
        raise PipelineError(
            "bad-weights",
            f"the package's files store weights as float32, float16 or bytes, not as {kind}",
            subject="--weights",
            remedy=f"Use one of {', '.join(KINDS)}, or float.",
        )


def _filling(weight: Weight, kind: str) -> Filling:
    if kind == "half":
        half = weight.half()
        if half is None:
            raise PipelineError(
                "bad-weights",
                f"{weight.name} has a value that is too large for float16",
                subject="--weights",
                remedy="Use --weights int8 or float.",
            )
        return half
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


def _finite(psnr: float) -> float | None:
    from pipeline.verify.compare import FLOAT_NOISE

    return None if psnr > FLOAT_NOISE else round(psnr, 1)
