"""Integers and the numbers that they stand for: real = (integer - zero_point) * scale."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.integers import along

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs


@dataclass(frozen=True)
class Encoding:
    """What an integer tensor's numbers stand for, and between which integers they lie."""

    scale: np.ndarray
    zero_point: np.ndarray
    lowest: int
    highest: int

    def same(self, other: Encoding) -> bool:
        """Whether the same integers stand for the same numbers."""
        return np.array_equal(self.scale, other.scale) and np.array_equal(self.zero_point, other.zero_point)

    def fits(self, onnx_type: int) -> bool:
        """Whether an ONNX element type is an integer type that holds all the integers."""
        import onnx

        kind = onnx.helper.tensor_dtype_to_np_dtype(onnx_type)
        return kind.kind in "iu" and np.iinfo(kind).min <= self.lowest and self.highest <= np.iinfo(kind).max

    @property
    def is_float(self) -> bool:
        """Whether the numbers are not integers but float8 or float4."""
        return self.lowest == self.highest

    @property
    def low(self) -> float:
        """The lowest number that can be written."""
        return float(((self.lowest - self.zero_point.astype(np.int64)) * self.scale).min())

    @property
    def high(self) -> float:
        """The highest number that can be written."""
        return float(((self.highest - self.zero_point.astype(np.int64)) * self.scale).max())


def encoding_of(scale: np.ndarray, zero_point: np.ndarray | None, dtype: Any) -> Encoding:
    """An encoding whose integers have the zero point's type, or `dtype` when there is none; size 1 is scalar."""
    kind = np.dtype(dtype) if zero_point is None else zero_point.dtype
    named = re.fullmatch(r"(u?)int(\d+)", kind.name)
    bits = int(named[2]) if named else 0
    low, high = (0, 2**bits - 1) if not named or named[1] else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    scale = np.asarray(scale, dtype=np.float32)
    zero = np.zeros(scale.shape, kind) if zero_point is None else np.asarray(zero_point)
    return Encoding(
        scale.reshape(()) if scale.size == 1 else scale, zero.reshape(()) if zero.size == 1 else zero, low, high
    )


def quantise(values: np.ndarray, encoding: Encoding, axis: int | None = None) -> np.ndarray:
    """What QuantizeLinear makes of constants: round half to even of values / scale, plus zero point, saturated."""
    scale, zero = (along(part, values.ndim, axis) for part in (encoding.scale, encoding.zero_point))
    steps = np.rint(values.astype(np.float32) / scale) + zero.astype(np.float32)
    return np.asarray(np.clip(steps, encoding.lowest, encoding.highest)).astype(encoding.zero_point.dtype)


def constant(tensor: gs.Tensor | None) -> np.ndarray | None:
    """A tensor's values if they are constant, also through Cast, Mul, ConstantOfShape and changes of shape."""
    literal = n.value(tensor)
    node = n.producer(tensor)
    if literal is not None or node is None or node.op not in _FOLDED:
        return literal
    source = constant(node.inputs[0])
    if source is None:
        return None
    if node.op == "ConstantOfShape":
        fill = node.attrs.get("value")
        return np.full(source.tolist(), np.float32(0) if fill is None else fill.values.reshape(-1)[0])
    if node.op == "Mul":
        other = constant(node.inputs[1])
        return None if other is None else np.asarray(source * other)
    axes: Any = None
    if n.given(node, 1) is not None:
        values = constant(n.given(node, 1))
        if values is None:
            return None
        axes = tuple(int(v) for v in values.reshape(-1))
    match node.op:
        case "Cast":
            import onnx

            return source.astype(onnx.helper.tensor_dtype_to_np_dtype(int(node.attrs["to"])))
        case "Reshape":
            return source.reshape([source.shape[index] if size == 0 else size for index, size in enumerate(axes)])
        case "Squeeze":
            return source.squeeze(axes)
        case "Unsqueeze":
            return np.expand_dims(source, axes)
    return source


_FOLDED = ("Identity", "Cast", "ConstantOfShape", "Mul", "Reshape", "Squeeze", "Unsqueeze")


def root(tensor: gs.Tensor) -> gs.Tensor:
    """The tensor that a constant chain starts from."""
    node = n.producer(tensor)
    return tensor if node is None or not node.inputs else root(node.inputs[0])


def free_name(graph: gs.Graph, base: str, replaced: gs.Node) -> str:
    """`base` if no tensor but an output of the node that is replaced has that name, else `base` with a number."""
    replaced_ids = {id(output) for output in replaced.outputs}
    taken = {t.name for node in graph.nodes for t in [*node.inputs, *node.outputs] if id(t) not in replaced_ids}
    if base not in taken:
        return base
    number = 2
    while f"{base}_{number}" in taken:
        number += 1
    return f"{base}_{number}"
