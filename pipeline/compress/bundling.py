"""The step of a build that packs: the lowered model of a bundle, and what the report says about it."""

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
    """How weights are to be stored: the kind, what `auto` keeps, pictures, what the network takes and gives.

    `given` are integers that the source came with; `subject` is its name.
    """

    options: CompressOptions
    contract: ImageContract | None
    given: Sequence[QuantizedTensor] = ()
    subject: str = ""


@dataclass(frozen=True)
class PackedModel:
    """A bundle's model in fewer bytes, what its network makes of the golden input, and the facts for the report.

    `imported`: Unity imports the file, as it does the float model; else it is unpacked when the game runs.
    """

    packed: bytes
    golden_output: np.ndarray
    facts: dict[str, Any]
    imported: bool = False


def check_target(weights: str, target: Target) -> None:
    """Raise PipelineError where a bundle for `target` cannot hold weights stored so."""
    if weights != FLOAT:
        target.family.check_weights(weights, target)


def pack_lowered(
    path: Path, lowered: Lowered, options: BuildOptions, golden_input: np.ndarray, step: Callable[[str, str], None]
) -> PackedModel:
    """Pack a lowered model, whose pictures are RGB 0..1 on both sides."""
    import onnx

    from pipeline.compress.job import CompressOptions, compress
    from pipeline.contract import ImageContract, ImageSide
    from pipeline.verify.proof import as_target_computes

    chosen = CompressOptions(options.weights, options.min_psnr, options.calibrate, options.picture, table=True)
    contract = ImageContract(ImageSide("0..1", lowered.input_channels), ImageSide("0..1", lowered.output_channels))
    packing = Packing(chosen, contract, lowered.source_integers, path.name)
    own = lowered.target.family.pack(lowered.serialised, lowered.target, packing)
    if own is not None:
        packed, facts = own
        facts |= {"source_bytes": path.stat().st_size, "model_digest": hashlib.sha256(packed).hexdigest()}
        _told(facts, step)
        run = lowered.target.family.runner(packed, lowered.target)
        return PackedModel(packed, run(golden_input), facts, imported=True)
    done = compress(
        lowered.serialised, chosen, contract=contract, given=lowered.source_integers, subject=path.name
    )
    model = onnx.load_from_string(done.model)
    facts = {
        **done.facts,
        "source_bytes": path.stat().st_size,
        "float_bytes": len(lowered.serialised),
        "model_digest": hashlib.sha256(done.model).hexdigest(),
    }
    _told(facts, step)
    return PackedModel(done.packed, as_target_computes(model, lowered.target)(golden_input), facts)


def _told(facts: dict[str, Any], step: Callable[[str, str], None]) -> None:
    quality = "not measured" if not facts["measured"] else quality_text(facts["psnr"])
    step("pack", f"{facts['float_bytes']:,} bytes became {facts['bytes']:,}; {quality}")


def quality_text(psnr: float | None) -> str:
    """A PSNR in words."""
    return "the same picture" if psnr is None else f"{psnr:.1f} dB PSNR relative to the float network"
