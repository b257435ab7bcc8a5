"""Weights of quantised sources: their integers are kept, and not rounded a second time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.graph.integers import QuantizedTensor, along

_NOISE = 2.0**-22
"""Two roundings of float32 apart: what remains of a weight that was multiplied on the way."""


def known(values: np.ndarray, name: str, given: Sequence[QuantizedTensor]) -> QuantizedTensor | None:
    """The integers that a float tensor stands for, if they are among `given`, else None.

    Exactly under the same name; else scaled, when lowering has multiplied the weight by a number, or by one for
    each output or input channel (the value range of a picture). Then the scales are those of the product.
    """
    same = [tensor for tensor in given if tensor.ints.shape == values.shape]
    for tensor in same:
        if tensor.name == name and np.array_equal(tensor.real(), values):
            return tensor
    for tensor in same:
        if np.array_equal(tensor.real(), values):
            return tensor
    for tensor in same:
        found = _scaled(values, name, tensor) if values.size >= 16 else None
        if found is not None:
            return found
    return None


def _scaled(values: np.ndarray, name: str, tensor: QuantizedTensor) -> QuantizedTensor | None:
    steps = tensor.ints.astype(np.int64) - along(tensor.zero_point, tensor.ints.ndim, tensor.axis).astype(np.int64)
    if (values[steps == 0] != 0).any() or (values[steps != 0] == 0).any():
        return None
    for axis in (None, 0, 1)[: 1 + min(values.ndim, 2)]:
        scale = _ratio(values, steps, axis)
        product = steps.astype(np.float32) * along(scale, values.ndim, axis)
        if (np.abs(product - values) <= _NOISE * np.abs(values)).all():
            return QuantizedTensor(name, steps, scale, np.zeros((), np.int64), axis)
    return None


def _ratio(values: np.ndarray, steps: np.ndarray, axis: int | None) -> np.ndarray:
    """The step, from the largest integer of the tensor or of each slice; 1 if all are 0."""
    if axis is None:
        flat, integers = values.reshape(1, -1), steps.reshape(1, -1)
    else:
        flat = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
        integers = np.moveaxis(steps, axis, 0).reshape(values.shape[axis], -1)
    place = np.abs(integers).argmax(axis=1)[:, None]
    most = np.take_along_axis(integers, place, 1)[:, 0].astype(np.float64)
    value = np.take_along_axis(flat, place, 1)[:, 0].astype(np.float64)
    scale = np.where(most != 0, value / np.where(most != 0, most, 1), 1).astype(np.float32)
    return scale.reshape(()) if axis is None else scale
