"""Structured pruning: factors layers or removes whole channels until a goal is met.

Masks (zeros among the weights) do not make a network faster, because no kernel skips them. Here the tensors
themselves become smaller: a convolution is factored into a vertical and a horizontal one (pipeline.shrink.factor),
or channels are removed together with all tensors that are coupled to them (pipeline.graph.channels) and the layers
that read them are refitted to the original's output (pipeline.shrink.refit).
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
    import onnx_graphsurgeon as gs

    from pipeline.graph.channels import Unit
    from pipeline.network import Network

PICTURE_SIZE = Size(256, 192)
"""Size of the pictures that are run: multiples of 64."""
MOST_PICTURES = 6
LEAST = 0.125
"""Smallest part of a width that remains."""
NEARLY = 1.1
"""Factor on the error within which a network that is narrower only inside its blocks is preferred: its decoder
keeps its widths, so that fine-tuning can start with the original's."""
RANKS_STEP = 8
"""Ranks are multiples of this by default. By the cost model multiples of 16 are hardly faster on any worker."""
METHODS = ("auto", "factor", "channels")
Progress = Callable[[str], None]


@dataclass(frozen=True)
class PruneOptions:
    """How to prune. Widths and ranks are rounded to `multiple`; 0 rounds to those for which the goal's worker has
    fast kernels."""

    criterion: str = "reconstruction"
    multiple: int = 0
    images: tuple[Path, ...] = ()
    """Pictures and folders of them; none: the bundled picture."""
    seed: int = 0
    target: str = targets.DEFAULT
    refit: bool = True
    """Whether layers that read narrowed tensors are refitted by least squares on the pictures."""
    method: str = "auto"
    """factor, channels, or auto: both are tried, and the one with the smaller error on pictures is taken. With
    another criterion than the default, and without refitting, auto is channels."""

    def __post_init__(self) -> None:
        check_criterion(self.criterion)
        usual = self.refit and self.criterion == PruneOptions.criterion
        if self.method not in METHODS:
            raise PipelineError(
                "unknown-method",
                f"there is no method of pruning named {self.method!r}",
                subject="--method",
                remedy=f"Use one of {', '.join(METHODS)}.",
            )
        if self.method == "factor" and not usual:
            raise PipelineError(
                "conflicting-options",
                "--criterion and --no-refit apply to the removal of channels, not to --method factor",
                remedy="Use --method channels, or omit these options.",
            )
        if self.method == "auto" and not usual:
            object.__setattr__(self, "method", "channels")
        if not 0 <= self.multiple <= 256:
            raise PipelineError(
                "bad-multiple",
                f"{self.multiple} is not a number of channels to round to",
                subject="--multiple",
                remedy="Use 1 to 256, or 0 for what suits the worker's kernels.",
            )


@dataclass
class Pruned:
    """A pruned network and its report."""

    network: Network
    report: dict[str, Any] = field(default_factory=dict)


def prune(
    network: Network, goal: Goal, options: PruneOptions = PruneOptions(), progress: Progress = lambda message: None
) -> Pruned:
    """Make a network smaller until `goal` is met: factor its layers, or remove its least important channels.

    A network that already meets the goal is returned unchanged. Raises PipelineError `cannot-prune`,
    `unknown-criterion`, and `goal-out-of-reach`, which names the value of the smallest network.
    """
    from pipeline.shrink.factor import as_network, factored

    whole = prunable(network)
    progress(f"{plural(sum(g.width for g in whole.groups), 'channel')} in {plural(len(whole.groups), 'width')}")
    looking = options.criterion in NEED_PICTURES or options.refit
    pictures = load_pictures(whole, options.images) if looking else []
    overhead = _overhead(network, whole, options) if goal.kind == "bytes" else 0
    original = _value(goal, whole.graph, overhead)
    limit = goal.for_original(original)
    full = [group.width for group in whole.groups]
    ranks: dict[str, int] | None = None
    units: list[Unit] = []
    if original > limit:
        if options.method != "channels":
            ranks = _ranks(whole, goal, limit, overhead, options)
        if options.method != "factor":
            try:
                units = _channels(whole, goal, limit, overhead, pictures, options, progress)
            except PipelineError as error:
                if ranks is None or error.code != "goal-out-of-reach":
                    raise
    if ranks is not None and units:
        shown, fitted = pictures[:2], pictures[2:] or pictures
        graph = factored(whole, ranks, fitted, options.seed, progress).graph
        narrower = _apart(whole, units, pictures, options.seed, progress)
        if _difference(whole.graph, graph, shown) <= narrower:
            units = []
        else:
            ranks = None
    removed = {id(unit) for unit in units}
    widths = [sum(id(unit) not in removed for unit in group.units) for group in whole.groups]
    if ranks is not None:
        progress("ranks " + ", ".join(f"{name} {rank}" for name, rank in ranks.items()))
        result = factored(whole, ranks, pictures, options.seed, progress)
        pruned, value = as_network(whole, result), _value(goal, result.graph, overhead)
    else:
        progress(f"widths {'/'.join(map(str, full))} -> {'/'.join(map(str, widths))}")
        refitted = refit(whole, units, pictures, options.seed, progress) if units and options.refit else {}
        pruned = whole.pruned(units, refitted) if units else network
        value = _value(goal, whole.without(units) if units else whole.graph, overhead)
    report = _report(network, pruned, goal, options, whole, widths)
    report |= {"method": "channels" if ranks is None else "factor", "ranks": ranks or {}}
    report["goal"] |= {"limit": limit, "before": original, "after": value}
    return Pruned(pruned, report)


def _ranks(
    whole: Prunable, goal: Goal, limit: float, overhead: int, options: PruneOptions
) -> dict[str, int] | None:
    """The ranks with which the network meets the goal; None where factoring does not reach it.

    With `--method factor`, raises PipelineError `goal-out-of-reach` or `cannot-prune` instead.
    """
    from pipeline import architectures
    from pipeline.shrink.factor import choose_ranks

    asked = options.method == "factor"
    if whole.places and architectures.family_of(whole.network.architecture).factors is None:
        if not asked:
            return None
        raise PipelineError(
            "cannot-prune",
            f"{whole.network.architecture} has no form with factored layers",
            subject=whole.network.source.name,
            remedy="Use --method channels, or export it to ONNX (pipeline convert) and prune that.",
        )
    step = options.multiple or RANKS_STEP
    found = choose_ranks(whole.graph, lambda graph: _value(goal, graph, overhead), limit, step)
    if found is None and asked:
        raise PipelineError(
            "goal-out-of-reach",
            f"the goal is {goal.describe(limit)}, which factoring its layers does not reach",
            subject=whole.network.source.name,
            remedy="Use --method channels, or a weaker goal.",
        )
    return found


def _channels(
    whole: Prunable,
    goal: Goal,
    limit: float,
    overhead: int,
    pictures: Sequence[np.ndarray],
    options: PruneOptions,
    progress: Progress,
) -> list[Unit]:
    """The channels without which the network meets the goal. Raises PipelineError `goal-out-of-reach`."""
    scores = importance(whole, options.criterion, pictures, options.seed, progress)
    order = [np.argsort(score, kind="stable") for score in scores]
    original = _value(goal, whole.graph, overhead)
    savings = _savings(goal, whole)
    if options.criterion in ("reconstruction", "ablation") or goal.kind in ("macs", "milliseconds"):
        scores = [score / saved for score, saved in zip(scores, savings, strict=True)]

    def removed(widths: Sequence[int]) -> list[Unit]:
        return [
            group.units[int(index)]
            for group, ranks, width in zip(whole.groups, order, widths, strict=True)
            for index in ranks[: group.width - width]
        ]

    def value(widths: Sequence[int]) -> float:
        return _value(goal, whole.without(removed(widths)), overhead)

    def meeting(scores: list[np.ndarray]) -> list[int]:
        """The largest widths that meet the goal, or the smallest possible ones."""
        steps = _steps(whole, scores, goal, options.multiple)
        low, high = 0, len(steps) - 1
        while low < high:
            middle = (low + high) // 2
            if value(steps[middle]) <= limit:
                high = middle
            else:
                low = middle + 1
        return steps[low]

    widths = meeting(scores)
    smallest = value(widths)
    if smallest > limit:
        raise PipelineError(
            "goal-out-of-reach",
            f"the goal is {goal.describe(limit)}, but the most pruned network has {goal.describe(smallest)} (the "
            f"original has {goal.describe(original)})",
            subject=whole.network.source.name,
            remedy="Distil a student with fewer layers instead (pipeline shrink), or use a weaker goal.",
        )
    if options.refit:
        few = _few(whole, savings)
        inside = meeting([s if number in few else np.full_like(s, np.inf) for number, s in enumerate(scores)])
        if inside != widths and value(inside) <= limit:
            errors = [
                _apart(whole, removed(tried), pictures, options.seed, progress) for tried in (widths, inside)
            ]
            widths = inside if errors[1] <= NEARLY * errors[0] else widths
    return removed(widths)


def _few(network: Prunable, saved: Sequence[float]) -> set[int]:
    """The groups inside the blocks: written by one layer each, and with large savings.

    Channels of a residual stream are missing in every block, and no block can restore what the outer layers lose;
    the importance of a single channel does not show that. `saved` is the saving by a channel of each group.
    """
    whole = {
        number: saved[number] * group.width
        for number, group in enumerate(network.groups)
        if all(len({name for name, _, _ in unit.makes}) <= 1 for unit in group.units)
    }
    return {number for number, value in whole.items() if value >= 0.5 * max(whole.values())}


def _apart(
    network: Prunable, units: Sequence[Unit], pictures: Sequence[np.ndarray], seed: int, progress: Progress
) -> float:
    """Root mean square change of the output without these channels: refitted on some of the pictures, measured on
    two others if there are enough."""
    fitted = pictures[2:] or pictures
    narrow = network.without(list(units), refit(network, units, fitted, seed, progress))
    return _difference(network.graph, narrow, pictures[:2])


def _difference(before: gs.Graph, after: gs.Graph, pictures: Sequence[np.ndarray]) -> float:
    """Root mean square difference of two graphs' outputs for pictures."""
    from pipeline.shrink.overridable import overridable

    first, second = overridable(before, set()), overridable(after, set())
    return math.sqrt(np.mean([np.mean((first(picture, {}) - second(picture, {})) ** 2) for picture in pictures]))


def _value(goal: Goal, graph: gs.Graph, overhead: int) -> float:
    """What a graph has of the goal's kind; `overhead` are the bytes of its file beside the weights."""
    if goal.kind == "bytes":
        return 4 * Goal("", "weights", 0).value(graph) + overhead
    return goal.value(graph)


def _blocks(goal: Goal) -> bool:
    """Whether the goal's worker has fast kernels for multiples of 16 channels."""
    return device(goal.device).worker.name != "onnxruntime" or goal.kind != "milliseconds"


def _savings(goal: Goal, network: Prunable) -> list[float]:
    """What a channel of each group saves in the goal's unit, relative to the average over the groups.

    Time and weights differ: a channel at full resolution saves much time, one inside a block little. Measured by
    removing half of the group; at least 0.01.
    """
    original, saved = _value(goal, network.graph, 0), []
    for group in network.groups:
        count = max(1, group.width // 2)
        saved.append((original - _value(goal, network.without(group.units[:count]), 0)) / count)
    average = max(sum(saved) / len(saved), 1e-30)
    return [max(value / average, 0.01) for value in saved]


def _overhead(network: Network, whole: Prunable, options: PruneOptions) -> int:
    """Bytes of the built file beside the weights."""
    from pipeline.bench.job import lower

    lowered = lower(network, options.target, "").lowered
    return int(len(lowered.serialised) - 4 * Goal("", "weights", 0).value(whole.graph))


def fitting(width: float, full: int, multiple: int, blocks: bool) -> int:
    """`width` rounded to a suitable multiple, at least 1 and at most `full`.

    With `blocks`, for a worker whose fast kernels start at 16 channels: multiples of 16 from there on, of 4 below.
    """
    if not multiple:
        step = 16 if blocks and width >= 12 else 4
        multiple = step if full >= step else 1
    rounded = max(multiple, round(width / multiple) * multiple)
    return max(1, min(full, rounded))


def _steps(network: Prunable, scores: list[np.ndarray], goal: Goal, multiple: int) -> list[list[int]]:
    """Widths for increasing thresholds of importance, from the full ones to the narrowest, without repetitions."""
    blocks = _blocks(goal)
    thresholds = np.unique(np.concatenate(scores))
    thresholds = thresholds[np.isfinite(thresholds)]
    if len(thresholds) > 400:
        thresholds = np.quantile(thresholds, np.linspace(0, 1, 400))
    steps: list[list[int]] = [[group.width for group in network.groups]]
    for threshold in thresholds:
        widths = []
        for group, score in zip(network.groups, scores, strict=True):
            least = max(1, math.ceil(group.width * LEAST))
            wish = max(int((score > threshold).sum()), least)
            widths.append(group.width if wish == group.width else fitting(wish, group.width, multiple, blocks))
        if widths != steps[-1]:
            steps.append([min(a, b) for a, b in zip(widths, steps[-1], strict=True)])
    return steps


def load_pictures(
    whole: Prunable, images: Sequence[Path] = (), exclude: Sequence[Path] = (), most: int = MOST_PICTURES
) -> list[np.ndarray]:
    """Up to `most` pictures of these files and folders (none: the bundled one), in the network's own range.

    Arrays are (1, C, H, W), in `PICTURE_SIZE` or the only size at which the network runs.
    Raises PipelineError `file-not-found`, `no-pictures`, `bad-picture`.
    """
    from pipeline.sources import reference
    from pipeline.support.picture_files import picture_files
    from pipeline.verify import pictures

    network = whole.network
    size = reference(network).fixed_size or PICTURE_SIZE
    channels = int(whole.graph.inputs[0].shape[1])
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


def masked_share(network: Network, whole: Prunable) -> float:
    """The share of zeros among the convolutions' weights: a sign of unstructured pruning."""
    from pipeline.graph.channels import constants

    kernels = [np.asarray(t.values) for t in constants(whole.graph).values() if len(t.shape) == 4]
    count = sum(kernel.size for kernel in kernels)
    return sum(int((kernel == 0).sum()) for kernel in kernels) / count if count else 0.0


def _report(
    before: Network, after: Network, goal: Goal, options: PruneOptions, whole: Prunable, widths: Sequence[int]
) -> dict[str, Any]:
    zeros = masked_share(before, whole)
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
            for group, width in zip(whole.groups, widths, strict=True)
        ],
        "notes": notes,
    }


def mask_sentence(zeros: float) -> str:
    """A note on zeros from unstructured pruning, for the report."""
    return (
        f"{zeros:.0%} of the convolutions' weights are zeros of a mask, which do not make the network faster, "
        "because every kernel multiplies by them as by any other number"
    )
