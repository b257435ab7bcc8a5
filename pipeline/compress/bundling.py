"""The packing step of a build: packs the lowered model of a bundle, and collects the facts for the report."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.compress.kinds import FLOAT

if TYPE_CHECKING:
    from pipeline.build.lowering import Lowered
    from pipeline.build.options import BuildOptions
    from pipeline.compress.job import CompressOptions
    from pipeline.contract import ImageContract
    from pipeline.graph.integers import QuantizedTensor
    from pipeline.targets import Target


@dataclass(frozen=True)
class Packing:
    """How weights are stored: the options, and the image contract of the network.

    `given` are the integer weights of a quantised source; `subject` is its name. `style` is the value of the
    model's second input while its rounding is calibrated and measured; `is_predictor` says that the output is the
    vector of a style and not a picture.
    """

    options: CompressOptions
    contract: ImageContract | None
    given: Sequence[QuantizedTensor] = ()
    subject: str = ""
    style: Sequence[float] = ()
    is_predictor: bool = False


@dataclass(frozen=True)
class PackedModel:
    """A bundle's packed model, its output for the golden input, and the facts for the report.

    `imported`: Unity imports the file like the float model; else it is unpacked at run time.
    `loaded` is the file that the target then loads: the imported one, or the unpacked model.
    """

    packed: bytes
    loaded: bytes
    golden_output: np.ndarray
    facts: dict[str, Any]
    imported: bool = False


def check_target(weights: str, target: Target) -> None:
    """Raise PipelineError if a bundle for `target` cannot contain weights of this kind."""
    if weights != FLOAT:
        target.family.check_weights(weights, target)


def pack_lowered(
    path: Path,
    lowered: Lowered,
    options: BuildOptions,
    golden_input: np.ndarray,
    step: Callable[[str, str], None],
    style: Sequence[float] | None = None,
) -> PackedModel:
    """Pack a lowered model, whose pictures are RGB 0..1 on both sides.

    `style` is the value of its second input for which the rounding is calibrated, measured, and the golden output
    computed: a weight for each style, or the vector of one.
    """
    from pipeline.compress.job import CompressOptions
    from pipeline.contract import ImageContract, ImageSide
    from pipeline.verify.proof import as_target_computes

    chosen = CompressOptions(options.weights, options.min_psnr, options.calibrate, options.picture, table=True)
    contract = ImageContract(ImageSide("0..1", lowered.input_channels), ImageSide("0..1", lowered.output_channels))
    packing = Packing(chosen, contract, lowered.source_integers, path.name, style or ())
    packed, loaded, facts, imported = _pack(lowered.serialised, lowered.target, packing)
    facts["source_bytes"] = path.stat().st_size
    _told(facts, step)
    golden_output = as_target_computes(loaded, lowered.target, style)(golden_input)
    return PackedModel(packed, loaded, golden_output, facts, imported)


def pack_predictor(
    data: bytes, target: Target, options: BuildOptions, subject: str, step: Callable[[str, str], None]
) -> tuple[bytes, bytes, dict[str, Any]]:
    """Pack a model that computes the vector of a style from a picture: the packed file, the file that the target
    loads (as in `PackedModel`), and the facts, whose PSNR is relative to the range of the vector's values."""
    from pipeline.compress.job import CompressOptions

    packing = Packing(CompressOptions(options.weights, options.min_psnr), None, (), subject, is_predictor=True)
    packed, loaded, facts, _ = _pack(data, target, packing)
    _told(facts, step, "predictor: ")
    return packed, loaded, facts


def _pack(data: bytes, target: Target, packing: Packing) -> tuple[bytes, bytes, dict[str, Any], bool]:
    """The packed file, the file that the target loads, the facts, and whether Unity imports the packed file."""
    from pipeline.compress.job import compress

    own = target.family.pack(data, target, packing)
    if own is not None:
        packed, facts = own
        return packed, packed, facts | {"model_digest": hashlib.sha256(packed).hexdigest()}, True
    done = compress(
        data,
        packing.options,
        contract=packing.contract,
        given=packing.given,
        subject=packing.subject,
        style=packing.style,
        is_predictor=packing.is_predictor,
    )
    digest = hashlib.sha256(done.model).hexdigest()
    return done.packed, done.model, {**done.facts, "float_bytes": len(data), "model_digest": digest}, False


def _told(facts: dict[str, Any], step: Callable[[str, str], None], which: str = "") -> None:
    quality = "not measured" if not facts["measured"] else quality_text(facts["psnr"])
    step("pack", f"{which}{facts['float_bytes']:,} bytes became {facts['bytes']:,}; {quality}")


def quality_text(psnr: float | None) -> str:
    """A PSNR as text."""
    return "the same picture" if psnr is None else f"{psnr:.1f} dB PSNR relative to the float network"
