"""Activations that a target lacks or computes wrong, composed of what every version computes right.

Each recipe was run in 1.0.4, 2.0.0 and 3.0.0 (recipes_measured.md, activation and masks/rounding). A native
operator is kept where the target accepts it and computes it right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.shapes import LazyShapes
from pipeline.rewrites.base import Needed, Outcome, Refusal, Rewrite

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

NAME = "activations"
_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
"""Abramowitz and Stegun, 7.1.26: |error| <= 1.5e-7."""


class Activations(Rewrite):
    """Composes PRelu, and every activation in `_RECIPES`, that the target lacks or computes wrong.

    Barracuda's Softplus overflows above 88, PRelu per channel is wrong on Burst and throws in 1.0, LeakyRelu with
    alpha above 1 is max(x, alpha * x) on the GPU (importer.md sections 6 and 11). Refused: a PRelu whose slope is
    not constant.
    """

    name = NAME
    summary = "activation functions that the target lacks or computes wrong are composed of simpler operators"
    removes = ("unknown-operator", "softplus-overflows", "prelu-per-channel", "prelu-slope", "leaky-relu-alpha")

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        shapes = LazyShapes(graph)
        for node in n.nodes_of(graph, *_RECIPES, "PRelu"):
            if not needed(node):
                continue
            refused = _refusal(node)
            if refused is not None:
                outcome.append(refused)
                continue
            make = n.Builder(graph, node, NAME)
            x = node.inputs[0]
            result = _prelu(make, node, x, shapes) if node.op == "PRelu" else _RECIPES[node.op](make, node, x)
            if result is None:
                continue
            n.replace_output(result, node.outputs[0])
            make.drop()
            outcome += self.edit(node, f"{node.op} composed of simpler operators")
        return outcome


def _refusal(node: gs.Node) -> Refusal | None:
    if node.op != "PRelu":
        return None
    slope = n.value(node.inputs[1])
    if slope is None:
        return Refusal(NAME, "prelu-slope", node.name, node.op, "its slope is computed from the picture")
    return None


def _number(node: gs.Node, attribute: str, default: float) -> float:
    return float(node.attrs.get(attribute, default))


def _hard_swish(make: n.Builder, node: gs.Node, x: gs.Tensor) -> gs.Tensor:
    return make.op("Mul", x, make.op("HardSigmoid", x, alpha=1 / 6, beta=0.5))


def _hard_sigmoid(make: n.Builder, node: gs.Node, x: gs.Tensor) -> gs.Tensor:
    line = make.op("Add", make.op("Mul", x, _number(node, "alpha", 0.2)), _number(node, "beta", 0.5))
    return make.op("Clip", line, min=0.0, max=1.0)


def _softplus(make: n.Builder, node: gs.Node, x: gs.Tensor) -> gs.Tensor:
    """max(x, 0) + log(1 + exp(-|x|)): never overflows."""
    decay = make.op("Exp", make.op("Neg", make.op("Abs", x)))
    return make.op("Add", make.op("Relu", x), make.op("Log", make.op("Add", decay, 1.0)))


def _mish(make: n.Builder, node: gs.Node, x: gs.Tensor) -> gs.Tensor:
    return make.op("Mul", x, make.op("Tanh", _softplus(make, node, x)))


def _erf(make: n.Builder, node: gs.Node, x: gs.Tensor) -> gs.Tensor:
    """sign(x) * (1 - polynomial(t) * exp(-x^2)), t = 1 / (1 + 0.3275911 |x|)."""
    size = make.op("Abs", x)
    t = make.op("Reciprocal", make.op("Add", make.op("Mul", size, 0.3275911), 1.0))
    polynomial = make.op("Mul", t, _ERF[4])
    for factor in reversed(_ERF[:4]):
        polynomial = make.op("Mul", make.op("Add", polynomial, factor), t)
    decay = make.op("Exp", make.op("Neg", make.op("Mul", size, size)))
    magnitude = make.op("Sub", 1.0, make.op("Mul", polynomial, decay))
    return make.op("Mul", magnitude, make.op("Div", x, make.op("Max", size, 1e-20)))


def _celu(make: n.Builder, node: gs.Node, x: gs.Tensor) -> gs.Tensor:
    alpha = _number(node, "alpha", 1.0)
    low = make.op("Min", make.op("Mul", x, 1 / alpha), 0.0)
    return make.op("Add", make.op("Relu", x), make.op("Mul", make.op("Sub", make.op("Exp", low), 1.0), alpha))


def _softsign(make: n.Builder, node: gs.Node, x: gs.Tensor) -> gs.Tensor:
    return make.op("Div", x, make.op("Add", make.op("Abs", x), 1.0))


def _above(make: n.Builder, x: gs.Tensor, bound: float) -> gs.Tensor:
    return make.op("Cast", make.op("Greater", x, bound), to=1)


def _thresholded_relu(make: n.Builder, node: gs.Node, x: gs.Tensor) -> gs.Tensor:
    return make.op("Mul", x, _above(make, x, _number(node, "alpha", 1.0)))


def _shrink(make: n.Builder, node: gs.Node, x: gs.Tensor) -> gs.Tensor:
    """x - bias above lambd, x + bias below -lambd, else 0."""
    bias, bound = _number(node, "bias", 0.0), _number(node, "lambd", 0.5)
    below = make.op("Cast", make.op("Less", x, -bound), to=1)
    upper = make.op("Mul", make.op("Sub", x, bias), _above(make, x, bound))
    return make.op("Add", upper, make.op("Mul", make.op("Sub", x, -bias), below))


def _leaky(make: n.Builder, x: gs.Tensor, slope: gs.Tensor | float) -> gs.Tensor:
    """relu(x) - slope * relu(-x)."""
    return make.op("Sub", make.op("Relu", x), make.op("Mul", make.op("Relu", make.op("Neg", x)), slope))


def _prelu(make: n.Builder, node: gs.Node, x: gs.Tensor, shapes: LazyShapes) -> gs.Tensor:
    slope = np.asarray(n.value(node.inputs[1]))
    if slope.size == 1:
        alpha = float(slope.reshape(()))
        return make.op("LeakyRelu", x, alpha=alpha) if 0 <= alpha <= 1 else _leaky(make, x, alpha)
    rank = shapes.here.rank(x) or 4
    shape = (*(1,) * (rank - slope.ndim), *slope.shape)
    return _leaky(make, x, make.const(slope.reshape(shape), "slope"))


def _leaky_relu(make: n.Builder, node: gs.Node, x: gs.Tensor) -> gs.Tensor | None:
    alpha = _number(node, "alpha", 0.01)
    return _leaky(make, x, alpha) if alpha > 1 else None


def _sign(make: n.Builder, node: gs.Node, x: gs.Tensor) -> gs.Tensor:
    return make.op("Sub", _above(make, x, 0.0), make.op("Cast", make.op("Less", x, 0.0), to=1))


_RECIPES: dict[str, Callable[[n.Builder, gs.Node, gs.Tensor], gs.Tensor | None]] = {
    "HardSwish": _hard_swish,
    "HardSigmoid": _hard_sigmoid,
    "Softplus": _softplus,
    "Mish": _mish,
    "Erf": _erf,
    "Celu": _celu,
    "Softsign": _softsign,
    "ThresholdedRelu": _thresholded_relu,
    "Shrink": _shrink,
    "LeakyRelu": _leaky_relu,
    "Sign": _sign,
}
