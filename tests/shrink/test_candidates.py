"""Students that meet a goal: predicted as they turn out to be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline import targets
from pipeline.bench.job import lower
from pipeline.shrink import students
from pipeline.shrink.candidates import FAMILY, chosen, families, fresh, meeting
from pipeline.shrink.goals import parse
from pipeline.support.errors import PipelineError


@pytest.fixture(scope="module")
def found():
    goal = parse("12 ms at 720x540 on laptop")
    return goal, meeting(goal, 40.0)


def test_candidates_meet_the_goal_and_have_what_they_are_said_to(found) -> None:
    goal, candidates = found
    assert len(candidates) > 5 and all(candidate.value <= 40.0 for candidate in candidates)
    first = candidates[0]
    subject = lower(fresh(first.student), "barracuda-3.0", "s")
    assert first.value == pytest.approx(goal.value(subject.graph), rel=0.05)
    assert first.weights == subject.network.weights
    assert max(c.macs for c in candidates) == first.macs


@pytest.mark.parametrize("name", ["fast-neural-style", "fritz", "few-shot-instance-norm"])
def test_students_are_of_the_teachers_own_family_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And of some that are alike, the one of the teacher's family is taken."""
    monkeypatch.setattr("pipeline.shrink.candidates.BLOCKS", (1,))
    monkeypatch.setattr("pipeline.shrink.candidates.FIRST", (8, 12))
    teacher = fresh(students.parse(f"{name}:8,16,32x2"))
    assert families(teacher) == (name, FAMILY)
    goal = parse("40k weights")
    found = meeting(goal, goal.limit, of=families(teacher))
    assert {candidate.student.architecture for candidate in found} == {name, FAMILY}
    for candidate in chosen(found, 2, families(teacher)):
        assert candidate.student.architecture == name or name.startswith("few-shot")  # those are larger
        assert candidate.value == fresh(candidate.student).weights <= goal.limit


def test_other_teachers_have_students_with_skips() -> None:
    teacher = replace(fresh(students.parse("fritz:8x1")), architecture="cyclegan")
    assert families(teacher) == (FAMILY,)


def test_bytes_are_predicted_from_above() -> None:
    goal = parse("60 KB")
    for candidate in meeting(goal, goal.limit)[:1]:
        size = len(lower(fresh(candidate.student), "barracuda-3.0", "s").lowered.serialised)
        assert 0.8 * candidate.value < size <= candidate.value


def test_the_few_that_are_chosen_differ(found) -> None:
    _, candidates = found
    picked = chosen(candidates, 3)
    assert len({candidate.student.spec for candidate in picked}) == 3
    assert candidates[0] in picked
    assert max(c.weights for c in candidates) == max(c.weights for c in picked)
    assert max(c.channels for c in candidates) == max(c.channels for c in picked)


def test_factored_students_are_predicted_as_they_turn_out(found) -> None:
    goal, candidates = found
    first = next(candidate for candidate in candidates if candidate.student.ranks)
    subject = lower(fresh(first.student), "barracuda-3.0", "s")
    assert first.value == pytest.approx(goal.value(subject.graph), rel=0.05)
    assert first.weights == subject.network.weights


def test_slower_ones_than_the_teacher_are_not_candidates(found) -> None:
    goal, candidates = found
    assert 0 < len(meeting(goal, 40.0, slowest=20.0)) < len(candidates)


def test_a_goal_that_none_meets_is_out_of_reach() -> None:
    with pytest.raises(PipelineError, match="goal-out-of-reach"):
        chosen(meeting(parse("10 weights"), 10), 2)


def test_a_goal_is_met_on_the_devices_of_the_target() -> None:
    """Compiled kernels compute 8 channels in a thread: widths that fill them are cheap, and more of them fit."""
    compute = targets.get("compute")
    goal = parse("6 ms at 720x540", target=compute)
    assert goal.device == "compiled-desktop" and parse("6 ms on phone", target=compute).device == "compiled-phone"
    assert parse("6 ms", target=targets.get("barracuda-3.0")).device == "desktop"
    first = meeting(goal, goal.limit)[0]
    usual = meeting(parse("6 ms at 720x540"), goal.limit)[0]
    assert first.macs > 1.5 * usual.macs
    subject = lower(fresh(first.student), "compute", "s")
    assert first.value == pytest.approx(goal.value(subject.graph), rel=0.05)

    def cost(widths: str) -> float:
        found = next(c for c in meeting(goal, 1e9) if c.student.spec == f"{FAMILY}:{widths}x5")
        return found.value / found.macs

    assert cost("6,12,24") > 1.1 * cost("8,16,32")
