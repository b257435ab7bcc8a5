"""A student begins as its teacher where their layers correspond, and says why where they do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import sources
from pipeline.shrink import students
from pipeline.shrink.start import corresponds, from_teacher
from tests.networks import style_checkpoint
from tests.shrink.test_refit import pictures


def apart(module: torch.nn.Module, teacher: torch.nn.Module, picture: np.ndarray) -> float:
    """Mean squared difference of what the two give."""
    with torch.no_grad():
        return float(((module(torch.from_numpy(picture)) - teacher(torch.from_numpy(picture))) ** 2).mean())


def test_a_student_of_the_same_widths_is_the_teacher(tmp_path: Path) -> None:
    teacher = sources.read(style_checkpoint(tmp_path / "net.pth", (4, 6, 8), 2))
    made = from_teacher(teacher, students.parse("fast-neural-style:4,6,8x2"), pictures())
    assert apart(made, teacher.module, pictures(3)[2]) < 1e-3


@pytest.mark.parametrize(
    "spec", ["fast-neural-style:4,6,8x2", "fast-neural-style:6,8,12x1", "fast-neural-style-skips:4,6,8x2"]
)
def test_it_begins_nearer_to_the_teacher_than_noise(spec: str, tmp_path: Path) -> None:
    teacher = sources.read(style_checkpoint(tmp_path / "net.pth", (6, 8, 12), 2))
    student = students.parse(spec)
    assert corresponds(teacher, student) == ""
    made = from_teacher(teacher, student, pictures())
    assert {k: tuple(v.shape) for k, v in made.state_dict().items()} == student.shapes
    unseen = pictures(3)[2]
    assert apart(made, teacher.module, unseen) < 0.8 * apart(student.build(), teacher.module, unseen)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("fast-neural-style:16,6,8x2", "wider"),
        ("fast-neural-style:4,6,8x3", "more residual blocks"),
        ("fast-neural-style:4,6,8x2k7", "kernels"),
        ("few-shot:4,6,8x2", "not a fast-neural-style network"),
    ],
)
def test_it_says_why_it_cannot(spec: str, why: str, tmp_path: Path) -> None:
    teacher = sources.read(style_checkpoint(tmp_path / "net.pth", (6, 8, 12), 2))
    assert why in corresponds(teacher, students.parse(spec))
