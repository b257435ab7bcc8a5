"""`pipeline shrink`: trains several smaller networks that meet a goal, and compares them.

The predicted cost selects the networks to train (pipeline.shrink.candidates, and the pruned teacher). Then all of
them are measured: time in ONNX Runtime, similarity to the teacher's output for a held-out picture, and flicker.
For comparison, so are two changes of the teacher that do not make it faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import targets
from pipeline.cost.model import SIZES
from pipeline.shrink.checkpoint import CHECKPOINT, Run, check_free
from pipeline.shrink.goals import USUAL, Goal, parse
from pipeline.shrink.tuning import check_trainable, duration, fine_tune, longer, shared, train
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from pipeline.support.untrusted import on_a_file

if TYPE_CHECKING:
    from pipeline.bench.job import Subject
    from pipeline.network import Network
    from pipeline.sources import ReadOptions

SHOWN = Size(480, 360)
"""Size of the pictures that are compared and shown: multiples of 8."""
LARGE = Size(512, 384)
"""Size of the picture from which the clips for flicker are made."""
RUNS = "runs"
"""Folder in the output for the checkpoint of each training."""
FRAMES = 4
"""Number of frames of each clip for flicker."""
Progress = Callable[[str], None]


@dataclass(frozen=True)
class ShrinkOptions:
    """How to search. `time` is the time of all trainings together, as returned by `tuning.duration`."""

    goal: Goal
    images: tuple[Path, ...]
    output: Path
    tries: int = 3
    time: tuple[tuple[str, Any], ...] = (("minutes", 30.0),)
    target: str = targets.DEFAULT
    seed: int = 0
    runs: int = 3
    sizes: tuple[Size, ...] = SIZES
    """Picture sizes that are timed."""
    resume: bool = False
    """Continue the trainings whose checkpoints are in `output`."""


@dataclass
class Entry:
    """One network of the report."""

    label: str
    network: Network
    what: str
    """teacher, student, pruned, or the name of a change that brings nothing."""
    training: dict[str, Any] | None = None
    file: str = ""
    start: str = ""
    """Initial weights of a student: `teacher` or `noise`."""


def shrink(teacher: Network, options: ShrinkOptions, progress: Progress = lambda message: None) -> dict[str, Any]:
    """Search, train, measure, and write the networks and the report into `options.output`; returns the report.

    Raises PipelineError: contract-missing, channels-differ, goal-out-of-reach, no-pictures, missing-dependency,
    and what training and lowering raise. Nothing is written before the search has found something to train.
    """
    from pipeline.report.shrink import render_html
    from pipeline.shrink import require_training
    from pipeline.shrink.data import Pictures
    from pipeline.shrink.prunable import save
    from pipeline.support.files import write_file
    from pipeline.support.picture_files import picture_files
    from pipeline.support.serialise import render_json

    require_training("shrinking")
    _check(teacher)
    from pipeline.shrink.teacher import rebuilt

    teacher = rebuilt(teacher) or teacher
    files = picture_files(options.images)
    held_out = files[-1] if len(files) > 1 else None
    training = Pictures([file for file in files if file != held_out])
    entries, notes = find(teacher, options, training.files, progress)
    each = shared(dict(options.time), len(entries))
    for entry in entries:
        progress(f"training {entry.label}: {_told(each)}")
        place = options.output / RUNS / entry.network.name
        run = Run(place, options.resume, _identity(teacher, options))
        if entry.what == "pruned":
            entry.training = fine_tune(entry.network, teacher, training, each, options.seed, progress, run)
        else:
            if entry.start == "teacher" and not (run.resume and (place / CHECKPOINT).is_file()):
                _begin(entry.network, teacher, training.files, progress)
            fresh = entry.start != "teacher"
            entry.training = train(entry.network, teacher, training, each, options.seed, progress, fresh, run)
        entry.file = f"{entry.network.name}.{'onnx' if entry.network.module is None else 'pth'}"
        save(entry.network, options.output / entry.file)
    report = measured(teacher, entries, options, held_out, progress)
    notes += [advice for entry in entries if (advice := longer(entry.label, entry.training))]
    report["notes"] = notes
    pictures = report.pop("pictures")
    for name, content in pictures.items():
        write_file(options.output / "pictures" / f"{name}.png", content)
    write_file(options.output / "report.json", render_json(report))
    write_file(options.output / "report.html", render_html(report, pictures))
    return report


def _begin(network: Network, teacher: Network, files: Sequence[Path], progress: Progress) -> None:
    """Initialise a student with the teacher's weights, narrowed and refitted."""
    from pipeline.shrink.prunable import prunable
    from pipeline.shrink.prune import load_pictures
    from pipeline.shrink.start import from_teacher
    from pipeline.shrink.students import parse, spec_of

    student = parse(spec_of(network.architecture, network.details))
    network.module = from_teacher(teacher, student, load_pictures(prunable(teacher), files), progress)


def _identity(teacher: Network, options: ShrinkOptions) -> dict[str, Any]:
    """The options that a resumed search must share with the interrupted one."""
    goal = options.goal
    return {
        "teacher": teacher.digest,
        "goal": goal.text,
        "device": goal.device,
        "tries": options.tries,
        "target": options.target,
    }


def _check(teacher: Network) -> None:
    if teacher.contract is None:
        raise PipelineError(
            "contract-missing",
            "the teacher's file does not contain its value ranges",
            subject=str(teacher.source),
            remedy="Declare them with --input-range and --output-range, each one of 0..255, 0..1, -1..1, "
            "imagenet.",
        )
    channels = (teacher.contract.input.channels, teacher.contract.output.channels)
    if channels != (3, 3):
        raise PipelineError(
            "channels-differ",
            f"the teacher has {channels[0]} input channels and {channels[1]} output channels",
            subject=str(teacher.source),
            remedy="Only networks from a colour picture to a colour picture can be distilled.",
        )


def _told(time: dict[str, Any]) -> str:
    return f"{time['steps']} steps" if "steps" in time else f"{time['minutes']:.1f} minutes"


# --- candidates ----------------------------------------------------------------------------------------------


def find(
    teacher: Network, options: ShrinkOptions, files: Sequence[Path], progress: Progress
) -> tuple[list[Entry], list[str]]:
    """The networks to train on these pictures, and notes for the report."""
    from pipeline.shrink.candidates import chosen, families, fresh, meeting
    from pipeline.shrink.start import corresponds

    goal = options.goal
    notes: list[str] = []
    before, before_ms = _of_teacher(teacher, options)
    limit = goal.for_original(before)
    notes.append(f"the goal is {goal.describe(limit)}; the teacher has {goal.describe(before)}")
    if before <= limit:
        notes.append("the teacher already meets the goal")
    entries: list[Entry] = []
    pruned = _pruned(teacher, goal, limit, options, files, progress, notes) if before > limit else None
    if pruned is not None:
        entries.append(pruned)
    of = families(teacher)
    found = meeting(goal, limit, before_ms, of)
    progress(f"{len(found)} students meet the goal ({goal.describe(limit)}) and are faster than the teacher")
    for candidate in chosen(found, max(1, options.tries - len(entries)), of):
        network = fresh(candidate.student, options.seed)
        start = "noise" if corresponds(teacher, candidate.student) else "teacher"
        entries.append(Entry(network.name, network, "student", start=start))
    return entries, notes


def _of_teacher(teacher: Network, options: ShrinkOptions) -> tuple[float, float]:
    """The teacher's value in the goal's unit, and its predicted milliseconds."""
    from pipeline.bench.job import lower

    subject = lower(teacher, options.target, "teacher")
    time = replace(options.goal, kind="milliseconds")
    return options.goal.value(subject.graph, len(subject.lowered.serialised)), time.value(subject.graph)


def _pruned(
    teacher: Network,
    goal: Goal,
    limit: float,
    options: ShrinkOptions,
    files: Sequence[Path],
    progress: Progress,
    notes: list[str],
) -> Entry | None:
    """The teacher, pruned to the goal on these pictures; None if its graph cannot be trained, or if pruning cannot
    reach the goal."""
    from pipeline.shrink.prune import PruneOptions, prune

    progress("pruning the teacher")
    try:
        if teacher.module is None:
            check_trainable(teacher)
        pruning = PruneOptions(seed=options.seed, images=tuple(files))
        done = prune(teacher, replace(goal, limit=limit, part=False), pruning, progress)
    except PipelineError as error:
        if error.code not in ("goal-out-of-reach", "cannot-prune", "cannot-train-graph"):
            raise
        notes.append(f"the teacher was not pruned: {error.message}")
        return None
    network = replace(done.network, name=f"{teacher.name}-pruned", source=Path(f"{teacher.name}-pruned.pth"))
    return Entry(network.name, network, "pruned")


# --- measurements --------------------------------------------------------------------------------------------


def measured(
    teacher: Network, entries: Sequence[Entry], options: ShrinkOptions, picture: Path | None, progress: Progress
) -> dict[str, Any]:
    """Measurements of all networks as the report; its key `pictures` has PNG bytes by name."""
    from pipeline.bench.job import BenchOptions, bench_subjects, lower
    from pipeline.flicker.measure import clips_of_picture, stability
    from pipeline.shrink.quality import quality
    from pipeline.verify import pictures

    everything = [Entry("teacher", teacher, "teacher"), *entries]
    subjects = [lower(entry.network, options.target, entry.label) for entry in everything]
    nothing = bought_nothing(subjects[0])
    everything += [Entry(subject.label, teacher, why) for subject, why in nothing]
    subjects += [subject for subject, _ in nothing]
    report = bench_subjects(
        subjects, BenchOptions(options.sizes, options.target, runs=options.runs, memory=False), progress
    )
    shown = pictures.load(picture, *SHOWN.hw)
    outputs = {subject.label: paint(subject, shown) for subject in subjects}
    found = {"picture": pictures.png(shown)}
    goal = options.goal
    clips = clips_of_picture(pictures.load(picture, *LARGE.hw), SHOWN, FRAMES)
    for entry, subject, model in zip(everything, subjects, report["models"], strict=True):
        result = outputs[subject.label]
        model |= {"what": entry.what, "start": entry.start, "training": entry.training, "path": entry.file}
        model["quality"] = quality(result, outputs["teacher"]).as_dict()
        progress(f"flicker of {subject.label}")
        model["flicker"] = round(stability(subject.label, partial(paint, subject), clips).flicker, 3)
        value = goal.value(subject.graph, len(subject.lowered.serialised))
        model["goal"] = {"value": value, "told": goal.describe(value)}
        if entry.what in ("teacher", "student", "pruned"):
            found[entry.label] = pictures.png(result)
    report["goal"] = {"text": goal.text, "kind": goal.kind, "device": goal.device}
    report["unseen"] = picture.name if picture is not None else "the bundled picture"
    report["front"] = front(report["models"], goal)
    report["pictures"] = found
    return report


def paint(subject: Subject, picture: np.ndarray) -> np.ndarray:
    """The output of a lowered network for a picture (1, 3, H, W) 0..1, as its target computes it."""
    assert subject.lowered.candidate is not None
    return np.clip(subject.lowered.candidate(picture), 0, 1)


def bought_nothing(teacher: Subject) -> list[tuple[Subject, str]]:
    """The teacher with half of its weights masked, and with 8-bit weights: neither makes it faster."""
    from pipeline.graph.channels import constants

    results = []
    for label, change, why in (
        ("half masked", _masked, "mask pruning: zeros are multiplied like any other number"),
        (
            "8-bit weights",
            _rounded,
            "8-bit weights: the target computes in float, so they are converted back to floats",
        ),
    ):
        graph = teacher.graph.copy()
        for tensor in constants(graph).values():
            if len(tensor.shape) == 4:
                tensor.values = change(np.asarray(tensor.values))
        results.append((_again(teacher, graph, label), why))
    return results


def _masked(weights: np.ndarray) -> np.ndarray:
    """Sets the smaller half of the weights to zero."""
    middle = np.median(np.abs(weights))
    return np.where(np.abs(weights) > middle, weights, 0).astype(weights.dtype)


def _rounded(weights: np.ndarray) -> np.ndarray:
    """Weights rounded to 255 steps for each output channel, as in symmetric int8 quantisation."""
    scale = np.abs(weights).max(axis=(1, 2, 3), keepdims=True) / 127
    scale[scale == 0] = 1
    return (np.rint(weights / scale) * scale).astype(weights.dtype)


def _again(subject: Subject, graph: Any, label: str) -> Subject:
    from pipeline.verify.proof import as_target_computes

    target = subject.lowered.target
    data = target.family.write(graph, target)
    lowered = replace(
        subject.lowered,
        graph=graph,
        model=target.family.read(data),
        serialised=data,
        candidate=as_target_computes(data, target),
    )
    return replace(subject, label=label, graph=graph, lowered=lowered)


def front(models: Sequence[dict[str, Any]], goal: Goal) -> list[str]:
    """Labels of the Pareto-optimal networks, by the goal's value and the texture distance."""
    tried = [model for model in models if model["what"] in ("teacher", "student", "pruned")]

    def beaten(model: dict[str, Any]) -> bool:
        cost, error = model["goal"]["value"], model["quality"]["texture"]
        return any(
            other["goal"]["value"] <= cost
            and other["quality"]["texture"] <= error
            and (other["goal"]["value"], other["quality"]["texture"]) != (cost, error)
            for other in tried
        )

    return [model["label"] for model in tried if not beaten(model)]


@on_a_file
def shrink_file(
    file: Path,
    *,
    goal: str,
    images: Sequence[Path],
    device: str = USUAL,
    output: Path | None = None,
    time: str = "30 min",
    tries: int = 3,
    sizes: Sequence[Size] = SIZES,
    reading: ReadOptions | None = None,
    target: str = targets.DEFAULT,
    seed: int = 0,
    resume: bool = False,
    force: bool = False,
    progress: Progress = lambda message: None,
) -> tuple[dict[str, Any], Path]:
    """`pipeline shrink` as one call: returns the report and the output folder.

    With `resume`, finished trainings are not repeated, an interrupted one continues from its checkpoint, and the
    networks are bit-identical to those of an uninterrupted search.
    Raises PipelineError: what `shrink`, `check_free` and `read_checkpoint` raise (pipeline.shrink.checkpoint).
    """
    from pipeline import sources, targets
    from pipeline.support.files import existing_file

    path = existing_file(file)
    parsed_goal = parse(goal, device, targets.get(target))
    length = duration(time)
    place = output or Path.cwd() / f"{path.stem}-smaller"
    begun = sorted(place.glob(f"{RUNS}/*/{CHECKPOINT}"))
    check_free(place / "report.json", begun, resume, force, "--output")
    network = sources.read_one(path, reading or sources.ReadOptions())
    if not resume:  # of an earlier search that --force replaces
        for checkpoint in begun:
            checkpoint.unlink()
    options = ShrinkOptions(
        parsed_goal,
        tuple(images),
        place,
        max(1, tries),
        tuple(length.items()),
        target,
        seed,
        sizes=tuple(sizes),
        resume=resume,
    )
    return shrink(network, options, progress), place
