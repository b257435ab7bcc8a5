"""Turn tensor references into NumPy arrays after checking every number in them against the file.

A reference comes from a pickle or a table that anybody can write: its shape, strides and offset may point
anywhere. The file's budget (budget.py) is charged before anything is allocated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.graph.integers import QuantizedTensor
from pipeline.sources.budget import Budget
from pipeline.sources.failures import damaged, guarded
from pipeline.sources.pickled import (
    Malformed,
    QuantisedRef,
    SparseRef,
    Storage,
    TensorRef,
    Unsupported,
    is_count,
    shown,
)
from pipeline.support.errors import PipelineError

DTYPES = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "BFloat16Storage": "bf16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
"""torch's storage classes as NumPy types; `widen` converts bf16, which NumPy does not have."""
INTEGERS = {"QInt8Storage": "i1", "QUInt8Storage": "u1", "QInt32Storage": "i4"}
"""The storage classes of quantised tensors."""
_PACKED = ("QUInt4x2Storage", "QUInt2x4Storage")
MAX_RANK = 8


@dataclass(frozen=True)
class SafeRef:
    """A tensor in a safetensors file: its type name, shape, and byte range from the start of the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def item_size(dtype: str) -> int:
    """Bytes of one value in a storage of torch's class `dtype`. Raises Malformed for an unknown one."""
    if dtype in _PACKED:
        return 1
    if dtype in INTEGERS:
        return np.dtype(INTEGERS[dtype]).itemsize
    if dtype in ("ComplexFloatStorage", "ComplexDoubleStorage"):
        return 16 if "Double" in dtype else 8
    kind = DTYPES.get(dtype)
    if kind is None:
        raise Malformed(f"a storage is of the unknown type {dtype[:60]}")
    return stored_dtype(kind).itemsize


def stored_dtype(kind: str, order: str = "<") -> np.dtype[Any]:
    """The NumPy type of values as stored in the file; bf16 as its 16 bits."""
    return np.dtype(order + ("u2" if kind == "bf16" else kind))


class Reader:
    """Reads the tensors of one file. `load` returns the bytes of a storage; `order` is "<" or ">"."""

    def __init__(self, path: Path, load: Callable[[Storage], bytes], budget: Budget, order: str = "<") -> None:
        self.path, self.load, self.budget, self.order = path, load, budget, order
        self._last: dict[str, bytes] = {}

    def tensor(self, name: str, reference: Any) -> np.ndarray | QuantizedTensor:
        """The tensor as float32 or int64; a quantised tensor as its integers and scales.

        Raises PipelineError: damaged-file, truncated-file, unsupported-tensor, over-budget.
        """
        return guarded(self.path, lambda: self._tensor(name, reference))

    def stored(self, name: str, reference: Any) -> tuple[np.ndarray, str]:
        """The values in the type that the file has, and the type's name (f4, i8, bf16 as 16 bits, ...)."""
        return guarded(self.path, lambda: self._stored(name, reference))

    def check(self, name: str, reference: TensorRef) -> None:
        """Refuse a tensor that reaches beyond its storage, without reading it."""
        storage = self._storage(name, reference, DTYPES)
        strided(self.path, name, reference, storage.numel)

    def _stored(self, name: str, reference: Any) -> tuple[np.ndarray, str]:
        if not isinstance(reference, TensorRef):
            raise unsupported(self.path, name, "of a kind that a program cannot contain")
        kind = DTYPES[self._storage(name, reference, DTYPES).dtype]
        view = self._view(name, reference, DTYPES)
        self.budget.take(view.size * view.itemsize)
        return np.array(view, order="C"), kind

    def _tensor(self, name: str, reference: Any) -> np.ndarray | QuantizedTensor:
        if isinstance(reference, Unsupported):
            raise unsupported(self.path, name, reference.what)
        if isinstance(reference, QuantisedRef):
            return self._quantised(name, reference)
        if isinstance(reference, SparseRef):
            return self._dense(name, reference)
        view = self._view(name, reference, DTYPES)
        kind = DTYPES[reference.storage.dtype]
        self.budget.take(view.size * widened_item_size(kind))
        return widen(view, kind)

    def _storage(self, name: str, reference: Any, kinds: dict[str, str]) -> Storage:
        storage = reference.storage
        if not isinstance(storage, Storage):
            raise damaged(self.path, f"tensor {shown(name)} has no storage")
        if storage.dtype not in kinds:
            raise unsupported(self.path, name, f"of type {storage.dtype[:60]}")
        return storage

    def _view(self, name: str, reference: Any, kinds: dict[str, str]) -> np.ndarray:
        """A view of the tensor's values in its storage."""
        storage = self._storage(name, reference, kinds)
        dtype = stored_dtype(kinds[storage.dtype], self.order)
        shape, stride = strided(self.path, name, reference, storage.numel)
        if not math.prod(shape):
            return np.zeros(shape, dtype)
        if storage.load is not None:
            data = storage.load(storage)
        else:
            if storage.key not in self._last:
                self._last.clear()
                self._last[storage.key] = self.load(storage)
            data = self._last[storage.key]
        if (storage.start + storage.numel) * dtype.itemsize > len(data):
            raise damaged(
                self.path, f"tensor {shown(name)} needs more numbers than the file has", "truncated-file"
            )
        flat = np.frombuffer(data, dtype, storage.numel, storage.start * dtype.itemsize)
        return np.lib.stride_tricks.as_strided(
            flat[reference.offset :], shape, tuple(s * dtype.itemsize for s in stride), writeable=False
        )

    def _quantised(self, name: str, reference: QuantisedRef) -> QuantizedTensor:
        view = self._view(name, reference.integers, INTEGERS)
        self.budget.take(view.size * (view.itemsize + 4))  # the integers, and the dequantised floats
        ints = np.array(view, order="C")
        scale, zero_point = (
            np.asarray(self._tensor(f"{name}.{part}", value) if isinstance(value, TensorRef) else _number(value))
            for part, value in (("scale", reference.scale), ("zero_point", reference.zero_point))
        )
        axis = reference.axis
        whole = axis is None and scale.shape == zero_point.shape == ()
        sliced = (
            type(axis) is int and 0 <= axis < ints.ndim and scale.shape == zero_point.shape == (ints.shape[axis],)
        )
        info = np.iinfo(ints.dtype)
        sound = (whole or sliced) and scale.dtype.kind == "f" and zero_point.dtype.kind == "i"
        if not sound or np.any(zero_point < info.min) or np.any(zero_point > info.max):
            raise damaged(self.path, f"tensor {shown(name)} has an impossible scale or zero point")
        return QuantizedTensor(name, ints, scale.astype(np.float32), zero_point.astype(ints.dtype), axis)

    def _dense(self, name: str, reference: SparseRef) -> np.ndarray:
        """The dense form of a sparse tensor with coordinates (COO) or compressed rows (CSR)."""
        shape = reference.shape
        if (
            not isinstance(shape, (tuple, list))
            or not 1 <= len(shape) <= MAX_RANK
            or not all(map(is_count, shape))
        ):
            raise damaged(self.path, f"tensor {shown(name)} has an impossible shape")
        self.budget.take(8 * math.prod(shape))
        values, *indices = (
            np.asarray(self._tensor(f"{name}.{part}", value))
            for part, value in (
                ("values", reference.values),
                *zip(("indices", "columns"), reference.indices, strict=False),
            )
        )
        if reference.layout == "sparse_csr":
            if len(shape) != 2 or len(indices) != 2 or values.ndim != 1:
                raise unsupported(self.path, name, "sparse in an unsupported layout")
            starts, columns = indices
            rows = np.repeat(np.arange(len(starts) - 1), _row_lengths(starts, len(values)))
            place = np.stack([rows, columns])
        else:
            (place,) = indices
        if (
            place.shape != (len(shape), len(values))
            or place.dtype.kind != "i"
            or values.ndim != 1
            or np.any(place < 0)
            or np.any(place >= np.array(shape)[:, None])
        ):
            raise damaged(self.path, f"tensor {shown(name)} has entries outside its shape")
        dense = np.zeros(tuple(shape), values.dtype)
        np.add.at(dense, tuple(place), values)
        return dense


def _row_lengths(starts: np.ndarray, total: int) -> np.ndarray:
    lengths = np.diff(starts)
    if starts.ndim != 1 or not len(starts) or starts[0] != 0 or np.any(lengths < 0) or lengths.sum() != total:
        raise Malformed("the rows of a sparse tensor are inconsistent")
    return lengths


def _number(value: Any) -> Any:
    return value if isinstance(value, (int, float)) and abs(value) < 1 << 62 else None


def strided(path: Path, name: str, reference: Any, numel: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and strides (in values) of a view, after checking that it stays within a storage of `numel` values."""
    shape, stride = reference.shape, reference.stride
    sound = (
        isinstance(shape, (tuple, list))
        and isinstance(stride, (tuple, list))
        and len(shape) == len(stride) <= MAX_RANK
        and all(is_count(v) for v in (*shape, *stride, reference.offset))
    )
    if not sound:
        raise damaged(path, f"tensor {shown(name)} has an impossible shape")
    last = reference.offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
    if math.prod(shape) and last >= numel:
        raise damaged(path, f"tensor {shown(name)} reaches beyond its storage")
    return tuple(shape), tuple(stride)


def widened_item_size(kind: str) -> int:
    """Bytes of one value after `widen`."""
    return 4 if kind == "bf16" or kind.startswith("f") else 8


def widen(values: np.ndarray, kind: str) -> np.ndarray:
    """A contiguous copy: float32 of floating-point values (bf16 given as its 16 bits), int64 of integers."""
    if kind == "bf16":
        return (np.ascontiguousarray(values).astype(np.uint32) << 16).view(np.float32).reshape(values.shape)
    if kind.startswith("f"):
        with np.errstate(over="ignore"):
            return np.array(values, dtype=np.float32, order="C")
    return np.array(values, dtype=np.int64, order="C")


def unsupported(path: Path, name: str, what: str) -> PipelineError:
    return PipelineError(
        "unsupported-tensor",
        f"tensor {shown(name)} is {what}, which is not supported",
        subject=str(path),
        remedy="Save the float network's state dict instead.",
    )


def is_tensor(value: Any) -> bool:
    """Whether an object in an archive's tree is a tensor reference, readable or not."""
    return isinstance(value, (TensorRef, QuantisedRef, SparseRef, Unsupported, SafeRef))


def rank(value: Any) -> int:
    """The number of dimensions that a tensor reference claims; 2 for a kind that cannot be read."""
    if isinstance(value, Unsupported):
        return 2
    if isinstance(value, QuantisedRef):
        value = value.integers
    shape = getattr(value, "shape", ())
    return len(shape) if isinstance(shape, (tuple, list)) else 0
