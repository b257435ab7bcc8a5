"""The inside of a student is trained against its teacher's, where the two correspond."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import sources
from pipeline.architectures import build
from pipeline.shrink import students
from pipeline.shrink.checkpoint import Run
from pipeline.shrink.distill import TUNING, distill
from pipeline.shrink.inner import Inner
from pipeline.shrink.loop import GreyLevels
from pipeline.shrink.teacher import LEVELS
from tests.networks import style_checkpoint
from tests.shrink.test_distill import SMALL, Stopped, images, same  # noqa: F401
from tests.shrink.test_refit import pictures

INNER = replace(SMALL, loop=replace(SMALL.loop, steps=8, every=4), inner=0.5)


@pytest.fixture
def teacher(tmp_path: Path) -> sources.Network:
    return sources.read(style_checkpoint(tmp_path / "teacher.pth", (6, 8, 12), 3))


def narrowed(teacher: sources.Network) -> torch.nn.Module:
    """The teacher with a channel less in each block, and noise on what is left of them."""
    full = teacher.module.state_dict()
    student = build("fast-neural-style", dict(teacher.details) | {"inner": [11] * 3})
    generator = torch.Generator().manual_seed(2)
    state = {}
    for name, value in student.state_dict().items():
        cut = full[name][tuple(slice(size) for size in value.shape)]
        state[name] = cut + 0.3 * cut.std() * torch.randn(cut.shape, generator=generator) if "res" in name else cut
    student.load_state_dict(state)
    return student.eval()


def held(teacher: sources.Network, student: torch.nn.Module) -> Inner:
    given = torch.from_numpy(np.concatenate(pictures()))
    return Inner(GreyLevels(teacher.module, LEVELS), GreyLevels(student, LEVELS), given)


def test_the_teacher_is_no_distance_from_itself(teacher):
    again = sources.read(Path(str(teacher.source)))
    inner = held(teacher, again.module)
    given = torch.from_numpy(pictures(1)[0])
    with inner.watching():
        GreyLevels(teacher.module, LEVELS)(given)
    expected = inner.taken()
    assert inner.found and inner.alike > 0.999 and expected.shape == (1, 12, 10, 12)
    assert sorted(inner.channels.tolist()) == list(range(12))
    with torch.no_grad():
        assert float(inner.loss(given, expected)) < 1e-4  # bfloat16
    assert not torch.allclose(expected.float(), inner.of("student", given.flip(3)).float(), atol=0.1)


def test_channels_in_another_order_are_found(teacher):
    again = sources.read(Path(str(teacher.source))).module
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    rows = ["conv3.conv2d.weight", "conv3.conv2d.bias", "in3.weight", "in3.bias"]
    for block in (1, 2, 3):
        rows += [f"res{block}.{name}" for name in ("conv2.conv2d.weight", "conv2.conv2d.bias")]
        rows += [f"res{block}.{name}" for name in ("in2.weight", "in2.bias")]
    state = again.state_dict()
    for name in rows:
        state[name] = state[name][order]
    for name in ("res1.conv1.conv2d.weight", "res2.conv1.conv2d.weight", "res3.conv1.conv2d.weight"):
        state[name] = state[name][:, order]
    again.load_state_dict(state)
    assert torch.equal(held(teacher, again).channels, order)


def test_networks_of_other_resolutions_have_nothing_in_common(teacher):
    flat = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3, 1, 1), torch.nn.Conv2d(6, 3, 3, 1, 1))
    assert not held(teacher, flat).found
    layers = [torch.nn.AvgPool2d(16, ceil_mode=True), torch.nn.Conv2d(3, 6, 1), torch.nn.Upsample(scale_factor=16)]
    deep = torch.nn.Sequential(*layers, torch.nn.Conv2d(6, 3, 1))
    assert not held(replace(teacher, module=deep), deep).found
    again = sources.read(Path(str(teacher.source)))
    assert not held(again, students.parse("fast-neural-style:6,8,16x1").build()).found


def test_the_inside_comes_nearer_and_the_decoder_waits(teacher, images):  # noqa: F811
    student = narrowed(teacher)
    decoder = {k: v.clone() for k, v in student.state_dict().items() if k.startswith("deconv")}
    options = replace(INNER, loop=replace(INNER.loop, steps=50, every=10, rate=1e-3), inner=1.0)
    history = distill(teacher, student, [images], options)
    parts = [record["losses"] for record in history.records]
    assert all(set(part) == {"inner"} for part in parts)
    assert parts[-1]["inner"] < 0.85 * parts[0]["inner"]
    assert all(torch.equal(value, student.state_dict()[name]) for name, value in decoder.items())


def test_a_pruned_network_gets_the_decoder_of_its_original_back(teacher, images):  # noqa: F811
    for restored in (True, False):
        student = narrowed(teacher)
        with torch.no_grad():
            student.deconv1.conv2d.weight.add_(1)
        options = replace(INNER, loop=replace(INNER.loop, steps=2, every=2), inner=1.0, original_decoder=restored)
        distill(teacher, student, [images], options)
        ours, theirs = student.state_dict(), teacher.module.state_dict()
        same = [
            torch.equal(ours[name], theirs[name]) for name in theirs if name.startswith(("deconv", "in4", "in5"))
        ]
        assert all(same) is restored
        assert not torch.equal(ours["res3.conv2.conv2d.bias"], theirs["res3.conv2.conv2d.bias"])


@pytest.mark.parametrize(("margin", "side"), [(0, 72), (8, 64)])
def test_without_a_margin_the_student_sees_what_the_teacher_saw(teacher, images, margin, side):  # noqa: F811
    student, seen = narrowed(teacher), []
    student.register_forward_pre_hook(lambda module, given: seen.append((module.training, given[0].shape[2])))
    distill(teacher, student, [images], replace(INNER, inner=0.0, margin=margin, weights=TUNING))
    assert {height for training, height in seen if training} == {side}


def test_then_the_pictures_are_compared(teacher, images):  # noqa: F811
    history = distill(teacher, narrowed(teacher), [images], INNER)
    assert set(history.records[0]["losses"]) == {"inner"}
    assert "pixels" in history.records[1]["losses"] and "inner" not in history.records[1]["losses"]


def test_a_resumed_run_keeps_its_channels(teacher, images, tmp_path):  # noqa: F811
    """Where it goes on, the student is not the one from which the channels were found."""
    options = replace(INNER, inner=0.75)
    whole = narrowed(teacher)
    distill(teacher, whole, [images], options)

    def stop(history, done):
        if history.steps == 5:
            raise Stopped

    with pytest.raises(Stopped):
        distill(teacher, narrowed(teacher), [images], options, run=Run(tmp_path / "run"), progress=stop)
    resumed = build("fast-neural-style", dict(teacher.details) | {"inner": [11] * 3})
    distill(teacher, resumed, [images], options, run=Run(tmp_path / "run", True))
    part = narrowed(teacher)
    distill(teacher, part, [images], options, run=Run(tmp_path / "other"))
    assert same(whole, part) and same(whole, resumed)
