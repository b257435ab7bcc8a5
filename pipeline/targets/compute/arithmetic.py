"""Activations and rounding as the kernels compute them, with NumPy (Common.hlsl)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

PRELU = 10
"""The activation with one slope for each channel."""


def to_half(data: np.ndarray) -> np.ndarray:
    """Round to float16: to nearest, ties away from zero, like Packed in Common.hlsl."""
    bits = (np.ascontiguousarray(data, np.float32).view(np.uint32) + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
    return bits.view(np.float32).astype(np.float16).astype(np.float32)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


_erf = np.frompyfunc(math.erf, 1, 1)

ACTIVATIONS: dict[int, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    1: lambda x, b, s: np.maximum(x, 0),
    2: lambda x, b, s: np.where(x < 0, x * b[0], x),
    3: lambda x, b, s: np.clip(x, b[0], b[1]),
    4: lambda x, b, s: np.tanh(x),
    5: lambda x, b, s: _sigmoid(x),
    6: lambda x, b, s: x * np.clip(x / 6 + 0.5, 0, 1),
    7: lambda x, b, s: x * _sigmoid(x),
    8: lambda x, b, s: 0.5 * x * (1 + np.asarray(_erf(x.astype(np.float64) * math.sqrt(0.5)), np.float64)),
    9: lambda x, b, s: np.where(x < 0, b[0] * np.expm1(np.minimum(x, 0)), x),
    10: lambda x, b, s: np.where(x < 0, x * s, x),
    11: lambda x, b, s: np.clip(x * b[0] + b[1], 0, 1),
    12: lambda x, b, s: 0.5 * x * (1 + np.tanh(0.79788456 * (x + 0.044715 * x**3))),
    13: lambda x, b, s: np.logaddexp(x, 0),
    14: lambda x, b, s: np.abs(x),
    15: lambda x, b, s: x * np.tanh(np.logaddexp(x, 0)),
    16: lambda x, b, s: np.sqrt(np.maximum(x, 0)),
    17: lambda x, b, s: np.exp(x),
    18: lambda x, b, s: x * x,
    19: lambda x, b, s: np.asarray(_erf(x.astype(np.float64)), np.float64),
}
"""Activations by their number in the kernels' macros, of values (C, H, W), bounds and slopes (C, 1, 1)."""
