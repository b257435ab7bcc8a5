"""Enumerates the students that meet a goal, by predicted cost."""

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
"""The architecture of students for any teacher: the style network with three long skips, which cost no weights."""
FIRST = (4, 6, 8, 12, 16, 24, 32)
"""The widths of the first stage that are tried."""
SHAPES = ((1, 2, 4), (1, 2, 2), (1, 1, 1))
"""Ratios of the widths of the three stages."""
BLOCKS = (1, 2, 3, 5)
RANK = 3 / 16
"""Rank of factored convolutions, as a part of the width of the third stage."""
WIDEST = (32, 64, 128)
FACTORED = "fast-neural-style"
"""How the names of the families with factored layers begin."""
NODE_BYTES = 220
"""Upper estimate of the bytes of a node in a style network's ONNX file, without weights."""


@dataclass(frozen=True)
class Candidate:
    """A student that meets the goal. `value` is in the unit of the goal."""

    student: Student
    value: float
    weights: int
    macs: float

    @property
    def channels(self) -> int:
        """Channels of all layers with a bias or a norm: factored layers leave room for many of them."""
        return sum(shape[0] for shape in self.student.shapes.values() if len(shape) == 1)


def families(teacher: Network) -> tuple[str, ...]:
    """The architectures for students of this teacher: first its own, if that is one of students."""
    try:
        students.parse(f"{teacher.architecture}:4x1")
    except PipelineError:
        return (FAMILY,)
    return tuple(dict.fromkeys((teacher.architecture, FAMILY)))


def meeting(goal: Goal, limit: float, slowest: float = math.inf, of: Sequence[str] = (FAMILY,)) -> list[Candidate]:
    """All students that meet the goal, untrained, sorted by multiply-adds in descending order.

    `slowest` is the maximum predicted time in milliseconds at the goal's size and on its device class; `of` are
    the architectures of students.
    """
    from pipeline.cost.model import device

    found = []
    every = sorted({tuple(first * part for part in shape) for first in FIRST for shape in SHAPES})
    for family, blocks, widths, factored in itertools.product(of, BLOCKS, every, (False, True)):
        if factored and not family.startswith(FACTORED):
            continue
        rank = f"r{max(1, round(RANK * widths[2]))}" if factored else ""
        student = students.parse(f"{family}:{','.join(map(str, widths))}x{blocks}{rank}")
        layers, nodes = _layers(student.spec, family, blocks, widths, goal.size)
        if goal.kind in ("macs", "milliseconds"):
            value = goal.of_layers(layers)
        elif goal.kind == "weights":
            value = float(student.weights)
        else:
            value = float(4 * student.weights + NODE_BYTES * nodes)
        if value <= limit and device(goal.device).milliseconds(layers) < slowest:
            found.append(Candidate(student, value, student.weights, float(sum(layer.macs for layer in layers))))
    return sorted(found, key=lambda candidate: (-candidate.macs, candidate.student.spec))


@functools.cache
def _layers(spec: str, family: str, blocks: int, widths: tuple[int, ...], size: Size) -> tuple[list[Layer], int]:
    """The layers of a student of this family, blocks and widths at a picture size, and its nodes."""
    from pipeline.cost.model import at_size
    from pipeline.shrink.factor import shaped
    from pipeline.shrink.start import ranks_of

    base = _base(family, blocks)
    graph = base.without(_surplus(base, widths))
    student = students.parse(spec)
    if student.ranks:
        graph = shaped(graph, ranks_of(base, student))
    return at_size(graph, size), len(graph.nodes)


@functools.cache
def _base(family: str, blocks: int) -> Prunable:
    """The widest student of a family with this number of blocks, from which all others are cut."""
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
    """Select up to `count` different candidates for training: most multiply-adds, most weights, most channels,
    then the next ones.

    Among similar ones, the architecture that comes first in `of` is preferred.
    Raises PipelineError `goal-out-of-reach` if `found` is empty.
    """
    if not found:
        raise PipelineError(
            "goal-out-of-reach",
            "not even the smallest student meets the goal",
            subject="--goal",
            remedy="Use a weaker goal: a smaller picture, fewer frames per second, or another device class.",
        )
    by_weights = sorted(found, key=lambda candidate: -candidate.weights)
    by_channels = sorted(found, key=lambda candidate: -candidate.channels)
    picked: list[Candidate] = []
    depth = 0
    while len(picked) < min(count, len(found)) and depth < len(found):
        for ranked in (found, by_weights, by_channels):
            candidate = ranked[depth]
            if len(picked) < count and not any(_alike(candidate, other) for other in picked):
                alike = [other for other in found if _alike(other, candidate)]
                picked.append(min(alike, key=lambda other: of.index(other.student.architecture)))
        depth += 1
    return picked


def _alike(one: Candidate, other: Candidate) -> bool:
    """Whether two candidates differ by less than a tenth both in weights and in multiply-adds."""
    return abs(one.weights - other.weights) < 0.1 * other.weights and abs(one.macs - other.macs) < 0.1 * other.macs
