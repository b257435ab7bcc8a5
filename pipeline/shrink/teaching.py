"""`pipeline distill` as one call: reads the teacher, builds or reads the student, distils, writes. Imports
torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from pipeline import sources, targets
from pipeline.architectures import names
from pipeline.contract import ImageContract, contract_missing
from pipeline.network import Network
from pipeline.shrink import aim, students
from pipeline.shrink.candidates import fresh
from pipeline.shrink.checkpoint import CHECKPOINT, Run, check_free
from pipeline.shrink.distill import NARROWED, DistillOptions, distill
from pipeline.shrink.goals import parse
from pipeline.shrink.inner import LEAST_ALIKE, Inner
from pipeline.shrink.loop import GreyLevels, History, usual_rate
from pipeline.shrink.motion import Sequences
from pipeline.shrink.teacher import rebuilt
from pipeline.shrink.tuning import NARROWED_RATE
from pipeline.shrink.whole_picture import check_norms
from pipeline.support.errors import PipelineError
from pipeline.support.files import write_file
from pipeline.support.picture_files import check_picture
from pipeline.support.serialise import render_json
from pipeline.support.size import Size
from pipeline.support.untrusted import on_a_file


@on_a_file
def distill_file(
    teacher: Path,
    images: Sequence[Path],
    student: str = "",
    output: Path | None = None,
    options: DistillOptions | None = None,
    *,
    weights: Mapping[str, float] = {},
    reading: sources.ReadOptions | None = None,
    sequences: Sequence[Path] = (),
    holdout: Sequence[Path] = (),
    run: Path | None = None,
    resume: bool = False,
    force: bool = False,
    start: str = "auto",
    target: str = targets.DEFAULT,
    goal: str = "",
    started: Callable[[str], None] = lambda description: None,
    progress: Callable[[History, float], None] = lambda history, done: None,
) -> dict[str, Any]:
    """Distil the network in the file `teacher` into a student, and write the student; a report as plain data.

    `student` is a text for `students.parse`, or the file of a network that is trained on; "" is the largest
    student that meets `goal` (pipeline.shrink.goals). Its cost is predicted for `target`. `output` is a .pth; None
    is TEACHER.student.pth in the current folder. `run` is the folder for checkpoint, samples and history.json, by
    default OUTPUT.run. `start` are the initial weights of a described student: `noise`, `teacher`
    (pipeline.shrink.start), or `auto`, which is the teacher if their layers correspond.
    `weights` are those of losses, by name; the others have the weights that suit the student's start.
    `sequences` are folders with consecutive frames, and videos, whose motion the loss on flicker uses.
    `holdout` are pictures to measure with; none: the bundled photograph.
    Raises PipelineError: what reading and `distill` raise, and file-exists, contract-missing, bad-student,
    cannot-start-from-teacher, norms-differ, no-student, bad-goal, unknown-device, goal-out-of-reach, goal-missed.
    """
    from pipeline.support.files import existing_file
    from pipeline.support.resources import resource

    options = options or DistillOptions()
    aimed = targets.get(target)
    _check_request(student, goal, sequences, weights, aimed)
    path = existing_file(teacher)
    place = output or Path.cwd() / f"{path.stem}.student.pth"
    folder = run or Path(f"{place}.run")
    first = os.environ.get("RANK", "0") == "0"
    check_free(place, [folder / CHECKPOINT], resume, force or not first)
    for picture in holdout:
        check_picture(picture)
    network = _teacher(path, reading)
    parsed_goal = None
    if not student:
        parsed_goal, student = aim.student_for(goal, network, aimed)
        started(f"{student} is the largest student that meets the goal")
    shown, description = _student(student, options.loop.seed)
    module, contract = shown.module, shown.contract
    assert module is not None and contract is not None
    check_norms(network, module, contract, description)
    moving = _sequences(sequences, network, options, started)
    if goal and parsed_goal is None:
        parsed_goal = aim.check(goal, shown, network, aimed)
    costs = aim.predicted(shown, aimed)
    if costs:
        started(aim.describe(costs, aimed))
    narrowed = not Path(student).is_file() and _starts_from_teacher(network, student, start)
    if narrowed and not resume:
        started("initial weights: taken from the teacher, narrowed and refitted")
        module = _from_teacher(network, student, images, holdout)
    near = narrowed or _made_from(network, module, contract, Path(student), images)
    options = _suited(options, weights, near, narrowed)
    if narrowed and options.loop.rate is None:
        options = replace(options, loop=replace(options.loop, rate=usual_rate(module) * NARROWED_RATE))
    size = sum(p.numel() for p in module.parameters())
    started(
        f"student of {size:,} weights ({description}), teacher of {network.weights:,} weights "
        f"({network.architecture})"
    )
    started(f"the network is written to {place}, samples and checkpoint to {folder}")
    begun = {"teacher": network.digest, "student": description, "start": "teacher" if narrowed else "noise"}
    history = distill(
        network,
        module,
        images,
        options,
        sequences=moving,
        student_contract=contract,
        holdout=tuple(holdout) or (resource("examples/picture.jpg"),),
        run=Run(folder, resume, begun),
        progress=progress,
    )
    report: dict[str, Any] = {
        "schema": 1,
        "teacher": {"file": path.name, "architecture": network.architecture, "weights": network.weights},
        "student": {
            "file": str(place),
            "architecture": shown.architecture,
            "spec": description,
            "weights": size,
        },
        "target": aimed.name,
        "predicted": costs,
        "history": history.as_dict(),
        "quality": history.records[-1]["quality"] if history.records else [],
    }
    if parsed_goal is not None:
        report["goal"] = {"text": parsed_goal.text, "kind": parsed_goal.kind, "device": parsed_goal.device}
    if first:
        students.save(module, shown.architecture, place)
        write_file(folder / "history.json", render_json(report))
    return report


def _check_request(
    student: str, goal: str, sequences: Sequence[Path], weights: Mapping[str, float], target: targets.Target
) -> None:
    """Check what does not need the teacher. Raises PipelineError `no-student`, `bad-goal`, `unknown-device`,
    `conflicting-options`."""
    if not student and not goal:
        raise PipelineError(
            "no-student",
            "there is neither a student nor a goal",
            subject="--student",
            remedy=f"Describe it (such as {students.EXAMPLES}), or give a --goal that it must meet.",
        )
    if goal:
        parse(goal, target=target)
    if sequences and not weights.get("steady"):
        raise PipelineError(
            "conflicting-options",
            "--sequence is used only by the loss on flicker, whose weight is 0",
            subject="--sequence",
            remedy="Add --steady, such as --steady 10, or omit --sequence.",
        )


def _teacher(path: Path, reading: sources.ReadOptions | None) -> Network:
    """The network in a file; an ONNX graph of a known architecture as its torch module. Raises PipelineError
    `contract-missing`, and what reading raises."""
    network = sources.read_one(path, reading or sources.ReadOptions())
    if network.contract is None:
        raise contract_missing(
            f"the teacher ({network.format}) does not contain its value ranges",
            str(path),
        )
    return rebuilt(network) or network


def _sequences(
    folders: Sequence[Path], teacher: Network, options: DistillOptions, started: Callable[[str], None]
) -> Sequences | None:
    """The consecutive frames with their motion, which must be as large as the teacher's crops."""
    if not folders:
        return None
    moving = Sequences(folders, options.loop.seed, started)
    fixed = teacher.contract.fixed_size if teacher.contract else None
    moving.check(fixed or Size(max(options.sides), max(options.sides)))
    return moving


def _from_teacher(teacher: Network, student: str, images: Sequence[Path], holdout: Sequence[Path]) -> nn.Module:
    """The student's module with weights computed from the teacher's."""
    from pipeline.shrink.prunable import prunable
    from pipeline.shrink.prune import load_pictures
    from pipeline.shrink.start import from_teacher

    return from_teacher(teacher, students.parse(student), load_pictures(prunable(teacher), images, holdout))


def _suited(options: DistillOptions, weights: Mapping[str, float], near: bool, narrowed: bool) -> DistillOptions:
    """The options with these weights of losses, and the others that suit a student: `near` its teacher or not, and
    `narrowed` from it just now or trained before."""
    if not near:
        return replace(options, weights=replace(options.weights, **weights))
    options = options.near_teacher(replace(NARROWED, **weights))
    if options.weights.steady and not narrowed:  # the teacher's features flicker: they are not learnt again
        return replace(options, inner=0.0)
    return options


def _starts_from_teacher(teacher: Network, student: str, start: str) -> bool:
    """Whether the student's initial weights are computed from the teacher's."""
    from pipeline.shrink.start import corresponds

    if start == "noise":
        return False
    described = students.parse(student)
    why = corresponds(teacher, described)
    if why and start == "teacher":
        raise PipelineError(
            "cannot-start-from-teacher",
            f"{described.spec} cannot start from this teacher's weights: {why}",
            subject="--start",
            remedy="Use --start noise, or a student of the teacher's family and kernels that is nowhere wider.",
        )
    return not why


def _made_from(
    teacher: Network, module: nn.Module, contract: ImageContract, file: Path, images: Sequence[Path]
) -> bool:
    """Whether the network in `file`, if that is one, was made from the teacher: its inner channels are alike."""
    from pipeline.shrink.pictures import as_tensor
    from pipeline.support.picture_files import picture_files

    if not file.is_file() or teacher.module is None or teacher.contract is None:
        return False
    picture = as_tensor(picture_files(images)[0], Size(256, 256), 1)
    inner = Inner(GreyLevels(teacher.module, teacher.contract), GreyLevels(module, contract), picture)
    inner.close()
    return inner.found and inner.alike >= LEAST_ALIKE


def _student(text: str, seed: int) -> tuple[Network, str]:
    """A described student with random weights, or the trained network in a file; and its description."""
    if not Path(text).is_file():
        student = students.parse(text)
        return fresh(student, seed), student.spec
    network: Network = sources.read(Path(text))
    if network.module is None or network.contract is None or network.architecture not in names():
        raise PipelineError(
            "bad-student",
            f"a {network.architecture} file cannot be trained further, because torch has no module for it",
            subject=text,
            remedy=f"Use a checkpoint of a known network, or a description such as {students.EXAMPLES}.",
        )
    spec = students.spec_of(network.architecture, network.details)
    return network, f"{spec} of {Path(text).name}"
