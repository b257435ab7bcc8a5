"""Learning from pairs of a frame and its painting: which pairs and patches, and what a network learns of them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline import sources
from pipeline.contract import Guide, ImageContract, ImageSide
from pipeline.shrink.checkpoint import Run
from pipeline.shrink.learn import LearnOptions, learn, learn_file
from pipeline.shrink.loop import GreyLevels, LoopOptions
from pipeline.shrink.pairs import pairs_of, patches
from pipeline.shrink.students import parse
from pipeline.support import video
from pipeline.support.errors import PipelineError

STUDENT = "few-shot:4,4,6x1"
SMALL = LearnOptions(LoopOptions(steps=4, every=2, device="cpu", half=False), batch=2, side=48)


def frame(seed: int, size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Smooth colours with some structure."""
    chance = np.random.default_rng(seed)
    coarse = Image.fromarray(chance.integers(0, 256, (5, 7, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    noise = chance.normal(0, 8, (size[1], size[0], 3))
    return Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8))


def painting(picture: Image.Image) -> Image.Image:
    """What the made-up artist does: other colours, and darker where it is blue."""
    red, green, blue = np.moveaxis(np.asarray(picture, np.float64), 2, 0)
    made = np.stack([255 - green, 0.5 * red + 40, 0.3 * blue + 0.5 * green], 2)
    return Image.fromarray(np.clip(made, 0, 255).astype(np.uint8))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Four frames, of which three are painted."""
    frames, painted = tmp_path / "frames", tmp_path / "painted"
    (frames / "level").mkdir(parents=True)
    (painted / "level").mkdir(parents=True)
    for number in range(4):
        picture = frame(number)
        picture.save(frames / "level" / f"{number:04}.png")
        if number < 3:
            painting(picture).save(painted / "level" / f"{number:04}.PNG")
    return frames, painted


def test_the_frames_of_a_video_are_found_by_number(tmp_path: Path) -> None:
    shown = [np.full((64, 96, 3), 20 * number, np.uint8) for number in range(10)]
    video.write(tmp_path / "walk.mp4", shown, Fraction(10))
    (tmp_path / "painted").mkdir()
    for name in ("walk_0002.png", "8.png"):
        Image.new("RGB", (96, 64), "red").save(tmp_path / "painted" / name)
    pairs, rest = pairs_of(tmp_path / "walk.mp4", tmp_path / "painted")
    assert [pair.name for pair in pairs] == ["8", "walk_0002"]
    assert [float(pair.frame.mean()) for pair in pairs] == pytest.approx([160, 40], abs=3)
    assert [float(np.asarray(Image.open(left.path)).mean()) for left in rest] == pytest.approx([100], abs=3)

    for name, told in (("10.png", "it ends before"), ("first.png", "does not end in a number")):
        Image.new("RGB", (96, 64), "red").save(tmp_path / "painted" / name)
        with pytest.raises(PipelineError, match=told) as caught:
            pairs_of(tmp_path / "walk.mp4", tmp_path / "painted")
        assert caught.value.code == "no-pairs"


def test_pairs_are_found_by_name_and_the_rest_is_not_painted(folders: tuple[Path, Path]) -> None:
    frames, painted = folders
    pairs, rest = pairs_of(frames, painted)
    assert [pair.name for pair in pairs] == ["0000", "0001", "0002"] and [left.path.name for left in rest] == [
        "0003.png"
    ]
    assert pairs[1].frame.shape == pairs[1].painted.shape == (3, 64, 96)
    assert (pairs[1].painted == np.asarray(painting(frame(1))).transpose(2, 0, 1)).all()
    painting(frame(1)).resize((192, 128)).save(painted / "level/0001.PNG")
    assert pairs_of(frames, painted)[0][1].painted.shape == (3, 64, 96)


def test_paintings_that_belong_to_no_frame_are_told(folders: tuple[Path, Path]) -> None:
    frames, painted = folders
    painting(frame(1)).crop((0, 0, 64, 64)).save(painted / "level/0001.PNG")
    with pytest.raises(PipelineError, match=r"pair-differs.*64x64 and its frame 96x64"):
        pairs_of(frames, painted)
    (painted / "level/0001.PNG").rename(painted / "level/other.png")
    with pytest.raises(PipelineError, match=r"no-pairs.*other\.png has no frame"):
        pairs_of(frames, painted)


def test_patches_are_of_one_place_of_both_and_follow_from_their_number(folders: tuple[Path, Path]) -> None:
    pairs, _ = pairs_of(*folders)
    made = np.stack(patches(pairs, 1, 5, 6, 32))
    assert made.shape == (2, 6, 3, 32, 32) and (made == np.stack(patches(pairs, 1, 5, 6, 32))).all()
    assert (made != patches(pairs, 1, 6, 6, 32)).any()
    for given, wanted in zip(*made, strict=True):
        there = np.asarray(painting(Image.fromarray(given.transpose(1, 2, 0)))).transpose(2, 0, 1)
        assert (there == wanted).all()


def test_a_network_learns_to_paint_a_frame_that_it_has_not_seen(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    pairs, rest = pairs_of(*folders)
    options = replace(SMALL, loop=replace(SMALL.loop, steps=120, every=60), batch=4)
    chosen = parse("few-shot:6,8,8x1")
    module = chosen.build(1)
    history = learn(
        module, chosen.contract, pairs[:2], options, holdout=pairs[2:], unpainted=rest, run=Run(tmp_path / "run")
    )
    first, last = (record["quality"][0]["psnr"] for record in history.records)
    assert last > first and last > 16
    assert not module.training
    shown = Image.open(tmp_path / "run/samples/000120.jpg")
    assert shown.size == (3 * 96, 2 * 64)


@pytest.mark.parametrize("critic", [0.0, 0.1])
def test_an_interrupted_run_ends_with_the_same_bytes(
    folders: tuple[Path, Path], tmp_path: Path, critic: float
) -> None:
    options = replace(SMALL, critic=critic)

    def run(name: str, resume: bool = False, stop: int = 99) -> bytes:
        def progress(history: object, done: float) -> None:
            if history.steps >= stop:  # type: ignore[attr-defined]
                raise KeyboardInterrupt

        place = tmp_path / f"{name}.pth"
        report = learn_file(*folders, STUDENT, options, place, holdout=("0002",), resume=resume, progress=progress)
        assert report["pairs"] == ["0000", "0001"]
        losses = report["history"]["records"][-1]["losses"]
        assert ("critic" in losses) == bool(critic) and {"pixels", "energy", "gram"} <= set(losses)
        return place.read_bytes()

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("cut", stop=3)
    assert run("cut", resume=True) == whole
    painting(frame(9)).save(folders[1] / "level/0001.PNG")
    with pytest.raises(PipelineError, match="run-differs"):
        run("cut", resume=True)


def test_what_cannot_be_learnt_from_is_told(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"patch-too-large.*64 pixels"):
        learn_file(*folders, STUDENT, replace(SMALL, side=72), tmp_path / "a.pth")
    with pytest.raises(PipelineError, match="no pair is named 0009; the pairs are 0000, 0001, 0002"):
        learn_file(*folders, STUDENT, SMALL, tmp_path / "a.pth", holdout=("0009",))
    with pytest.raises(PipelineError, match="no pair is left"):
        learn_file(*folders, STUDENT, SMALL, tmp_path / "a.pth", holdout=("0000", "0001", "0002"))


def test_colours_that_depend_on_the_whole_picture_are_noted_after_the_training(tmp_path: Path) -> None:
    """Each painting has one flat colour, which is not in the frame: batch norm cannot learn it from patches."""
    frames, painted = tmp_path / "frames", tmp_path / "painted"
    for folder in (frames, painted):
        folder.mkdir()
    for number, colour in enumerate(((250, 40, 40), (40, 40, 250))):
        noise = np.random.default_rng(number).integers(0, 255, (64, 96, 3), dtype=np.uint8)
        Image.fromarray(noise).save(frames / f"{number}.png")
        Image.new("RGB", (96, 64), colour).save(painted / f"{number}.png")
    report = learn_file(frames, painted, "few-shot:4,4,4x1", SMALL, tmp_path / "a.pth")
    assert min(report["colour_offset"].values()) > 50
    assert len(report["notes"]) == 1 and "few-shot-instance-norm" in report["notes"][0]
    other = learn_file(frames, painted, "few-shot-instance-norm:4,4,4x1", SMALL, tmp_path / "b.pth")
    assert "few-shot-instance-norm" not in other["notes"][0] and "train longer" in other["notes"][0]


@pytest.fixture
def guided(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Frames of noise, whose paintings show the depth."""
    places = tuple(tmp_path / name for name in ("frames", "painted", "guides"))
    (places[2] / "depth").mkdir(parents=True)
    for folder in places[:2]:
        folder.mkdir()
    for number in range(4):
        rng = np.random.default_rng(number)
        Image.fromarray(rng.integers(0, 255, (64, 96, 3), dtype=np.uint8)).save(places[0] / f"{number}.png")
        depth = Image.fromarray(rng.integers(0, 255, (4, 6), dtype=np.uint8)).resize(
            (96, 64), Image.Resampling.BICUBIC
        )
        if number < 3:
            depth.convert("RGB").save(places[1] / f"{number}.png")
            depth.save(places[2] / "depth" / f"{number}.png")
    return places


def test_a_network_learns_from_guides_what_the_colour_does_not_show(
    guided: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    options = replace(SMALL, loop=replace(SMALL.loop, steps=80, every=80, rate=1e-2), batch=4, texture=0.0)
    with_guides = {"guides": guided[2], "input_channels": "rgb,depth"}
    found = {}
    for name, more in (("with", with_guides), ("without", {})):
        report = learn_file(
            *guided[:2],
            "few-shot-instance-norm:6,8,8x1",
            options,
            tmp_path / f"{name}.pth",
            holdout=("2",),
            **more,
        )
        found[name] = report["history"]["records"][-1]["quality"][0]["psnr"]
    assert found["with"] > found["without"] + 3
    network = sources.read(tmp_path / "with.pth", sources.ReadOptions(input_channels="rgb,depth"))
    assert network.contract is not None and network.contract.input.channels == 4
    shown = Image.open(tmp_path / "with.pth.run/samples/000080.jpg")
    assert shown.size == (3 * 96, 64)  # frame 3 has no depth, so there is no row for it


def test_a_run_whose_guides_changed_is_not_continued(guided: tuple[Path, Path, Path], tmp_path: Path) -> None:
    def run(resume: bool) -> None:
        more = {"guides": guided[2], "input_channels": "rgb,depth", "resume": resume}
        learn_file(*guided[:2], STUDENT, SMALL, tmp_path / "a.pth", **more)

    run(False)
    run(True)
    Image.new("L", (96, 64)).save(guided[2] / "depth/0.png")
    with pytest.raises(PipelineError, match="different guides"):
        run(True)


def test_guides_belong_to_the_patches_of_their_frames(guided: tuple[Path, Path, Path]) -> None:
    pairs, rest = pairs_of(*guided[:2], (Guide("depth"),), guided[2])
    assert [pair.frame.shape[0] for pair in pairs] == [4, 4, 4] and rest == []
    frames, paintings = patches(pairs, 1, 0, 8, 48)
    assert frames.shape == (8, 4, 48, 48) and np.abs(frames[:, 3:].astype(int) - paintings).max() <= 1


def test_the_network_gets_its_channels_in_its_own_order_and_range() -> None:
    side = ImageSide("-1..1", 4, order="bgr", guides=(Guide("depth", 0, 10),), guides_before_color=1)
    model = GreyLevels(torch.nn.Identity(), ImageContract(side, ImageSide("-1..1")))
    levels = torch.tensor([0.0, 127.5, 255.0, 51.0]).view(1, 4, 1, 1)
    assert torch.allclose(model.to_network(levels).view(-1), torch.tensor([2.0, 1.0, 0.0, -1.0]), atol=1e-5)


def test_guides_that_do_not_fit_are_refused(guided: tuple[Path, Path, Path], tmp_path: Path) -> None:
    def learn_with(student: str = STUDENT, **more: object) -> None:
        learn_file(*guided[:2], student, SMALL, tmp_path / "a.pth", **more)  # type: ignore[arg-type]

    for more, code in (
        ({"guides": guided[2]}, "conflicting-options"),
        ({"input_channels": "rgb,depth"}, "conflicting-options"),
        ({"guides": guided[2], "input_channels": "rgb,normals"}, "guide-missing"),
        ({"guides": guided[2], "input_channels": "depth"}, "bad-input-channels"),
        ({"guides": guided[2], "input_channels": "rgb,depth", "student": "fritz:0.1,small"}, "bad-student"),
    ):
        with pytest.raises(PipelineError) as caught:
            learn_with(**more)  # type: ignore[arg-type]
        assert caught.value.code == code
    assert not (tmp_path / "a.pth").exists()
