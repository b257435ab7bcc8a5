"""Goals as people write them."""

from __future__ import annotations

import pytest

from pipeline.shrink.goals import parse
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size


@pytest.mark.parametrize(
    ("text", "kind", "limit", "size", "device"),
    [
        ("60 fps at 720x540", "milliseconds", 1000 / 60, (720, 540), "desktop"),
        ("16ms at 1280×720 on a phone", "milliseconds", 16, (1280, 720), "phone"),
        ("50 KB", "bytes", 50_000, (720, 540), "desktop"),
        ("1 MiB", "bytes", 1024**2, (720, 540), "desktop"),
        ("20k weights", "weights", 20_000, (720, 540), "desktop"),
        ("108,771 parameters", "weights", 108_771, (720, 540), "desktop"),
        ("1.5 GMAC at 1920x1080", "macs", 1.5e9, (1920, 1080), "desktop"),
    ],
)
def test_a_goal_is_read(text, kind, limit, size, device) -> None:
    goal = parse(text)
    assert (goal.kind, goal.limit, goal.size, goal.device) == (kind, pytest.approx(limit), Size(*size), device)
    assert goal.for_original(99) == pytest.approx(limit)


def test_a_share_is_of_the_original() -> None:
    assert parse("50%").for_original(1000) == 500
    assert parse("25% of ms on desktop").kind == "milliseconds"
    assert parse("5%", "laptop").device == "laptop"


@pytest.mark.parametrize("text", ["", "fast", "60", "fps 60", "0 KB", "120%", "5 KB of ms", "60 fps at 3x4"])
def test_what_is_no_goal_is_refused(text) -> None:
    with pytest.raises(PipelineError, match="bad-goal"):
        parse(text)


def test_a_device_that_does_not_exist_is_named() -> None:
    with pytest.raises(PipelineError, match="unknown-device"):
        parse("60 fps on toaster")


def test_values_are_told_in_the_goals_own_unit() -> None:
    assert parse("60 fps at 720x540 on desktop").describe(12.34) == "12.3 ms at 720x540 on desktop"
    assert parse("50 KB").describe(49_512) == "49.5 KB"
