"""The importance of each channel, by several criteria.

`reconstruction` measures how well the remaining channels can compensate for a removed one
(pipeline.shrink.choosing), `ablation` how much the output changes if only that channel is removed. Both, and
`activation`, need pictures (by default the bundled one). The other criteria use only the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph.channels import Slot, Unit, constants
from pipeline.shrink.overridable import Values, overridable
from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.graph.channels import Group
    from pipeline.shrink.prunable import Prunable

CRITERIA = {
    "reconstruction": "how much the picture changes without it after the layers that read it are refitted",
    "norm": "the scale of the norm after the convolution (gamma); without a norm, as l2",
    "l1": "sum of the absolute weights that compute the channel",
    "l2": "square root of the summed squares of the weights that compute it",
    "geometric-median": "distance of its weights from those of the other channels: redundant channels are removed",
    "activation": "how much it contributes to the layers that read it, on pictures",
    "ablation": "how much the picture changes without it, measured directly on pictures; slow",
    "random": "random, for comparison",
}
NEED_PICTURES = ("reconstruction", "activation", "ablation")

Progress = Callable[[str], None]


def check_criterion(name: str) -> None:
    """Raise PipelineError `unknown-criterion` for a name that is none of CRITERIA."""
    if name not in CRITERIA:
        raise PipelineError(
            "unknown-criterion",
            f"there is no criterion named {name!r}",
            subject="--criterion",
            remedy=f"Use one of: {', '.join(CRITERIA)}.",
        )


def importance(
    network: Prunable,
    criterion: str,
    pictures: Sequence[np.ndarray] = (),
    seed: int = 0,
    progress: Progress = lambda message: None,
) -> list[np.ndarray]:
    """For each group the importance of its channels, as an array.

    The mean of each group is 1, so that channels are compared within their group; the numbers of `ablation` and
    `reconstruction` are comparable between groups: the mean squared change of the output. `pictures` are
    (1, C, H, W), in the network's own range. Raises PipelineError `unknown-criterion`.
    """
    check_criterion(criterion)
    if criterion == "reconstruction":
        from pipeline.shrink.choosing import scores as after_refitting

        return after_refitting(network, pictures, seed, progress)
    graph, found = network.graph, network.groups
    values = {name: np.asarray(tensor.values, np.float64) for name, tensor in constants(graph).items()}
    if criterion == "ablation":
        return _ablation(graph, found, values, pictures, progress)
    if criterion == "random":
        rng = np.random.default_rng(seed)
        return [rng.permutation(np.linspace(0.5, 1.5, group.width)) for group in found]
    if criterion == "activation":
        scores = _activation(graph, found, values, pictures)
    else:
        scores = [_by_weights(group, criterion, values) for group in found]
    return [score / max(float(score.mean()), 1e-30) for score in scores]


def row(values: Values, slot: Slot) -> np.ndarray:
    """The values at a slot, flattened."""
    name, axis, index = slot
    return np.take(values[name], index, axis=axis).ravel()


def _by_weights(group: Group, criterion: str, values: Values) -> np.ndarray:
    if criterion == "norm":
        if all(unit.scales for unit in group.units):
            return np.array([np.mean([abs(row(values, s)).mean() for s in unit.scales]) for unit in group.units])
        criterion = "l2"
    if criterion == "geometric-median":
        rows = [np.concatenate([row(values, slot) for slot in unit.makes]) for unit in group.units]
        if len({weights.size for weights in rows}) != 1:
            criterion = "l2"
        else:
            stack = np.stack(rows)
            return np.array([np.sqrt(((stack - weights) ** 2).sum(axis=1)).sum() for weights in stack])
    power = 1 if criterion == "l1" else 2
    return np.array(
        [
            sum(float((abs(row(values, s)) ** power).sum()) for s in unit.makes) ** (1 / power)
            for unit in group.units
        ]
    )


def _activation(
    graph: gs.Graph, found: Sequence[Group], values: Values, pictures: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Mean absolute activation times the absolute weights that read it, summed over the layers that do."""
    from pipeline.graph import to_model
    from pipeline.graph.runtime import free_size, session

    names = sorted({tensor for group in found for unit in group.units for tensor, _, _ in unit.seen})
    observed = graph.copy()
    tensors = observed.tensors()
    own = {output.name for output in observed.outputs}
    observed.outputs += [tensors[name] for name in names if name not in own]
    opened = session(free_size(to_model(observed)))
    observed_names = [name for name in names if name not in {image.name for image in graph.inputs}]
    means: dict[str, np.ndarray] = {}
    for picture in pictures:
        outputs = opened.run(observed_names, {opened.get_inputs()[0].name: picture})
        for name, result in zip(observed_names, outputs, strict=True):
            means[name] = means.get(name, 0) + np.abs(result).mean(axis=(0, 2, 3))
    scores = []
    for group in found:
        scores.append(
            np.array(
                [
                    sum(float(means[name][i]) * abs(row(values, slot)).sum() for name, i, slot in unit.seen)
                    for unit in group.units
                ]
            )
        )
    return scores


def _ablation(
    graph: gs.Graph, found: Sequence[Group], values: Values, pictures: Sequence[np.ndarray], progress: Progress
) -> list[np.ndarray]:
    """Mean squared change of the output if the weights that read a channel are zero."""
    paint = overridable(graph, {slot[0] for group in found for unit in group.units for slot in unit.reads})
    originals = [paint(picture, {}) for picture in pictures]
    scores = []
    for number, group in enumerate(found, start=1):
        progress(f"layer {number} of {len(found)}: {group.width} channels")
        changes = []
        for unit in group.units:
            without = zeroed(values, [unit])
            changes.append(
                np.mean(
                    [
                        float(np.mean((paint(picture, without) - original) ** 2))
                        for picture, original in zip(pictures, originals, strict=True)
                    ]
                )
            )
        scores.append(np.array(changes))
    return scores


def zeroed(values: Values, units: Sequence[Unit]) -> Values:
    """The weights that read these channels, set to zero there: equivalent to a graph without the channels."""
    changed: Values = {}
    for unit in units:
        for name, axis, index in unit.reads:
            weights = changed.setdefault(name, values[name].astype(np.float32))
            np.moveaxis(weights, axis, 0)[index] = 0
    return changed
