"""pipeline distill and pipeline train, from the outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from PIL import Image

from pipeline import sources
from tests.conftest import REPOSITORY
from tests.networks import style_checkpoint, style_onnx
from tests.shrink.test_train import tiny_vgg

QUICK = ("--device", "cpu", "--every", 2, "--pixels", 18_496)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    picture = Image.open(REPOSITORY / "examples" / "picture.jpg")
    picture.crop((0, 0, 320, 240)).save(folder / "left.png")
    picture.crop((500, 200, 700, 400)).save(folder / "right.png")
    return folder


@pytest.fixture
def teacher(tmp_path):
    return style_checkpoint(tmp_path / "teacher.pth")


def test_a_student_is_written_that_the_other_commands_read(pipeline, teacher, images, tmp_path):
    holdout = images / "right.png"
    given = ("--images", images, "--student", "fast-neural-style-skips:4x1", "--holdout", holdout, *QUICK)
    done = pipeline("distill", teacher, *given, "--steps", 4, "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["student"]["file"].endswith("teacher.student.pth")
    assert [r["step"] for r in report["history"]["records"]] == [2, 4]
    assert report["quality"][0]["picture"] == "right.png"
    network = sources.read(tmp_path / "here" / "teacher.student.pth")
    assert (network.architecture, network.weights) == ("fast-neural-style-skips", report["student"]["weights"])
    assert "the checkpoint says" in network.reason
    run = tmp_path / "here" / "teacher.student.pth.run"
    assert sorted(p.name for p in (run / "samples").iterdir()) == ["000002.jpg", "000004.jpg"]
    assert json.loads((run / "history.json").read_text()) == report

    again = pipeline("distill", teacher, *given, "--steps", 4)
    assert again.code == 2 and "[file-exists]" in again.err and "--resume" in again.err
    other = pipeline("distill", teacher, *given, "--steps", 6, "--resume")
    assert other.code == 2 and "[run-differs]" in other.err and "steps" in other.err


def test_a_sequence_turns_the_loss_on_flicker_on(pipeline, teacher, images, tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    picture = Image.open(REPOSITORY / "examples" / "picture.jpg")
    for number in range(2):
        picture.crop((300 + 3 * number, 100, 600 + 3 * number, 320)).save(frames / f"{number}.png")
    given = ("--images", images, "--student", "fast-neural-style-skips:4x1", *QUICK, "--steps", 2, "--json")
    report = json.loads(pipeline("distill", teacher, *given, "--sequence", frames, "-o", "a.pth").out)
    losses = report["history"]["records"][-1]["losses"]
    assert losses["steady"] > 0 and "flicker" not in losses
    plain = json.loads(pipeline("distill", teacher, *given, "-o", "b.pth").out)["history"]["records"][-1]["losses"]
    assert "steady" not in plain
    done = pipeline("distill", teacher, *given, "--sequence", frames, "--steady", 0, "-o", "c.pth")
    assert done.code == 2 and "[conflicting-options]" in done.err
    (frames / "1.png").unlink()
    done = pipeline("distill", teacher, *given, "--sequence", frames, "-o", "c.pth")
    assert done.code == 2 and "[no-pictures]" in done.err and "fewer than two frames" in done.err


def test_a_sequence_without_the_loss_on_flicker_is_refused(pipeline, images, tmp_path):
    torch.save(tiny_vgg(), tmp_path / "vgg.pth")
    given = ("--style", images / "left.png", "--images", images, "--vgg", tmp_path / "vgg.pth")
    done = pipeline("train", *given, "--sequence", images)
    assert done.code == 2 and "[conflicting-options]" in done.err and "--flicker-weight" in done.err


def test_a_goal_chooses_the_student_for_the_target(pipeline, teacher, images):
    given = ("--images", images, *QUICK, "--steps", 2, "--target", "compute", "--goal")
    done = pipeline("distill", teacher, *given, "4k weights", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["target"] == "compute" and 500 < report["student"]["weights"] <= 4000
    assert next(iter(report["predicted"].values()))["compiled-phone"] > 0 and report["goal"]["kind"] == "weights"
    assert "predicted for compute at" in done.err and "meets the goal" in done.err
    missed = pipeline(
        "distill", teacher, *given, "4k weights", "--student", "fast-neural-style:8x5", "-o", "b.pth"
    )
    assert missed.code == 2 and "[goal-missed]" in missed.err
    neither = pipeline("distill", teacher, *given[:-1])
    assert neither.code == 2 and "[no-student]" in neither.err


def test_a_small_network_is_trained_on(pipeline, teacher, images, tmp_path):
    small = style_checkpoint(tmp_path / "small.pth", widths=(4, 4, 4), seed=2)
    done = pipeline(
        "distill", teacher, "--images", images, "--student", small, *QUICK, "--steps", 2, "-o", "better.pth"
    )
    assert done.code == 0, done.err
    before, after = (sources.read(p).module for p in (small, tmp_path / "here" / "better.pth"))
    moved = [(a - b).abs().max() for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    assert max(moved) > 0 and "fast-neural-style:4,4,4x1 of small.pth" in done.err


def test_the_teacher_itself_is_made_steadier_without_learning_its_features_again(pipeline, teacher, images):
    given = ("--images", images, "--student", teacher, *QUICK, "--steps", 2, "--json")
    for more, losses in (((), {"inner"}), (("--steady", 5), {"pixels", "steady"})):
        done = pipeline("distill", teacher, *given, *more, "--weight", "strokes=0", "--force", "-o", "same.pth")
        first = json.loads(done.out)["history"]["records"][0]["losses"]
        assert losses <= set(first) and ("inner" in first) == (not more)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--student", "fast-neural-style:8"), "bad-student"),
        (("--student", "fritz:0.2", "--weight", "beauty=1"), "bad-weight"),
        (("--student", "fritz:0.2", "--weight", "critic=much"), "bad-weight"),
        (("--student", "fritz:0.2", "--resume"), "nothing-to-resume"),
        (("--student", "fritz:0.2", "--device", "cuda:9"), "no-such-device"),
        (("--student", "fritz:0.2", "--images", "nowhere"), "file-not-found"),
        (("--student", "fritz:0.2", "--output", "."), "destination-is-folder"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(pipeline, teacher, images, tmp_path, arguments, code):
    done = pipeline("distill", teacher, "--images", images, *arguments)
    assert done.code == 2 and f"[{code}]" in done.err and "Traceback" not in done.err
    assert list((tmp_path / "here").iterdir()) == []


def test_a_teacher_without_ranges_is_asked_for_them(pipeline, images, tmp_path):
    net = style_onnx(tmp_path / "net.onnx", size=(64, 64))
    done = pipeline("distill", net, "--images", images, "--student", "fritz:0.2")
    assert done.code == 2 and "[contract-missing]" in done.err


def test_a_style_is_trained_and_can_be_gone_on_with(pipeline, images, tmp_path):
    torch.save(tiny_vgg(), tmp_path / "vgg.pth")
    style = tmp_path / "style.png"
    Image.open(REPOSITORY / "examples" / "picture.jpg").crop((300, 100, 400, 200)).save(style)
    given = ("--style", style, "--images", images, "--vgg", tmp_path / "vgg.pth", "--student", "fritz:0.1,small")
    small = ("--side", 64, "--batch", 1, "--style-size", 64, "--device", "cpu", "--every", 1, "--steps", 2)
    done = pipeline("train", *given, *small)
    assert done.code == 0, done.err
    assert "not torchvision's VGG16" in done.err
    assert sources.read(tmp_path / "here" / "style.trained.pth").architecture == "fritz"
    resumed = pipeline("train", *given, *small, "--resume", "--json")
    assert resumed.code == 0, resumed.err
    assert json.loads(resumed.out)["history"]["records"][-1]["step"] == 2
    uneven = pipeline("train", *given, "--side", 100)
    assert uneven.code == 2 and "[bad-size]" in uneven.err


def test_two_processes_under_torchrun_train_one_student(teacher, images, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    output = tmp_path / "two.pth"
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "pipeline", "distill"]
    options = (
        "--images",
        images,
        "--student",
        "fast-neural-style:4x1",
        *QUICK,
        "--steps",
        4,
        "-o",
        output,
        "--json",
    )
    done = subprocess.run(
        [sys.executable, *command, teacher, *map(str, options)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["history"]["processes"] == 2 and report["history"]["steps"] == 4
    assert sources.read(output).weights == report["student"]["weights"]
