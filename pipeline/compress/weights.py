"""The weights of one model, and how to round them: to the same number of bits, or to individual steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.compress.holes import Hole
from pipeline.compress.known import known
from pipeline.compress.packed import HALVES, LARGEST_INTEGER, STEPS, Filling
from pipeline.compress.rounding import Moments, fitting_scales, round_rows, written
from pipeline.compress.sites import Site
from pipeline.graph.integers import QuantizedTensor

VECTOR_BITS = 3
"""Additional bits for biases, scales and shifts: there are few, and they have a large effect."""
BESIDE_INTEGERS = 13
"""With `VECTOR_BITS` 16: what a quantised network keeps as floats (biases, scales) is next to exact."""
MIDDLE = 31
"""The largest integer at the step that a weight's own steps are multiples of."""
_MOST = 1 << 15
"""The largest integer where only the step decides."""


@dataclass(frozen=True)
class Weight:
    """One tensor that is packed: its position in the file, its use, and its integers if the source has some.

    A vector, which is one without a site, has a scale for each of its `parts`: biases, or scales and then shifts.
    """

    hole: Hole
    values: np.ndarray
    site: Site | None = None
    moments: Sequence[Moments] | None = None
    given: QuantizedTensor | None = None
    parts: int = 1

    @property
    def name(self) -> str:
        return self.hole.name

    def filled(self, integers: np.ndarray, scales: np.ndarray, inner: int) -> Filling:
        return Filling(self.hole.offset, STEPS, integers.reshape(-1), scales, inner)

    def own(self) -> Filling:
        """The integers and scales of the source."""
        assert self.given is not None
        tensor = self.given
        zero, scale = tensor.zero_point.astype(np.int64), np.atleast_1d(tensor.scale)
        if tensor.axis is None:
            return self.filled(tensor.ints.astype(np.int64) - zero, scale.reshape(-1), tensor.ints.size)
        shape = [-1 if axis == tensor.axis else 1 for axis in range(tensor.ints.ndim)]
        shifted = tensor.ints.astype(np.int64) - (zero if zero.ndim == 0 else zero.reshape(shape))
        return self.filled(shifted, scale.reshape(-1), int(np.prod(tensor.ints.shape[tensor.axis + 1 :])))

    def half(self) -> Filling | None:
        """As float16; None if a value is outside its range."""
        if np.abs(self.values).max(initial=0) > np.finfo(np.float16).max:
            return None
        bits = self.values.astype(np.float16).view(np.uint16).reshape(-1).astype(np.int64)
        integers = np.where(bits & 0x8000, -(bits & 0x7FFF), bits)
        return Filling(self.hole.offset, HALVES, integers, np.zeros(0, np.float32))

    def in_bits(self, bits: int) -> Filling:
        """Rounded to integers of `bits` bits, with fitted scales; a vector gets `VECTOR_BITS` more."""
        if self.site is None:
            largest = 2 ** (bits + VECTOR_BITS - 1) - 1
            parts = self.values.reshape(self.parts, -1)
            scale = fitting_scales(parts, largest)
            return self.filled(round_rows(parts, scale, largest), scale, parts.shape[1])
        largest = 2 ** (bits - 1) - 1
        groups = self.site.rows(self.values)
        scales = [
            fitting_scales(rows, largest, None if self.moments is None else self.moments[group].diagonal)
            for group, rows in enumerate(groups)
        ]
        return self._rounded(groups, scales, largest)

    def in_steps(self, factor: float) -> Filling:
        """Rounded to steps `factor` times as large as the ones with `MIDDLE` as the largest integer.

        Rows share the step in the proportion in which their outputs count behind a normalisation.
        """
        if self.site is None:
            parts = self.values.reshape(self.parts, -1)
            scale = written(np.maximum(np.abs(parts).max(axis=1), 1e-30) / MIDDLE * factor)
            return self.filled(round_rows(parts, scale, LARGEST_INTEGER), scale, parts.shape[1])
        groups = self.site.rows(self.values)
        most = np.abs(self.values).max() or 1.0
        largest = [np.maximum(np.abs(rows).max(axis=1), most * 1e-4) for rows in groups]
        scales = np.exp(np.mean(np.log(np.concatenate(largest)))) * self._proportions() / MIDDLE * factor
        scales = np.maximum(scales, most / _MOST)
        return self._rounded(groups, list(written(scales).reshape(len(groups), -1)), _MOST)

    def _proportions(self) -> np.ndarray:
        """A factor for each output channel, with a geometric mean of 1."""
        assert self.site is not None
        if not self.site.normalised or self.moments is None:
            return np.ones(sum(len(rows) for rows in self.site.rows(self.values)))
        energy = np.sqrt(np.concatenate([moments.energy for moments in self.moments]))
        gain = np.abs(self.site.gain) if self.site.gain is not None else np.ones(energy.size)
        # A channel that is next to silent, or is scaled to next to nothing, does not get its way entirely.
        energy = np.maximum(energy, 1e-2 * max(energy.max(), 1e-30))
        gain = np.maximum(gain, 1e-1 * max(gain.max(), 1e-30))
        logs = np.log(energy / gain)
        return np.exp(logs - logs.mean())

    def _rounded(self, groups: np.ndarray, scales: Sequence[np.ndarray], largest: int) -> Filling:
        assert self.site is not None
        integers = np.stack(
            [
                round_rows(rows, scales[group], largest, None if self.moments is None else self.moments[group])
                for group, rows in enumerate(groups)
            ]
        )
        return self.filled(self.site.from_rows(integers), np.concatenate(list(scales)), self.site.inner)


def collect(
    model: bytes,
    holes: Iterable[Hole],
    sites: Iterable[Site],
    vectors: Iterable[str],
    moments: Mapping[str, Sequence[Moments]],
    given: Sequence[QuantizedTensor],
    was: Mapping[str, str],
) -> list[Weight]:
    """The tensors of a model's bytes that are packed, in file order.

    `was` is the name in `given` of one that has another name in the model.
    """
    by_weight = {site.weight: site for site in sites}
    beside = set(vectors)
    found = []
    for hole in holes:
        site = by_weight.get(hole.name)
        if site is not None and site.shape != hole.shape:
            site = None
        values = hole.values(model)
        integers = known(values, was.get(hole.name, hole.name), given)
        if (site is None and hole.name not in beside and integers is None) or not np.isfinite(values).all():
            continue
        found.append(Weight(hole, values, site, moments.get(hole.name), integers))
    return found


def kept(weights: Sequence[Weight]) -> dict[int, Filling]:
    """Offset -> filling of what a quantised network brings: its integers; what it has as floats, next to exact."""
    found = {w.hole.offset: w.own() for w in weights if w.given is not None}
    beside = [w for w in weights if w.given is None and w.site is None] if found else []
    return found | {w.hole.offset: w.in_bits(BESIDE_INTEGERS) for w in beside}


def replaced(weights: Iterable[Weight], fillings: Iterable[Filling]) -> dict[str, np.ndarray]:
    """Name -> values of the weights that are filled."""
    by_offset = {filling.offset: filling for filling in fillings}
    return {w.name: by_offset[w.hole.offset].real() for w in weights if w.hole.offset in by_offset}
