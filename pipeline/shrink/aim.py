"""The predicted cost of a student on a target, and goals that it must meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.cost.model import SIZES, counted, devices_of
from pipeline.shrink.goals import Goal, parse
from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    from pipeline.network import Network
    from pipeline.targets import Target

Predicted = dict[str, dict[str, float]]
"""Picture size -> class of devices -> milliseconds."""


def predicted(network: Network, target: Target) -> Predicted:
    """The predicted cost of a network, lowered for the target, on each device class of its family.

    Empty for a family without a cost model. Raises what lowering raises.
    """
    from pipeline.bench.job import lower

    on = target.family.devices()
    if not on:
        return {}
    subject = lower(network, target.name, network.name)
    return {str(size): counted(subject.graph, subject.sized(size), on)["predicted"] for size in SIZES}


def describe(costs: Predicted, target: Target) -> str:
    """The predicted cost at the first size as text; "" if there is no prediction."""
    if not costs:
        return ""
    size, each = next(iter(costs.items()))
    titles = {device.name: device.title for device in devices_of(target)}
    times = ", ".join(f"{ms:.1f} ms on {titles.get(name, name)}" for name, ms in each.items())
    return f"predicted for {target.name} at {size}: {times}"


def student_for(text: str, teacher: Network, target: Target) -> tuple[Goal, str]:
    """Parse a goal; returns it and the spec of the largest student that meets it on the target's kernels.

    Raises PipelineError: what `goals.parse` raises, and `goal-out-of-reach`.
    """
    from pipeline.shrink.candidates import chosen, families, meeting

    goal = parse(text, target=target)
    of = families(teacher)
    (candidate,) = chosen(meeting(goal, _limit(goal, teacher, target), of=of), 1, of)
    return goal, candidate.student.spec


def check(text: str, student: Network, teacher: Network, target: Target) -> Goal:
    """Parse a goal and check that a student meets it. Raises PipelineError `goal-missed`."""
    from pipeline.bench.job import lower

    goal = parse(text, target=target)
    subject = lower(student, target.name, student.name)
    value = goal.value(subject.graph, len(subject.lowered.serialised))
    limit = _limit(goal, teacher, target)
    if value > limit:
        raise PipelineError(
            "goal-missed",
            f"the student would have {goal.describe(value)}, and the goal is {goal.describe(limit)}",
            subject="--student",
            remedy="Leave --student out: the largest student that meets the goal is then trained.",
        )
    return goal


def _limit(goal: Goal, teacher: Network, target: Target) -> float:
    """The goal's limit in its unit; the teacher is lowered only for a relative goal."""
    if not goal.part:
        return goal.limit
    from pipeline.bench.job import lower

    subject = lower(teacher, target.name, teacher.name)
    return goal.for_original(goal.value(subject.graph, len(subject.lowered.serialised)))
