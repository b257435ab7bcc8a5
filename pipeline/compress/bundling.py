"""The step of a build that packs: the lowered model of a bundle, and what the report says about it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.compress.kinds import FLOAT
from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    from pipeline.build.lowering import Lowered
    from pipeline.build.options import BuildOptions
    from pipeline.targets import Target


@dataclass(frozen=True)
class PackedModel:
    """A bundle's packed file, what its network makes of the golden input, and the facts for the report."""

    packed: bytes
    golden_output: np.ndarray
    facts: dict[str, Any]


def check_target(weights: str, target: Target) -> None:
    """PipelineError `target-cannot-unpack` where a bundle for `target` must not be packed."""
    if weights != FLOAT and not target.can("runtime-import"):
        raise PipelineError(
            "target-cannot-unpack",
            f"{target.name} imports models only in the editor, and a packed one is imported when the game runs",
            subject="--weights",
            remedy="Use --target barracuda-2.0 or later, or --weights float.",
        )


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
    quality = "not measured" if not facts["measured"] else quality_text(facts["psnr"])
    step("pack", f"{facts['float_bytes']:,} bytes became {facts['bytes']:,}; {quality}")
    return PackedModel(done.packed, as_target_computes(model, lowered.target)(golden_input), facts)


def quality_text(psnr: float | None) -> str:
    """A PSNR in words."""
    return "the same picture" if psnr is None else f"{psnr:.1f} dB to the float network"
