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
    result = from_teacher(teacher, students.parse("fast-neural-style:4,6,8x2"), pictures())
    assert apart(result, teacher.module, pictures(3)[2]) < 1e-3


@pytest.mark.parametrize(
    "spec",
    [
        "fast-neural-style:4,6,8x2",
        "fast-neural-style:6,8,12x1",
        "fast-neural-style-skips:4,6,8x2",
        "fast-neural-style:6,8,12x2r4",
        "fast-neural-style-skips:4,6,8x1r3",
    ],
)
def test_it_begins_nearer_to_the_teacher_than_noise(spec: str, tmp_path: Path) -> None:
    teacher = sources.read(style_checkpoint(tmp_path / "net.pth", (6, 8, 12), 2))
    student = students.parse(spec)
    assert corresponds(teacher, student) == ""
    result = from_teacher(teacher, student, pictures())
    assert {k: tuple(v.shape) for k, v in result.state_dict().items()} == student.shapes
    unseen = pictures(3)[2]
    assert apart(result, teacher.module, unseen) < 0.8 * apart(student.build(), teacher.module, unseen)


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


def test_a_factored_teacher_gives_no_weights(tmp_path: Path) -> None:
    from pipeline.shrink.goals import parse
    from pipeline.shrink.prune import PruneOptions, prune

    whole = sources.read(style_checkpoint(tmp_path / "net.pth", (6, 8, 12), 2))
    teacher = prune(whole, parse("70%"), PruneOptions(method="factor", multiple=1)).network
    assert "factored" in corresponds(teacher, students.parse("fast-neural-style:4,6,8x2"))


@pytest.mark.parametrize(("weights", "more"), [({}, set()), ({"flicker": 1.0, "strokes": 0.0}, {"flicker"})])
def test_a_student_from_its_teacher_is_trained_inside_first_and_then_with_few_losses(
    weights: dict[str, float], more: set[str], tmp_path: Path
) -> None:
    from PIL import Image

    from pipeline.shrink.distill import DistillOptions
    from pipeline.shrink.loop import LoopOptions
    from pipeline.shrink.teaching import distill_file

    teacher = style_checkpoint(tmp_path / "net.pth", (6, 8, 12), 1)
    Image.fromarray(np.uint8(pictures(1)[0][0].transpose(1, 2, 0))).resize((200, 200)).save(tmp_path / "a.png")
    Image.fromarray(np.uint8(pictures(1)[0][0].transpose(1, 2, 0))).resize((72, 64)).save(tmp_path / "b.png")
    report = distill_file(
        teacher,
        [tmp_path / "a.png"],
        "fast-neural-style:4,6,8x1",
        tmp_path / "small.pth",
        DistillOptions(LoopOptions(steps=10, every=2, half=False), pixels=4096),
        weights=weights,
        holdout=[tmp_path / "b.png"],
    )
    seen = [set(record["losses"]) for record in report["history"]["records"]]
    assert seen[0] == {"inner"}
    usual = {"pixels", "energy", "gram", "strokes"} - {name for name, value in weights.items() if not value}
    assert seen[-1] == usual | more
