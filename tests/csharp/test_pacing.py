"""The numbers behind frame rates, LayerBudget and FrameRateGovernor, against the same rules written in Python."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.csharp.conftest import ask


class Budget:
    """LayerBudget, once more, in single precision."""

    def __init__(self, layers: int) -> None:
        self.known: list[np.float32 | None] = [None] * layers
        self.runs = 0

    def begin(self) -> bool:
        self.runs += 1
        return self.runs % 600 == 2

    def learn(self, layer: int, milliseconds: float) -> None:
        index = min(layer, len(self.known) - 1)
        known, now = self.known[index], np.float32(milliseconds)
        self.known[index] = now if known is None else known + (now - known) * np.float32(0.5)

    def scale(self, ratio: float) -> None:
        self.known = [known if known is None else known * np.float32(ratio) for known in self.known]

    def expect(self, layer: int, budget: float) -> np.float32:
        known = self.known[min(layer, len(self.known) - 1)]
        return np.float32(budget) / np.float32(4) if known is None else known

    def fits(self, layer: int, spent: float, budget: float) -> bool:
        return bool(np.float32(spent) + self.expect(layer, budget) <= np.float32(budget))


def test_a_budget_learns_and_judges_as_the_reference_does(program: Path) -> None:
    chance = random.Random(5)
    reference, lines, expected = Budget(4), [], []
    for _ in range(2000):
        word = chance.choice(["begin", "learn", "scale", "expect", "fits"])
        layer, budget, spent = chance.randrange(6), chance.choice([0.5, 2.0, 8.0]), chance.uniform(0, 8)
        arguments = {
            "begin": (),
            "learn": (layer, round(chance.uniform(0.01, 5), 4)),
            "scale": (chance.choice([0.5, 0.7056, 1.4, 2.0]),),
            "expect": (layer, budget),
            "fits": (layer, round(spent, 4), budget),
        }[word]
        lines.append(" ".join(map(str, (word, *arguments))))
        expected.append(getattr(reference, word)(*arguments))
    for line, answer, value in zip(
        lines, ask(program, "budget", stdin="\n".join(lines) + "\n"), expected, strict=True
    ):
        if isinstance(value, bool):
            assert answer == str(value), line
        elif value is not None:
            assert float(answer) == pytest.approx(float(value), rel=1e-5), line


class Governor:
    """FrameRateGovernor, once more."""

    def __init__(self) -> None:
        self.level, self.settling, self.window = 0, 4, []
        self.good, self.patience, self.on_trial = 0, 6, False

    def tick(self, milliseconds: float, target: float) -> int:
        if self.settling:
            self.settling -= 1
            return self.level
        self.window.append(np.float32(milliseconds) > np.float32(target) * np.float32(1.1))
        if len(self.window) == 20:
            too_slow, self.window = sum(self.window) > 10, []
            self.lower() if too_slow else self.raise_()
        return self.level

    def lower(self) -> None:
        if self.on_trial:
            self.patience = min(2 * self.patience, 96)
        self.on_trial, self.good = False, 0
        if self.level < 9:
            self.level, self.settling = self.level + 1, 4

    def raise_(self) -> None:
        if self.on_trial:
            self.patience = 6
        self.on_trial = False
        self.good += 1
        if self.level and self.good >= self.patience:
            self.good, self.on_trial, self.level, self.settling = 0, True, self.level - 1, 4


def simulate(
    program: Path, cost: Callable[[int, int], float], frames: int, target: float = 16.7
) -> tuple[list[float], list[int]]:
    """Frame times and levels where frame t at a level costs cost(t, level); C# and the reference agree on all.

    The governor is deterministic, so the reference makes the frame times and the C# must give the same levels.
    """
    governor, times, levels = Governor(), [], []
    for frame in range(frames):
        times.append(cost(frame, governor.level))
        levels.append(governor.tick(times[-1], target))
    given = "".join(f"{time} {target}\n" for time in times)
    assert [int(line) for line in ask(program, "governor", stdin=given)] == levels
    return times, levels


def pixels(level: int) -> float:
    return 0.84 ** (2 * level)


def late(times: list[float], target: float = 16.7) -> float:
    return float(np.mean(np.array(times) > 1.1 * target))


def test_a_fast_machine_keeps_the_full_resolution(program: Path) -> None:
    _, levels = simulate(program, lambda frame, level: 6 + 8 * pixels(level), 2000)
    assert set(levels) == {0}


def test_a_slow_machine_gets_the_highest_resolution_that_holds_the_rate(program: Path) -> None:
    times, levels = simulate(program, lambda frame, level: 6 + 30 * pixels(level), 8000)
    right = next(level for level in range(10) if 6 + 30 * pixels(level) <= 1.1 * 16.7)
    assert right == 3
    # Three windows and the frames between them: the rate is held after a second and a half.
    assert levels[:90][-1] == right
    # Trials of the level above become rare.
    assert np.mean(np.array(levels[400:]) == right) > 0.95
    assert late(times[4000:]) < 0.03


def test_vertical_sync_hides_no_room_for_ever(program: Path) -> None:
    def synchronised(frame: int, level: int) -> float:
        busy = 6 + (30 if frame < 2000 else 10) * pixels(level)
        return 16.7 * np.ceil(busy / 16.7)

    _, levels = simulate(program, synchronised, 9000)
    assert levels[1999] >= 3
    assert levels[-1] == 0


def test_a_single_hitch_changes_nothing(program: Path) -> None:
    _, levels = simulate(program, lambda frame, level: 200.0 if frame % 15 == 0 else 12.0, 3000)
    assert set(levels) == {0}


def test_a_hopeless_machine_ends_at_the_lowest_level(program: Path) -> None:
    _, levels = simulate(program, lambda frame, level: 40.0, 1000)
    assert levels[-1] == 9


def test_noise_is_judged_as_the_reference_does(program: Path) -> None:
    chance = random.Random(11)
    simulate(program, lambda frame, level: round(chance.uniform(4, 30) * (0.4 + pixels(level)), 3), 20000)
