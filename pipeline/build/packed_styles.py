"""Packing a bundle of several styles: its networks, and what they compute then for each style."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.compress.bundling import PackedModel, pack_lowered, pack_predictor

if TYPE_CHECKING:
    from pipeline.build.live_styles import LiveStyles
    from pipeline.build.options import BuildOptions, Step
    from pipeline.build.several_styles import Styled


def pack(
    path: Path, styled: Styled, live: LiveStyles | None, options: BuildOptions, step: Step
) -> tuple[PackedModel, Styled, LiveStyles | None]:
    """Pack the network of several styles, and the predictor if there is one that takes pictures.

    Returns the packed network, and both results with the vectors and golden pictures that the packed networks
    compute. A predictor of vectors stays float. The facts are added to the report: `packed.styles` is the PSNR of
    each style relative to the float networks, in dB (None: no difference beyond rounding noise).
    """
    from pipeline.compress.running import decibels
    from pipeline.verify.compare import FLOAT_NOISE
    from pipeline.verify.proof import as_target_computes

    report, target = styled.report, styled.lowered.target
    if live is not None and live.predictor is not None and live.pictures:
        packed, loaded, facts = pack_predictor(live.predictor, target, options, path.name, step)
        predict = target.family.runner(loaded, target)
        vectors = np.stack([predict(picture).reshape(-1) for picture in live.pictures]).astype(np.float32)
        live = dataclasses.replace(live, predictor=packed, vectors=vectors)
        report["live_style"]["predictor"] |= {
            "bytes": len(packed),
            "digest": facts["model_digest"],
            "packed": {key: facts[key] for key in ("weights", "float_bytes", "psnr")},
        }
    values = np.eye(len(styled.golden_outputs)) if live is None else live.vectors
    first = values[0].tolist()
    network = pack_lowered(path, styled.lowered, options, styled.proof.golden_input, step, first)
    goldens, quality = [], []
    for value, truth in zip(values.tolist(), styled.golden_outputs, strict=True):
        golden = np.clip(as_target_computes(network.loaded, target, value)(styled.proof.golden_input), 0, 1)
        psnr = decibels(golden.astype(np.float64), truth.astype(np.float64))
        quality.append(None if psnr > FLOAT_NOISE else round(psnr, 1))
        goldens.append(golden)
    network.facts["styles"] = quality
    return network, dataclasses.replace(styled, golden_outputs=tuple(goldens)), live
