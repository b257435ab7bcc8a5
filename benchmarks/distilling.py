"""`pipeline distill` beside a bare loop: the same teacher, student, crops and losses.

The bare loop is what one writes first: random initial weights, Adam, the teacher in every step, all in float32 and
in PyTorch's usual layout, and every loss computed anew. Two comparisons, on one thread:

- milliseconds of processor time per step, after a first one that does not count, and their ratio;
- with --minutes: the quality on --holdout pictures after as many minutes, the initial weights of the student
  included. They are processor time for the bare loop and wall time for the pipeline's training, which gets less of
  the processor on a busy machine.

    python benchmarks/distilling.py TEACHER.pth PICTURES [--student fast-neural-style:8,16,32x5] [--steps 12]
    python benchmarks/distilling.py TEACHER.pth PICTURES --minutes 2 --holdout PICTURE
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from pipeline import sources
from pipeline.shrink import losses as lost
from pipeline.shrink import students
from pipeline.shrink.data import Crops, Pictures
from pipeline.shrink.distill import NARROWED, DistillOptions, Weights, distill
from pipeline.shrink.loop import GreyLevels, LoopOptions, usual_rate
from pipeline.shrink.pictures import as_tensor
from pipeline.shrink.prunable import prunable
from pipeline.shrink.prune import load_pictures
from pipeline.shrink.quality import quality
from pipeline.shrink.start import from_teacher
from pipeline.shrink.teacher import LEVELS
from pipeline.shrink.tuning import NARROWED_RATE
from pipeline.support.picture_files import picture_files

SIDE = 192


def bare(
    teacher: torch.nn.Module,
    student: torch.nn.Module,
    pictures: Pictures,
    weights: Weights,
    done: Callable[[int, float], bool],
) -> float:
    """Train with the bare loop, and the losses whose weight is not 0 (flicker is left out), until
    `done(step, seconds)`; returns the milliseconds of a step."""
    count = 65_536 // SIDE**2
    crops, texture, critic = Crops(pictures, 1), lost.Texture(), lost.Critic()
    painter, painting = GreyLevels(teacher, LEVELS).requires_grad_(False), GreyLevels(student, LEVELS).train()
    eyes = lost.TeacherEyes(teacher, painter.to_network)
    hints = lost.Hints(teacher, student, torch.device("cpu"))
    optimiser = torch.optim.Adam([*student.parameters(), *hints.parameters()], 1e-3)
    judge = torch.optim.Adam(critic.parameters(), 5e-4)
    started = begun = time.process_time()
    step = 0
    while not done(step, time.process_time() - begun):
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
        step += 1
    eyes.close()
    hints.close()
    student.eval()
    return (time.process_time() - started) / max(step - 1, 1) * 1000


def ours(teacher: sources.Network, student: torch.nn.Module, pictures: Pictures, options: DistillOptions) -> float:
    """Milliseconds of a step of the pipeline's loop."""
    begun: list[float] = []
    distill(teacher, student, pictures, options, progress=lambda history, done: begun.append(time.process_time()))
    return (begun[-1] - begun[0]) / (len(begun) - 1) * 1000


def steps(teacher: Path, spec: str, pictures: Pictures, count: int) -> None:
    """Print the milliseconds of a step of both, with three sets of losses."""
    options = DistillOptions(LoopOptions(steps=count + 1, every=10_000), sides=(SIDE,))
    near, student = options.near_teacher(NARROWED), students.parse(spec)
    for name, weights, chosen in (
        ("all losses", Weights(), options),
        ("a student from its teacher: pictures", NARROWED, replace(near, inner=0.0)),
        ("a student from its teacher: inner layers", NARROWED, replace(near, inner=1.0)),
    ):
        module = sources.read(teacher).module
        assert module is not None
        plain = bare(module, student.build(1), pictures, weights, lambda step, _: step > count)
        taken = ours(sources.read(teacher), student.build(1), pictures, chosen)
        ratio = f"{plain / taken:.2f} times as many steps"
        print(f"{name:<42} bare loop {plain:5.0f} ms a step, {taken:5.0f} ms: {ratio}")


def trained(teacher: Path, spec: str, files: list[Path], minutes: float, holdout: list[Path]) -> None:
    """Print the quality of both after as many minutes."""
    whole, student = sources.read(teacher), students.parse(spec)
    assert whole.module is not None
    shown = [as_tensor(path, None, 8) for path in holdout]
    with torch.no_grad():
        wanted = [whole.module(x).clamp(0, 255) for x in shown]

    def report(name: str, module: torch.nn.Module) -> None:
        with torch.no_grad():
            outputs = [module(x).clamp(0, 255) for x in shown]
        for path, a, b in zip(holdout, outputs, wanted, strict=True):
            q = quality(a.numpy() / 255, b.numpy() / 255)
            print(
                f"{name:<10} {path.name}: {q.psnr:.1f} dB, SSIM {q.ssim:.2f}, detail {q.detail:.2f}, texture "
                f"{q.texture:.2f}"
            )

    plain = student.build(1)
    bare(whole.module, plain, Pictures(files), NARROWED, lambda _, seconds: seconds >= 60 * minutes)
    report("bare loop", plain)
    begun = time.process_time()
    module = from_teacher(whole, student, load_pictures(prunable(whole), files, holdout))
    left = max(minutes - (time.process_time() - begun) / 60, 0.1)
    rate = usual_rate(module) * NARROWED_RATE
    options = DistillOptions(LoopOptions(minutes=left, every=10_000, rate=rate)).near_teacher(NARROWED)
    distill(sources.read(teacher), module, Pictures(files), options)
    report("pipeline", module)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--student", default="fast-neural-style:8,16,32x5")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--holdout", type=Path, action="append", default=[])
    given = parser.parse_args()
    torch.set_num_threads(1)
    files = picture_files([given.pictures])
    if given.minutes:
        trained(given.teacher, given.student, files, given.minutes, given.holdout)
    else:
        steps(given.teacher, given.student, Pictures(files), given.steps)


if __name__ == "__main__":
    main()
