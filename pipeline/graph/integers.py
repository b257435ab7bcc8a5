"""Integers that stand for numbers: real = (integer - zero_point) * scale.

Quantised sources keep their integer weights here beside the float network that the targets compute with, for
whoever stores them at one byte each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class QuantizedTensor:
    """An integer weight as its file has it: real = (ints - zero_point) * scale.

    `name` is the float tensor that takes its place: an initializer, or a tensor of a state dict. `scale` (float32)
    and `zero_point` are scalars, or one per slice along `axis` of `ints`; `axis` is None for scalars.
    """

    name: str
    ints: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray
    axis: int | None = None

    def real(self) -> np.ndarray:
        """The float32 values."""
        return dequantise(self.ints, self.scale, self.zero_point, self.axis)


def found_in(model: onnx.ModelProto, tensors: Iterable[QuantizedTensor]) -> tuple[QuantizedTensor, ...]:
    """Those whose float values are an initializer of `model` bit for bit, under the initializer's name.

    Lowering may change a weight (batch normalisation or the image contract folded in): such a one is not found.
    """
    from onnx import numpy_helper

    by_values = {(quantized.ints.shape, quantized.real().tobytes()): quantized for quantized in tensors}
    sizes = {quantized.ints.size for quantized in by_values.values()}
    found = []
    for tensor in model.graph.initializer if by_values else ():
        if int(np.prod(tensor.dims)) in sizes and tensor.data_type == tensor.FLOAT:
            values = numpy_helper.to_array(tensor)
            if quantized := by_values.get((values.shape, values.tobytes())):
                found.append(replace(quantized, name=tensor.name))
    return tuple(found)


def dequantise(
    ints: np.ndarray, scale: np.ndarray, zero_point: np.ndarray, axis: int | None = None, block: int = 0
) -> np.ndarray:
    """(ints - zero_point) * scale in float32, bit for bit as ONNX Runtime's DequantizeLinear computes it.

    `scale` and `zero_point` are scalars, one per slice along `axis`, or with `block` one per block along it.
    """
    if block:
        assert axis is not None
        size = ints.shape[axis]
        scale = np.repeat(scale, block, axis=axis).take(range(size), axis=axis)
        zero_point = np.repeat(zero_point, block, axis=axis).take(range(size), axis=axis)
    else:
        scale, zero_point = along(scale, ints.ndim, axis), along(zero_point, ints.ndim, axis)
    if "int" in ints.dtype.name:
        ints = ints.astype(np.int64) - zero_point.astype(np.int64)
    return np.asarray(ints.astype(np.float32) * scale.astype(np.float32), dtype=np.float32)


def along(values: np.ndarray, rank: int, axis: int | None) -> np.ndarray:
    """A scalar, or one value per slice shaped to broadcast along `axis` of a tensor of `rank`."""
    if values.size == 1 or axis is None:
        return values.reshape(()) if values.size == 1 else values
    return values.reshape([-1 if index == axis else 1 for index in range(rank)])
