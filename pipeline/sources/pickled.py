"""The content of a pickle as inert data: names, objects that are not built, tensors that are not read yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class Malformed(ValueError):
    """The pickle is damaged."""


@dataclass(frozen=True)
class Global:
    """The name of a class or function in a pickle; it is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, repr=False)
class Record:
    """An object of a class that is not built: its class name, constructor arguments and state.

    `packed` is the state of a class that saves it as a tuple (torch's quantised convolutions).
    """

    cls: Global
    args: tuple[Any, ...] = ()
    state: dict[Any, Any] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)
    packed: tuple[Any, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Storage:
    """A block of numbers stored beside the pickle: its key, torch type name and number of values."""

    key: str
    dtype: str
    numel: int
    start: int = 0
    """Index of the first value, for a view of the storage named `key` (legacy files)."""
    load: Callable[[Storage], bytes] | None = None
    """Reads the bytes of a storage that is embedded in the pickle."""


@dataclass(frozen=True, eq=False, repr=False)
class TensorRef:
    """A tensor as the pickle describes it: a strided view of a storage. Nothing is checked or read yet."""

    storage: Any
    offset: Any
    shape: Any
    stride: Any


@dataclass(frozen=True, eq=False, repr=False)
class QuantisedRef:
    """A quantised tensor as the pickle describes it: integers, scale and zero point.

    `scale` and `zero_point` are numbers (per_tensor_affine), or references to 1-d tensors with one value per slice
    along `axis` (per_channel_affine).
    """

    integers: TensorRef
    scale: Any
    zero_point: Any
    axis: Any = None


@dataclass(frozen=True, eq=False, repr=False)
class SparseRef:
    """A sparse tensor as the pickle describes it: indices, values and dense shape.

    `indices` is one tensor for sparse_coo (one row per dimension), two for sparse_csr (row starts, columns).
    """

    layout: str
    indices: tuple[Any, ...]
    values: Any
    shape: Any


@dataclass(frozen=True, eq=False, repr=False)
class Unsupported:
    """A tensor of a kind that cannot be read as plain numbers (nested, meta, ...); `what` is for the message."""

    what: str


def is_count(value: Any) -> bool:
    """Whether a value is an int from 0 to 2^40 - 1, as sizes and offsets in a file are (bool and float are
    not)."""
    return type(value) is int and 0 <= value < 1 << 40


def shown(value: Any, limit: int = 80) -> str:
    """A value from a file as text of bounded length, for messages.

    Objects are shown by their type only: their contents may be nested and shared so that the text doubles at every
    level.
    """
    if isinstance(value, (str, bytes)):
        text = repr(value[:limit])
        return text if len(value) <= limit else f"{text}..."
    if isinstance(value, Global):
        return f"{value.module[:limit]}.{value.name[:limit]}"
    if value is None or isinstance(value, (bool, float)):
        return repr(value)
    if isinstance(value, int):
        return str(value) if value.bit_length() < 64 else "a very large number"
    if isinstance(value, Record):
        return f"an object of the class {shown(value.cls, limit)}"
    return f"a {type(value).__name__}"
