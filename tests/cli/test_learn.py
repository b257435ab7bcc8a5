"""pipeline learn: from pairs to a bundle."""

from __future__ import annotations

from pathlib import Path

from tests.shrink.test_learn import STUDENT, folders

__all__ = ["folders"]


def test_a_learnt_network_is_built_for_unity(folders: tuple[Path, Path], pipeline) -> None:
    frames, painted = folders
    words = ("--steps", "2", "--patch", "48", "--batch", "2", "--device", "cpu", "--student", STUDENT)
    done = pipeline("learn", "--frames", frames, "--painted", painted, *words, "-o", "level.pth")
    assert done.code == 0 and done.out.strip() == "level.pth", done.err
    assert "3 pairs for training, 1 frames without a painting" in done.err
    built = pipeline("build-unity", "level.pth", "--size", "96x64", "-o", "out")
    assert built.code == 0, built.err
    assert "few-shot" in built.err
    wrong = pipeline("learn", "--frames", frames, "--painted", painted, "--patch", "52")
    assert wrong.code == 2 and "[bad-size]" in wrong.err
