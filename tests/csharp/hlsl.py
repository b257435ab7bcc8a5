"""Runs the functions of a shader's own text in Python, for the part of HLSL that our shaders use.

No type checks and no statements but declarations, assignments and `return`: glslangValidator does the former, and
whatever else a function holds fails here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

_TYPES = r"(?:float[234]?|half[234]?|Varyings)"


class Vector:
    """A float2..4 with swizzles; arithmetic is per component, with scalars too."""

    def __init__(self, *parts: Any) -> None:
        flat = [part.values if isinstance(part, Vector) else [part] for part in parts]
        self.values = np.concatenate(flat).astype(np.float64)

    def __getattr__(self, name: str) -> Any:
        indices = ["xyzw".find(c) if c in "xyzw" else "rgba".find(c) for c in name]
        if min(indices) < 0:
            raise AttributeError(name)
        picked = self.values[indices]
        return picked[0] if len(picked) == 1 else Vector(*picked)

    def _with(self, other: Any, operation: Callable[[Any, Any], Any]) -> Vector:
        return Vector(*operation(self.values, other.values if isinstance(other, Vector) else other))

    def __add__(self, other: Any) -> Vector:
        return self._with(other, np.add)

    def __sub__(self, other: Any) -> Vector:
        return self._with(other, np.subtract)

    def __mul__(self, other: Any) -> Vector:
        return self._with(other, np.multiply)

    def __truediv__(self, other: Any) -> Vector:
        return self._with(other, np.divide)

    def __rmul__(self, other: Any) -> Vector:
        return self * other


def _bare(value: Any) -> Any:
    return value.values if isinstance(value, Vector) else value


def _each(function: Callable[..., Any]) -> Callable[..., Any]:
    def applied(*arguments: Any) -> Any:
        result = function(*map(_bare, arguments))
        return Vector(*result) if np.ndim(result) else float(result)

    return applied


INTRINSICS: dict[str, Any] = {
    "float2": Vector,
    "float3": Vector,
    "float4": Vector,
    "lerp": _each(lambda a, b, t: a + (b - a) * t),
    "step": _each(lambda edge, x: (x >= edge) * 1.0),
    "max": _each(np.maximum),
    "min": _each(np.minimum),
    "pow": _each(np.power),
    "saturate": _each(lambda x: np.clip(x, 0.0, 1.0)),
}


def functions(text: str, scope: dict[str, Any]) -> dict[str, Callable[..., Any]]:
    """All functions of a shader's text whose statements are simple, by name; they see `scope` and each other."""
    space = {**INTRINSICS, **scope}
    text = re.sub(r"//[^\n]*", "", text)
    pattern = rf"{_TYPES}\s+(\w+)\(([^)]*)\)\s*(?::\s*\w+)?\s*\{{([^{{}}#]*)\}}"
    found = {}
    for name, parameters, body in re.findall(pattern, text):
        names = [parameter.split()[-1] for parameter in parameters.split(",")]
        statements = [" ".join(part.split()) for part in body.split(";") if part.strip()]
        if any(re.fullmatch(rf"{_TYPES} \w+", statement) for statement in statements):
            continue
        lines = [re.sub(rf"^{_TYPES} (?=\w+ =)", "", statement) for statement in statements]
        exec(f"def {name}({', '.join(names)}):\n" + "".join(f"    {line}\n" for line in lines), space)
        found[name] = space[name]
    return found
