"""Selects the channels that a pruned network keeps: those that the others cannot compensate for.

A layer that reads a narrowed tensor can compensate for a removed channel with the remaining ones, as far as they
are correlated. For a layer with the patch covariance G = E[x x^T] and the weights W, removing the block of inputs
c and refitting the rest (pipeline.shrink.refit) raises its squared error by tr(W_c^T ((G^-1)_cc)^-1 W_c): the
structured form of Hassibi and Stork, Optimal Brain Surgeon (1993). Channels are removed one by one, the cheapest
first, and each removal changes the cost of the next ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph.channels import constants
from pipeline.shrink.refit import (
    RIDGE,
    Moments,
    Progress,
    Reader,
    Values,
    moments_of,
    observe,
    original_outputs,
    readers,
    refit,
)

if TYPE_CHECKING:
    from pipeline.graph.channels import Group
    from pipeline.shrink.prunable import Prunable

TRIED = 0.25
"""Part of a width that is removed to measure the change of the output."""


def scores(
    network: Prunable, pictures: Sequence[np.ndarray], seed: int = 0, progress: Progress = lambda message: None
) -> list[np.ndarray]:
    """For each group the importance of its channels: the change of the output by a removal, after refitting.

    Comparable between groups: the mean squared change of the output, in the network's own range.
    `pictures` are (1, C, H, W), in that range too.
    """
    from pipeline.shrink.overridable import overridable

    orders, costs = choose(network, pictures, seed, progress)
    few = pictures[:2]
    aims = original_outputs(network, few)
    original = overridable(network.graph, set())
    originals = [original(picture, {}) for picture in few]
    result = []
    for number, (group, order, cost) in enumerate(zip(network.groups, orders, costs, strict=True), start=1):
        progress(f"width {number} of {len(network.groups)}: importance of {group.width} channels")
        count = max(1, int(group.width * TRIED))
        units = [group.units[index] for index in order[:count]]
        narrow = network.without(units)
        for name, value in refit(network, units, few, seed, wanted=aims).items():
            constants(narrow)[name].values = value
        run = overridable(narrow, set())
        change = np.mean([np.mean((run(p, {}) - w) ** 2) for p, w in zip(few, originals, strict=True)])
        rising = np.maximum.accumulate(np.array(cost))
        score = np.zeros(group.width)
        score[order] = rising * float(change) / max(float(np.sum(cost[:count])), 1e-30)
        result.append(
            score + np.linspace(0, 1e-9, group.width)[np.argsort(order)] * max(float(score.max()), 1e-30)
        )
    return result


class _Surgeon:
    """One reader's inverse covariance and weights while blocks of its inputs are removed."""

    def __init__(self, moments: Moments, weights: np.ndarray, scale: np.ndarray, taps: int) -> None:
        gram = moments.gram[:-1, :-1] / moments.count
        if not moments.centred:
            mean = moments.gram[:-1, -1:] / moments.count
            gram = gram - mean @ mean.T
        index = np.arange(len(gram))
        gram[index, index] += RIDGE * max(float(np.trace(gram)) / len(gram), 1e-12)
        self.taps = taps
        self.inverse = np.linalg.inv(gram)
        self.weights = weights * scale
        self.active = np.ones(len(gram) // taps, bool)

    def rows(self, channel: int) -> slice:
        return slice(channel * self.taps, (channel + 1) * self.taps)

    def loss(self, channel: int) -> float:
        rows = self.rows(channel)
        weights = self.weights[rows]
        return float(np.einsum("ij,ij->", weights, np.linalg.solve(self.inverse[rows, rows], weights)))

    def remove(self, channel: int) -> None:
        rows = self.rows(channel)
        block = np.linalg.inv(self.inverse[rows, rows])
        column = self.inverse[:, rows]
        self.weights = self.weights - column @ (block @ self.weights[rows])
        self.inverse = self.inverse - column @ block @ column.T
        self.active[channel] = False


def error_scales(reader: Reader, moments: Moments, values: Values) -> np.ndarray:
    """The weight of an error of each output: a norm divides by the deviation and multiplies by its factor."""
    rows = values[reader.weights].reshape(len(values[reader.weights]), -1).astype(np.float64)
    gram = moments.gram[:-1, :-1] / moments.count
    if not moments.centred:
        mean = moments.gram[:-1, -1] / moments.count
        gram = gram - np.outer(mean, mean)
    variance = np.maximum(np.einsum("oi,ij,oj->o", rows, gram, rows), 1e-12)
    if reader.centred:
        norm = reader.node.outputs[0].outputs[0]
        factor = np.abs(values[norm.inputs[1].name].astype(np.float64)).reshape(-1)
        return factor / np.sqrt(variance) / max(np.sqrt((factor**2).sum()), 1e-12)
    return np.full(len(variance), 1 / np.sqrt(variance.sum()))


def choose(
    network: Prunable, pictures: Sequence[np.ndarray], seed: int = 0, progress: Progress = lambda message: None
) -> tuple[list[list[int]], list[list[float]]]:
    """For each group the order in which its channels are removed, and the cost of each removal after refitting.

    The first channel is the one that is compensated for best. The cost is the increase of the readers' squared
    error relative to their variance, summed over the readers.
    """
    graph = network.graph
    rng = np.random.default_rng(seed)
    values = {name: np.asarray(tensor.values) for name, tensor in constants(graph).items()}
    by_weights = {reader.weights: reader for reader in readers(graph)}
    orders, costs = [], []
    for number, group in enumerate(network.groups, start=1):
        progress(f"width {number} of {len(network.groups)}: {group.width} channels")
        names = dict.fromkeys(slot[0] for unit in group.units for _, _, slot in unit.seen)
        surgeons: dict[str, _Surgeon] = {}
        for name in names:
            reader = by_weights.get(name)
            if reader is None:
                continue
            seen = observe(graph, [reader.tensor, reader.output], pictures)
            moments = moments_of(reader, reader.node, seen, seen, list(range(len(values[name]))), rng)
            rows = values[name].reshape(len(values[name]), -1).T.astype(np.float64)
            scale = error_scales(reader, moments, values)
            surgeons[name] = _Surgeon(moments, rows, scale, int(np.prod(values[name].shape[2:])))
        order, cost = _order(group, surgeons)
        orders.append(order)
        costs.append(cost)
    return orders, costs


def _order(group: Group, surgeons: dict[str, _Surgeon]) -> tuple[list[int], list[float]]:
    left = list(range(group.width))
    order: list[int] = []
    costs: list[float] = []
    while left:
        losses = []
        for index in left:
            losses.append(
                sum(surgeons[s[0]].loss(s[2]) for _, _, s in group.units[index].seen if s[0] in surgeons)
            )
        best = int(np.argmin(losses))
        index = left.pop(best)
        for _, _, slot in group.units[index].seen:
            if slot[0] in surgeons and len(left):
                surgeons[slot[0]].remove(slot[2])
        order.append(index)
        costs.append(float(losses[best]))
    return order, costs
