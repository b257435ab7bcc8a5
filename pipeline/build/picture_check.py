"""Detects wrong value ranges: the proof passes with them, but the output is white, black or grey.

The proof says that Unity shows what the source network gives under the declared ranges; whether those are the
ranges that the network was trained with stands in no file. The output shows it: with the right range, the
output for a photograph is neither clipped nearly everywhere nor nearly flat.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pipeline.contract import ImageContract

CLIPPED = 0.5
"""Share of values outside 0..1 from which a picture is suspicious; style networks overshoot a little."""
FLAT = 0.04
"""Spread (5th to 95th percentile, of 0..1) below which a picture is suspicious."""
TRIED = ("0..255", "0..1", "-1..1")
"""Ranges that are tried where the declared ones are suspicious."""

Raw = Callable[[np.ndarray], np.ndarray]
"""A network in its own value ranges and layout, (1, C, H, W) or (1, H, W, C)."""


@dataclass(frozen=True)
class Look:
    """Statistics of an output under a pair of ranges: shares of values above 1 and below 0, and the spread."""

    input_range: str
    output_range: str
    white: float
    black: float
    spread: float

    @property
    def clipped(self) -> float:
        return self.white + self.black

    @property
    def suspicious(self) -> bool:
        return self.clipped > CLIPPED or self.spread < FLAT

    @property
    def description(self) -> str:
        """The reason for suspicion, as a clause."""
        if self.clipped > CLIPPED:
            kind = "clipped"
            if max(self.white, self.black) > 0.8 * self.clipped:
                kind = "white" if self.white > self.black else "black"
            return f"{self.clipped:.0%} of the picture is {kind}"
        return f"the picture is nearly flat (its values differ by {self.spread:.3f} of 0..1)"


def look(raw: Raw, contract: ImageContract, picture: np.ndarray) -> Look:
    """Statistics of the output of `raw` for a picture (1, C, H, W), RGB 0..1, under a contract.

    Raises what the engine raises.
    """
    from pipeline.verify.proof import around

    output = around(raw, contract)(picture).astype(np.float64)
    low, high = np.percentile(output, (5, 95))
    return Look(
        contract.input.value_range,
        contract.output.value_range,
        float((output >= 1).mean()),
        float((output <= 0).mean()),
        float(np.clip(high, 0, 1) - np.clip(low, 0, 1)),
    )


def warning(raw: Raw, contract: ImageContract, picture: np.ndarray) -> str:
    """Why the declared value ranges are probably wrong, and which look right; "" where nothing is odd.

    `picture` is a photograph, (1, C, H, W), RGB 0..1: noise and flat colours tell nothing.
    """
    if contract.output.channels != 3 and contract.output.channels != 1:
        return ""
    declared = look(raw, contract, picture)
    if not declared.suspicious:
        return ""
    others = []
    for given, gives in itertools.product(TRIED, TRIED):
        tried = replace(
            contract,
            input=replace(contract.input, value_range=given),
            output=replace(contract.output, value_range=gives),
        )
        if (given, gives) != (declared.input_range, declared.output_range):
            others.append(look(raw, tried, picture))
    usual = [other for other in others if not other.suspicious]
    finding = (
        f"{declared.description} with --input-range {declared.input_range} --output-range {declared.output_range}"
    )
    if not usual:
        return f"{finding}; no other value ranges look better, so this may not be an image-to-image network"
    best = min(usual, key=lambda o: (o.input_range != declared.input_range, round(o.clipped, 1), -o.spread))
    changes = [
        f"{option} {tried}"
        for option, tried, was in (
            ("--input-range", best.input_range, declared.input_range),
            ("--output-range", best.output_range, declared.output_range),
        )
        if tried != was
    ]
    return (
        f"{finding}; with {' '.join(changes)} {best.clipped:.0%} is clipped: check which ranges the training code "
        "uses"
    )
