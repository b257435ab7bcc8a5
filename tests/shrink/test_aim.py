"""Students are aimed at the kernels of a target: their predicted cost, and goals in its terms."""

from __future__ import annotations

import pytest

from pipeline import sources, targets
from pipeline.cost.model import SIZES
from pipeline.shrink import aim
from pipeline.shrink.candidates import fresh
from pipeline.shrink.students import parse
from pipeline.support.errors import PipelineError
from tests.networks import style_checkpoint

SIZE = str(SIZES[0])
COMPUTE, BARRACUDA = targets.get("compute"), targets.get("barracuda-3.0")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return sources.read(style_checkpoint(tmp_path_factory.mktemp("teacher") / "teacher.pth"))


def test_cost_is_predicted_for_the_kernels_of_the_target():
    student = fresh(parse("fast-neural-style-skips:8,16,32x2"))
    costs = {target.name: aim.predicted(student, target) for target in (COMPUTE, BARRACUDA)}
    assert set(costs["compute"][SIZE]) == {device.name for device in COMPUTE.family.devices()}
    assert costs["compute"][SIZE]["compiled-phone"] < costs["barracuda-3.0"][SIZE]["phone"]
    text = aim.describe(costs["compute"], COMPUTE)
    assert f"compute at {SIZE}" in text and "compiled, GPU of a phone" in text


def test_the_student_is_the_largest_that_meets_the_goal_on_the_target(teacher):
    goal = "8 fps at 720x540 on phone"
    expected, compiled = aim.student_for(goal, teacher, COMPUTE)
    _, packaged = aim.student_for(goal, teacher, BARRACUDA)
    assert expected.device == "compiled-phone"
    assert parse(compiled).weights > parse(packaged).weights, "compiled kernels afford more"
    assert aim.check(goal, fresh(parse(compiled)), teacher, COMPUTE).text == goal


def test_a_student_that_misses_the_goal_is_refused(teacher):
    with pytest.raises(PipelineError, match="goal is 5") as refused:
        aim.check("5 ms at 960x540 on phone", fresh(parse("fast-neural-style:32,64,128x5")), teacher, COMPUTE)
    assert refused.value.code == "goal-missed"
    with pytest.raises(PipelineError) as refused:
        aim.check("1% of ms", fresh(parse("fast-neural-style:8x1")), teacher, COMPUTE)
    assert refused.value.code == "goal-missed"
