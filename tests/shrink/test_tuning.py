"""Times as people write them."""

from __future__ import annotations

import pytest

from pipeline.shrink.tuning import FALLING, duration, late_improvement, longer, shared
from pipeline.support.errors import PipelineError


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("20 min", {"minutes": 20.0}),
        ("90s", {"minutes": 1.5}),
        ("1.5 hours", {"minutes": 90.0}),
        ("500 steps", {"steps": 500}),
    ],
)
def test_a_time_is_read(text, wanted) -> None:
    assert duration(text) == wanted


@pytest.mark.parametrize("text", ["", "soon", "0 min", "20", "-5 min", "3 weeks"])
def test_what_is_no_time_is_refused(text) -> None:
    with pytest.raises(PipelineError, match="bad-time"):
        duration(text)


def test_time_is_shared_and_every_part_has_a_step() -> None:
    assert shared({"minutes": 30.0}, 3) == {"minutes": 10.0}
    assert shared({"steps": 2}, 3) == {"steps": 1}


@pytest.mark.parametrize(
    ("losses", "wanted"),
    [
        ((3.0, 2.0, 1.5, 1.2, 1.1, 1.0), 0.18),
        ((3.0, 2.0, 1.5, 1.2, 1.195, 1.19), 0.008),
        ((3.0, 1.0, 1.1, 1.2, 1.3, 1.4), -0.15),
        ((3.0, 1.0), None),
    ],
)
def test_whether_a_training_was_still_improving(losses, wanted) -> None:
    records = [{"step": 100 * n, "losses": {"pixels": loss}} for n, loss in enumerate(losses, start=4)]
    improvement = late_improvement([{"step": 100, "losses": {"inner": 9.0}}, *records])
    assert improvement == pytest.approx(wanted, abs=0.01)
    advice = longer("small", {"late_improvement": improvement})
    assert bool(advice) is (wanted is not None and wanted > FALLING)
    assert not advice or "18%" in advice
