"""Students with batch norm are refused for teachers with instance norm, which they cannot follow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import sources
from pipeline.shrink.students import parse, save
from pipeline.shrink.whole_picture import check_norms, influence
from pipeline.support.errors import PipelineError
from tests.networks import style_checkpoint


def network(folder: Path, spec: str) -> sources.Network:
    student = parse(spec)
    module = student.build(1)
    with torch.no_grad():  # few-shot begins near grey: larger weights, so that its output has contrast
        for parameter in module.parameters():
            parameter.mul_(2)
    path = folder / "network.pth"
    save(module, student.architecture, path)
    return sources.read(path)


def check(teacher: sources.Network, spec: str) -> None:
    student = parse(spec)
    check_norms(teacher, student.build(1), student.contract, spec)


@pytest.mark.parametrize("spec", ["few-shot:6,8,8x1", "few-shot-no-norm:6,8,8x1"])
def test_a_teacher_with_instance_norm_is_not_taught_to_a_student_without(tmp_path, spec):
    teacher = sources.read(style_checkpoint(tmp_path / "teacher.pth"))
    with pytest.raises(PipelineError) as caught:
        check(teacher, spec)
    assert caught.value.code == "norms-differ"
    assert caught.value.remedy == "Use --student few-shot-instance-norm:6,8,8x1."
    check(teacher, "few-shot-instance-norm:6,8,8x1")
    check(teacher, "fast-neural-style:4x1")


def test_a_teacher_with_batch_norm_is_taught_to_any_student(tmp_path):
    teacher = network(tmp_path, "few-shot:6,8,8x1")
    for spec in ("few-shot:4,4,4x1", "few-shot-no-norm:4,4,4x1", "few-shot-instance-norm:4,4,4x1"):
        check(teacher, spec)


def test_the_influence_of_the_other_side_is_measured():
    assert influence(lambda picture: picture) == 0
    assert influence(lambda picture: np.broadcast_to(picture.mean((2, 3), keepdims=True), picture.shape)) > 5
