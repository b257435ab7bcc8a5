"""The operators of quantised networks, and what their rewrite is called. One fact, in one place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

NAME = "quantised"
"""The rewrite's name, in edits and in the names of what it makes."""
DOMAINS = (None, "", "ai.onnx", "com.microsoft")
"""Whose operators of these names count: ONNX Runtime has the standard ones, too, in more types."""
INTEGER = {"ConvInteger": "Conv", "MatMulInteger": "MatMul"}
QLINEAR: dict[str, tuple[str, tuple[int, ...], int]] = {
    "QLinearConv": ("Conv", (0, 3), 6),
    "QLinearMatMul": ("MatMul", (0, 3), 6),
    "QGemm": ("Gemm", (0, 3), 7),
    "QLinearAdd": ("Add", (0, 3), 6),
    "QLinearMul": ("Mul", (0, 3), 6),
    "QLinearSigmoid": ("Sigmoid", (0,), 3),
    "QLinearLeakyRelu": ("LeakyRelu", (0,), 3),
    "QLinearAveragePool": ("AveragePool", (0,), 3),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,), 3),
    "QLinearReduceMean": ("ReduceMean", (0,), 3),
    "QLinearSoftmax": ("Softmax", (0,), 3),
}
"""Operator: its float operator, and where (tensor, scale, zero point) of operands and output start."""
BIAS = {"QLinearConv": 8, "QGemm": 6}
"""Where the bias of such an operator stands."""
QUANTISED = frozenset(
    [
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConcat", *INTEGER, *QLINEAR),
        *("DynamicQuantizeMatMul", "MatMulIntegerToFloat"),
    ]
)
"""Operators that mark a network as quantised, and that have float ones which they stand for."""
UNKNOWN = frozenset(
    [
        "QLinearWhere",
        "QAttention",
        "QEmbedLayerNormalization",
        "DynamicQuantizeLSTM",
        "MatMulNBits",
        "MulInteger",
        "ReduceSumInteger",
        "QOrderedMatMul",
        "QOrderedGelu",
        "QOrderedAttention",
        "QOrderedLayerNormalization",
        "GatherBlockQuantized",
    ]
)
"""Operators of quantised networks that have no float form here."""


def is_quantised(model: onnx.ModelProto) -> bool:
    """Whether a model has an operator that marks a network as quantised, in whatever domain and type."""
    return any(node.op_type in QUANTISED for node in _nodes(model.graph.node))


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterable[onnx.NodeProto]:
    return (node for node in nodes if (node.domain or None) in DOMAINS)
