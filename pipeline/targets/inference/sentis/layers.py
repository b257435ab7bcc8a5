"""Between an ONNX model in this family's dialect and the layers of a `.sentis` file, both ways.

A serialised model is loaded as it is: nothing optimises it, so a Relu goes into the convolution before it here,
and numbers become ScalarMad, as the importer's optimiser would do it. Arguments stand in the order in which
`ModelLoader.cs@2.1.3` reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from pipeline.support.errors import PipelineError
from pipeline.targets.inference.sentis.format import (
    BYTE,
    FLOAT,
    INT,
    SHORT,
    Argument,
    Input,
    Layer,
    Program,
    Weight,
)

# fmt: off
PLAIN = {
    "Abs": 1, "Ceil": 1, "Cos": 1, "Erf": 1, "Exp": 1, "Floor": 1, "Gelu": 1, "GlobalAveragePool": 1,
    "GlobalMaxPool": 1, "HardSwish": 1, "Identity": 1, "Log": 1, "Neg": 1, "Reciprocal": 1, "Relu": 1,
    "Sigmoid": 1, "Sin": 1, "Softplus": 1, "Softsign": 1, "Sqrt": 1, "Tanh": 1,
    "Add": 2, "Div": 2, "Expand": 2, "MatMul": 2, "Max": 2, "Min": 2, "Mul": 2, "PRelu": 2, "Pow": 2, "Sub": 2,
    "Tile": 2, "Unsqueeze": 2, "Squeeze": 2, "Equal": 2, "Greater": 2, "Less": 2, "Where": 3, "Clip": 3,
    "Slice": 5,
}
"""Operators whose kernel has the same name and no arguments -> the number of its inputs."""
FLOATS = {
    "Celu": (("alpha", 1.0),), "Elu": (("alpha", 1.0),), "HardSigmoid": (("alpha", 0.2), ("beta", 0.5)),
    "LeakyRelu": (("alpha", 0.01),), "Selu": (("alpha", 1.6732632), ("gamma", 1.0507010)),
    "ThresholdedRelu": (("alpha", 1.0),),
}
"""Operators of one input whose arguments are floats, with ONNX's defaults."""
AXIS = {"Concat": 0, "Flatten": 1, "Gather": 0, "LogSoftmax": -1, "Softmax": -1}
"""Operators whose one argument is an axis, and its default; Concat always states one."""
REDUCE = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceL2")
# fmt: on
PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
PAD_MODES = ("constant", "reflect", "edge", "symmetric", "wrap")
PLACES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
RESIZES = ("nearest", "linear")
BLOCKS = ("DCR", "CRD")
_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class Packed:
    """A weight as bytes: (value - zero) * scale, with one scale, or one for each slice along `axis`."""

    values: np.ndarray
    zero: int
    scales: np.ndarray
    axis: int = 0


@dataclass
class _Maker:
    """Collects the layers and weights of a model during the conversion."""

    constants: dict[str, np.ndarray]
    packed: Mapping[str, Packed]
    halves: frozenset[str]
    readers: dict[str, int]
    outputs: frozenset[str]
    layers: list[Layer] = field(default_factory=list)
    weights: dict[str, Weight] = field(default_factory=dict)
    expanded: dict[str, str] = field(default_factory=dict)

    def add(self, kernel: str, inputs: list[str], output: str | list[str], *arguments: Argument) -> None:
        names = [name if not name or name not in self.constants else self.constant(name) for name in inputs]
        outputs = (output,) if isinstance(output, str) else tuple(output)
        self.layers.append(Layer(kernel, tuple(names), outputs, arguments))

    def constant(self, name: str) -> str:
        """A tensor with the values of a constant, made by layers where it is stored in fewer bytes."""
        if name in self.expanded:
            return self.expanded[name]
        self.expanded[name] = name
        values = self.constants[name]
        if name in self.packed:
            self._expand(name, self.packed[name])
        elif name in self.halves:
            self.weights[f"{name}/half"] = Weight(values.astype("<f2").view("<u2"), SHORT)
            self.layers.append(Layer("Cast", (f"{name}/half",), (name,), (FLOAT,)))
        else:
            self.weights[name] = _weight(values)
        return name

    def _expand(self, name: str, packed: Packed) -> None:
        """DequantizeUint8 has one scale: with one for each slice, the product with them is a layer of its own."""
        self.weights[f"{name}/bytes"] = Weight(packed.values.astype(np.uint8), BYTE)
        if packed.scales.size == 1:
            arguments: tuple[Argument, ...] = (float(packed.scales.reshape(())), packed.zero)
            self.layers.append(Layer("DequantizeUint8", (f"{name}/bytes",), (name,), arguments))
            return
        shape = [1] * packed.values.ndim
        shape[packed.axis] = -1
        self.weights[f"{name}/scales"] = Weight(packed.scales.astype("<f4").reshape(shape), FLOAT)
        self.layers.append(Layer("DequantizeUint8", (f"{name}/bytes",), (f"{name}/steps",), (1.0, packed.zero)))
        self.layers.append(Layer("Mul", (f"{name}/steps", f"{name}/scales"), (name,)))

    def number(self, name: str) -> float | None:
        """The one float of a constant, None where it is none."""
        constant = self.constants.get(name)
        return (
            float(constant.reshape(()))
            if constant is not None and constant.size == 1 and constant.dtype.kind == "f"
            else None
        )

    def values(self, name: str, values: list[int] | np.ndarray) -> str:
        self.constants[name] = np.asarray(values)
        return name


def _weight(values: np.ndarray) -> Weight:
    if values.dtype.kind == "f":
        return Weight(values.astype("<f4"), FLOAT)
    return Weight(np.clip(values.astype(np.int64), -_LIMIT - 1, _LIMIT).astype("<i4"), INT)


# --- from ONNX -----------------------------------------------------------------------------------------------
def program_of(
    model: onnx.ModelProto, packed: Mapping[str, Packed] | None = None, halves: frozenset[str] = frozenset()
) -> Program:
    """The layers of a model in this family's dialect.

    `packed` and `halves` name constants that are stored as bytes and as float16. Raises PipelineError
    `no-sentis-layer` for an operator that is not written.
    """
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    readers: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    for node in model.graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(helper.get_attribute_value(node.attribute[0]))
    outputs = frozenset(item.name for item in model.graph.output)
    maker = _Maker(constants, packed or {}, halves, readers, outputs)
    for node in model.graph.node:
        if node.op_type != "Constant":
            _add(maker, node)
    layers = _with_relus(maker)
    free: dict[str, str] = {}
    inputs = []
    for item in model.graph.input:
        kind = FLOAT if item.type.tensor_type.elem_type == onnx.TensorProto.FLOAT else INT
        sizes: list[int | str] = []
        for place, dim in enumerate(item.type.tensor_type.shape.dim):
            known = dim.HasField("dim_value") and dim.dim_value > 0
            name = dim.dim_param or f"{item.name}/{place}"
            sizes.append(int(dim.dim_value) if known else free.setdefault(name, str(len(free))))
        inputs.append(Input(item.name, kind, tuple(sizes)))
    return Program(
        tuple(inputs),
        tuple((item.name, item.name) for item in model.graph.output),
        tuple(layers),
        maker.weights,
        model.producer_name or "unity-bridge-pipeline",
    )


def _with_relus(maker: _Maker) -> list[Layer]:
    """A Relu goes into the convolution before it that nothing else reads."""
    makers = {name: index for index, layer in enumerate(maker.layers) for name in layer.outputs}
    layers: list[Layer | None] = list(maker.layers)
    for index, layer in enumerate(maker.layers):
        before = makers.get(layer.inputs[0]) if layer.kernel == "Relu" else None
        producer = None if before is None else layers[before]
        if producer is None or before is None or producer.kernel not in ("Conv", "ConvTranspose", "Dense"):
            continue
        name = layer.inputs[0]
        if maker.readers.get(name) == 1 and name not in maker.outputs and producer.arguments[-1] == 0:
            layers[before] = Layer(producer.kernel, producer.inputs, layer.outputs, (*producer.arguments[:-1], 1))
            layers[index] = None
    return [layer for layer in layers if layer is not None]


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {
        name: value.decode() if isinstance(value, bytes) else tuple(value) if _listed(value) else value
        for name, value in attributes.items()
    }


def _listed(value: object) -> bool:
    return not isinstance(value, (int, float, str, bytes, onnx.TensorProto))


def _add(maker: _Maker, node: onnx.NodeProto) -> None:
    attributes, name = _attributes(node), node.op_type
    inputs, output = list(node.input), node.output[0] if node.output else ""
    if name in _FROM_ONNX:
        _FROM_ONNX[name](maker, node, attributes)
    elif name in PLAIN:
        if _scalar(maker, name, inputs, output):
            return
        maker.add(name, inputs + [""] * (PLAIN[name] - len(inputs)), output)
    elif name in FLOATS:
        maker.add(name, inputs, output, *(float(attributes.get(key, default)) for key, default in FLOATS[name]))
    elif name in AXIS:
        maker.add(name, inputs, output, int(attributes.get("axis", AXIS[name])))
    elif name in REDUCE:
        axes = attributes.get("axes")
        if axes is not None:
            inputs = [inputs[0], maker.values(f"{output}/axes", list(axes))]
        maker.add(
            name,
            [*inputs, ""][:2],
            output,
            bool(attributes.get("keepdims", 1)),
            bool(attributes.get("noop_with_empty_axes", 0)),
        )
    else:
        raise PipelineError(
            "no-sentis-layer",
            f"{name} cannot be written into .sentis files",
            remedy="Use --weights float: the bundle then contains the model as .onnx, which supports every "
            "operator.",
        )


def _scalar(maker: _Maker, name: str, inputs: list[str], output: str) -> bool:
    """Arithmetic with one number as ScalarMad: scale * x + shift."""
    if name not in ("Add", "Sub", "Mul", "Div") or len(inputs) != 2:
        return False
    left, right = (maker.number(name_of_input) for name_of_input in inputs)
    if (left is None) == (right is None) or (name == "Div" and right is None):
        return False
    rank = maker.constants[inputs[0] if left is not None else inputs[1]].ndim
    if rank > 1:  # a constant of more axes could give the result more axes than the data has
        return False
    data = inputs[1] if left is not None else inputs[0]
    value = left if left is not None else right
    assert value is not None
    scale, shift = {
        "Add": (1.0, value),
        "Sub": (-1.0, value) if left is not None else (1.0, -value),
        "Mul": (value, 0.0),
        "Div": (float(np.float32(1) / np.float32(value)) if value else 0.0, 0.0),
    }[name]
    if name == "Div" and not value:
        return False
    maker.add("ScalarMad", [data], output, FLOAT, scale, shift, 0, 0)
    return True


def _spatial(attributes: dict[str, Any], count: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Pads, strides and dilations, written out."""
    return (
        tuple(attributes.get("pads", (0,) * 2 * count)),
        tuple(attributes.get("strides", (1,) * count)),
        tuple(attributes.get("dilations", (1,) * count)),
    )


def _conv(maker: _Maker, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    kernel = maker.constants[node.input[1]].shape[2:]
    pads, strides, dilations = _spatial(attributes, len(kernel))
    inputs = [*node.input, ""][:3]
    padding = PADS.index(attributes.get("auto_pad", "NOTSET"))
    if node.op_type == "Conv":
        group = int(attributes.get("group", 1))
        maker.add("Conv", inputs, node.output[0], padding, dilations, group, pads, strides, tuple(kernel), 0)
        return
    if (
        int(attributes.get("group", 1)) != 1
        or any(step != 1 for step in dilations)
        or "output_shape" in attributes
    ):
        raise _no_layer("a ConvTranspose with groups, dilations or output_shape has no layer in a .sentis file")
    extra = tuple(attributes.get("output_padding", (0,) * len(kernel)))
    maker.add("ConvTranspose", inputs, node.output[0], padding, extra, pads, strides, tuple(kernel), 0)


def _pool(maker: _Maker, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    kernel = tuple(attributes["kernel_shape"])
    pads, strides, _ = _spatial(attributes, len(kernel))
    padding = PADS.index(attributes.get("auto_pad", "NOTSET"))
    maker.add(node.op_type, list(node.input), node.output[0], kernel, strides, pads, padding)


def _norm(maker: _Maker, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    maker.add(node.op_type, list(node.input), node.output[0], float(attributes.get("epsilon", 1e-5)))


def _batch_norm(maker: _Maker, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    values = [maker.constants.get(name) for name in node.input[1:5]]
    if any(value is None for value in values):
        _norm(maker, node, attributes)
        return
    scale, bias, mean, variance = (np.asarray(value, np.float64) for value in values)
    factor = scale / np.sqrt(variance + float(attributes.get("epsilon", 1e-5)))
    parts = [
        maker.values(f"{node.output[0]}/{part}", value.astype(np.float32))
        for part, value in (("scale", factor), ("bias", bias - mean * factor))
    ]
    maker.add("ScaleBias", [node.input[0], *parts], node.output[0])


def _pad(maker: _Maker, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    maker.add(
        "Pad", [*node.input, "", ""][:4], node.output[0], PAD_MODES.index(attributes.get("mode", "constant"))
    )


def _resize(maker: _Maker, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    by_scales = len(node.input) < 4 or not node.input[3]
    maker.add(
        "Resize",
        [node.input[0], node.input[2] if by_scales else node.input[3]],
        node.output[0],
        int(by_scales),
        PLACES.index(attributes.get("coordinate_transformation_mode", "half_pixel")),
        RESIZES.index(attributes.get("mode", "nearest")),
        ROUNDINGS.index(attributes.get("nearest_mode", "round_prefer_floor")),
        attributes.get("axes"),
    )


def _depth(maker: _Maker, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    mode = (BLOCKS.index(attributes.get("mode", "DCR")),) if node.op_type == "DepthToSpace" else ()
    maker.add(node.op_type, list(node.input), node.output[0], int(attributes["blocksize"]), *mode)


def _reshape(maker: _Maker, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    maker.add("Reshape", list(node.input), node.output[0], bool(attributes.get("allowzero", 0)))


def _transpose(maker: _Maker, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    maker.add("Transpose", list(node.input), node.output[0], attributes.get("perm"))


def _split(maker: _Maker, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    sized = len(node.input) > 1 and bool(node.input[1])
    count = -1 if sized else int(attributes.get("num_outputs", len(node.output)))
    maker.add("Split", [*node.input, ""][:2], list(node.output), int(attributes.get("axis", 0)), count)


def _shape(maker: _Maker, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    maker.add(
        "Shape", list(node.input), node.output[0], int(attributes.get("start", 0)), int(attributes.get("end", 8))
    )


def _cast(maker: _Maker, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    kinds = onnx.TensorProto
    floats = (kinds.FLOAT, kinds.FLOAT16, kinds.DOUBLE, kinds.BFLOAT16)
    maker.add("Cast", list(node.input), node.output[0], FLOAT if attributes["to"] in floats else INT)


def _dropout(maker: _Maker, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    maker.add("Identity", [node.input[0]], node.output[0])


def _no_layer(what: str) -> PipelineError:
    return PipelineError(
        "no-sentis-layer",
        what,
        remedy="Use --weights float: then the style is an .onnx file, which Unity imports. Or write it as "
        "operators that have one: pipeline targets lists them.",
    )


def _gemm(maker: _Maker, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """Dense: (N, K) times (K, M) and a bias of M."""
    weight = maker.constants.get(node.input[1])
    bias = maker.constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1, np.float32)
    if weight is None or bias is None or attributes.get("transA", 0):
        raise _no_layer("a Gemm whose matrix is computed from the picture has no layer in a .sentis file")
    alpha, beta = float(attributes.get("alpha", 1.0)), float(attributes.get("beta", 1.0))
    name = node.input[1]
    if attributes.get("transB", 0) or alpha != 1:
        weight = alpha * (weight.T if attributes.get("transB", 0) else weight)
        name = maker.values(f"{node.output[0]}/weight", weight.astype(np.float32))
    full = np.broadcast_to(beta * bias.reshape(-1), (weight.shape[1],)).astype(np.float32)
    maker.add("Dense", [node.input[0], name, maker.values(f"{node.output[0]}/bias", full)], node.output[0], 0)


def _many(maker: _Maker, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """Max, Min and Sum of more than two operands, one after the other."""
    kernel = {"Sum": "Add"}.get(node.op_type, node.op_type)
    left = node.input[0]
    for index, right in enumerate(node.input[1:], 1):
        output = node.output[0] if index == len(node.input) - 1 else f"{node.output[0]}/{index}"
        maker.add(kernel, [left, right], output)
        left = output
    if len(node.input) == 1:
        maker.add("Identity", [left], node.output[0])


_FROM_ONNX: dict[str, Callable[[_Maker, onnx.NodeProto, dict[str, Any]], None]] = {
    "AveragePool": _pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Conv": _conv,
    "ConvTranspose": _conv,
    "DepthToSpace": _depth,
    "Dropout": _dropout,
    "Gemm": _gemm,
    "InstanceNormalization": _norm,
    "LayerNormalization": _norm,
    "Max": _many,
    "MaxPool": _pool,
    "Min": _many,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": _shape,
    "SpaceToDepth": _depth,
    "Split": _split,
    "Sum": _many,
    "Transpose": _transpose,
}
