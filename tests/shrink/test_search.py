"""`pipeline shrink` from end to end, with networks that hardly paint: what is told is what was done."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import sources
from pipeline.bench.job import lower
from pipeline.shrink import search
from pipeline.shrink.goals import parse
from pipeline.shrink.search import bought_nothing, front
from pipeline.support.size import Size
from tests.cli.conftest import pipeline  # noqa: F401 - a fixture
from tests.networks import style_checkpoint


def images(folder: Path, count: int = 2) -> Path:
    folder.mkdir()
    for number in range(count):
        rng = np.random.default_rng(number)
        blocks = rng.integers(0, 255, (6, 8, 3), np.uint8)
        Image.fromarray(blocks).resize((160, 120), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


def test_a_search_writes_networks_pictures_and_a_report(pipeline, tmp_path, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setattr(search, "SHOWN", Size(128, 96))
    monkeypatch.setattr(search, "LARGE", Size(160, 112))
    teacher = style_checkpoint(tmp_path / "net.pth", (12, 16, 24), 1)
    done = pipeline(
        *("shrink", teacher, "--images", images(tmp_path / "frames"), "--goal", "50%", "--time", "4 steps"),
        *("--tries", "2", "--size", "64x48", "-o", "small"),
    )
    assert done.code == 0, done.err
    report = json.loads(Path("small/report.json").read_text())
    assert [model["what"] for model in report["models"]][:3] == ["teacher", "pruned", "student"]
    assert report["unseen"] == "1.png"
    assert all(model["flicker"] > 0 for model in report["models"])
    for model in report["models"][1:3]:
        assert model["training"]["steps"] == 2
        assert model["goal"]["value"] <= report["models"][0]["goal"]["value"] * 0.5
        again = sources.read(
            Path("small") / model["path"], sources.ReadOptions(architecture=model["architecture"])
        )
        assert again.weights == model["weights"]
    page = Path("small/report.html").read_text()
    assert page.count("data:image/png") == 4 and "What did not help" in page
    assert (Path("small/pictures") / "teacher.png").exists()
    assert "half masked" in done.out and "*" in done.out
    again = pipeline("shrink", teacher, "--images", tmp_path / "frames", "--goal", "50%", "-o", "small")
    assert again.code == 2 and "[file-exists]" in again.err


def test_what_is_not_given_right_ends_before_anything_is_trained(pipeline, tmp_path) -> None:  # noqa: F811
    teacher = style_checkpoint(tmp_path / "net.pth")
    frames = images(tmp_path / "frames", 1)
    (tmp_path / "empty").mkdir()
    for arguments, code in (
        (("--images", frames, "--goal", "soon"), "bad-goal"),
        (("--images", frames, "--goal", "50%", "--time", "later"), "bad-time"),
        (("--images", tmp_path / "empty", "--goal", "50%"), "no-pictures"),
        (("--images", frames, "--goal", "5 weights"), "goal-out-of-reach"),
    ):
        done = pipeline("shrink", teacher, *arguments)
        assert done.code == 2 and f"[{code}]" in done.err, done.err
        assert not Path("net-smaller").exists()


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    place = tmp_path_factory.mktemp("teacher")
    return lower(sources.read(style_checkpoint(place / "net.pth")), "barracuda-3.0", "teacher")


def test_masks_and_rounded_weights_leave_the_graph_as_costly_as_it_was(subject) -> None:
    masked, rounded = (item for item, _ in bought_nothing(subject))
    goal = parse("1 ms")
    assert goal.value(masked.graph) == goal.value(rounded.graph) == goal.value(subject.graph)
    kernels = [t.values for t in masked.graph.tensors().values() if hasattr(t, "values") and len(t.shape) == 4]
    share = sum((kernel == 0).sum() for kernel in kernels) / sum(kernel.size for kernel in kernels)
    assert share == pytest.approx(0.5, abs=0.02)


def test_the_front_holds_what_nothing_beats() -> None:
    def model(label: str, value: float, texture: float, what: str = "student"):
        return {"label": label, "what": what, "goal": {"value": value}, "quality": {"texture": texture}}

    models = [
        model("teacher", 100, 0.0, "teacher"),
        model("good", 50, 0.3),
        model("worse", 60, 0.4),
        model("small", 10, 0.9),
        model("trick", 1, 0.0, "8-bit weights"),
    ]
    assert front(models, parse("50%")) == ["teacher", "good", "small"]
