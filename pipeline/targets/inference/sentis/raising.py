"""Converts a `.sentis` file to an ONNX model of opset 18, for the rules and the emulation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from pipeline.graph.onnx_inference import inferred_by_onnx
from pipeline.support.errors import PipelineError
from pipeline.targets.inference.sentis.format import BYTE, FLOAT, INT, SHORT, Argument, Layer, Program
from pipeline.targets.inference.sentis.layers import (
    AXIS,
    BLOCKS,
    FLOATS,
    PAD_MODES,
    PADS,
    PLACES,
    PLAIN,
    REDUCE,
    RESIZES,
    ROUNDINGS,
)

OPSET = 18
_KINDS = {FLOAT: onnx.TensorProto.FLOAT, INT: onnx.TensorProto.INT64}


class _Raised:
    """Nodes and constants, made layer by layer. Integers are INT64, which ONNX wants for sizes and axes."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.types: dict[str, int] = {graph_input.name: graph_input.kind for graph_input in program.inputs}
        self.renamed = {tensor: name for name, tensor in program.outputs}

    def name(self, tensor: str) -> str:
        """The name of a tensor: outputs have their own."""
        return self.renamed.get(tensor, tensor)

    def given(self, tensor: str) -> str:
        """The name of an input of a layer; a constant of the file becomes an initializer where it is read."""
        weight = self.program.weights.get(tensor)
        if weight is not None and tensor not in self.constants:
            if weight.kind == SHORT:
                values = weight.values.view("<f2").astype(np.float32)
            else:
                values = weight.values.astype(np.float32 if weight.kind == FLOAT else np.int64)
            self.constants[tensor] = values
        return self.name(tensor) if tensor else ""

    def add(self, operator: str, layer: Layer, inputs: list[str] | None = None, **attributes: Any) -> None:
        """A node with the layer's outputs; attributes that are None are left out."""
        names = [self.given(tensor) for tensor in layer.inputs] if inputs is None else inputs
        while names and not names[-1]:
            names.pop()
        present = {name: value for name, value in attributes.items() if value is not None}
        outputs = [self.name(tensor) for tensor in layer.outputs]
        self.nodes.append(helper.make_node(operator, names, outputs, outputs[0], **present))

    def const(self, name: str, values: Any) -> str:
        self.constants[name] = np.asarray(values)
        return name


def model_of(program: Program) -> onnx.ModelProto:
    """The ONNX model that is equivalent to the layers of a file; packed weights are expanded.

    Raises PipelineError `bad-sentis-file` for a layer that this pipeline does not write.
    """
    raised = _Raised(program)
    for layer in program.layers:
        _raise(raised, layer)
    known = {name for node in raised.nodes for name in node.input}
    inputs = [
        helper.make_tensor_value_info(
            graph_input.name,
            _KINDS.get(graph_input.kind, onnx.TensorProto.FLOAT),
            [size if isinstance(size, int) else f"free_{size}" for size in graph_input.shape],
        )
        for graph_input in program.inputs
    ]
    outputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name, _ in program.outputs]
    graph = helper.make_graph(
        raised.nodes,
        "graph",
        inputs,
        outputs,
        [numpy_helper.from_array(values, name) for name, values in raised.constants.items() if name in known],
    )
    model = helper.make_model(
        graph,
        producer_name=program.producer,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
    )
    return inferred_by_onnx(model)


def _raise(raised: _Raised, layer: Layer) -> None:
    kernel, arguments = layer.kernel, layer.arguments
    try:
        if kernel in _FROM_LAYER:
            _FROM_LAYER[kernel](raised, layer, arguments)
        elif kernel in PLAIN:
            raised.add(kernel, layer)
        elif kernel in FLOATS:
            raised.add(kernel, layer, None, **{name: arguments[at] for at, (name, _) in enumerate(FLOATS[kernel])})
        elif kernel in AXIS:
            raised.add(kernel, layer, axis=arguments[0])
        elif kernel in REDUCE:
            raised.add(kernel, layer, keepdims=int(arguments[0]), noop_with_empty_axes=int(arguments[1]))  # type: ignore[arg-type]
        else:
            raise _unreadable(f"it has a layer {kernel[:40]}, which this version does not know")
    except (IndexError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise _unreadable(f"its layer {kernel[:40]} has other arguments than that layer takes") from error


def _unreadable(what: str) -> PipelineError:
    return PipelineError(
        "bad-sentis-file",
        what,
        remedy="Only .sentis files that this pipeline wrote are read: build the style again, or give its source.",
    )


def _convolution(raised: _Raised, layer: Layer, arguments: tuple[Argument, ...]) -> None:
    if layer.kernel == "Conv":
        padding, dilations, group, pads, strides, kernel, fused = arguments
        attributes = {"dilations": dilations, "group": group}
    else:
        padding, extra, pads, strides, kernel, fused = arguments
        attributes = {"output_padding": extra}
    attributes |= {"strides": strides, "kernel_shape": kernel}
    attributes |= {"pads": pads} if not padding else {"auto_pad": PADS[int(padding)]}  # type: ignore[arg-type]
    if not fused:
        raised.add(layer.kernel, layer, None, **attributes)
        return
    inner = Layer(layer.kernel, layer.inputs, (f"{layer.outputs[0]}/linear",), arguments)
    raised.add(layer.kernel, inner, None, **attributes)
    raised.add("Relu", layer, [inner.outputs[0]])


def _pool(raised: _Raised, layer: Layer, arguments: tuple[Argument, ...]) -> None:
    kernel, strides, pads, padding = arguments
    placed = {"pads": pads} if not padding else {"auto_pad": PADS[int(padding)]}  # type: ignore[arg-type]
    raised.add(layer.kernel, layer, kernel_shape=kernel, strides=strides, **placed)


def _norm(raised: _Raised, layer: Layer, arguments: tuple[Argument, ...]) -> None:
    raised.add(layer.kernel, layer, epsilon=arguments[0])


def _scale_bias(raised: _Raised, layer: Layer, arguments: tuple[Argument, ...]) -> None:
    """Per channel: a BatchNormalization of mean 0 and variance 1 would add an epsilon."""
    data, *parts = (raised.given(name) for name in layer.inputs)
    shaped = [
        raised.const(f"{part}/{layer.outputs[0]}", raised.constants[part].reshape(-1, 1, 1)) for part in parts
    ]
    inner = Layer("Mul", (), (f"{layer.outputs[0]}/scaled",))
    raised.add("Mul", inner, [data, shaped[0]])
    raised.add("Add", layer, [inner.outputs[0], shaped[1]])


def _scalar_mad(raised: _Raised, layer: Layer, arguments: tuple[Argument, ...]) -> None:
    scale, shift = (float(argument) for argument in arguments[1:3])  # type: ignore[arg-type]
    name = layer.outputs[0]
    inner = Layer("Mul", (), (f"{name}/scaled",))
    raised.add("Mul", inner, [raised.given(layer.inputs[0]), raised.const(f"{name}/scale", np.float32(scale))])
    raised.add("Add", layer, [inner.outputs[0], raised.const(f"{name}/shift", np.float32(shift))])


def _pad(raised: _Raised, layer: Layer, arguments: tuple[Argument, ...]) -> None:
    raised.add("Pad", layer, mode=PAD_MODES[int(arguments[0])])  # type: ignore[arg-type]


def _resize(raised: _Raised, layer: Layer, arguments: tuple[Argument, ...]) -> None:
    by_scales, place, mode, rounding, axes = arguments
    data, sizes = (raised.given(name) for name in layer.inputs)
    nearest = {"nearest_mode": ROUNDINGS[int(rounding)]} if not mode else {}  # type: ignore[arg-type]
    raised.add(
        "Resize",
        layer,
        [data, "", sizes] if by_scales else [data, "", "", sizes],
        mode=RESIZES[int(mode)],  # type: ignore[arg-type]
        coordinate_transformation_mode=PLACES[int(place)],  # type: ignore[arg-type]
        axes=axes,
        **nearest,
    )


def _depth(raised: _Raised, layer: Layer, arguments: tuple[Argument, ...]) -> None:
    mode = {"mode": BLOCKS[int(arguments[1])]} if layer.kernel == "DepthToSpace" else {}  # type: ignore[arg-type]
    raised.add(layer.kernel, layer, None, blocksize=arguments[0], **mode)


def _reshape(raised: _Raised, layer: Layer, arguments: tuple[Argument, ...]) -> None:
    raised.add("Reshape", layer, allowzero=int(arguments[0]))  # type: ignore[arg-type]


def _transpose(raised: _Raised, layer: Layer, arguments: tuple[Argument, ...]) -> None:
    raised.add("Transpose", layer, perm=arguments[0])


def _split(raised: _Raised, layer: Layer, arguments: tuple[Argument, ...]) -> None:
    sized = len(layer.inputs) > 1 and layer.inputs[1]
    raised.add("Split", layer, axis=arguments[0], num_outputs=None if sized else arguments[1])


def _shape(raised: _Raised, layer: Layer, arguments: tuple[Argument, ...]) -> None:
    raised.add("Shape", layer, start=arguments[0], end=arguments[1])


def _cast(raised: _Raised, layer: Layer, arguments: tuple[Argument, ...]) -> None:
    """A Cast of float16 bits is how a weight is expanded."""
    weight = raised.program.weights.get(layer.inputs[0])
    if weight is not None and weight.kind == SHORT:
        raised.const(layer.outputs[0], weight.values.view("<f2").astype(np.float32))
        return
    raised.add("Cast", layer, to=_KINDS[int(arguments[0])])  # type: ignore[arg-type]


def _bytes(raised: _Raised, layer: Layer, arguments: tuple[Argument, ...]) -> None:
    scale, zero = arguments
    weight = raised.program.weights[layer.inputs[0]]
    if weight.kind != BYTE:
        raise ValueError
    values = (weight.values.astype(np.int64) - int(zero)).astype(np.float32) * np.float32(scale)  # type: ignore[arg-type]
    raised.const(layer.outputs[0], values)


def _product(raised: _Raised, layer: Layer, arguments: tuple[Argument, ...]) -> None:
    """A product of constants is one: weights with a scale for each channel."""
    names = [raised.given(name) for name in layer.inputs]
    if all(name in raised.constants for name in names):
        raised.const(raised.name(layer.outputs[0]), raised.constants[names[0]] * raised.constants[names[1]])
        return
    raised.add("Mul", layer, names)


def _where(raised: _Raised, layer: Layer, arguments: tuple[Argument, ...]) -> None:
    """Conditions are whole numbers in a file."""
    condition = Layer("Cast", (), (f"{layer.outputs[0]}/condition",))
    names = [raised.given(name) for name in layer.inputs]
    raised.add("Cast", condition, names[:1], to=onnx.TensorProto.BOOL)
    raised.add("Where", layer, [condition.outputs[0], *names[1:]])


def _dense(raised: _Raised, layer: Layer, arguments: tuple[Argument, ...]) -> None:
    inner = Layer("Gemm", layer.inputs, (f"{layer.outputs[0]}/linear",) if arguments[0] else layer.outputs)
    raised.add("Gemm", inner)
    if arguments[0]:
        raised.add("Relu", layer, [inner.outputs[0]])


_FROM_LAYER: dict[str, Callable[[_Raised, Layer, tuple[Argument, ...]], None]] = {
    "AveragePool": _pool,
    "BatchNormalization": _norm,
    "Cast": _cast,
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "Dense": _dense,
    "DepthToSpace": _depth,
    "DequantizeUint8": _bytes,
    "InstanceNormalization": _norm,
    "LayerNormalization": _norm,
    "MaxPool": _pool,
    "Mul": _product,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "ScalarMad": _scalar_mad,
    "ScaleBias": _scale_bias,
    "Shape": _shape,
    "SpaceToDepth": _depth,
    "Split": _split,
    "Transpose": _transpose,
    "Where": _where,
}
