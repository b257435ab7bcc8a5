"""The loss on flicker: the motion of a synthetic camera and of consecutive frames, and the training with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline import sources
from pipeline.shrink import motion
from pipeline.shrink.checkpoint import Run
from pipeline.shrink.distill import DistillOptions, Weights, distill
from pipeline.shrink.loop import LoopOptions
from pipeline.shrink.motion import Motion, Sequences, camera, warp
from pipeline.shrink.students import parse
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from tests.conftest import REPOSITORY
from tests.networks import style_checkpoint

PAN = (2, 5)
"""Pixels down and right from one frame to the next."""


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("frames")
    picture = Image.open(REPOSITORY / "examples" / "picture.jpg")
    for number in range(3):
        top, left = 100 + PAN[0] * number, 200 + PAN[1] * number
        picture.crop((left, top, left + 160, top + 120)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def sequences(frames) -> Sequences:
    return Sequences([frames], seed=1)


def still(view: Motion) -> Motion:
    return Motion(torch.zeros_like(view.moved), view.weight)


def picture(size: int, seed: int = 1) -> torch.Tensor:
    noise = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 255
    return torch.nn.functional.avg_pool2d(noise, 7, 1, 3)


def test_the_second_view_of_a_camera_is_the_first_one_moved():
    crop = picture(96)
    view = camera(np.random.default_rng(3), 2, 80, 80)
    first, second = crop[:, :, 8:88, 8:88], warp(crop, view.moved, 8)
    assert float(view.loss(first, second)) < 0.011  # 0.01 is the least that the loss gives
    assert float(still(view).loss(first, second)) > 0.05
    assert 0.5 < float(view.weight.mean()) < 1


def test_half_of_the_cameras_move_by_whole_pixels_and_the_others_also_turn_and_zoom():
    view = camera(np.random.default_rng(1), 40, 16, 16)
    flat = (view.moved - view.moved[:, :, :1, :1]).abs().amax((1, 2, 3)) == 0
    assert 10 < int(flat.sum()) < 30
    assert torch.equal(view.moved[flat], view.moved[flat].round())


def test_a_pixel_that_came_from_outside_the_first_view_has_no_weight():
    moved = torch.zeros(1, 2, 8, 8)
    moved[:, 1] = 3
    weight = Motion(moved, torch.ones(1, 1, 8, 8)).inside(edge=0).weight[0, 0]
    assert torch.equal(weight.sum(0), torch.tensor([8.0] * 5 + [0.0] * 3))


def test_the_motion_between_frames_is_estimated_and_belongs_to_the_crops(sequences):
    first, second, view = sequences.batch(0, 6, 64, 96)
    assert first.shape == second.shape == (6, 3, 64, 96)
    down, right = (view.moved[:, axis][view.weight[:, 0] > 0.5] for axis in (0, 1))
    assert abs(float(down.median()) - PAN[0]) < 0.2
    assert abs(float(right.abs().median()) - PAN[1]) < 0.2
    assert float(right.min()) < -4 and float(right.max()) > 4  # some of the crops are mirrored
    views = [torch.from_numpy(value).float() for value in (first, second)]
    assert float(view.loss(*views)) < 0.03 < 0.08 < float(still(view).loss(*views))
    again = sequences.batch(0, 6, 64, 96)
    assert (again[0] == first).all() and torch.equal(again[2].moved, view.moved)
    assert (sequences.batch(1, 6, 64, 96)[0] != first).any()


def test_what_changes_without_a_motion_has_little_weight(tmp_path):
    pixels = np.asarray(Image.open(REPOSITORY / "examples" / "picture.jpg").crop((200, 100, 360, 220)), np.uint8)
    brighter = pixels.copy()
    brighter[50:80, 20:50] = 255 - pixels[50:80, 20:50]
    Image.fromarray(pixels).save(tmp_path / "0.png")
    Image.fromarray(brighter).save(tmp_path / "1.png")
    weight = Sequences([tmp_path], 1).pairs[0].weight[0]
    assert weight[55:75, 25:45].mean() < 0.2 < 0.8 < weight[20:100, 100:140].mean()


def test_a_pixel_that_changes_without_moving_counts_less(tmp_path, monkeypatch):
    """Light of 12 levels has a weight of 1/e, one of 48 next to none, where the flow says that nothing moved."""
    monkeypatch.setattr(motion.flow, "flow", lambda a, b: np.zeros((2, *a.shape[2:]), np.float32))
    for number, level in enumerate((100, 112, 160)):
        Image.new("RGB", (64, 48), (level,) * 3).save(tmp_path / f"{number}.png")
    first, second = (pair.weight[0, 5:-5, 5:-5] for pair in Sequences([tmp_path], 1).pairs)
    assert np.allclose(first, np.exp(-1), atol=0.01) and second.max() < 1e-4


def test_what_is_no_sequence_is_refused(frames, sequences, tmp_path):
    Image.new("RGB", (80, 80)).save(tmp_path / "0.png")
    with pytest.raises(PipelineError, match="fewer than two frames"):
        Sequences([tmp_path], 1)
    Image.new("RGB", (80, 96)).save(tmp_path / "1.png")
    with pytest.raises(PipelineError) as caught:
        Sequences([tmp_path], 1)
    assert caught.value.code == "sizes-differ"
    with pytest.raises(PipelineError, match="160x120 pixels, but the training uses crops of 128x128"):
        sequences.check(Size(128, 128))


OPTIONS = DistillOptions(
    LoopOptions(steps=10, every=10, device="cpu", half=False),
    Weights(critic=0, hints=0, steady=4),
    sides=(72,),
    pixels=2 * 72 * 72,
    pool=4,
    reuse=2,
)


def trained(tmp_path, frames, options=OPTIONS, **more):
    teacher = sources.read(style_checkpoint(tmp_path / "teacher.pth"))
    student = parse("fast-neural-style:4x1")
    module = student.build(1)
    history = distill(teacher, module, [frames], options, student_contract=student.contract, **more)
    return module.state_dict(), history


def test_a_steady_student_changes_less_between_frames(tmp_path, frames, sequences):
    longer = replace(OPTIONS, loop=replace(OPTIONS.loop, steps=24, every=24))
    losses = {}
    for weight in (0.01, 10.0):
        options = replace(longer, weights=replace(OPTIONS.weights, steady=weight))
        _, history = trained(tmp_path, frames, options, sequences=sequences)
        losses[weight] = history.records[-1]["losses"]["steady"] / weight
    assert losses[10.0] < 0.8 * losses[0.01]


def test_a_run_with_a_sequence_that_was_stopped_ends_as_if_it_had_not_been(tmp_path, frames, sequences):
    whole, _ = trained(tmp_path, frames, sequences=sequences)

    def stop(history, done):
        if history.steps == 7:
            raise KeyboardInterrupt

    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        trained(
            tmp_path,
            frames,
            replace(OPTIONS, loop=replace(OPTIONS.loop, every=3)),
            run=Run(run),
            progress=stop,
            sequences=sequences,
        )
    with pytest.raises(PipelineError, match="different pictures"):
        trained(tmp_path, frames, run=Run(run, True))
    resumed, _ = trained(tmp_path, frames, run=Run(run, True), sequences=sequences)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
