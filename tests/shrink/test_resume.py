"""Interrupted trainings of every command: resumed, they give the same bytes; their checkpoints run nothing."""

from __future__ import annotations

import functools
import json
import signal
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import sources
from pipeline.shrink import distill, search
from pipeline.shrink.candidates import fresh
from pipeline.shrink.checkpoint import CHECKPOINT, State, read_checkpoint, write_checkpoint
from pipeline.shrink.job import prune_file
from pipeline.shrink.loop import Loop
from pipeline.shrink.prune import PruneOptions, prune
from pipeline.shrink.students import parse
from pipeline.sources import ReadOptions
from pipeline.support.errors import PipelineError
from tests.conftest import REPOSITORY
from tests.networks import style_checkpoint, style_onnx
from tests.shrink.test_search import images

STEPS = 7
LIGHT = {"sides": (72,), "pixels": 2 * 72 * 72, "pool": 3, "reuse": 2}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(distill, "DistillOptions", functools.partial(distill.DistillOptions, **LIGHT))
    images(tmp_path / "frames", 2)
    return tmp_path


class Stopped(BaseException):
    pass


def stopping(monkeypatch, at: int, seconds: float = 0.0) -> None:
    """Let a training end before its step `at`; it writes a checkpoint every so many seconds."""
    autocast = Loop.autocast

    def stop(self, done=0.0):
        if self.step == at:
            raise Stopped
        return autocast(self, done)

    monkeypatch.setattr(Loop, "autocast", stop)
    monkeypatch.setattr("pipeline.shrink.loop.SAVE_SECONDS", seconds)


def pruned(source: Path, output: str, **more) -> bytes:
    given = {"goal": "60%", "criterion": "l2", "refit": False, "images": Path("frames"), "tune": f"{STEPS} steps"}
    prune_file(source, output=Path(output), **{**given, **more})
    return Path(output).read_bytes()


@pytest.mark.parametrize("half", [True, False])
def test_fine_tuning_that_was_stopped_ends_with_the_same_bytes(here, monkeypatch, half) -> None:
    """Stopped at a checkpoint, between two (the newest is 3 steps old), and after the part in bfloat16."""
    monkeypatch.setattr("pipeline.shrink.loop.can_half", lambda device: half)
    source = style_checkpoint(here / "net.pth", (8, 12, 16), 1)
    whole = pruned(source, "whole.pth")
    for at, seconds in ((1, 0.0), (4, 1e9), (6, 0.0)):
        with monkeypatch.context() as patched, pytest.raises(Stopped):
            stopping(patched, at, seconds)
            pruned(source, "again.pth", resume=at > 1)
        assert not Path("again.pth").exists()
    assert pruned(source, "again.pth", resume=True) == whole
    with pytest.raises(PipelineError, match="different goal, criterion") as caught:
        pruned(source, "again.pth", resume=True, goal="70%", criterion="l1")
    assert caught.value.code == "run-differs"


def test_a_graph_that_is_tuned_goes_on_too(here, monkeypatch) -> None:
    source = style_onnx(here / "net.onnx", (72, 72), channels=8)
    ranges = {"reading": ReadOptions(input_range="0..255", output_range="0..255")}
    whole = pruned(source, "whole.onnx", **ranges)
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        stopping(patched, 3)
        pruned(source, "again.onnx", **ranges)
    assert pruned(source, "again.onnx", resume=True, **ranges) == whole


def test_a_killed_process_leaves_a_checkpoint_that_ends_with_the_same_bytes(here) -> None:
    source = style_checkpoint(here / "net.pth", (8, 12, 16), 1)
    whole = pruned(source, "whole.pth")
    program = (
        "import functools, os, signal, sys\n"
        "from pipeline.cli import main\n"
        "from pipeline.shrink import distill, loop\n"
        f"distill.DistillOptions = functools.partial(distill.DistillOptions, **{LIGHT})\n"
        "loop.SAVE_SECONDS, follow = 0, loop.Loop._follow\n"
        "def die(self): os.kill(os.getpid(), signal.SIGKILL) if self.step == 4 else follow(self)\n"
        "loop.Loop._follow = die\n"
        "sys.exit(main())"
    )
    command = [sys.executable, "-c", program, "prune", source, "--goal", "60%", "--criterion", "l2", "--no-refit"]
    command += ["--images", "frames", "--tune", f"{STEPS} steps", "-o", "again.pth"]
    killed = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert pruned(source, "again.pth", resume=True) == whole


def environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": str(torch.get_num_threads())}


def found(teacher, options, files, tell):
    """In place of the search, which takes long: the teacher pruned, and a student."""
    done = prune(teacher, options.goal, PruneOptions("l2", refit=False, seed=options.seed))
    network = replace(done.network, name="net-pruned")
    student = fresh(parse("fast-neural-style-skips:4,4,4x1"), options.seed)
    return [search.Entry("pruned", network, "pruned"), search.Entry("student", student, "student")], []


def test_a_search_goes_on_where_it_was_stopped(here, monkeypatch) -> None:
    def unmeasured(*_: object) -> None:
        raise Stopped

    monkeypatch.setattr(search, "measured", unmeasured)
    monkeypatch.setattr(search, "find", found)
    source = style_checkpoint(here / "net.pth", (12, 16, 24), 1)

    given = {"goal": "50%", "images": [Path("frames")], "time": f"{2 * STEPS} steps", "tries": 2}

    def shrunk(output: str, **more) -> dict[str, bytes]:
        with pytest.raises(Stopped):
            search.shrink_file(source, output=Path(output), **{**given, **more})
        return {path.name: path.read_bytes() for path in sorted(Path(output).glob("*.pth"))}

    whole = shrunk("whole")
    with monkeypatch.context() as patched:
        train, trained = search.train, []

        def second(student, *given):
            trained.append(student.name)  # the pruned network is fine-tuned before it
            stopping(patched, 3)
            return train(student, *given)

        patched.setattr(search, "train", second)
        first = shrunk("again")
    assert list(first) == ["net-pruned.pth"] and trained == ["student-4-4-4x1"]
    begun = [read_checkpoint(path, {}).step for path in sorted(Path("again/runs").glob(f"*/{CHECKPOINT}"))]
    assert begun == [STEPS, 3]
    steps = []
    with monkeypatch.context() as patched:
        follow = Loop._follow
        patched.setattr(Loop, "_follow", lambda self: (steps.append(self.step), follow(self)))
        assert shrunk("again", resume=True) == whole
    assert steps == [3, 4, 5, 6]  # nothing is trained twice
    for more, code in (({}, "file-exists"), ({"resume": True, "goal": "40%"}, "run-differs")):
        with pytest.raises(PipelineError) as caught:
            search.shrink_file(source, output=Path("again"), **{**given, **more})
        assert caught.value.code == code
    with pytest.raises(PipelineError) as caught:
        search.shrink_file(source, goal="50%", images=[Path("frames")], output=Path("nowhere"), resume=True)
    assert caught.value.code == "nothing-to-resume"


def test_what_resume_needs_is_reported_before_the_work(here) -> None:
    source = style_checkpoint(here / "net.pth")
    for more, code in (
        ({"tune": None, "resume": True}, "conflicting-options"),
        ({"tune": None, "run": Path("there")}, "conflicting-options"),
        ({"resume": True}, "nothing-to-resume"),
        ({"tune": "later"}, "bad-time"),
    ):
        with pytest.raises(PipelineError) as caught:
            pruned(source, "out.pth", **more)
        assert caught.value.code == code


# --- checkpoints that were not written by this program -------------------------------------------------------


def state(**more) -> State:
    given = {
        "identity": {"seed": 1},
        "step": 3,
        "seconds": 1.5,
        "half": True,
        "skipped": 0,
        "since": 1,
        "sums": {"pixels": 0.1},
        "scales": [1.0],
        "records": [{"step": 3, "minutes": 0.1, "losses": {"pixels": 0.5}, "quality": [{"psnr": 20.0}]}],
        "arrays": {"student/a": np.arange(6, dtype=np.float32).reshape(2, 3), "student/n": np.array(7)},
    }
    return State(**{**given, **more})


def test_a_state_comes_back_as_it_was(here) -> None:
    expected = state(sums={"pixels": float(np.float32(0.1))})
    write_checkpoint(here / CHECKPOINT, expected)
    first = (here / CHECKPOINT).read_bytes()
    found = read_checkpoint(here / CHECKPOINT, {"seed": 1})
    for name in ("student/a", "student/n"):
        assert np.array_equal(found.arrays[name], expected.arrays[name])
        assert found.arrays[name].dtype == expected.arrays[name].dtype
    assert {**vars(found), "arrays": 0} == {**vars(expected), "arrays": 0}
    write_checkpoint(here / CHECKPOINT, found)
    assert (here / CHECKPOINT).read_bytes() == first


@pytest.mark.parametrize(
    "change",
    [
        {"step": -1},
        {"step": True},
        {"step": 10**30},
        {"seconds": float("nan")},
        {"half": "yes"},
        {"scales": [float("inf")]},
        {"scales": [-1.0]},
        {"sums": {"pixels": "0"}},
        {"records": [{"step": 1}]},
        {"records": [{"step": 1, "minutes": 1, "losses": {}, "other": "x"}]},
        {"records": [{"step": 1, "minutes": 1, "losses": {}, "quality": [{"psnr": "loud"}]}]},
    ],
)
def test_values_that_cannot_be_are_refused(here, change) -> None:
    write_checkpoint(here / CHECKPOINT, state(**change))
    with pytest.raises(PipelineError) as caught:
        read_checkpoint(here / CHECKPOINT, {})
    assert caught.value.code == "damaged-file" and "checkpoint" in caught.value.message


def test_a_hostile_checkpoint_runs_nothing_and_ends_in_one_line(here) -> None:
    source = style_checkpoint(here / "net.pth", (8, 12, 16), 1)
    pruned(source, "out.pth", tune="1 step")
    place = Path("out.pth.run") / CHECKPOINT
    good = place.read_bytes()

    class Evil:
        def __reduce__(self):
            return open, (str(here / "run"), "w")

    torch.save({"student": Evil()}, "evil.pt")
    (length,) = struct.unpack("<Q", good[:8])
    header = json.loads(good[8 : 8 + length])
    adam = next(name for name in header if name.startswith("optimiser/") and name.endswith("exp_avg"))

    def with_header(**changed) -> bytes:
        text = json.dumps({**header, **changed}).encode()
        return struct.pack("<Q", len(text)) + text + good[8 + length :]

    flat = {**header[adam], "shape": [int(np.prod(header[adam]["shape"]))]}
    bad = {
        "a pickle": Path("evil.pt").read_bytes(),
        "cut off": good[:-5],
        "no header": b"\xff" * 64,
        "a deep header": struct.pack("<Q", 200_000) + b"[" * 200_000,
        "another shape": with_header(**{adam: flat}),
        "a very large number": with_header(**{adam: {**header[adam], "shape": [1 << 40]}}),
        "no student": with_header(**{name: None for name in header if name.startswith("student/")}),
        "deep values": with_header(__metadata__={"unity-bridge-pipeline": "[" * 200_000}),
    }
    for name, content in bad.items():
        place.write_bytes(content)
        with pytest.raises(PipelineError) as caught:
            pruned(source, "out.pth", tune="1 step", resume=True)
        assert caught.value.code == "damaged-file", (name, caught.value)
        assert "--force" in caught.value.remedy
    assert not (here / "run").exists()
    assert sources.read(Path("out.pth")).weights


def test_a_training_that_diverges_says_what_can_be_done_about_it(here, monkeypatch) -> None:
    """The commands that fine-tune have no --rate, and a run with another rate is another run."""
    source = style_checkpoint(here / "net.pth", (8, 12, 16), 1)
    check = Loop._check
    monkeypatch.setattr(Loop, "_check", lambda self, means, taken: check(self, means, 0))  # no step was taken
    with pytest.raises(PipelineError) as caught:
        pruned(source, "out.pth")
    assert (caught.value.code, caught.value.subject) == ("training-diverged", "net")
    assert "pipeline distill" in caught.value.remedy and "--force" not in caught.value.remedy
