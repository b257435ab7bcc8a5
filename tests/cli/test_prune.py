"""`pipeline prune`."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np

from pipeline.support import video
from tests.networks import style_checkpoint


def test_a_smaller_checkpoint_is_written_that_other_commands_read(pipeline, tmp_path):
    source = style_checkpoint(tmp_path / "net.pth", (8, 12, 16), 1)
    done = pipeline("prune", source, "--goal", "60%", "--criterion", "l2")
    assert done.code == 0 and done.out.strip() == str(Path.cwd() / "net.pruned.pth")
    assert "not fine-tuned" in done.err
    report = json.loads(pipeline("inspect", "net.pruned.pth", "--json").out)
    assert report["architecture"] == "fast-neural-style" and report["weights"] < 10_000


def test_nothing_is_overwritten_unasked(pipeline, tmp_path):
    source = style_checkpoint(tmp_path / "net.pth")
    Path("net.pruned.pth").write_text("mine")
    done = pipeline("prune", source, "--goal", "60%", "--criterion", "l2")
    assert done.code == 2 and "[file-exists]" in done.err
    assert Path("net.pruned.pth").read_text() == "mine"


def test_the_report_is_data(pipeline, tmp_path):
    source = style_checkpoint(tmp_path / "net.pth")
    report = json.loads(
        pipeline("prune", source, "--goal", "70%", "--criterion", "l2", "-o", "a.pth", "--json").out
    )
    assert report["goal"]["after"] <= report["goal"]["limit"]
    assert report["apart"]["mean_levels"] > 0 and report["output"] == "a.pth"


def test_bad_goals_and_criteria_end_in_one_line(pipeline, tmp_path):
    source = style_checkpoint(tmp_path / "net.pth")
    for arguments, code in (
        (("--goal", "soon"), "bad-goal"),
        (("--goal", "50%", "--criterion", "luck"), "unknown-criterion"),
        (("--goal", "50%", "--multiple", "-1"), "bad-multiple"),
        (("--goal", "50%", "--tune", "5 min"), "conflicting-options"),
    ):
        done = pipeline("prune", source, *arguments)
        assert done.code == 2 and f"[{code}]" in done.err, arguments
        assert not Path("net.pruned.pth").exists()


def test_tuning_learns_from_what_the_original_paints(pipeline, tmp_path):
    import numpy as np
    from PIL import Image

    source = style_checkpoint(tmp_path / "net.pth", (8, 12, 16), 1)
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    (tmp_path / "frames").mkdir()
    Image.fromarray(noise).save(tmp_path / "frames" / "a.png")
    base = (
        "prune",
        source,
        "--no-refit",
        "--goal",
        "60%",
        "--criterion",
        "l2",
        "--json",
        "--images",
        tmp_path / "frames",
    )
    plain = json.loads(pipeline(*base, "-o", "plain.pth").out)
    tuned = json.loads(pipeline(*base, "-o", "tuned.pth", "--tune", "12 steps").out)
    assert (plain["tuned"], tuned["tuned"]) == (False, True)
    assert tuned["weights"] == plain["weights"]
    assert tuned["apart"]["mean_levels"] < plain["apart"]["mean_levels"]


def test_a_factored_network_is_read_and_built_by_the_other_commands(pipeline, tmp_path):
    source = style_checkpoint(tmp_path / "net.pth", (8, 12, 16), 2)
    given = ("--goal", "70%", "--method", "factor", "--multiple", "1", "-o", "a.pth", "--json")
    report = json.loads(pipeline("prune", source, *given).out)
    assert report["method"] == "factor" and report["ranks"]
    told = json.loads(pipeline("inspect", "a.pth", "--json").out)
    assert told["architecture"] == "fast-neural-style" and told["weights"] == report["weights"]["after"]
    for target in ("barracuda-1.0", "compute"):
        done = pipeline("build-unity", "a.pth", "--target", target, "-o", target)
        assert done.code == 0, done.err
    done = pipeline("prune", source, "--goal", "50%", "--method", "ranks")
    assert done.code == 2 and "[unknown-method]" in done.err


def test_frames_a_second_are_those_of_the_target(pipeline, tmp_path):
    source = style_checkpoint(tmp_path / "net.pth", (8, 12, 16), 1)
    goal = ("--goal", "80% of ms on desktop", "--criterion", "l2", "--no-refit", "--json")
    for target, device in (("compute", "compiled-desktop"), ("inference-2", "inference-desktop")):
        report = json.loads(pipeline("prune", source, *goal, "--target", target, "-o", f"{target}.pth").out)
        assert report["goal"]["told_after"].endswith(f"on {device}")
        assert report["goal"]["after"] <= report["goal"]["limit"]


def test_the_pictures_may_be_a_video(pipeline, tmp_path):
    source = style_checkpoint(tmp_path / "net.pth")
    goal = ("--goal", "70%", "--criterion", "activation", "--no-refit")
    frames = [np.random.default_rng(n).integers(0, 255, (96, 128, 3), np.uint8) for n in range(3)]
    video.write(tmp_path / "walk.mp4", frames, Fraction(10))
    done = pipeline("prune", source, *goal, "--images", tmp_path / "walk.mp4", "-o", "a.pth")
    assert done.code == 0, done.err
    alone = pipeline("prune", source, *goal, "-o", "b.pth")
    assert alone.code == 0 and Path("a.pth").read_bytes() != Path("b.pth").read_bytes()
    missing = pipeline("prune", source, *goal, "--images", "walk.mov", "-o", "c.pth")
    assert missing.code == 2 and "[file-not-found] walk.mov" in missing.err
