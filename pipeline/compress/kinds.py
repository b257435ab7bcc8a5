"""The kinds of storage for weights, and checks of their names."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.support.errors import PipelineError

FLOAT = "float"
"""Unpacked float32 weights, in the model file that Unity imports."""
KINDS = ("half", "int8", "int7", "int6", "int5", "int4", "auto")
"""The kinds of packed weights."""
DEFAULT_PSNR = 40.0
"""The default minimum PSNR of `auto`, in dB."""


def check_weights(weights: str, min_psnr: float) -> None:
    """Raise PipelineError `bad-weights` or `bad-psnr` for invalid options."""
    check_kind(weights, (FLOAT, *KINDS))
    check_psnr(min_psnr)


def check_kind(kind: str, kinds: Sequence[str]) -> None:
    """Raise PipelineError `bad-weights` for a name that is not in `kinds`."""
    if kind not in kinds:
        raise PipelineError(
            "bad-weights",
            f"{kind!r} is not a way to store weights",
            subject="--weights",
            remedy=f"Use one of {', '.join(kinds)}.",
        )


def check_psnr(value: float) -> None:
    """Raise PipelineError `bad-psnr` for a PSNR outside 10 to 100 dB."""
    if not 10 <= value <= 100:
        raise PipelineError(
            "bad-psnr",
            f"{value:g} dB is not between 10 and 100",
            subject="--min-psnr",
            remedy="A difference of 40 dB is hardly visible, one of 50 dB not at all.",
        )
