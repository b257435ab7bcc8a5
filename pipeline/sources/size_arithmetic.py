"""Arithmetic on sizes: the functions that an exported program may call in addition to tensor operators."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

_LARGEST = 1 << 63
_OPERATORS = "add sub mul truediv floordiv mod neg pos eq ne lt le gt ge and_ or_ not_ abs"


def small(value: Any) -> Any:
    """The size itself. Raises ValueError for one that does not fit into 64 bits."""
    if isinstance(value, int) and abs(value) >= _LARGEST:
        raise ValueError("a size of the program grows beyond 64 bits")
    return value


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1 and exponent > 63:
        raise ValueError("a size of the program grows beyond 64 bits")
    return base**exponent


NUMBERS: dict[str, Callable[..., Any]] = {
    **{f"_operator.{name}": getattr(operator, name) for name in _OPERATORS.split()},
    "_operator.pow": _power,
    "math.ceil": math.ceil,
    "math.floor": math.floor,
    "math.trunc": math.trunc,
    "math.sqrt": math.sqrt,
    "torch.sym_int": int,
    "torch.sym_float": float,
    "torch.sym_max": max,
    "torch.sym_min": min,
    "torch.sym_not": operator.not_,
    "torch.sym_ite": lambda condition, yes, no: yes if condition else no,
    "torch.sym_sqrt": math.sqrt,
    "torch.sym_sum": sum,
}
"""By their names in torch/_export/serde/serialize.py, `_SYM_OPS`."""
