"""What a step of `pipeline distill` takes beside a bare loop: the same teacher, student, crops and losses.

The bare loop is what one writes first: the teacher runs in every step, all in float32 and in PyTorch's usual
layout, and every loss is computed anew. The numbers are milliseconds of processor time per step, on one thread,
after a first one that does not count, and their ratio.

    python benchmarks/distilling.py TEACHER.pth PICTURES [--student fast-neural-style:8,16,32x5] [--steps 12]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch

from pipeline import sources
from pipeline.shrink import losses as lost
from pipeline.shrink import students
from pipeline.shrink.data import Crops, Pictures
from pipeline.shrink.distill import NARROWED, DistillOptions, Weights, distill
from pipeline.shrink.loop import GreyLevels, LoopOptions
from pipeline.shrink.teacher import LEVELS
from pipeline.support.picture_files import picture_files

SIDE = 192


def bare(
    teacher: torch.nn.Module, student: torch.nn.Module, pictures: Pictures, steps: int, weights: Weights
) -> float:
    """Milliseconds of a step of the bare loop with the losses whose weight is not 0; flicker is left out."""
    count = 65_536 // SIDE**2
    crops, texture, critic = Crops(pictures, 1), lost.Texture(), lost.Critic()
    painter, painting = GreyLevels(teacher, LEVELS).requires_grad_(False), GreyLevels(student, LEVELS).train()
    eyes = lost.TeacherEyes(teacher, painter.to_network)
    hints = lost.Hints(teacher, student, torch.device("cpu"))
    optimiser = torch.optim.Adam([*student.parameters(), *hints.parameters()], 1e-3)
    judge = torch.optim.Adam(critic.parameters(), 5e-4)
    started = 0.0
    for step in range(steps + 1):
        if step == 1:
            started = time.process_time()
        given = torch.from_numpy(crops.batch(step, count, SIDE, SIDE)).float()
        wanted = painter(given).clamp(0, 255)
        hints.listening = bool(weights.hints)
        made = lost.leaky_clamp(painting(given))
        energy, gram = texture.loss(made, texture.statistics(wanted))
        loss = lost.pixels(made, wanted) + weights.energy * energy + weights.gram * gram
        loss = loss + weights.strokes * lost.strokes(made, lost.edges(wanted))
        if weights.features or weights.statistics:
            features, seen = eyes.loss(made, wanted)
            loss = loss + weights.features * features + weights.statistics * seen
        if weights.hints:
            loss = loss + hints.loss(given)
        if weights.critic:
            judge.zero_grad()
            lost.critic_loss(critic, given, made.detach(), wanted).backward()
            judge.step()
            loss = loss - weights.critic * critic(given, made).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    eyes.close()
    hints.close()
    return (time.process_time() - started) / steps * 1000


def ours(teacher: sources.Network, student: torch.nn.Module, pictures: Pictures, options: DistillOptions) -> float:
    """Milliseconds of a step of the pipeline's loop."""
    begun: list[float] = []
    distill(teacher, student, pictures, options, progress=lambda history, done: begun.append(time.process_time()))
    return (begun[-1] - begun[0]) / (len(begun) - 1) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--student", default="fast-neural-style:8,16,32x5")
    parser.add_argument("--steps", type=int, default=12)
    given = parser.parse_args()
    torch.set_num_threads(1)
    teacher, student = sources.read(given.teacher), students.parse(given.student)
    pictures = Pictures(picture_files([given.pictures]))
    assert teacher.module is not None
    options = DistillOptions(LoopOptions(steps=given.steps + 1, every=10_000), sides=(SIDE,))
    near = options.near_teacher(NARROWED)
    for name, weights, chosen in (
        ("all losses", Weights(), options),
        ("a student from its teacher: pictures", NARROWED, replace(near, inner=0.0)),
        ("a student from its teacher: inner layers", NARROWED, replace(near, inner=1.0)),
    ):
        plain = bare(teacher.module, student.build(1), pictures, given.steps, weights)
        taken = ours(sources.read(given.teacher), student.build(1), pictures, chosen)
        ratio = f"{plain / taken:.2f} times as many steps"
        print(f"{name:<42} bare loop {plain:5.0f} ms a step, {taken:5.0f} ms: {ratio}")


if __name__ == "__main__":
    main()
