"""Distillation on tiny networks: it learns, follows from its seed, and goes on where it was stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline import sources
from pipeline.contract import ImageContract, ImageSide
from pipeline.shrink.checkpoint import CHECKPOINT, Run, read_checkpoint
from pipeline.shrink.distill import NARROWED, DistillOptions, _Batch, distill
from pipeline.shrink.loop import GreyLevels, LoopOptions
from pipeline.shrink.losses import Texture
from pipeline.shrink.students import parse
from pipeline.support.errors import PipelineError
from tests.conftest import REPOSITORY
from tests.networks import style_checkpoint, style_onnx

SMALL = DistillOptions(
    LoopOptions(steps=6, every=3, device="cpu", half=False), sides=(72,), pixels=2 * 72 * 72, pool=3, reuse=2
)


@pytest.fixture
def images(tmp_path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    picture = Image.open(REPOSITORY / "examples" / "picture.jpg")
    picture.crop((0, 0, 320, 240)).save(folder / "left.png")
    picture.crop((500, 200, 800, 500)).save(folder / "right.png")
    return folder


@pytest.fixture
def teacher(tmp_path) -> sources.Network:
    return sources.read(style_checkpoint(tmp_path / "teacher.pth"))


def run(teacher, images, options=SMALL, spec="fast-neural-style-skips:4x1", **more):
    student = parse(spec)
    module = student.build(options.loop.seed)
    history = distill(teacher, module, [images], options, student_contract=student.contract, **more)
    return module, history


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_student_comes_nearer_to_its_teacher(teacher, images, tmp_path):
    options = replace(SMALL, loop=replace(SMALL.loop, steps=30, every=10, rate=1e-2))
    holdout = [images / "right.png"]
    module, history = run(teacher, images, options, holdout=holdout, run=Run(tmp_path / "run"))
    first, last = history.records[0], history.records[-1]
    assert last["losses"]["pixels"] < first["losses"]["pixels"] * 0.9
    assert last["quality"][0]["picture"] == "right.png" and last["quality"][0]["psnr"] > 12
    assert (history.steps, last["step"], not module.training) == (30, 30, True)
    usual = {"pixels", "energy", "gram", "strokes", "features", "statistics", "critic", "flicker"}
    assert set(first["losses"]) == usual | {"hints"} and set(last["losses"]) == usual
    sheets = sorted((tmp_path / "run" / "samples").iterdir())
    assert [sheet.name for sheet in sheets] == ["000010.jpg", "000020.jpg", "000030.jpg"]
    with Image.open(sheets[-1]) as sheet:
        assert sheet.size == (3 * 296, 296)


def test_the_same_seed_gives_the_same_student_to_the_bit(teacher, images):
    a, _ = run(teacher, images)
    b, _ = run(teacher, images)
    c, _ = run(teacher, images, replace(SMALL, loop=replace(SMALL.loop, seed=2)))
    assert same(a, b) and not same(a, c)


class Stopped(Exception):
    pass


@pytest.mark.parametrize(("half", "kills"), [(False, (4,)), (True, (2, 5, 8))])
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(teacher, images, tmp_path, half, kills):
    """Stopped between checkpoints, at one, and beyond the part in bfloat16 (0.85 of 10 steps)."""
    loop = replace(SMALL.loop, steps=10, every=3, half=half)
    options = replace(SMALL, loop=loop, reuse=2, pool=3)
    whole, history = run(teacher, images, options)
    for number, kill in enumerate(kills):

        def stop(history, done, kill=kill):
            if history.steps == kill:
                raise Stopped

        with pytest.raises(Stopped):
            run(teacher, images, options, run=Run(tmp_path, number > 0), progress=stop)
    resumed, again = run(teacher, images, options, run=Run(tmp_path, True))
    assert same(whole, resumed)
    assert [r["step"] for r in again.records] == [r["step"] for r in history.records] == [3, 6, 9, 10]
    assert again.records[-1]["losses"] == history.records[-1]["losses"]


def test_the_texture_of_a_whole_crop_is_computed_once_for_all_its_uses(teacher, images, monkeypatch):
    """Sides of 68 pixels: the student sees 64 of them, in multiples of 8."""
    near = replace(SMALL.near_teacher(NARROWED, inner=0.0), sides=(68,), reuse=3)
    measured = []
    statistics = Texture.statistics
    monkeypatch.setattr(Texture, "statistics", lambda self, x: measured.append(x.shape) or statistics(self, x))
    module, _ = run(teacher, images, near)
    assert len(measured) == 6 + 2  # the student's at each step, and the teacher's of each batch
    measured.clear()
    monkeypatch.setattr("pipeline.shrink.distill._Batch", lambda *values: replace(_Batch(*values), texture=None))
    other, _ = run(teacher, images, near)
    assert len(measured) == 6 + 2 + 6 and same(module, other)


def test_a_training_of_which_no_step_was_taken_is_no_training(teacher, images, tmp_path):
    options = replace(SMALL, loop=replace(SMALL.loop, rate=1e30, steps=12, every=4))
    with pytest.raises(PipelineError) as caught:
        run(teacher, images, options, run=Run(tmp_path))
    assert caught.value.code == "training-diverged" and "--rate below 1e+30" in caught.value.remedy


def test_a_checkpoint_of_another_run_or_a_broken_one_is_refused(teacher, images, tmp_path):
    run(teacher, images, run=Run(tmp_path))
    with pytest.raises(PipelineError, match="different rate") as caught:
        run(teacher, images, replace(SMALL, loop=replace(SMALL.loop, rate=1e-3)), run=Run(tmp_path, True))
    assert caught.value.code == "run-differs"
    checkpoint = tmp_path / CHECKPOINT
    checkpoint.write_bytes(checkpoint.read_bytes()[:2000])
    with pytest.raises(PipelineError) as caught:
        run(teacher, images, run=Run(tmp_path, True))
    assert caught.value.code == "damaged-file"


def test_minutes_end_a_run_whatever_the_steps(teacher, images):
    _, history = run(teacher, images, replace(SMALL, loop=replace(SMALL.loop, minutes=0.02, every=10_000)))
    assert history.steps > 0 and 0.02 <= history.minutes < 0.2
    assert len(history.records) == 1


@pytest.mark.parametrize("spec", ["fritz:0.1,small", "few-shot:4,4,4x1"])
def test_students_of_the_other_families_learn_in_their_own_ranges(teacher, images, spec):
    module, history = run(teacher, images, spec=spec, holdout=[images / "left.png"])
    assert np.isfinite(history.records[-1]["quality"][0]["psnr"])
    assert all(torch.isfinite(value).all() for value in module.state_dict().values())


def test_an_onnx_teacher_that_no_architecture_fits_gives_no_hints_and_no_eyes(images, tmp_path):
    options = sources.ReadOptions(input_range="0..1", output_range="0..1")
    network = sources.read(style_onnx(tmp_path / "net.onnx", size=(64, 64)), options)
    _, history = run(network, images)
    assert set(history.records[0]["losses"]) == {"pixels", "energy", "gram", "strokes", "critic", "flicker"}


def test_a_module_is_painted_with_in_its_contract():
    contract = ImageContract(ImageSide("-1..1", order="bgr"), ImageSide("0..1"))
    levels = torch.tensor([0.0, 127.5, 255.0]).view(1, 3, 1, 1)
    painting = GreyLevels(torch.nn.Identity(), contract)
    assert painting.to_network(levels).flatten().tolist() == pytest.approx([1.0, 0.0, -1.0])
    assert painting(levels).flatten().tolist() == pytest.approx([255.0, 0.0, -255.0])


def test_a_teacher_of_masks_cannot_be_distilled(images):
    contract = ImageContract(ImageSide("0..1"), ImageSide("0..1", channels=1))
    with pytest.raises(PipelineError) as caught:
        distill(
            torch.nn.Conv2d(3, 1, 1),
            parse("fast-neural-style:4x1").build(),
            [images],
            SMALL,
            teacher_contract=contract,
        )
    assert caught.value.code == "channels-differ"


def test_a_teacher_that_enlarges_cannot_be_distilled(images):
    with pytest.raises(PipelineError, match="144x128") as caught:
        distill(torch.nn.Upsample(scale_factor=2), parse("fast-neural-style:4x1").build(), [images], SMALL)
    assert caught.value.code == "sizes-differ"


def test_a_device_that_is_not_there_is_said(teacher, images):
    with pytest.raises(PipelineError) as caught:
        run(teacher, images, replace(SMALL, loop=replace(SMALL.loop, device="cuda:7")))
    assert caught.value.code == "no-such-device"


def test_teacher_and_student_come_back_without_hooks(teacher, images):
    module, _ = run(teacher, images)
    stored = [m for network in (module, teacher.module) for m in network.modules() if m._forward_hooks]
    assert stored == []


def test_a_place_where_nothing_can_be_written_is_found_before_the_work(teacher, images, tmp_path):
    (tmp_path / "run").write_text("a file, not a folder")
    steps = []
    with pytest.raises(PipelineError) as caught:
        run(teacher, images, run=Run(tmp_path / "run"), progress=lambda history, done: steps.append(done))
    assert caught.value.code == "destination-not-writable" and steps == []


def test_checkpoints_are_written_by_the_clock_too(teacher, images, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.shrink.loop.SAVE_SECONDS", 0.0)
    saved = []

    def look(history, done):
        saved.append(read_checkpoint(tmp_path / CHECKPOINT, {}).step)

    run(teacher, images, run=Run(tmp_path), progress=look)
    assert saved == [1, 2, 3, 4, 5, 6]
