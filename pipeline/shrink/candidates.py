"""Which students of every width and depth meet a goal, by predicted cost."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.shrink import students
from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    from pipeline.cost.model import Layer
    from pipeline.graph.channels import Unit
    from pipeline.network import Network
    from pipeline.shrink.goals import Goal
    from pipeline.shrink.prunable import Prunable
    from pipeline.shrink.students import Student
    from pipeline.support.size import Size

FAMILY = "fast-neural-style-skips"
"""What students of any teacher can be made of: the style network with three long skips, which cost no weights."""
FIRST = (4, 6, 8, 12, 16, 24, 32)
"""First widths that are tried."""
SHAPES = ((1, 2, 4), (1, 2, 2), (1, 1, 1))
"""How the three widths grow."""
BLOCKS = (1, 2, 3, 5)
WIDEST = (32, 64, 128)
NODE_BYTES = 220
"""What a node takes of a style network's ONNX file beside its weights, and a little more."""


@dataclass(frozen=True)
class Candidate:
    """A student that meets the goal. `value` is what it has of the goal's kind."""

    student: Student
    value: float
    weights: int
    macs: float


def families(teacher: Network) -> tuple[str, ...]:
    """What students of this teacher are made of: its own architecture first, where students can have it."""
    try:
        students.parse(f"{teacher.architecture}:4x1")
    except PipelineError:
        return (FAMILY,)
    return tuple(dict.fromkeys((teacher.architecture, FAMILY)))


def meeting(goal: Goal, limit: float, slowest: float = math.inf, of: Sequence[str] = (FAMILY,)) -> list[Candidate]:
    """Every student that meets the goal, without training one; the one with the most multiply-adds first.

    `slowest` is the most predicted milliseconds, at the goal's size and on its device class; `of` are the
    architectures that students are made of.
    """
    from pipeline.cost.model import device

    found = []
    every = sorted({tuple(first * part for part in shape) for first in FIRST for shape in SHAPES})
    for family, blocks, widths in itertools.product(of, BLOCKS, every):
        student = students.parse(f"{family}:{','.join(map(str, widths))}x{blocks}")
        layers, nodes = _layers(family, blocks, widths, goal.size)
        if goal.kind in ("macs", "milliseconds"):
            value = goal.of_layers(layers)
        elif goal.kind == "weights":
            value = float(student.weights)
        else:
            value = float(4 * student.weights + NODE_BYTES * nodes)
        if value <= limit and device(goal.device).milliseconds(layers) < slowest:
            found.append(Candidate(student, value, student.weights, float(sum(held.macs for held in layers))))
    return sorted(found, key=lambda candidate: (-candidate.macs, candidate.student.spec))


@functools.cache
def _layers(family: str, blocks: int, widths: tuple[int, ...], size: Size) -> tuple[list[Layer], int]:
    """A student's layers at a picture size, and its nodes."""
    from pipeline.cost.model import at_size

    base = _base(family, blocks)
    graph = base.without(_surplus(base, widths))
    return at_size(graph, size), len(graph.nodes)


@functools.cache
def _base(family: str, blocks: int) -> Prunable:
    """The widest student of a family with so many blocks, to be cut to all others."""
    from pipeline.shrink.prunable import prunable

    return prunable(fresh(students.parse(f"{family}:{','.join(map(str, WIDEST))}x{blocks}")))


def _surplus(base: Prunable, widths: tuple[int, ...]) -> list[Unit]:
    """The channels of the widest student that one of these widths does not have."""
    new = dict(zip(WIDEST, widths, strict=True))
    return [unit for group in base.groups for unit in group.units[new[group.width] :]]


def fresh(student: Student, seed: int = 0) -> Network:
    """An untrained student as a network."""
    from pipeline.network import Network

    module = student.build(seed)
    name = student.spec.partition(":")[2]
    if student.architecture != FAMILY:
        name = f"{student.architecture}-{name}"
    return Network(
        name=f"student-{name.replace(',', '-')}",
        source=Path(f"student-{name.replace(',', '-')}.pth"),
        format="torch-zip",
        digest="",
        architecture=student.architecture,
        reason="trained as a student",
        contract=student.contract,
        weights=student.weights,
        module=module,
        details=dict(student.params),
    )


def chosen(found: Sequence[Candidate], count: int, of: Sequence[str] = (FAMILY,)) -> list[Candidate]:
    """The few that are worth training, unlike each other: the most multiply-adds, the most weights, then between.

    Of several that are alike, one of the architecture that comes first in `of` is taken.
    Raises PipelineError `goal-out-of-reach` where none meets the goal.
    """
    if not found:
        raise PipelineError(
            "goal-out-of-reach",
            "not even the smallest student meets the goal",
            subject="--goal",
            remedy="Use a weaker goal: a smaller picture, fewer frames per second, or another device class.",
        )
    by_weights = sorted(found, key=lambda candidate: -candidate.weights)
    picked: list[Candidate] = []
    depth = 0
    while len(picked) < min(count, len(found)) and depth < len(found):
        for ranked in (found, by_weights):
            candidate = ranked[depth]
            if len(picked) < count and not any(_alike(candidate, other) for other in picked):
                alike = [other for other in found if _alike(other, candidate)]
                picked.append(min(alike, key=lambda other: of.index(other.student.architecture)))
        depth += 1
    return picked


def _alike(one: Candidate, other: Candidate) -> bool:
    """Whether two differ by less than a tenth in weights and in multiply-adds."""
    return abs(one.weights - other.weights) < 0.1 * other.weights and abs(one.macs - other.macs) < 0.1 * other.macs
