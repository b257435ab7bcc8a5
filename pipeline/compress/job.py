"""Packs a model's bytes, and measures size and quality."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.compress.holes import find_holes, with_raw_data
from pipeline.compress.kinds import DEFAULT_PSNR, KINDS, check_kind, check_psnr
from pipeline.compress.packed import HALVES, Filling, Unpacked, pack, unpack
from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    from pipeline.compress.weights import Weight
    from pipeline.contract import ImageContract
    from pipeline.graph.integers import QuantizedTensor

TABLE = ("half", "int8", "int7", "int6", "int5", "int4")
"""The other rows in the report's table of size and PSNR."""


@dataclass(frozen=True)
class CompressOptions:
    """How to store weights. `calibrate`: pictures for calibrated rounding; `picture`: one for measuring
    quality."""

    weights: str = "auto"
    min_psnr: float = DEFAULT_PSNR
    calibrate: tuple[Path, ...] = ()
    picture: Path | None = None
    table: bool = False
    """Whether the other kinds are measured too."""

    def __post_init__(self) -> None:
        check_kind(self.weights, KINDS)
        check_psnr(self.min_psnr)


@dataclass(frozen=True)
class Compressed:
    """A packed file and its facts, as plain data without times and paths."""

    packed: bytes
    model: bytes
    """The unpacked model, with rounded weights."""
    facts: dict[str, Any] = field(default_factory=dict)


def _quiet(_: str) -> None:
    pass


def compress(
    model: bytes,
    options: CompressOptions | None = None,
    *,
    contract: ImageContract | None = None,
    given: Iterable[QuantizedTensor] = (),
    subject: str = "",
    style: Sequence[float] = (),
    is_predictor: bool = False,
    progress: Callable[[str], None] = _quiet,
) -> Compressed:
    """Pack an ONNX model (its bytes). Weights that are in `given` keep those integers and scales in every kind.

    `contract` says what the pictures are that the network takes and gives; None is RGB 0..1 in, and out whichever
    range the output fits into. `style` and `is_predictor` are as in `running.Running`. Raises PipelineError where
    the model cannot be run and the kind needs that.
    """
    import onnx

    from pipeline.compress.choose import by_effect, worst
    from pipeline.compress.lean import make_lean
    from pipeline.compress.sites import find_sites, find_vectors
    from pipeline.compress.weights import collect, replaced

    options = options or CompressOptions()
    proto = onnx.load_from_string(model)
    was = make_lean(proto)
    model = with_raw_data(proto)
    holes = find_holes(model)
    if options.weights == "half":
        sites, vectors, moments, running = find_sites(proto), find_vectors(proto), {}, None
        try:
            running = _running(proto, contract, options, style, is_predictor)
        except PipelineError:
            progress("this model is not an image network that runs here, so its quality is not measured")
    else:
        from pipeline.compress.calibrate import moments as measure

        running = _running(proto, contract, options, style, is_predictor)
        sites, vectors = find_sites(running.model), find_vectors(running.model)
        progress("calibrated rounding")
        moments = measure(running.model, sites, running.weights, running.calibration)
    weights = collect(model, holes, sites, vectors, moments, list(given), was)
    if running is not None:
        weights = [weight for weight in weights if weight.name not in running.of_style]
    if options.weights == "auto":
        assert running is not None
        fillings = by_effect(running, weights, options.min_psnr, progress)
    else:
        fillings = stored(weights, options.weights)
    packed, rounded = _packed(model, fillings)
    done = unpack(packed, subject)
    assert done.model == rounded
    found = running.psnr(replaced(weights, fillings)) if running is not None else {}
    facts: dict[str, Any] = {
        "weights": options.weights,
        "bytes": len(packed),
        "float_bytes": len(model),
        "psnr": _rounded_psnr(worst(found)) if found else None,
        "measured": {name: _rounded_psnr(value) for name, value in found.items()},
        "calibration": [path.name for path in options.calibrate] or "drawn pictures",
        "own_integers": sum(weight.given is not None for weight in weights),
        "tensors": [{**tensor, "name": was.get(tensor["name"], tensor["name"])} for tensor in describe(done)],
    }
    if options.weights == "auto":
        facts["min_psnr"] = options.min_psnr
    if options.table and running is not None:
        facts["table"] = [
            {"weights": kind, **_row(model, weights, kind, running, progress)}
            for kind in TABLE
            if kind != options.weights
        ]
    return Compressed(packed, rounded, facts)


def _running(
    proto: Any,
    contract: ImageContract | None,
    options: CompressOptions,
    style: Sequence[float],
    is_predictor: bool,
) -> Any:
    from pipeline.compress.running import Running

    return Running(proto, contract, options.calibrate, options.picture, style, is_predictor)


def stored(weights: Sequence[Weight], kind: str) -> list[Filling]:
    """The fillings for `half` and `int4` to `int8`; a weight outside the range of float16 stays float32."""
    from pipeline.compress.weights import kept

    as_given, found = kept(weights), []
    for weight in weights:
        if weight.hole.offset in as_given:
            found.append(as_given[weight.hole.offset])
        elif kind == "half":
            half = weight.half()
            found += [] if half is None else [half]
        else:
            found.append(weight.in_bits(int(kind.removeprefix("int"))))
    return found


def _packed(model: bytes, fillings: Sequence[Filling]) -> tuple[bytes, bytes]:
    """The packed file, and the model with the fillings' numbers in its holes."""
    rounded = bytearray(model)
    for filling in fillings:
        real = filling.real().astype("<f4").tobytes()
        rounded[filling.offset : filling.offset + len(real)] = real
    return pack(bytes(rounded), fillings), bytes(rounded)


def _row(model: bytes, weights: Sequence[Weight], kind: str, running: Any, progress: Any) -> dict[str, Any]:
    from pipeline.compress.choose import worst
    from pipeline.compress.weights import replaced

    progress(f"for the table: {kind}")
    fillings = stored(weights, kind)
    found = worst(running.psnr(replaced(weights, fillings)))
    return {"bytes": len(_packed(model, fillings)[0]), "psnr": _rounded_psnr(found)}


def _rounded_psnr(value: float) -> float | None:
    """Rounded to 0.1 dB; None if there is no difference beyond the rounding of float32."""
    from pipeline.verify.compare import FLOAT_NOISE

    return None if math.isinf(value) or value > FLOAT_NOISE else round(value, 1)


def describe(done: Unpacked) -> list[dict[str, Any]]:
    """For each filling of a packed file: name and shape of the tensor, kind, bits of the integers, bytes taken.

    Names and shapes are known where the model is an ONNX file.
    """
    named, uses = {}, {}
    if looks_like_onnx(done.model):
        named = {hole.offset: hole for hole in find_holes(done.model)}
        uses = _uses(done.model)
    found = []
    for filling, bits in zip(done.fillings, done.bits, strict=True):
        hole = named.get(filling.offset)
        most = int(abs(filling.integers).max(initial=0))
        found.append(
            {
                "name": hole.name if hole is not None else f"at byte {filling.offset}",
                "of": uses.get(hole.name, "") if hole is not None else "",
                "shape": list(hole.shape) if hole is not None else [filling.integers.size],
                "kind": "half" if filling.kind == HALVES else "integers",
                "bits": 16 if filling.kind == HALVES else math.ceil(math.log2(2 * most + 1)),
                "scales": int(filling.scales.size),
                "bytes": round(bits / 8),
            }
        )
    return found


_PARTS = {
    "Conv": ("", "weight", "bias"),
    "ConvTranspose": ("", "weight", "bias"),
    "Gemm": ("", "weight", "bias"),
    "InstanceNormalization": ("", "scale", "shift"),
}


def _uses(model: bytes) -> dict[str, str]:
    """The role of each initializer in the first node that reads it: `Conv 3 weight`, `Mul 1`."""
    import onnx

    numbers: dict[str, int] = {}
    found: dict[str, str] = {}
    for node in onnx.load_from_string(model).graph.node:
        numbers[node.op_type] = numbers.get(node.op_type, 0) + 1
        parts = _PARTS.get(node.op_type, ())
        for index, name in enumerate(node.input):
            part = f" {parts[index]}" if index < len(parts) else ""
            found.setdefault(name, f"{node.op_type} {numbers[node.op_type]}{part}")
    return found


def looks_like_onnx(model: bytes) -> bool:
    """Whether bytes can be walked as an ONNX file."""
    try:
        find_holes(model)
    except (ValueError, IndexError, UnicodeDecodeError):
        return False
    return re.match(rb"[\x08\x12\x1a\x22\x2a\x32\x3a\x42]", model) is not None
