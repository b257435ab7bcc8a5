"""Chooses the quantisation step of each weight by its measured effect on the output.

Small errors of the layers add up, and each grows with the square of its step. Measured once for each layer, this
determines the distribution of bits: one more bit per weight has the same benefit in every layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import numpy as np

from pipeline.compress.packed import Filling
from pipeline.compress.running import SMALL
from pipeline.compress.weights import Weight, kept, replaced
from pipeline.support.errors import PipelineError

HEADROOM = 1.5
"""Margin in dB above the required PSNR on the worst measured picture: other pictures may be this much worse."""
_CLOSE = 0.15
_TRIES, _ENOUGH, _FINER = 12, 4, 0.8
_DB_PER_BIT = 20 * math.log10(2)
_FINEST = 2.0**-9
_VECTORS = ""

Progress = Callable[[str], None]


class Running(Protocol):
    """A network that runs with replaced weights: `compress.running.Running`, or a family's own."""

    def psnr(self, weights: Mapping[str, np.ndarray], names: Collection[str] = ()) -> dict[str, float]:
        """PSNR in dB of the network with some weights replaced against the original, for each measured picture."""


def by_effect(running: Running, weights: Sequence[Weight], least: float, progress: Progress) -> list[Filling]:
    """The coarsest fillings for all `weights` with which every measured picture has at least `least` dB.

    Raises PipelineError `quality-not-reached` if even the finest steps do not reach it.
    """
    groups: dict[str, list[Weight]] = {}
    as_given = kept(weights)
    for weight in weights:
        if weight.hole.offset not in as_given:
            groups.setdefault(weight.name if weight.site is not None else _VECTORS, []).append(weight)
    factors = _shares(running, groups, progress)

    def at(scale: float) -> list[Filling]:
        rounded = [w.in_steps(factors[name] * scale) for name, group in groups.items() for w in group]
        return [*as_given.values(), *rounded]

    aim = least + HEADROOM
    scale, coarsest, best, highest, failed, reached = 1.0, 0.0, None, 0.0, math.inf, 0
    for _ in range(_TRIES):
        fillings = at(scale)
        found = worst(running.psnr(replaced(weights, fillings)))
        highest = max(highest, found)
        progress(f"{found:.1f} dB of {aim:.1f} dB")
        step = scale * 2 ** ((min(found, 200.0) - aim - _CLOSE / 3) / _DB_PER_BIT)
        if found >= aim:
            reached += 1
            if scale > coarsest:
                coarsest, best = scale, fillings
            if not groups or found <= aim + _CLOSE or reached == _ENOUGH:
                break
            scale = min(step, math.sqrt(scale * failed))
        else:
            if not groups or scale < _FINEST:
                break
            # Where errors do not simply add up, the model may ask for what has failed before: then always finer.
            failed = min(failed, scale)
            scale = min(step, _FINER * failed) if best is None else math.sqrt(coarsest * failed)
    if best is None:
        raise PipelineError(
            "quality-not-reached",
            f"the best result was {highest:.1f} dB, but {least:g} dB (plus a margin of {HEADROOM:g} dB) are "
            "required",
            subject="--min-psnr",
            remedy="Lower --min-psnr, or use --weights half or float.",
        )
    return best


def worst(found: Mapping[str, float]) -> float:
    """The minimum of the measured PSNRs."""
    return min(found.values())


def _shares(running: Running, groups: Mapping[str, list[Weight]], progress: Progress) -> dict[str, float]:
    """For each group the factor on its steps at which one more bit has the same benefit in all groups."""
    logs = {}
    for number, (name, group) in enumerate(groups.items(), 1):
        progress(f"measuring layer {number} of {len(groups)}")
        fillings = [weight.in_steps(1.0) for weight in group]
        found = running.psnr(replaced(group, fillings), SMALL)
        noise = float(np.mean([10 ** (-min(value, 150.0) / 10) for value in found.values()]))
        size = sum(weight.values.size for weight in group)
        logs[name] = (0.5 * math.log2(noise / size), size)
    together = sum(size for _, size in logs.values())
    mean = sum(log * size for log, size in logs.values()) / together if together else 0.0
    return {name: 2 ** (mean - log) for name, (log, _) in logs.items()}
