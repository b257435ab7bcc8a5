"""Structured pruning: whole channels go, until a budget is met, and the network that is left is a smaller one.

Masks (zeros among the weights) make no network faster, as nothing skips them. Here the tensors themselves get
narrower, together with everything that is coupled to them (pipeline.graph.channels), and the layers that read
them are refitted on what the original computes (pipeline.shrink.refit).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import targets
from pipeline.cost.model import device
from pipeline.shrink.goals import Goal
from pipeline.shrink.importance import NEED_PICTURES, check_criterion, importance
from pipeline.shrink.prunable import Prunable, prunable
from pipeline.shrink.refit import refit
from pipeline.support.errors import PipelineError
from pipeline.support.plain_text import plural
from pipeline.support.size import Size

if TYPE_CHECKING:
    from pipeline.graph.channels import Unit
    from pipeline.network import Network

PICTURE_SIZE = Size(256, 192)
"""Height and width at which pictures are run: multiples of 64."""
MOST_PICTURES = 6
LEAST = 0.125
"""No width goes below this part of itself: a layer of no channels is not a layer."""
NEARLY = 1.1
"""How much further from the original a network may be that is only narrower inside its blocks: its decoder keeps
its widths, so that fine-tuning can begin with the original's."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class PruneOptions:
    """How to prune. `multiple` rounds widths; 0 rounds to what the goal's worker has fast kernels for."""

    criterion: str = "reconstruction"
    multiple: int = 0
    images: tuple[Path, ...] = ()
    """Pictures and folders of them; none: the bundled picture."""
    seed: int = 0
    target: str = targets.DEFAULT
    refit: bool = True
    """Refit the layers that read narrowed tensors, by least squares on the pictures."""

    def __post_init__(self) -> None:
        check_criterion(self.criterion)
        if not 0 <= self.multiple <= 256:
            raise PipelineError(
                "bad-multiple",
                f"{self.multiple} is not a number of channels to round to",
                subject="--multiple",
                remedy="Use 1 to 256, or 0 for what suits the worker's kernels.",
            )


@dataclass
class Pruned:
    """A pruned network and the account of it."""

    network: Network
    report: dict[str, Any] = field(default_factory=dict)


def prune(
    network: Network, goal: Goal, options: PruneOptions = PruneOptions(), tell: Tell = lambda told: None
) -> Pruned:
    """Take channels out of a network until `goal` is met, the least important first.

    Raises PipelineError `cannot-prune`, `unknown-criterion`, and `goal-out-of-reach` naming what the smallest
    network has; a network that meets the goal already comes back as it is.
    """
    held = prunable(network)
    tell(f"{plural(sum(g.width for g in held.groups), 'channel')} in {plural(len(held.groups), 'width')}")
    looking = options.criterion in NEED_PICTURES or options.refit
    pictures = load_pictures(held, options.images) if looking else []
    scores = importance(held, options.criterion, pictures, options.seed, tell)
    order = [np.argsort(score, kind="stable") for score in scores]
    overhead = _overhead(network, held, options) if goal.kind == "bytes" else 0
    original = _value(goal, held, [], overhead)
    if options.criterion in ("reconstruction", "ablation") or goal.kind in ("macs", "milliseconds"):
        scores = [score / saved for score, saved in zip(scores, _savings(goal, held, original), strict=True)]
    limit = goal.for_original(original)

    def removed(widths: Sequence[int]) -> list[Unit]:
        return [
            group.units[int(index)]
            for group, ranks, width in zip(held.groups, order, widths, strict=True)
            for index in ranks[: group.width - width]
        ]

    full = [group.width for group in held.groups]

    def meeting(scores: list[np.ndarray]) -> list[int]:
        """The widest widths that meet the goal, or the narrowest that there are."""
        steps = _steps(held, scores, goal, options.multiple)
        low, high = 0, len(steps) - 1
        while low < high:
            middle = (low + high) // 2
            if _value(goal, held, removed(steps[middle]), overhead) <= limit:
                high = middle
            else:
                low = middle + 1
        return steps[low]

    widths = full if original <= limit else meeting(scores)
    smallest = _value(goal, held, removed(widths), overhead)
    if smallest > limit:
        raise PipelineError(
            "goal-out-of-reach",
            f"the goal is {goal.told(limit)}, but the most pruned network has {goal.told(smallest)} (the original "
            f"has {goal.told(original)})",
            subject=network.source.name,
            remedy="Distil a student with fewer layers instead (pipeline shrink), or use a weaker goal.",
        )
    if widths != full and options.refit:
        few = _few(held, _savings(goal, held, original))
        inside = meeting([s if number in few else np.full_like(s, np.inf) for number, s in enumerate(scores)])
        if inside != widths and _value(goal, held, removed(inside), overhead) <= limit:
            apart = [_apart(held, removed(tried), pictures, options.seed, tell) for tried in (widths, inside)]
            widths = inside if apart[1] <= NEARLY * apart[0] else widths
    tell(f"widths {'/'.join(map(str, full))} -> {'/'.join(map(str, widths))}")
    gone = removed(widths)
    refitted = refit(held, gone, pictures, options.seed, tell) if gone and options.refit else {}
    made = held.pruned(gone, refitted) if gone else network
    report = _report(network, made, goal, options, held, widths)
    report["goal"] |= {"limit": limit, "before": original, "after": _value(goal, held, gone, overhead)}
    return Pruned(made, report)


def _few(held: Prunable, saved: Sequence[float]) -> set[int]:
    """The groups inside the blocks: made by one layer each, and with much to save.

    The channels of a residual stream are missed in every block, and what the outer layers lose no block can bring
    back; the importance of a channel by itself does not tell. `saved` is what a channel of each group saves.
    """
    whole = {
        number: saved[number] * group.width
        for number, group in enumerate(held.groups)
        if all(len({name for name, _, _ in unit.makes}) <= 1 for unit in group.units)
    }
    return {number for number, value in whole.items() if value >= 0.5 * max(whole.values())}


def _apart(held: Prunable, units: Sequence[Unit], pictures: Sequence[np.ndarray], seed: int, tell: Tell) -> float:
    """Root mean square of how the output changes without these channels: refitted on some of the pictures,
    measured on two others if there are as many."""
    from pipeline.shrink.overridable import overridable

    shown, fitted = pictures[:2], pictures[2:] or pictures
    narrow = held.without(list(units), refit(held, units, fitted, seed, tell))
    before, after = overridable(held.graph, set()), overridable(narrow, set())
    return math.sqrt(np.mean([np.mean((before(picture, {}) - after(picture, {})) ** 2) for picture in shown]))


def _value(goal: Goal, held: Prunable, units: Sequence[Unit], overhead: int) -> float:
    graph = held.without(list(units)) if units else held.graph
    if goal.kind == "bytes":
        return 4 * Goal("", "weights", 0).value(graph) + overhead
    return goal.value(graph)


def _savings(goal: Goal, held: Prunable, original: float) -> list[float]:
    """What a channel of each group saves of the goal's kind, as a part of the average over the groups.

    Time goes where weights do not: a channel at full resolution saves much, one of a block little. Measured by
    removing only half of the group; a channel that saves nothing counts as a hundredth.
    """
    saved = []
    for group in held.groups:
        count = max(1, group.width // 2)
        saved.append((original - _value(goal, held, group.units[:count], 0)) / count)
    average = max(sum(saved) / len(saved), 1e-30)
    return [max(value / average, 0.01) for value in saved]


def _overhead(network: Network, held: Prunable, options: PruneOptions) -> int:
    """Bytes of the built file that are not weights."""
    from pipeline.bench.job import lower

    lowered = lower(network, options.target, "").lowered
    return int(len(lowered.serialised) - 4 * Goal("", "weights", 0).value(held.graph))


def fitting(width: float, full: int, multiple: int, blocks: bool) -> int:
    """The width to take for a wish of `width`, at least 1 and at most `full`.

    With `blocks`, of a worker whose fast kernels begin at 16 channels: multiples of 16 from there on, of 4 below.
    """
    if not multiple:
        step = 16 if blocks and width >= 12 else 4
        multiple = step if full >= step else 1
    rounded = max(multiple, round(width / multiple) * multiple)
    return max(1, min(full, rounded))


def _steps(held: Prunable, scores: list[np.ndarray], goal: Goal, multiple: int) -> list[list[int]]:
    """Ever narrower networks: widths for ever higher thresholds of importance, without repetitions."""
    blocks = device(goal.device).worker.name != "onnxruntime" or goal.kind != "milliseconds"
    thresholds = np.unique(np.concatenate(scores))
    thresholds = thresholds[np.isfinite(thresholds)]
    if len(thresholds) > 400:
        thresholds = np.quantile(thresholds, np.linspace(0, 1, 400))
    steps: list[list[int]] = [[group.width for group in held.groups]]
    for threshold in thresholds:
        widths = []
        for group, score in zip(held.groups, scores, strict=True):
            least = max(1, math.ceil(group.width * LEAST))
            wish = max(int((score > threshold).sum()), least)
            widths.append(group.width if wish == group.width else fitting(wish, group.width, multiple, blocks))
        if widths != steps[-1]:
            steps.append([min(a, b) for a, b in zip(widths, steps[-1], strict=True)])
    return steps


def load_pictures(
    held: Prunable, images: Sequence[Path] = (), exclude: Sequence[Path] = (), most: int = MOST_PICTURES
) -> list[np.ndarray]:
    """Up to `most` pictures of these files and folders (none: the bundled one), in the network's own range.

    Arrays are (1, C, H, W), of `PICTURE_SIZE`, or of the only size at which the network runs.
    Raises PipelineError `file-not-found`, `no-pictures`, `bad-picture`.
    """
    from pipeline.sources import reference
    from pipeline.support.picture_files import picture_files
    from pipeline.verify import pictures

    network = held.network
    size = reference(network).fixed_size or PICTURE_SIZE
    channels = int(held.graph.inputs[0].shape[1])
    paths: list[Path | None] = [None]
    if images:
        found = picture_files(images, exclude)
        paths = list(found[:: max(1, len(found) // most)][:most])
    loaded = [pictures.load(path, *size.hw, channels) for path in paths]
    if network.contract is None:
        return [(picture * 255).astype(np.float32) for picture in loaded]
    scale, shift = (np.array(v, np.float32).reshape(1, -1, 1, 1) for v in network.contract.input.affine())
    ranged = [picture * scale + shift for picture in loaded]
    return [p[:, ::-1].copy() if network.contract.input.order == "bgr" else p for p in ranged]


def masked_share(network: Network, held: Prunable) -> float:
    """The share of single zeros among the convolutions' weights: an unstructured mask that was baked."""
    from pipeline.graph.channels import constants

    kernels = [np.asarray(t.values) for t in constants(held.graph).values() if len(t.shape) == 4]
    count = sum(kernel.size for kernel in kernels)
    return sum(int((kernel == 0).sum()) for kernel in kernels) / count if count else 0.0


def _report(
    before: Network, after: Network, goal: Goal, options: PruneOptions, held: Prunable, widths: Sequence[int]
) -> dict[str, Any]:
    zeros = masked_share(before, held)
    notes = []
    if zeros >= 0.05:
        notes.append(mask_sentence(zeros))
    return {
        "schema": 1,
        "source": before.source.name,
        "architecture": before.architecture,
        "criterion": options.criterion,
        "refitted": options.refit,
        "goal": {"text": goal.text, "kind": goal.kind},
        "weights": {"before": before.weights, "after": after.weights},
        "details": after.details,
        "widths": [
            {"layer": group.name, "before": group.width, "after": width}
            for group, width in zip(held.groups, widths, strict=True)
        ],
        "notes": notes,
    }


def mask_sentence(zeros: float) -> str:
    """What an unstructured mask is worth."""
    return (
        f"{zeros:.0%} of the convolutions' weights are zeros of a mask, which do not make the network faster, "
        "because every kernel multiplies by them as by any other number"
    )
