"""Constants that depend on the style: arrays whose elements are linear functions of a style vector.

A network built with `--style-input` reads a style vector beside the picture. Its kernels do not: scales, shifts
and biases that depend on the style are weights like any other, which the engine computes and uploads when the
style changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.targets.compute.steps import ELSEWHERE, Unsupported


@dataclass(frozen=True, eq=False)
class Linear:
    """An array of base + sum of coefficients[t] * vector[indices[t]], each of the array's shape.

    Arithmetic gives linear functions again; a product or quotient that is none raises Unsupported. Functions of
    NumPy that only move elements (reshape, tile, stack, ...) are supported.
    """

    base: np.ndarray
    terms: tuple[tuple[np.ndarray, np.ndarray], ...] = ()
    """(coefficients float64, indices int64) of each term."""

    __array_ufunc__ = None

    @classmethod
    def of_vector(cls, length: int) -> Linear:
        """The style vector itself, of shape (1, length, 1, 1)."""
        shape = (1, length, 1, 1)
        return cls(np.zeros(shape), ((np.ones(shape), np.arange(length).reshape(shape)),))

    def at(self, vector: np.ndarray) -> np.ndarray:
        """The array for a style vector of shape (K,)."""
        total = self.base.copy()
        for coefficients, indices in self.terms:
            total += coefficients * vector[indices]
        return total

    # --- as an array ---

    @property
    def shape(self) -> tuple[int, ...]:
        return self.base.shape

    @property
    def size(self) -> int:
        return self.base.size

    @property
    def ndim(self) -> int:
        return self.base.ndim

    def moved(self, function: Callable[[np.ndarray], np.ndarray]) -> Linear:
        """This with elements moved by a function of arrays that computes nothing."""
        terms = tuple((function(coefficients), function(indices)) for coefficients, indices in self.terms)
        return Linear(function(self.base), terms)

    def reshape(self, *shape: Any) -> Linear:
        return self.moved(lambda array: array.reshape(*shape))

    def __getitem__(self, key: Any) -> Linear:
        return self.moved(lambda array: array[key])

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Linear:
        if function not in _MOVES:
            return NotImplemented
        first, rest = args[0], args[1:]
        parts = [_linear(part) for part in first] if isinstance(first, Sequence) else [_linear(first)]
        arrays = [_arrays(part, max(len(each.terms) for each in parts)) for part in parts]
        moved = [
            function(
                [each[n] for each in arrays] if isinstance(first, Sequence) else arrays[0][n], *rest, **kwargs
            )
            for n in range(len(arrays[0]))
        ]
        return Linear(moved[0], tuple(zip(moved[1::2], moved[2::2], strict=True)))

    # --- arithmetic ---

    def __add__(self, other: Linear | np.ndarray | float) -> Linear:
        added = _linear(other)
        shape = np.broadcast_shapes(self.shape, added.shape)
        one, two = (part.moved(lambda array: np.broadcast_to(array, shape)) for part in (self, added))
        return Linear(one.base + two.base, one.terms + two.terms)

    __radd__ = __add__

    def __mul__(self, other: Linear | np.ndarray | float) -> Linear:
        if isinstance(other, Linear) and other.terms:
            raise Unsupported("a product of two constants that depend on the style is not supported", ELSEWHERE)
        factor = np.asarray(other.base if isinstance(other, Linear) else other, np.float64)
        shape = np.broadcast_shapes(self.shape, factor.shape)
        terms = tuple(
            (coefficients * factor, np.broadcast_to(indices, shape))
            for coefficients, indices in self.terms
            if np.any(coefficients * factor)
        )
        return Linear(self.base * factor, terms)

    __rmul__ = __mul__

    def __truediv__(self, other: np.ndarray | float) -> Linear:
        return self * (1 / np.asarray(other, np.float64))

    def __rtruediv__(self, other: Any) -> Linear:
        raise Unsupported("a division by a constant that depends on the style is not supported", ELSEWHERE)

    def __neg__(self) -> Linear:
        return self * -1.0

    def __sub__(self, other: Linear | np.ndarray | float) -> Linear:
        return self + -_linear(other)

    def __rsub__(self, other: np.ndarray | float) -> Linear:
        return -self + other


Constant = np.ndarray | Linear
"""The type of constants that may depend on the style."""

_MOVES = {np.tile, np.stack, np.concatenate, np.repeat, np.broadcast_to, np.transpose, np.squeeze}


def depends(*constants: Constant) -> bool:
    """Whether one of the constants depends on the style."""
    return any(isinstance(constant, Linear) and constant.terms for constant in constants)


def _linear(value: Linear | np.ndarray | float) -> Linear:
    return value if isinstance(value, Linear) else Linear(np.asarray(value, np.float64))


def _arrays(part: Linear, terms: int) -> list[np.ndarray]:
    """Base, coefficients, indices, coefficients, indices, ... of so many terms."""
    missing = terms - len(part.terms)
    empty = [np.zeros(part.shape), np.zeros(part.shape, np.int64)]
    return [part.base, *(array for term in part.terms for array in term), *(empty * missing)]
