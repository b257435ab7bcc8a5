"""How weights can be stored, by name, and what is no such name."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.support.errors import PipelineError

FLOAT = "float"
"""The weights as they are, in the model file that Unity imports."""
KINDS = ("half", "int8", "int7", "int6", "int5", "int4", "auto")
"""What weights can be packed as."""
DEFAULT_PSNR = 40.0
"""What `auto` keeps, in dB."""


def check_weights(weights: str, min_psnr: float) -> None:
    """PipelineError `bad-weights` or `bad-psnr` for options that mean nothing."""
    check_kind(weights, (FLOAT, *KINDS))
    check_psnr(min_psnr)


def check_kind(kind: str, kinds: Sequence[str]) -> None:
    """PipelineError `bad-weights` for a word that is none of `kinds`."""
    if kind not in kinds:
        raise PipelineError(
            "bad-weights",
            f"{kind!r} is not a way to store weights",
            subject="--weights",
            remedy=f"Use one of {', '.join(kinds)}.",
        )


def check_psnr(value: float) -> None:
    """PipelineError `bad-psnr` for what no network can be asked for."""
    if not 10 <= value <= 100:
        raise PipelineError(
            "bad-psnr",
            f"{value:g} dB is not between 10 and 100",
            subject="--min-psnr",
            remedy="A difference of 40 dB is hardly visible, one of 50 dB not at all.",
        )
