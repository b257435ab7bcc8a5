"""Trigonometric and hyperbolic functions and rounding for 1.0, composed of what it has.

1.0.4 knows none of them, and its Round copies (measured.md). Each recipe was run in Barracuda 1.0.4: within 2e-7
of the exact value, Round exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pipeline.graph import nodes as n
from pipeline.rewrites.base import Needed, Outcome, Rewrite

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

_SINE = tuple((-1) ** k / math.factorial(2 * k + 1) for k in range(6))
"""Of sin(r) / r in r^2: within 6e-8 up to a quarter turn."""
_ARC_TANGENT = (
    *(1.0, -0.3333314528, 0.1999355085, -0.1420889944, 0.1065626393),
    *(-0.0752896400, 0.0429096138, -0.0161657367, 0.0028662257),
)
"""Of atan(t) / t in t^2, |t| <= 1: within 2e-8 (Abramowitz and Stegun, 4.4.49)."""
_TURN = (6.28125, 2 * math.pi - 6.28125)
"""A full turn in two parts: the first has few bits, so that its multiples are exact."""


class Functions(Rewrite):
    """Composes Sin, Cos, Tan, their inverses and hyperbolic forms where the target lacks them; Round in 1.0."""

    name = "functions"
    summary = "trigonometric functions and rounding are composed of simpler operators for 1.0"
    removes = ("unknown-operator", "round-does-nothing")

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        for node in n.nodes_of(graph, *_RECIPES):
            if not needed(node):
                continue
            make = n.Builder(graph, node, self.name)
            result = _RECIPES[node.op](make, node.inputs[0])
            n.replace_output(result, node.outputs[0])
            make.drop()
            outcome += self.edit(node, f"{node.op} composed of simpler operators")
        return outcome


def _odd(make: n.Builder, x: gs.Tensor, factors: Sequence[float]) -> gs.Tensor:
    """x * (f0 + f1 x^2 + f2 x^4 ...)."""
    square = make.op("Mul", x, x)
    result = make.op("Mul", square, factors[-1])
    for factor in reversed(factors[1:-1]):
        result = make.op("Mul", make.op("Add", result, factor), square)
    return make.op("Mul", make.op("Add", result, factors[0]), x)


def _sine(make: n.Builder, x: gs.Tensor) -> gs.Tensor:
    """Whole turns taken off, folded into a quarter turn either way, and a polynomial."""
    turns = make.op("Floor", make.op("Add", make.op("Mul", x, 1 / (2 * math.pi)), 0.5))
    angle = x
    for part in _TURN:
        angle = make.op("Sub", angle, make.op("Mul", turns, part))
    folded = make.op("Min", angle, make.op("Sub", math.pi, angle))
    return _odd(make, make.op("Max", folded, make.op("Sub", -math.pi, angle)), _SINE)


def _cosine(make: n.Builder, x: gs.Tensor) -> gs.Tensor:
    return _sine(make, make.op("Add", x, math.pi / 2))


def _tangent(make: n.Builder, x: gs.Tensor) -> gs.Tensor:
    return make.op("Div", _sine(make, x), _cosine(make, x))


def _sign(make: n.Builder, x: gs.Tensor, size: gs.Tensor) -> gs.Tensor:
    return make.op("Div", x, make.op("Max", size, 1e-20))


def _arc_tangent(make: n.Builder, x: gs.Tensor) -> gs.Tensor:
    """atan(t) with t the smaller of |x| and 1 / |x|; a quarter turn less that where |x| is above 1."""
    size = make.op("Abs", x)
    small = make.op("Div", make.op("Min", size, 1.0), make.op("Max", size, 1.0))
    angle = _odd(make, small, _ARC_TANGENT)
    above = make.op("Cast", make.op("Greater", size, 1.0), to=1)
    rest = make.op("Sub", math.pi / 2, make.op("Mul", angle, 2.0))
    whole = make.op("Add", angle, make.op("Mul", above, rest))
    return make.op("Mul", whole, _sign(make, x, size))


def _arc_sine(make: n.Builder, x: gs.Tensor) -> gs.Tensor:
    """2 atan(x / (1 + sqrt(1 - x^2))), whose argument never leaves -1..1."""
    root = make.op("Sqrt", make.op("Sub", 1.0, make.op("Mul", x, x)))
    return make.op("Mul", _odd(make, make.op("Div", x, make.op("Add", root, 1.0)), _ARC_TANGENT), 2.0)


def _arc_cosine(make: n.Builder, x: gs.Tensor) -> gs.Tensor:
    return make.op("Sub", math.pi / 2, _arc_sine(make, x))


def _halves(make: n.Builder, x: gs.Tensor, operator: str) -> gs.Tensor:
    """(exp(x) +- exp(-x)) / 2."""
    up, down = make.op("Exp", x), make.op("Exp", make.op("Neg", x))
    return make.op("Mul", make.op(operator, up, down), 0.5)


def _area_sine(make: n.Builder, x: gs.Tensor) -> gs.Tensor:
    size = make.op("Abs", x)
    root = make.op("Sqrt", make.op("Add", make.op("Mul", x, x), 1.0))
    return make.op("Mul", make.op("Log", make.op("Add", size, root)), _sign(make, x, size))


def _area_cosine(make: n.Builder, x: gs.Tensor) -> gs.Tensor:
    root = make.op("Sqrt", make.op("Sub", make.op("Mul", x, x), 1.0))
    return make.op("Log", make.op("Add", x, root))


def _area_tangent(make: n.Builder, x: gs.Tensor) -> gs.Tensor:
    ratio = make.op("Div", make.op("Add", x, 1.0), make.op("Sub", 1.0, x))
    return make.op("Mul", make.op("Log", ratio), 0.5)


def _round(make: n.Builder, x: gs.Tensor) -> gs.Tensor:
    """floor(x + 0.5), less 1 where x lies in the middle and that is odd: half to even, as ONNX rounds."""
    up = make.op("Floor", make.op("Add", x, 0.5))
    middle = make.op("Sub", 1.0, make.op("Cast", make.op("Less", make.op("Sub", up, x), 0.5), to=1))
    odd = make.op("Sub", up, make.op("Mul", make.op("Floor", make.op("Mul", up, 0.5)), 2.0))
    return make.op("Sub", up, make.op("Mul", middle, odd))


_RECIPES: dict[str, Callable[[n.Builder, gs.Tensor], gs.Tensor]] = {
    "Sin": _sine,
    "Cos": _cosine,
    "Tan": _tangent,
    "Asin": _arc_sine,
    "Acos": _arc_cosine,
    "Atan": _arc_tangent,
    "Sinh": lambda make, x: _halves(make, x, "Sub"),
    "Cosh": lambda make, x: _halves(make, x, "Add"),
    "Asinh": _area_sine,
    "Acosh": _area_cosine,
    "Atanh": _area_tangent,
    "Round": _round,
}
