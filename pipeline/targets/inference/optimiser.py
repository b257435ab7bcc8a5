"""Counts the layers of a file after import and after the package's optimiser (importer.md, section 5).

Counted, not run: the passes that merge layers, in their order, over the operators of style networks. What the
newest versions fold besides is in the data file (`own.folds_into_convolutions`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.validation.view import View, attribute, given

if TYPE_CHECKING:
    import onnx

    from pipeline.targets import Target

_NOTHING = frozenset(["Identity", "Dropout"])
_MANY = frozenset(["Max", "Min", "Sum"])
_ARITHMETIC = frozenset(["Add", "Sub", "Mul", "Div"])
_TAKE_RELU = frozenset(["Conv", "ConvTranspose", "Dense"])


@dataclass
class _Layer:
    kind: str
    data: list[str]
    """The tensors that are computed, not constant."""
    output: str
    shift: bool = False
    """Whether a ScalarMad adds something."""
    per_channel: bool = False
    relu: bool = False


def layer_counts(model: onnx.ModelProto, target: Target) -> dict[str, int]:
    """`imported`: layers before optimisation; `optimised`: those that run."""
    view = View(model, target)
    imported = sum(_made_of(node) for node in view.nodes)
    folds = bool(target.own.get("folds_into_convolutions"))
    layers = [layer for index in view.order if (layer := _layer(view, view.nodes[index], folds)) is not None]
    outputs = set(view.outputs)
    layers = _merged(_contracted(_without_copies(layers, outputs), outputs), outputs, folds)
    return {"imported": imported, "optimised": len(layers)}


def _made_of(node: onnx.NodeProto) -> int:
    match node.op_type:
        case "Constant":
            return 0
        case "Gemm":
            return 4 if given(node, 2) else 2
        case name if name in _MANY:
            return max(len(node.input) - 1, 1)
    return 1


def _layer(view: View, node: onnx.NodeProto, newest: bool) -> _Layer | None:
    data = [name for name in node.input if name and name not in view.folds]
    if node.op_type == "Constant" or not data or not node.output:
        return None
    layer = _Layer(node.op_type, data, node.output[0])
    if node.op_type == "Cast" and view.dtype(data[0]) == attribute(node, "to"):
        layer.kind = "Identity"
    elif node.op_type == "BatchNormalization" and len(data) == 1:
        layer.kind = "ScaleBias"
    elif node.op_type in _ARITHMETIC and len(data) == 1 and len(node.input) == 2:
        constant = node.input[0] if node.input[0] != data[0] else node.input[1]
        shape = view.shape(constant)
        # Before 2.4 a number of rank 2 or more is an array (ContractSubExpressionsPass.cs:175@2.1.3).
        if shape is not None and math.prod(size or 2 for size in shape) == 1 and (newest or len(shape) <= 1):
            if not (node.op_type == "Div" and node.input[1] == data[0]):
                layer.kind, layer.shift = "ScalarMad", node.op_type in ("Add", "Sub")
        else:
            layer.per_channel = shape is not None and len(shape) >= 3 and shape[-2:] == (1, 1)
    elif node.op_type == "Gemm" and len(data) == 1:
        layer.kind = "Dense"
    return layer


def _readers(layers: Iterable[_Layer]) -> dict[str, list[_Layer]]:
    found: dict[str, list[_Layer]] = {}
    for layer in layers:
        for name in layer.data:
            found.setdefault(name, []).append(layer)
    return found


def _without_copies(layers: list[_Layer], outputs: set[str]) -> list[_Layer]:
    """The layers without copies whose result is not an output of the graph."""
    renamed: dict[str, str] = {}
    kept = []
    for layer in layers:
        layer.data = [renamed.get(name, name) for name in layer.data]
        if layer.kind in _NOTHING and layer.output not in outputs:
            renamed[layer.output] = layer.data[0]
        else:
            kept.append(layer)
    return kept


def _contracted(layers: list[_Layer], outputs: set[str]) -> list[_Layer]:
    """x * Sigmoid(x) is one Swish (ContractSubExpressionsPass.cs:264@2.1.3, :71@2.4.0)."""
    readers, makers = _readers(layers), {layer.output: layer for layer in layers}
    gone: set[str] = set()
    for layer in layers:
        if layer.kind != "Mul" or len(layer.data) != 2:
            continue
        for gate, data in (layer.data, layer.data[::-1]):
            producer = makers.get(gate)
            if producer is None or producer.kind != "Sigmoid" or producer.data != [data] or gate in outputs:
                continue
            if len(readers[gate]) == 1:
                layer.kind, layer.data = "Swish", [data]
                gone.add(gate)
                break
    return [layer for layer in layers if layer.output not in gone]


def _merged(layers: list[_Layer], outputs: set[str], folds: bool) -> list[_Layer]:
    """The layers that remain when no pair can be merged any more. A round takes time linear in the layers."""
    readers = _readers(layers)
    while True:
        kept = [layer for layer in layers if not _merges(layer, readers, outputs, folds)]
        if len(kept) == len(layers):
            return layers
        layers = kept


def _merges(first: _Layer, readers: dict[str, list[_Layer]], outputs: set[str], folds: bool) -> bool:
    """Whether a layer is merged into its reader, which is changed in that case."""
    behind = readers.get(first.output, [])
    if len(behind) != 1 or first.output in outputs or behind[0].data.count(first.output) != 1:
        return False
    second = behind[0]
    if not _joins(first, second, folds):
        return False
    second.data = [name for name in second.data if name != first.output] + first.data
    for name in first.data:
        readers[name] = [second if reader is first else reader for reader in readers[name]]
    if second.kind == "Relu":
        second.kind, second.relu = first.kind, True
    elif first.kind in _TAKE_RELU or first.kind == "ScalarMad" == second.kind:
        second.kind, second.shift = first.kind, first.shift or second.shift
    return True


def _joins(first: _Layer, second: _Layer, folds: bool) -> bool:
    pair = first.kind, second.kind
    if first.relu:
        return False
    if second.kind == "Relu":
        return first.kind in _TAKE_RELU
    if pair in (("ScalarMad", "ScalarMad"), ("Transpose", "Transpose"), ("Conv", "ScaleBias")):
        return True
    if pair == ("MatMul", "Add"):
        return len(first.data) == 1 and len(second.data) == 1
    constants = len(first.data) == 1 == len(second.data)
    if constants and pair in (("Add", "Add"), ("Mul", "Mul"), ("ScaleBias", "ScaleBias")):
        return True
    if not folds:
        return False
    if pair == ("ScalarMad", "Conv"):
        return not first.shift
    return pair == ("Conv", "ScalarMad") or (pair == ("Conv", "Add") and second.per_channel and constants)
