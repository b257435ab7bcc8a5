"""What a student is aimed at: the target that runs it, its predicted cost there, and a goal that it must meet."""

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
    """What the cost model says of a network, lowered for the target, on each class of devices of its family.

    Empty for a family without a cost model. Raises what lowering raises.
    """
    from pipeline.bench.job import lower

    on = target.family.devices()
    if not on:
        return {}
    subject = lower(network, target.name, network.name)
    return {str(size): counted(subject.graph, subject.sized(size), on)["predicted"] for size in SIZES}


def told(costs: Predicted, target: Target) -> str:
    """The predicted cost at the first size, for people; "" where nothing is predicted."""
    if not costs:
        return ""
    size, each = next(iter(costs.items()))
    titles = {held.name: held.title for held in devices_of(target)}
    times = ", ".join(f"{ms:.1f} ms on {titles.get(name, name)}" for name, ms in each.items())
    return f"predicted for {target.name} at {size}: {times}"


def student_for(text: str, teacher: Network, target: Target) -> tuple[Goal, str]:
    """The goal in a text, and the largest student that meets it on the target's kernels, as its spec.

    Raises PipelineError: what `goals.parse` raises, and `goal-out-of-reach`.
    """
    from pipeline.shrink.candidates import chosen, families, meeting

    goal = parse(text, target=target)
    of = families(teacher)
    (candidate,) = chosen(meeting(goal, _limit(goal, teacher, target), of=of), 1, of)
    return goal, candidate.student.spec


def check(text: str, student: Network, teacher: Network, target: Target) -> Goal:
    """The goal in a text. Raises PipelineError `goal-missed` for a student that does not meet it."""
    from pipeline.bench.job import lower

    goal = parse(text, target=target)
    subject = lower(student, target.name, student.name)
    value = goal.value(subject.graph, len(subject.lowered.serialised))
    limit = _limit(goal, teacher, target)
    if value > limit:
        raise PipelineError(
            "goal-missed",
            f"the student would have {goal.told(value)}, and the goal is {goal.told(limit)}",
            subject="--student",
            remedy="Leave --student out: the largest student that meets the goal is then trained.",
        )
    return goal


def _limit(goal: Goal, teacher: Network, target: Target) -> float:
    """The goal's limit; only a share of what the teacher has asks for the teacher's graph."""
    if not goal.part:
        return goal.limit
    from pipeline.bench.job import lower

    subject = lower(teacher, target.name, teacher.name)
    return goal.for_original(goal.value(subject.graph, len(subject.lowered.serialised)))
