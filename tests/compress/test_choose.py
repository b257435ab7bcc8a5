"""Bits are shared by effect: where rounding shows more, steps are finer; the goal is met with little to spare."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest

from pipeline.compress.choose import HEADROOM, by_effect, worst
from pipeline.compress.holes import Hole
from pipeline.compress.sites import Site
from pipeline.compress.weights import Weight, replaced
from pipeline.support.errors import PipelineError

SHAPE = (8, 4, 3, 3)


class Painted:
    """Stands for a network whose picture changes by a known gain times the error of each weight."""

    def __init__(self, weights: list[Weight], gains: Mapping[str, float], floor: float = 0.0) -> None:
        self._values = {weight.name: weight.values.reshape(-1) for weight in weights}
        self._gains, self._floor = gains, floor

    def psnr(self, weights: Mapping[str, np.ndarray], names: object = ()) -> dict[str, float]:
        errors = (
            gain * np.mean((weights[n] - self._values[n]) ** 2) for n, gain in self._gains.items() if n in weights
        )
        noise = self._floor + sum(errors)
        return {"a": -10 * math.log10(noise) if noise else math.inf, "b": 90.0}


def two_layers() -> list[Weight]:
    rng = np.random.default_rng(0)
    found = []
    for number, name in enumerate(("quiet", "loud")):
        values = rng.laplace(0, 0.1, SHAPE).astype(np.float32)
        found.append(Weight(Hole(name, SHAPE, 4 * number * values.size), values, Site(name, "Conv", "x", SHAPE)))
    return found


@pytest.mark.parametrize("least", [25.0, 40.0, 60.0])
def test_the_goal_is_met_with_little_to_spare(least):
    weights = two_layers()
    running = Painted(weights, {"quiet": 1.0, "loud": 1.0})
    found = running.psnr(replaced(weights, by_effect(running, weights, least, lambda _: None)))
    assert least + HEADROOM <= worst(found) <= least + HEADROOM + 1


def test_where_rounding_shows_more_steps_are_finer():
    weights = two_layers()
    running = Painted(weights, {"quiet": 1.0, "loud": 64.0})
    quiet, loud = by_effect(running, weights, 40, lambda _: None)
    # Equal slopes: the step falls with the square root of the gain.
    assert 5 < quiet.scales.mean() / loud.scales.mean() < 12


def test_what_cannot_be_reached_is_an_error_that_says_how_far_it_came():
    weights = two_layers()
    with pytest.raises(PipelineError) as raised:
        by_effect(Painted(weights, {"quiet": 1.0}, floor=1e-3), weights, 40, lambda _: None)
    assert raised.value.code == "quality-not-reached" and "30.0 dB" in raised.value.message
