"""Reads elementwise operators and normalisations."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.shape import Shapes
from pipeline.targets.compute.linear import Constant, Linear
from pipeline.targets.compute.reading import number, required, step
from pipeline.targets.compute.steps import ELSEWHERE, Step, Unsupported

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs


_NO_STYLE: Mapping[str, Linear] = MappingProxyType({})


def batch_norm(node: gs.Node, shapes: Shapes) -> list[Step]:
    scale, bias, mean, variance = (required(node, i, "statistics") for i in range(1, 5))
    scale = scale / np.sqrt(variance + float(node.attrs.get("epsilon", 1e-5)))
    return [step("affine", node, scale=scale, shift=bias - mean * scale)]


def instance_norm(node: gs.Node, shapes: Shapes) -> list[Step]:
    gamma, beta = required(node, 1, "scale"), required(node, 2, "bias")
    epsilon = float(node.attrs.get("epsilon", 1e-5))
    return [step("norm", node, gamma=gamma, beta=beta, epsilon=epsilon, channels=1)]


def group_norm(node: gs.Node, shapes: Shapes) -> list[Step]:
    groups = int(node.attrs["num_groups"])
    shape = shapes.static(node.inputs[0])
    if shape is None:
        raise Unsupported("the number of channels is not known")
    each = shape[1] // groups
    gamma, beta = required(node, 1, "scale"), required(node, 2, "bias")
    if gamma.size == groups and groups != shape[1]:
        gamma, beta = np.repeat(gamma, each), np.repeat(beta, each)
    epsilon = float(node.attrs.get("epsilon", 1e-5))
    return [step("norm", node, gamma=gamma, beta=beta, epsilon=epsilon, channels=each)]


def mean_variance(node: gs.Node, shapes: Shapes) -> list[Step]:
    shape = shapes.static(node.inputs[0])
    if shape is None or sorted(n.ints(node, "axes", (0, 2, 3))) not in ([0, 2, 3], [2, 3]):
        raise Unsupported("only the normalisation of each channel by itself is supported", ELSEWHERE)
    ones = np.ones(shape[1])
    return [step("norm", node, gamma=ones, beta=0 * ones, epsilon=1e-9, channels=1)]


def layer_norm(node: gs.Node, shapes: Shapes) -> list[Step]:
    raise Unsupported(
        "layer norm is supported over channels only, between transpositions that put them last", ELSEWHERE
    )


def activation(kind: str, *bounds: tuple[str, float]) -> Any:
    def reader(node: gs.Node, shapes: Shapes) -> list[Step]:
        return [step("act", node, act=kind, bounds=tuple(float(node.attrs.get(a, d)) for a, d in bounds))]

    return reader


def clip(node: gs.Node, shapes: Shapes) -> list[Step]:
    low, high = number(node, 1, "min", -3.0e38), number(node, 2, "max", 3.0e38)
    if low == 0 and high >= 3.0e38:
        return [step("act", node, act="RELU", bounds=())]
    return [step("act", node, act="CLIP", bounds=(max(low, -3.0e38), min(high, 3.0e38)))]


def gelu(node: gs.Node, shapes: Shapes) -> list[Step]:
    kind = "GELU_TANH" if n.text(node, "approximate", "none") == "tanh" else "GELU"
    return [step("act", node, act=kind, bounds=())]


def prelu(node: gs.Node, shapes: Shapes) -> list[Step]:
    slope = required(node, 1, "slope")
    if slope.size == 1:
        return [step("act", node, act="LEAKY", bounds=(float(slope.reshape(-1)[0]),))]
    return [step("act", node, act="PRELU", bounds=(), slopes=_per_channel(slope, node, shapes))]


def _per_channel(constant: Constant, node: gs.Node, shapes: Shapes) -> Any:
    """A constant as a vector of one number per channel; raises Unsupported if it varies along other axes."""
    shape = shapes.static(node.outputs[0])
    if shape is None:
        raise Unsupported("the number of channels is not known")
    channels = shape[1] if len(shape) > 1 else shape[0]
    if not isinstance(constant, Linear):
        constant = np.asarray(constant, np.float64)
    if constant.size == 1:
        return np.tile(cast(Any, constant.reshape(-1)), channels)
    along = constant.ndim - len(shape) + 1 if len(shape) > 1 else 0
    if constant.size == channels and 0 <= along < constant.ndim and constant.shape[along] == channels:
        return constant.reshape(-1)
    raise Unsupported(
        f"a constant of shape {constant.shape} is not supported: it needs one number for each channel", ELSEWHERE
    )


def binary(node: gs.Node, shapes: Shapes, styled: Mapping[str, Linear] = _NO_STYLE) -> list[Step]:
    """A step of two feature maps, or of one and a constant, which may depend on the style."""
    left, right = (styled.get(tensor.name, n.value(tensor)) for tensor in node.inputs)
    first = left is not None
    constant = left if left is not None else right
    if constant is None:
        return [step("binary", node, list(node.inputs), combine=node.op)]
    variable = node.inputs[1 if first else 0]
    value = _per_channel(constant, node, shapes)
    one = np.ones(value.shape)
    if node.op == "Add":
        scale, shift = one, value
    elif node.op == "Sub":
        scale, shift = (-one, value) if first else (one, -value)
    elif node.op == "Mul":
        scale, shift = value, 0 * one
    elif first:
        raise Unsupported("a constant divided by a picture is not supported", ELSEWHERE)
    else:
        scale, shift = 1 / value, 0 * one
    return [step("affine", node, [variable], scale=scale, shift=shift)]


def negative(node: gs.Node, shapes: Shapes) -> list[Step]:
    one = _per_channel(np.ones(1), node, shapes)
    return [step("affine", node, scale=-one, shift=0 * one)]


def min_max(node: gs.Node, shapes: Shapes) -> list[Step]:
    operands = [(tensor, n.value(tensor)) for tensor in node.inputs]
    constants = [value for _, value in operands if value is not None]
    if len(operands) != 2 or len(constants) != 1 or constants[0].size != 1:
        raise Unsupported(f"{node.op} is supported with one constant number only", ELSEWHERE)
    bound = float(constants[0].reshape(()))
    bounds = (bound, 3.0e38) if node.op == "Max" else (-3.0e38, bound)
    return [step("act", node, [next(t for t, value in operands if value is None)], act="CLIP", bounds=bounds)]


def power(node: gs.Node, shapes: Shapes) -> list[Step]:
    exponent = required(node, 1, "exponent")
    kinds = {2.0: "SQUARE", 0.5: "SQUARE_ROOT"}
    if exponent.size != 1 or float(exponent.reshape(())) not in kinds:
        raise Unsupported("only powers of 2 and 1/2 are supported", ELSEWHERE)
    return [step("act", node, act=kinds[float(exponent.reshape(()))], bounds=())]


def softmax(node: gs.Node, shapes: Shapes) -> list[Step]:
    shape = shapes.static(node.inputs[0])
    if shape is None or len(shape) != 4 or int(node.attrs.get("axis", -1)) % 4 != 1:
        raise Unsupported("softmax is supported over channels only", ELSEWHERE)
    return [step("softmax", node)]
