"""Rounds weights to multiples of a step with the smallest change of the outputs.

The error of each rounded weight is distributed over the weights of its row that are not rounded yet, as determined
by the second moments of the inputs (GPTQ, Frantar et al. 2022, arXiv:2210.17323: optimal brain surgeon in one
fixed order). Without moments it is rounding to the nearest step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_DAMPING = 0.01
"""Damping added to the diagonal, relative to its mean."""
_BLOCK = 64
_MANTISSA = 4
"""Bits of a scale's mantissa that are stored: with few, the scales of a layer compress well."""
_SHRINKS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)
"""Candidates for the end of the range, relative to the largest weight."""
WIDEST = 2304
"""Maximum number of inputs that are rounded together; a wider row is split."""


@dataclass(frozen=True)
class Moments:
    """The second moments of the inputs of one group of rows, made ready.

    `order` is the order of rounding, `factors` the upper Cholesky factor of their inverse in that order, one for
    each piece of at most `WIDEST` inputs. `diagonal` are the moments of the single inputs, `energy` those of the
    outputs of the rows.
    """

    diagonal: np.ndarray
    energy: np.ndarray
    order: tuple[np.ndarray, ...]
    factors: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, second: np.ndarray, rows: np.ndarray) -> Moments:
        """From the matrix of second moments (inputs, inputs) and the rows that it belongs to."""
        size = len(second)
        pieces = -(-size // WIDEST)
        orders, factors = [], []
        for piece in range(pieces):
            begin, end = piece * size // pieces, (piece + 1) * size // pieces
            part = second[begin:end, begin:end].astype(np.float64)
            diagonal = np.diag(part)
            mean = float(diagonal.mean())
            order = np.argsort(-diagonal, kind="stable")
            part = part[np.ix_(order, order)] + np.eye(len(part)) * (_DAMPING * mean if mean > 0 else 1.0)
            factors.append(np.linalg.cholesky(np.linalg.inv(part)).T.astype(np.float32))
            orders.append(order + begin)
        energy = ((rows.astype(np.float64) @ second) * rows).sum(axis=1)
        return cls(np.diag(second).astype(np.float64), energy, tuple(orders), tuple(factors))


def round_rows(rows: np.ndarray, scales: np.ndarray, largest: int, moments: Moments | None = None) -> np.ndarray:
    """Integers (rows, inputs) of at most `largest`, one scale for each row; weights of exactly 0 stay 0."""
    scales = scales.astype(np.float64)
    if moments is None:
        return np.clip(np.rint(rows / scales[:, None]), -largest, largest).astype(np.int64)
    integers = np.zeros(rows.shape)
    for order, factor in zip(moments.order, moments.factors, strict=True):
        integers[:, order] = _round_ordered(rows[:, order].astype(np.float64), scales, largest, factor)
    return integers.astype(np.int64)


def _round_ordered(left: np.ndarray, scales: np.ndarray, largest: int, factor: np.ndarray) -> np.ndarray:
    """`left` is what is still to be written, weights and the errors passed on to them; it is used up."""
    zero = left == 0
    integers = np.zeros(left.shape)
    width = left.shape[1]
    factor = factor.astype(np.float64)
    for begin in range(0, width, _BLOCK):
        end = min(begin + _BLOCK, width)
        errors = np.zeros((len(left), end - begin))
        for index in range(begin, end):
            column = np.clip(np.rint(left[:, index] / scales), -largest, largest)
            column[zero[:, index]] = 0
            integers[:, index] = column
            error = (left[:, index] - column * scales) / factor[index, index]
            errors[:, index - begin] = error
            left[:, index + 1 : end] -= error[:, None] * factor[index, index + 1 : end]
        left[:, end:] -= errors @ factor[begin:end, end:]
    return integers


def fitting_scales(rows: np.ndarray, largest: int, weights: np.ndarray | None = None) -> np.ndarray:
    """For each row the scale with which rounding to -largest..largest costs least, float32.

    `weights` (inputs) says how much an error counts; 1 where it is not given.
    """
    most = np.abs(rows).max(axis=1)
    best = written(np.where(most > 0, most, 1) / largest, up=True)
    least = _cost(rows, best, largest, weights)
    for shrink in _SHRINKS[1:] if largest < 100 else ():
        scales = written(np.where(most > 0, most, 1) * shrink / largest)
        cost = _cost(rows, scales, largest, weights)
        best = np.where(cost < least, scales, best)
        least = np.minimum(cost, least)
    return best


def _cost(rows: np.ndarray, scales: np.ndarray, largest: int, weights: np.ndarray | None) -> np.ndarray:
    error = rows - round_rows(rows, scales, largest) * scales[:, None].astype(np.float64)
    return (error**2 * (1 if weights is None else weights)).sum(axis=1)


def written(scales: np.ndarray, up: bool = False) -> np.ndarray:
    """Scales as they are written: float32 with few bits of mantissa, to the nearest or upwards."""
    drop = 23 - _MANTISSA
    bits = np.ascontiguousarray(scales, dtype=np.float32).view(np.uint32).astype(np.int64)
    bits = (bits + ((1 << drop) - 1 if up else 1 << (drop - 1))) >> drop << drop
    return bits.astype(np.uint32).view(np.float32)
