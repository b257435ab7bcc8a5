"""Counting: nodes, weights, multiply-adds and activation elements of a model at a picture size."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pipeline.graph.model import declare_size, from_model
from pipeline.graph.shape import Shapes
from pipeline.graph.shapes import infer

VIEWS = frozenset(["Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout", "Constant", "Shape"])
"""Operators that write no activations of their own."""


@dataclass(frozen=True)
class Statistics:
    """What a model costs. `macs` counts convolutions and matrix products; `activation_elements` every number that
    a node writes, which is what the time of small networks follows (peers.md section E).
    """

    operators: dict[str, int] = field(default_factory=dict)
    nodes: int = 0
    weights: int = 0
    weight_bytes: int = 0
    macs: int = 0
    activation_elements: int = 0
    peak_elements: int = 0
    """Most activations alive at one time when the nodes run in order: what memory must hold at least."""
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    uncounted: tuple[str, ...] = ()
    """Nodes whose shapes are not known at this size."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "nodes": self.nodes,
            "operators": self.operators,
            "weights": self.weights,
            "weight_bytes": self.weight_bytes,
            "macs": self.macs,
            "activation_elements": self.activation_elements,
            "peak_elements": self.peak_elements,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "uncounted": list(self.uncounted),
        }


def statistics(model: onnx.ModelProto, height: int, width: int) -> Statistics:
    """Count a model at one picture of height x width (the model is not changed).

    Weights are the elements of floating point or 8-bit initializers but scales, pads and bounds; bytes are those
    of the file. Raises
    PipelineError `not-image-to-image` for a model without a picture input.
    """
    return count(from_model(declare_size(model, height, width)))


def count(graph: gs.Graph, shapes: Shapes | None = None) -> Statistics:
    """Count a graph at the size that its input declares; `shapes` are those at it, where they are known."""
    shapes = infer(graph) if shapes is None else shapes
    weights = held_weights(graph)
    macs = elements = 0
    uncounted: list[str] = []
    for node in graph.nodes:
        counted = node_macs(node, shapes)
        written = [0] if node.op in VIEWS else [_elements(shapes.static(output)) for output in node.outputs[:1]]
        if counted is None or None in written:
            uncounted.append(node.name)
        macs += counted or 0
        elements += sum(size or 0 for size in written)
    return Statistics(
        operators=dict(sorted(Counter(node.op for node in graph.nodes).items())),
        nodes=len(graph.nodes),
        weights=sum(array.size for array in weights),
        weight_bytes=sum(array.nbytes for array in weights),
        macs=macs,
        activation_elements=elements,
        peak_elements=_peak(graph, shapes),
        inputs={tensor.name: _described(tensor, shapes) for tensor in graph.inputs},
        outputs={tensor.name: _described(tensor, shapes) for tensor in graph.outputs},
        uncounted=tuple(uncounted),
    )


def _peak(graph: gs.Graph, shapes: Shapes) -> int:
    """The largest number of activation elements alive at once; a tensor lives until its last reader has run."""
    last: dict[int, int] = {}
    for position, node in enumerate(graph.nodes):
        for tensor in node.inputs:
            last[id(tensor)] = position
    kept = {id(tensor) for tensor in graph.outputs}
    sizes = {id(tensor): _elements(shapes.static(tensor)) or 0 for tensor in graph.inputs}
    alive, peak = sum(sizes.values()), 0
    for position, node in enumerate(graph.nodes):
        for output in node.outputs:
            sizes[id(output)] = _elements(shapes.static(output)) or 0
            alive += sizes[id(output)]
        peak = max(peak, alive)
        for read in {id(tensor) for tensor in node.inputs}:
            if last[read] == position and read not in kept:
                alive -= sizes.pop(read, 0)
    return peak


def held_weights(graph: gs.Graph) -> list[np.ndarray]:
    """The arrays of weights in a graph: no shapes, and no scales, pads or limits of operators."""
    constants = [tensor for tensor in graph.tensors().values() if isinstance(tensor, gs.Constant)]
    return [np.asarray(tensor.values) for tensor in constants if _is_weight(tensor)]


def _is_weight(tensor: gs.Constant) -> bool:
    dtype = np.dtype(tensor.dtype)
    settings = all(reader.op in ("Resize", "Upsample", "Pad", "Clip", "Slice") for reader in tensor.outputs)
    return not settings and (dtype.kind == "f" or dtype.itemsize == 1)


def _elements(shape: tuple[int, ...] | None) -> int | None:
    return None if shape is None else math.prod(shape)


def node_macs(node: gs.Node, shapes: Shapes) -> int | None:
    """Multiply-adds of one node; None when a size is not known."""
    match node.op:
        case "Conv" | "ConvInteger" | "QLinearConv" | "ConvTranspose":
            at = 3 if node.op == "QLinearConv" else 1
            weights = shapes.static(node.inputs[at])
            # each weight is used once per position: of the output, for a transposed convolution of the input
            tensor = node.inputs[0] if node.op == "ConvTranspose" else node.outputs[0]
            places = shapes.static(tensor)
            if weights is None or places is None:
                return None
            return math.prod(weights) * places[0] * math.prod(places[2:])
        case "Gemm" | "MatMul" | "MatMulInteger" | "QLinearMatMul":
            first = shapes.static(node.inputs[0])
            result = shapes.static(node.outputs[0])
            if first is None or result is None:
                return None
            return math.prod(result) * first[0 if node.attrs.get("transA") else -1]
    return 0


def _described(tensor: gs.Tensor, shapes: Shapes) -> str:
    """`float32 1x3x720x540`."""
    shape = shapes.of(tensor)
    kind = "float32" if tensor.dtype is None else np.dtype(tensor.dtype).name
    return (
        f"{kind} {'of unknown rank' if shape is None else 'x'.join('?' if s is None else str(s) for s in shape)}"
    )


def operators(model: onnx.ModelProto) -> dict[str, int]:
    """How many nodes of each operator, sorted by name; other domains spelled out."""
    counts: dict[str, int] = {}
    for node in model.graph.node:
        name = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def opset(model: onnx.ModelProto) -> int:
    """The declared version of the standard operator set; 1 when none is declared."""
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)


def described(model: onnx.ModelProto) -> dict[str, Any]:
    """Opset, IR version, producer, inputs, outputs, operator counts and the number of stored constants of an ONNX
    model, as plain data."""
    constants = {t.name for t in model.graph.initializer}

    def shapes(values: Any) -> dict[str, str]:
        return {
            v.name: "x".join(d.dim_param or str(d.dim_value or "?") for d in v.type.tensor_type.shape.dim)
            for v in values
            if v.name not in constants
        }

    return {
        "opset": opset(model),
        "ir_version": model.ir_version,
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "inputs": shapes(model.graph.input),
        "outputs": shapes(model.graph.output),
        "nodes": len(model.graph.node),
        "stored_values": sum(math.prod(tensor.dims) for tensor in model.graph.initializer),
        "operators": operators(model),
    }
