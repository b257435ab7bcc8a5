"""The state of one conversion of a quantised graph, and the steps that all its cases share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from pipeline.graph import nodes as n
from pipeline.graph.integers import QuantizedTensor, dequantise
from pipeline.quantisation.encodings import Encoding, constant, encoding_of, free_name, root
from pipeline.quantisation.names import NAME
from pipeline.rewrites.base import Edit, Refusal

MOVING = frozenset(
    [
        "Identity",
        "Reshape",
        "Transpose",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Slice",
        "Split",
        "Concat",
        "Gather",
        "Expand",
        "Tile",
        "Resize",
        "MaxPool",
        "DepthToSpace",
        "SpaceToDepth",
        "Pad",
        "Clip",
    ]
)
"""Operators that commute with dequantisation: they move, pick or clamp values and do not compute with them."""


@dataclass
class Work:
    """The state of one conversion: refusals, edits, the encodings of tensors, and the integer weights found."""

    graph: gs.Graph
    refusals: list[Refusal] = field(default_factory=list)
    integer_weights: list[QuantizedTensor] = field(default_factory=list)
    encodings: dict[str, Encoding] = field(default_factory=dict)
    floats: dict[tuple[str, bytes, bytes], gs.Constant] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)
    other_edits: list[Edit] = field(default_factory=list)

    def edits(self) -> Iterable[Edit]:
        if self.weights:
            yield Edit(
                NAME,
                tuple(self.weights),
                f"{len(self.weights)} integer weights and biases became float32, exactly (q - zero_point) * scale",
                "the target has no integer type; their rounding stays in the network",
            )
        yield from self.other_edits
        if self.dropped:
            yield Edit(
                NAME,
                tuple(self.dropped),
                f"{len(self.dropped)} steps of quantising and dequantising activations removed",
                "activations are floats: without the rounding of the quantised network, they are closer to the "
                "float original",
            )

    def weight(self, node: gs.Node, tensor: gs.Tensor, encoding: Encoding, axis: int | None) -> gs.Constant:
        """The float initializer of a constant tensor of integers; the same for the same integers and scale."""
        key = (tensor.name, encoding.scale.tobytes(), encoding.zero_point.tobytes())
        if key not in self.floats:
            ints = constant(tensor)
            if ints is None:
                raise ValueError(f"{tensor.name} is not constant")
            block = int(node.attrs.get("block_size", 0))
            name = free_name(self.graph, root(tensor).name.removesuffix("_quantized"), node)
            real = dequantise(ints, encoding.scale, encoding.zero_point, axis, block)
            self.floats[key] = gs.Constant(name, real)
            self.weights.append(node.name)
            if ints.dtype.itemsize < 4 and not block:
                self.integer_weights.append(QuantizedTensor(name, ints, encoding.scale, encoding.zero_point, axis))
        return self.floats[key]

    def bias(self, node: gs.Node, tensor: gs.Tensor, scale: np.ndarray) -> gs.Constant | None:
        values = constant(tensor)
        if values is None:
            self.refuse(node, "its bias is computed in the graph")
            return None
        scale = scale.astype(np.float32)
        encoding = Encoding(scale if scale.size > 1 else scale.reshape(()), np.zeros((), np.int32), 0, 0)
        return self.weight(node, tensor, encoding, values.ndim - 1 if scale.size > 1 else None)

    def is_picture(self, tensor: gs.Tensor) -> bool:
        """Whether a tensor is an input of the network, padded or rearranged at most: nothing is folded there."""
        while (maker := n.producer(tensor)) is not None and maker.op in MOVING:
            tensor = maker.inputs[0]
        return n.is_input(self.graph, tensor)

    def pass_on(self, node: gs.Node) -> None:
        node.op, node.domain, node.inputs, node.attrs = "Identity", None, node.inputs[:1], {}
        node.outputs[0].dtype = np.dtype(np.float32)
        self.dropped.append(node.name)

    def narrowed(self, clip: gs.Node, encoding: Encoding) -> Encoding:
        """PyTorch's fake quantisation clamps the integers to fewer bits (0..127) behind the QuantizeLinear."""
        limits = [constant(n.given(clip, index)) for index in (1, 2)]
        low = encoding.lowest if limits[0] is None else int(limits[0])
        high = encoding.highest if limits[1] is None else int(limits[1])
        return Encoding(encoding.scale, encoding.zero_point, low, high)

    def encoding(self, node: gs.Node, index: int) -> Encoding | None:
        """The encoding whose scale is input `index`, and whose zero point is the next."""
        scale = self.values(node, index)
        if scale is None:
            return None
        tensor = n.given(node, index + 1)
        zero_point = constant(tensor)
        if tensor is not None and zero_point is None:
            self.refuse(node, "its zero point is computed in the graph")
            return None
        values = constant(node.inputs[0])
        plain = np.dtype(np.uint8) if values is None or node.op == "QuantizeLinear" else values.dtype
        return encoding_of(scale, zero_point, plain)

    def values(self, node: gs.Node, index: int) -> np.ndarray | None:
        values = constant(n.given(node, index))
        if values is None:
            self.refuse(node, "its scale is computed in the graph")
            return None
        return np.asarray(values, dtype=np.float32)

    def axis(self, node: gs.Node, values: np.ndarray) -> int | None:
        scale = constant(node.inputs[1])
        if scale is None or scale.size == 1:
            return None
        return int(node.attrs.get("axis", 1)) % values.ndim

    def refuse(self, node: gs.Node, reason: str) -> None:
        self.refusals.append(
            Refusal(
                NAME,
                "quantised-form-unknown",
                node.name,
                node.op,
                reason,
                "Convert the float network, or quantise with ONNX Runtime's quantize_static in QDQ format.",
            )
        )
