"""Parses training times, and fine-tunes a pruned network on the original's output."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.shrink.checkpoint import UNKEPT, Run
from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.network import Network
    from pipeline.shrink.data import Pictures
    from pipeline.shrink.graph_module import GraphModule

_TIME = re.compile(
    r"\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>steps?|s|sec(?:onds?)?|min(?:utes?)?|m|h(?:ours?)?)\s*"
)
_MINUTES = {"s": 1 / 60, "m": 1.0, "h": 60.0}
NARROWED_RATE = 2.0
"""Factor on the default learning rate of a student that starts from its teacher's weights. One that starts from
random weights learns more slowly at this rate, and so does a pruned network, which is closer to its teacher."""
EVERY = 100
"""Steps between the records of a training, which show whether it was still improving."""
FALLING = 0.02
"""Relative decrease of the loss over the last quarter from which a training counts as still improving."""
Progress = Callable[[str], None]


def duration(text: str, option: str = "--time") -> dict[str, Any]:
    """`20 min`, `90 s`, `2 h` or `500 steps` as LoopOptions takes it: {"minutes": 20.0} or {"steps": 500}.

    Raises PipelineError `bad-time`.
    """
    match = _TIME.fullmatch(text)
    if match is None or not float(match["number"]):
        raise PipelineError(
            "bad-time",
            f"{text!r} is not a time",
            subject=option,
            remedy="Examples: '20 min', '90 s', '2 h', '500 steps'.",
        )
    number, unit = float(match["number"]), match["unit"]
    if unit.startswith("step"):
        return {"steps": max(1, round(number))}
    return {"minutes": number * _MINUTES[unit[0]]}


def shared(time: dict[str, Any], parts: int) -> dict[str, Any]:
    """A time divided into `parts`; each has at least one step."""
    if "steps" in time:
        return {"steps": max(1, time["steps"] // parts)}
    return {"minutes": time["minutes"] / parts}


def train(
    student: Network,
    teacher: Network,
    pictures: Pictures,
    time: dict[str, Any],
    seed: int,
    progress: Progress,
    fresh: bool = True,
    run: Run = UNKEPT,
    pruned: bool = False,
) -> dict[str, Any]:
    """Train `student.module` in place on the output of `teacher` for the pictures; returns a summary as data.

    `fresh` is False for a network that is already trained, `pruned` is True if it is the pruned teacher. `run`
    saves checkpoints, and continues from one.
    """
    from pipeline.shrink.distill import NARROWED, TUNING, DistillOptions, distill
    from pipeline.shrink.inner import UNTIL_PRUNED
    from pipeline.shrink.loop import LoopOptions, usual_rate

    assert student.module is not None and student.contract is not None
    options = LoopOptions(**time, seed=seed, every=EVERY)
    if not fresh and not pruned:
        options = replace(options, rate=usual_rate(student.module) * NARROWED_RATE)
    distilling = DistillOptions(options)
    if pruned:
        distilling = replace(distilling.near_teacher(TUNING, UNTIL_PRUNED), original_decoder=True)
    elif not fresh:
        distilling = distilling.near_teacher(NARROWED)
    last = [-1]

    def each_step(history: Any, done: float) -> None:
        if int(done * 10) > last[0]:
            last[0] = int(done * 10)
            progress(f"{student.name}: {done:.0%}, step {history.steps}")

    try:
        history = distill(
            teacher,
            student.module,
            pictures,
            distilling,
            student_contract=student.contract,
            run=run,
            progress=each_step,
        )
    except PipelineError as error:
        if error.code == "training-diverged":  # the commands that fine-tune have no option for the rate
            error.subject = student.name
            error.remedy = "Omit this training, and use `pipeline distill` with a low --rate instead."
        raise
    result = {"steps": history.steps, "minutes": round(history.minutes, 2), "device": history.device}
    improvement = late_improvement(history.records)
    return result | {"late_improvement": None if improvement is None else round(improvement, 4)}


def late_improvement(records: Sequence[dict[str, Any]]) -> float | None:
    """Relative decrease of the pixel loss over the last quarter of a training: the slope of a line through its
    records there. None if there are too few."""
    pixels = [(r["step"], r["losses"]["pixels"]) for r in records if "pixels" in r["losses"]]
    late = [(step, loss) for step, loss in pixels if step >= 0.75 * pixels[-1][0]]
    if len(pixels) < 4 or len(late) < 2:
        return None
    steps, losses = np.array(late, np.float64).T
    slope, _ = np.polyfit(steps, losses, 1)
    return float(-slope * (steps[-1] - steps[0]) / max(losses.mean(), 1e-12))


def longer(name: str, training: dict[str, Any] | None) -> str:
    """Advice to train a network longer, with the measured slope; "" if it was hardly improving at the end."""
    improvement = training["late_improvement"] if training else None
    if improvement is None or improvement < FALLING:
        return ""
    return (
        f"{name} was still improving when its time was up: the pixel loss fell by {improvement:.0%} in the last "
        "quarter, so train longer"
    )


def fine_tune(
    network: Network,
    original: Network,
    pictures: Pictures,
    time: dict[str, Any],
    seed: int,
    progress: Progress = lambda result: None,
    run: Run = UNKEPT,
) -> dict[str, Any]:
    """Train a pruned network, in place, on the original's output for the pictures.

    An ONNX graph is trained as a torch module built from it (graph_module.py); the weights are then copied back.
    """
    from pipeline.shrink import require_training

    require_training("fine-tuning")
    if network.module is not None:
        return train(network, original, pictures, time, seed, progress, fresh=False, run=run, pruned=True)
    from pipeline.graph import to_model

    graph, module = _as_module(network)
    shown = replace(network, module=module, model=None)
    result = train(shown, original, pictures, time, seed, progress, fresh=False, run=run, pruned=True)
    tensors = graph.tensors()
    for name, value in module.values().items():
        tensors[name].values = value
    assert network.model is not None
    ir_version = network.model.ir_version
    network.model = to_model(graph)
    network.model.ir_version = max(network.model.ir_version, ir_version)
    return result


def check_trainable(network: Network) -> None:
    """Raise PipelineError `cannot-train-graph` for an ONNX network with a node that cannot be trained."""
    from pipeline.shrink import require_training

    require_training("fine-tuning")
    _as_module(network)


def _as_module(network: Network) -> tuple[gs.Graph, GraphModule]:
    """A network's graph, and a torch module of it whose trained values correspond to the graph's by name."""
    from pipeline.graph import from_model
    from pipeline.graph.channels import constants
    from pipeline.shrink.graph_module import GraphModule

    assert network.model is not None
    graph = from_model(network.model)
    constants(graph)
    return graph, GraphModule(graph)
