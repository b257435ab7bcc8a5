"""Random graphs from the supported operators, in the forms of opset 9 to 18, for the property test.

Every layer is a function of a `Net` and hypothesis' `draw`; it appends nodes and tells the new value's channels
and its sizes at both of `SIZES`, or leaves the graph alone where it does not fit. Weights come from seeds, so that
a failing graph shrinks to few nodes with small parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st

from tests.rewrites import model, node, random

SIZES = ((24, 16), (16, 40))
"""Heights and widths at which graphs are compared."""
LARGEST = 96


@dataclass(frozen=True)
class Value:
    name: str
    channels: int
    sizes: tuple[tuple[int, int], ...]


@dataclass
class Net:
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    values: list[Value] = field(default_factory=list)

    def const(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def weights(self, *shape: int, scale: float = 1.0, shift: float = 0.0) -> str:
        return self.const(random(shape, len(self.constants), scale) + np.float32(shift))

    def op(self, operator: str, *inputs: str, outputs: int = 1, **attrs: Any) -> str:
        """The name of the (first) output; `name`_1 is that of the second."""
        name = f"t{len(self.nodes)}"
        names = [name, *(f"{name}_{index}" for index in range(1, outputs))]
        self.nodes.append(node(operator, " ".join(inputs), " ".join(names), **attrs))
        return name

    def form(self, since: int, operator: str, x: str, **parameters: Any) -> str:
        """Parameters as attributes before opset `since`, as inputs from then on (None: left out)."""
        stored = {key: value for key, value in parameters.items() if value is not None}
        if self.opset < since:
            return self.op(operator, x, **stored)
        inputs = ["-" if value is None else self.const(_tensor(value)) for value in parameters.values()]
        while inputs and inputs[-1] == "-":
            inputs.pop()
        return self.op(operator, x, *inputs)


def _tensor(value: Any) -> np.ndarray:
    return np.float32(value) if isinstance(value, float) else np.asarray(value, np.int64)


Draw = Callable[[Any], Any]
Layer = Callable[[Net, Draw, Value], "Value | None"]


def _sized(x: Value, change: Callable[[int, int], int]) -> tuple[tuple[int, int], ...] | None:
    """The sizes after `change(size, axis)`; None where one becomes too small or too large."""
    sizes = tuple((change(height, 0), change(width, 1)) for height, width in x.sizes)
    return sizes if all(1 <= item <= LARGEST for pair in sizes for item in pair) else None


def _window(net: Net, draw: Draw, x: Value, dilate: bool, pool: bool) -> tuple[dict, Any] | None:
    """Attributes of a window (kernel, strides, dilations, pads) and the sizes after it."""
    kernel = [draw(st.integers(1 + pool, 3)) for _ in "hw"]
    strides = [draw(st.integers(1, 2)) for _ in "hw"]
    dilations = [draw(st.integers(1, 2)) if dilate else 1 for _ in "hw"]
    attrs: dict[str, Any] = {"kernel_shape": kernel, "strides": strides}
    if dilate:
        attrs["dilations"] = dilations
    auto = draw(st.sampled_from(["", "", "", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if auto.startswith("SAME") and max(dilations) > 1:  # ONNX Runtime does not run it
        return None
    pads = [0] * 4 if auto else [draw(st.integers(0, min(2, kernel[axis % 2] - pool))) for axis in range(4)]
    if auto:
        attrs["auto_pad"] = auto
    else:
        attrs["pads"] = pads

    uneven = any(size % stride for pair in x.sizes for size, stride in zip(pair, strides, strict=True))
    if auto.startswith("SAME") and uneven:  # its pads hold for multiples of the stride
        return None

    def change(size: int, axis: int) -> int:
        if auto.startswith("SAME"):
            return math.ceil(size / strides[axis])
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        return (size + pads[axis] + pads[axis + 2] - reach) // strides[axis] + 1

    sizes = _sized(x, change)
    return None if sizes is None else (attrs, sizes)


def conv(net: Net, draw: Draw, x: Value) -> Value | None:
    found = _window(net, draw, x, dilate=True, pool=False)
    if found is None:
        return None
    attrs, sizes = found
    kind = draw(st.sampled_from(["full", "depthwise", "multiplier", "halves"]))
    group = {"full": 1, "halves": 2 if x.channels % 2 == 0 else 1}.get(kind, x.channels)
    result = {"full": draw(st.integers(1, 4)), "depthwise": x.channels}.get(kind, 2 * x.channels)
    inputs = [net.weights(result, x.channels // group, *attrs["kernel_shape"], scale=0.4)]
    if draw(st.booleans()):
        inputs.append(net.weights(result))
    if group > 1 or draw(st.booleans()):
        attrs["group"] = group
    return Value(net.op("Conv", x.name, *inputs, **attrs), result, sizes)


def conv_transpose(net: Net, draw: Draw, x: Value) -> Value | None:
    kernel = [draw(st.integers(1, 4)) for _ in "hw"]
    strides = [draw(st.integers(1, 2)) for _ in "hw"]
    extra = [draw(st.integers(0, item - 1)) for item in strides]
    pads = [draw(st.integers(0, min(1, kernel[axis % 2] - 1))) for axis in range(4)]
    sizes = _sized(x, lambda size, a: (size - 1) * strides[a] + extra[a] + kernel[a] - pads[a] - pads[a + 2])
    if sizes is None:
        return None
    result = draw(st.integers(1, 4))
    inputs = [net.weights(x.channels, result, *kernel, scale=0.4)]
    if draw(st.booleans()):
        inputs.append(net.weights(result))
    attrs = {"kernel_shape": kernel, "strides": strides, "pads": pads}
    if any(extra):
        attrs["output_padding"] = extra
    return Value(net.op("ConvTranspose", x.name, *inputs, **attrs), result, sizes)


def pad(net: Net, draw: Draw, x: Value) -> Value | None:
    mode = draw(st.sampled_from(["constant", "reflect", "edge"]))
    pads = [draw(st.integers(-1 if mode == "constant" else 0, 3)) for _ in range(4)]
    sizes = _sized(x, lambda size, axis: size + pads[axis] + pads[axis + 2])
    if sizes is None or min(item for pair in x.sizes for item in pair) < 5:
        return None
    whole = [0, 0, pads[0], pads[1], 0, 0, pads[2], pads[3]]
    value = draw(st.sampled_from([0.0, 0.5])) if mode == "constant" else 0.0
    if net.opset < 11:
        result = net.op("Pad", x.name, pads=whole, mode=mode, value=value)
    else:
        inputs = [net.const(np.array(whole))]
        if value or draw(st.booleans()):
            inputs.append(net.const(np.float32(value)))
        result = net.op("Pad", x.name, *inputs, mode=mode)
    return Value(result, x.channels, sizes)


def resize(net: Net, draw: Draw, x: Value) -> Value | None:
    factors = [draw(st.sampled_from([2.0, 1.0, 0.5, 3.0])) for _ in "hw"]
    if any(size * factor % 1 for pair in x.sizes for size, factor in zip(pair, factors, strict=True)):
        return None
    sizes = _sized(x, lambda size, axis: int(size * factors[axis]))
    if sizes is None or min(item for pair in (*x.sizes, *sizes) for item in pair) < 4:
        return None
    scales = net.const(np.array([1, 1, *factors], np.float32))
    mode = draw(st.sampled_from(["nearest", "linear", "cubic"] if net.opset >= 11 else ["nearest"]))
    if net.opset < 11:
        if net.opset == 9 and min(factors) < 1:
            return None
        result = net.op("Upsample" if net.opset == 9 else "Resize", x.name, scales, mode=mode)
        return Value(result, x.channels, sizes)
    coordinates = st.sampled_from(["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"])
    attrs = {"mode": mode, "coordinate_transformation_mode": draw(coordinates)}
    if mode == "nearest":
        attrs["nearest_mode"] = draw(st.sampled_from(["floor", "round_prefer_floor", "ceil", "round_prefer_ceil"]))
    roi = "-" if net.opset >= 13 else net.const(np.zeros(0, np.float32))
    return Value(net.op("Resize", x.name, roi, scales, **attrs), x.channels, sizes)


def norm(net: Net, draw: Draw, x: Value) -> Value | None:
    if min(height * width for height, width in x.sizes) < 16:
        return None
    kind = draw(st.sampled_from(["instance", "batch", "mvn", "decomposed", "group"]))
    eps = draw(st.sampled_from([1e-5, 1e-3]))
    scale, bias = net.weights(x.channels, scale=0.3, shift=1.0), net.weights(x.channels)
    match kind:
        case "instance":
            result = net.op("InstanceNormalization", x.name, scale, bias, epsilon=eps)
        case "batch":
            mean, variance = net.weights(x.channels), net.const(np.abs(random((x.channels,), 9)) + np.float32(0.3))
            result = net.op("BatchNormalization", x.name, scale, bias, mean, variance, epsilon=eps)
        case "mvn":
            result = net.op("MeanVarianceNormalization", x.name)
        case "decomposed":
            mean = _reduce(net, "ReduceMean", x.name, [2, 3])
            centred = net.op("Sub", x.name, mean)
            variance = _reduce(net, "ReduceMean", net.op("Mul", centred, centred), [2, 3])
            deviation = net.op("Sqrt", net.op("Add", variance, net.const(np.float32(eps))))
            result = net.op("Div", centred, deviation)
        case _:
            if x.channels % 2:
                return None
            shape = net.const(np.array([1, 2, -1]))
            grouped = net.op("Reshape", x.name, shape)
            ones, zeros = net.const(np.ones(2, np.float32)), net.const(np.zeros(2, np.float32))
            plain = net.op("InstanceNormalization", grouped, ones, zeros, epsilon=eps)
            result = net.op("Reshape", plain, net.op("Shape", x.name))
    return Value(result, x.channels, x.sizes)


def _reduce(net: Net, operator: str, x: str, axes: list[int]) -> str:
    if net.opset >= 18 or (operator == "ReduceSum" and net.opset >= 13):
        return net.op(operator, x, net.const(np.array(axes)), keepdims=1)
    return net.op(operator, x, axes=axes, keepdims=1)


_PLAIN = "Relu Selu Sigmoid Tanh Softplus Softsign Erf Abs Neg Identity Dropout"
_ACTIVATIONS: list[tuple[int, str, dict[str, float]]] = [
    *((9, name, {}) for name in _PLAIN.split()),
    (9, "LeakyRelu", {"alpha": 0.2}),
    (9, "LeakyRelu", {"alpha": 1.5}),
    (9, "Elu", {"alpha": 0.7}),
    (9, "HardSigmoid", {"alpha": 0.3}),
    (9, "Cast", {"to": 1}),
    (9, "Softmax", {"axis": 1}),
    (9, "LogSoftmax", {"axis": 1}),
    (12, "Celu", {"alpha": 0.5}),
    (14, "HardSwish", {}),
    (18, "Mish", {}),
]
"""First opset, operator, attributes."""


def activation(net: Net, draw: Draw, x: Value) -> Value:
    _, operator, attrs = draw(st.sampled_from([row for row in _ACTIVATIONS if row[0] <= net.opset]))
    return Value(net.op(operator, x.name, **attrs), x.channels, x.sizes)


def prelu(net: Net, draw: Draw, x: Value) -> Value:
    shape = draw(st.sampled_from([(1,), (x.channels, 1, 1), (1, x.channels, 1, 1)]))
    return Value(net.op("PRelu", x.name, net.weights(*shape, scale=0.3)), x.channels, x.sizes)


def clip(net: Net, draw: Draw, x: Value) -> Value:
    bounds = draw(st.sampled_from([(0.0, 1.0), (-1.0, 0.5), (0.0, 6.0), (-0.5, None), (None, 0.5)]))
    return Value(net.form(11, "Clip", x.name, min=bounds[0], max=bounds[1]), x.channels, x.sizes)


def pool(net: Net, draw: Draw, x: Value) -> Value | None:
    found = _window(net, draw, x, dilate=False, pool=True)
    if found is None:
        return None
    attrs, sizes = found
    operator = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    if operator == "AveragePool" and draw(st.booleans()):
        attrs["count_include_pad"] = 1
    return Value(net.op(operator, x.name, **attrs), x.channels, sizes)


def gate(net: Net, draw: Draw, x: Value) -> Value:
    """Squeeze and excite: one number per channel multiplies or shifts the map."""
    kind = draw(st.sampled_from(["GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax", "ReduceSum"]))
    pooled = _reduce(net, kind, x.name, [2, 3]) if kind.startswith("R") else net.op(kind, x.name)
    squeezed = net.op(draw(st.sampled_from(["Sigmoid", "Tanh"])), pooled)
    operator = draw(st.sampled_from(["Mul", "Add", "Sub"]))
    return Value(net.op(operator, x.name, squeezed), x.channels, x.sizes)


def over_channels(net: Net, draw: Draw, x: Value) -> Value:
    kind = draw(st.sampled_from(["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"]))
    return Value(_reduce(net, kind, x.name, [1]), 1, x.sizes)


def arithmetic(net: Net, draw: Draw, x: Value) -> Value:
    shape = draw(st.sampled_from([(), (1,), (x.channels, 1, 1), (1, x.channels, 1, 1), (1, 1, 1, 1)]))
    operator = draw(st.sampled_from(["Add", "Sub", "Mul", "Div"]))
    stored = net.const(np.abs(random(shape, len(net.constants))) + np.float32(0.5))
    first = operator != "Div" and draw(st.booleans())
    return Value(net.op(operator, *((stored, x.name) if first else (x.name, stored))), x.channels, x.sizes)


def join(net: Net, draw: Draw, x: Value) -> Value | None:
    """Two maps of equal size, or one with itself."""
    other = draw(st.sampled_from([value for value in net.values if value.sizes == x.sizes]))
    kind = draw(st.sampled_from(["Concat", "Add", "Mul", "Sub", "Max", "Min", "Sum", "Mean"]))
    if kind == "Concat":
        if x.channels + other.channels > 8:
            return None
        axis = draw(st.sampled_from([1, -3])) if net.opset >= 11 else 1
        return Value(net.op("Concat", x.name, other.name, axis=axis), x.channels + other.channels, x.sizes)
    if other.channels != x.channels or (kind == "Mean" and other is x):  # ONNX Runtime fails on that Mean
        return None
    return Value(net.op(kind, x.name, other.name), x.channels, x.sizes)


def split(net: Net, draw: Draw, x: Value) -> Value | None:
    """Split and swap, or a gated unit."""
    if x.channels < 2:
        return None
    first = draw(st.integers(1, x.channels - 1))
    parts = [first, x.channels - first]
    if net.opset < 13:
        left = net.op("Split", x.name, outputs=2, axis=1, split=parts)
    else:
        left = net.op("Split", x.name, net.const(np.array(parts)), outputs=2, axis=1)
    right = f"{left}_1"
    if parts[0] == parts[1] and draw(st.booleans()):
        return Value(net.op("Mul", left, net.op("Sigmoid", right)), first, x.sizes)
    return Value(net.op("Concat", right, left, axis=1), x.channels, x.sizes)


def slices(net: Net, draw: Draw, x: Value) -> Value | None:
    axis = draw(st.integers(1, 3))
    step = draw(st.integers(1, 2)) if net.opset >= 10 else 1
    start, end = draw(st.integers(0, 1)), draw(st.sampled_from([-1, 2**31 - 1]))
    if axis == 1:
        channels = len(range(x.channels)[start:end:step])
        sizes = x.sizes if channels else None
    else:
        channels = x.channels
        sizes = _sized(x, lambda size, at: len(range(size)[start:end:step]) if at == axis - 2 else size)
    if sizes is None:
        return None
    if net.opset < 10:
        result = net.op("Slice", x.name, starts=[start], ends=[end], axes=[axis])
    else:
        named = axis - 4 if draw(st.booleans()) else axis
        bounds = [net.const(np.array([item])) for item in (start, end, named)]
        steps = [net.const(np.array([step]))] if step > 1 or draw(st.booleans()) else []
        result = net.op("Slice", x.name, *bounds, *steps)
    return Value(result, channels, sizes)


def shuffle(net: Net, draw: Draw, x: Value) -> Value | None:
    if x.channels % 4 == 0 and draw(st.booleans()):
        mode = {"mode": draw(st.sampled_from(["DCR", "CRD"]))} if net.opset >= 11 else {}
        sizes = _sized(x, lambda size, axis: size * 2)
        if sizes is None:
            return None
        return Value(net.op("DepthToSpace", x.name, blocksize=2, **mode), x.channels // 4, sizes)
    if x.channels > 2 or any(item % 2 for pair in x.sizes for item in pair):
        return None
    return Value(
        net.op("SpaceToDepth", x.name, blocksize=2), x.channels * 4, _sized(x, lambda size, axis: size // 2)
    )


def there_and_back(net: Net, draw: Draw, x: Value) -> Value:
    """A pair of nodes that undo each other around an activation."""
    inner = draw(st.sampled_from(["Relu", "Sigmoid"]))
    if draw(st.booleans()):
        last = net.op(inner, net.op("Transpose", x.name, perm=[0, 2, 3, 1]))
        return Value(net.op("Transpose", last, perm=[0, 3, 1, 2]), x.channels, x.sizes)
    grown = net.form(13, "Unsqueeze", x.name, axes=[0])
    return Value(net.form(13, "Squeeze", net.op(inner, grown), axes=[0]), x.channels, x.sizes)


LAYERS: tuple[Layer, ...] = (
    conv, conv, conv_transpose, pad, resize, norm, activation, activation, prelu, clip, pool, gate, over_channels,
    arithmetic, arithmetic, join, split, slices, shuffle, there_and_back,
)  # fmt: skip


@st.composite
def graphs(draw: Draw) -> onnx.ModelProto:
    """A model from x (1, 3, H, W) to y, of one to eight layers."""
    net = Net(draw(st.integers(9, 18)))
    net.values.append(Value("x", 3, SIZES))
    for layer in draw(st.lists(st.sampled_from(LAYERS), min_size=1, max_size=8)):
        x = net.values[-1] if draw(st.integers(0, 4)) else draw(st.sampled_from(net.values))
        if (item := layer(net, draw, x)) is not None:
            net.values.append(item)
    net.op("Identity", net.values[-1].name)
    net.nodes[-1].output[0] = "y"
    shape = (1, 3, "h", "w") if draw(st.booleans()) else (1, 3, *SIZES[0])
    return model(net.nodes, net.constants, opset=net.opset, input_shape=shape)
