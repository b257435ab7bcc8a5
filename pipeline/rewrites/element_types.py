"""The element types of tensors: which kind they are of, everything to float32, and Casts that change nothing."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pipeline.graph import nodes as n
from pipeline.rewrites.base import Edit

FLOAT = int(onnx.TensorProto.FLOAT)
_OTHER_FLOATS = {
    int(onnx.TensorProto.FLOAT16),
    int(onnx.TensorProto.DOUBLE),
    int(onnx.TensorProto.BFLOAT16),
}
QUANTISING = frozenset(["QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"])
"""Left to the rewrites of quantised networks, which keep the integers aside."""
_BOOLEAN = frozenset(
    ["Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "And", "Or", "Xor", "Not", "IsNaN", "IsInf"]
)
_INTEGER = frozenset(["Shape", "Size", "ArgMax", "ArgMin", "NonZero", "ConvInteger", "MatMulInteger"])


def kind_of(tensor: gs.Tensor | None) -> str:
    """The numpy kind of a tensor's numbers: f float, i or u integer, b boolean, "" when it is not known."""
    seen = 0
    while tensor is not None and seen < 10_000:
        seen += 1
        if isinstance(tensor, gs.Constant):
            return np.dtype(tensor.dtype).kind
        node = n.producer(tensor)
        if node is None:
            return "" if tensor.dtype is None else np.dtype(tensor.dtype).kind
        if node.op == "CastLike":
            tensor = node.inputs[1]
            continue
        if node.op in _BOOLEAN:
            return "b"
        if node.op in _INTEGER:
            return "i"
        if node.op == "Cast":
            return {FLOAT: "f", 2: "u", 3: "i", 6: "i", 7: "i", 9: "b"}.get(n.type_number(node.attrs["to"]), "")
        if node.op in ("Conv", "ConvTranspose", "InstanceNormalization", "BatchNormalization", "DequantizeLinear"):
            return "f"
        if node.op in (
            "QuantizeLinear",
            "DynamicQuantizeLinear",
            "ConstantOfShape",
            "OneHot",
            "RandomNormal",
            "TopK",
        ):
            return ""
        tensor = n.given(node, 1 if node.op == "Where" else 0)
    return ""


def to_float32(graph: gs.Graph, rewrite: str = "") -> list[Edit]:
    """Half, bfloat16 and double become float32: initializers, inputs, outputs, and the nodes that name a type."""
    changed: list[str] = []
    for tensor in graph.tensors().values():
        if isinstance(tensor, gs.Constant):
            if _is_other_float(tensor.dtype):
                tensor.values = np.asarray(tensor.values).astype(np.float32)
                changed.append(tensor.name)
        elif tensor.dtype is not None and _is_other_float(tensor.dtype):
            tensor.dtype = np.dtype(np.float32)
            if n.is_input(graph, tensor) or n.is_output(graph, tensor):
                changed.append(tensor.name)
    for node in graph.nodes:
        for key in ("to", "dtype"):
            if key in node.attrs and node.op not in QUANTISING and n.type_number(node.attrs[key]) in _OTHER_FLOATS:
                node.attrs[key] = FLOAT
                changed.append(node.name)
        value = node.attrs.get("value")
        if isinstance(value, gs.Constant) and _is_other_float(value.dtype):
            node.attrs["value"] = gs.Constant(value.name, np.asarray(value.values).astype(np.float32))
            changed.append(node.name)
    if not changed:
        return []
    return [Edit(rewrite, tuple(changed), "became float32", "all numbers of the graph are float32")]


def _is_other_float(dtype: object) -> bool:
    try:
        return n.type_number(dtype) in _OTHER_FLOATS
    except (TypeError, KeyError, ValueError):
        return False


def _to_float(node: gs.Node) -> bool:
    return node.op == "Cast" and n.type_number(node.attrs["to"]) == FLOAT


def remove_casts(graph: gs.Graph, rewrite: str) -> list[Edit]:
    """Casts to float of what is float already, and of a byte picture input: Barracuda feeds floats."""
    removed: list[str] = []
    for node in n.nodes_of(graph, "CastLike"):
        if kind_of(node.inputs[1]) == "f":
            node.op, node.attrs, node.inputs = "Cast", {"to": FLOAT}, [node.inputs[0]]
    for node in n.nodes_of(graph, "Cast"):
        if not _to_float(node):
            continue
        source = node.inputs[0]
        picture = (
            n.is_input(graph, source)
            and kind_of(source) in ("u", "i")
            and all(
                reader.op == "Cast" and n.type_number(reader.attrs["to"]) == FLOAT for reader in source.outputs
            )
        )
        if not picture and kind_of(source) != "f":
            continue
        if n.bypass(graph, node):
            removed.append(node.name)
            if picture:
                source.dtype = np.dtype(np.float32)
    if not removed:
        return []
    return [Edit(rewrite, tuple(removed), "Cast removed", "the numbers are already float32")]
