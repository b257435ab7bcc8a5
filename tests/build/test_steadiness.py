"""Flicker in the report: what follows the picture is steady, and what cannot be told is not told."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.build.steadiness import steadiness
from pipeline.flicker.measure import SIZE
from pipeline.support.size import Size


def lowered(paint, **changes):
    """As much of a lowered graph as is asked for."""
    usual = {
        "candidate": paint,
        "fixed_size": None,
        "size_multiple": 4,
        "input_channels": 3,
        "output_channels": 3,
        "output_scale": 1,
    }
    return SimpleNamespace(**(usual | changes))


def test_a_network_that_follows_the_picture_is_as_steady_as_its_frames() -> None:
    reported = steadiness(lowered(lambda picture: picture), None)
    assert (reported["size"], reported["frames"]) == ("480x272", 2)
    assert set(reported["clips"]) == {"still", "pan", "zoom"}
    assert all(item["painted"] == item["frames"] for item in reported["clips"].values())
    assert reported["clips"]["pan"]["painted"] == 0


def test_a_pattern_that_stays_on_the_screen_flickers() -> None:
    checks = np.indices(SIZE.hw).sum(axis=0) % 2
    reported = steadiness(lowered(lambda picture: picture * 0 + checks), None)
    assert reported["clips"]["still"]["painted"] == 0 and reported["clips"]["zoom"]["painted"] > 50


def test_sizes_are_those_that_the_network_runs_at() -> None:
    seen = set()

    def paint(picture):
        seen.add(picture.shape[2:])
        return picture

    steadiness(lowered(paint, size_multiple=32), None)
    steadiness(lowered(paint, fixed_size=Size(96, 64)), None)
    assert seen == {(256, 480), (64, 96)}


@pytest.mark.parametrize(
    "changes",
    [{"input_channels": 1}, {"output_scale": 2}, {"fixed_size": Size(1280, 960)}, {"candidate": None}],
)
def test_what_cannot_be_told_is_not(changes) -> None:
    assert steadiness(lowered(lambda picture: picture, **changes), None) is None
