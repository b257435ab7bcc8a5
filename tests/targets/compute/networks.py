"""Small networks in the valid form (ONNX, opset 18): between them all operators and folds of the compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pipeline.graph import from_model
from pipeline.support.size import Size

OPSET = 18


class Net:
    """Builds a graph: each method adds a node and returns the name of its output."""

    def __init__(self, seed: int = 0, channels: int = 3, size: tuple[int, int] = (29, 37)) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.channels, self.size = channels, size
        self.image = "image"

    def constant(self, values: Any, kind: type = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def op(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        names = [f"{operator.lower()}{len(self.nodes)}_{i}" for i in range(outputs)]
        node = onnx.helper.make_node(operator, list(inputs), names, name=names[0], **attributes)
        self.nodes.append(node)
        return names[0] if outputs == 1 else names

    def conv(
        self, x: str, inputs: int, outputs: int, k: Any = 3, group: int = 1, bias: bool = True, **given: Any
    ) -> str:
        height, width = (k, k) if isinstance(k, int) else k
        scale = 1 / np.sqrt(inputs / group * height * width)
        weight = self.random.normal(0, scale, (outputs, inputs // group, height, width))
        weights = [self.constant(weight)] + ([self.constant(self.random.normal(0, 0.3, outputs))] if bias else [])
        return self.op("Conv", x, *weights, group=group, kernel_shape=[height, width], **given)

    def transposed(self, x: str, inputs: int, outputs: int, k: int = 3, group: int = 1, **given: Any) -> str:
        weight = self.random.normal(0, 1 / np.sqrt(inputs * k), (inputs, outputs // group, k, k))
        weights = [self.constant(weight), self.constant(self.random.normal(0, 0.3, outputs))]
        return self.op("ConvTranspose", x, *weights, group=group, **given)

    def pad(self, x: str, *sides: int, mode: str = "reflect", value: float = 0.0) -> str:
        """`sides` are top, left, bottom, right, or one number for all."""
        top, left, bottom, right = sides if len(sides) == 4 else sides * 4
        pads = self.constant([0, 0, top, left, 0, 0, bottom, right], np.int64)
        return self.op("Pad", x, pads, self.constant(value), mode=mode)

    def norm(self, x: str, channels: int) -> str:
        gamma, beta = self.random.normal(1, 0.3, channels), self.random.normal(0, 0.3, channels)
        return self.op("InstanceNormalization", x, self.constant(gamma), self.constant(beta), epsilon=1e-5)

    def group_norm(self, x: str, channels: int, groups: int, scale: np.ndarray, shift: np.ndarray) -> str:
        """As PyTorch exports it at a fixed size: reshaped to groups, and back."""
        shaped = self.op("Reshape", x, self.constant([0, groups, -1], np.int64))
        shaped = self.op("InstanceNormalization", shaped, self.constant(scale), self.constant(shift))
        shape = [1, channels, -1, -(-self.size[1] // 3)]
        return self.op("Reshape", shaped, self.constant(shape, np.int64))

    def resize(self, x: str, *scales: float, **given: Any) -> str:
        factors = scales if len(scales) == 2 else scales * 2
        return self.op("Resize", x, "", self.constant([1, 1, *factors]), **given)

    def nearest(self, x: str, factor: float = 2) -> str:
        return self.resize(
            x, factor, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        )

    def scaled(self, x: str, scale: Any, shift: Any) -> str:
        return self.op("Add", self.op("Mul", x, self.constant(scale)), self.constant(shift))

    def painted(self, x: str) -> str:
        """Into 0..1 without losing much to the clamp."""
        return self.op("Clip", self.scaled(x, 0.25, 0.5), self.constant(0.0), self.constant(1.0))

    def graph(self, result: str) -> gs.Graph:
        image = onnx.helper.make_tensor_value_info(self.image, 1, [1, self.channels, *self.size])
        out = onnx.helper.make_tensor_value_info(result, 1, [1, None, None, None])
        graph = onnx.helper.make_graph(self.nodes, "net", [image], [out], self.constants)
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.checker.check_model(model)
        return from_model(model)


def model(graph: gs.Graph, size: tuple[int, int] | None = None) -> onnx.ModelProto:
    """The graph as a strict model whose input has free height and width."""
    exported = gs.export_onnx(graph, do_type_check=False)
    exported.ir_version = 8
    del exported.graph.value_info[:]
    dims = exported.graph.input[0].type.tensor_type.shape.dim
    for dim, name in ((dims[2], "height"), (dims[3], "width")):
        dim.Clear()
        dim.dim_param = name
    for dim in exported.graph.output[0].type.tensor_type.shape.dim:
        dim.Clear()
    return exported


def restyled(graph: gs.Graph, seed: int) -> gs.Graph:
    """The same network with other constants in its convolutions and norms."""
    random = np.random.default_rng(seed)
    for node in graph.nodes:
        if node.op in ("Conv", "InstanceNormalization"):
            for constant in node.inputs[1:]:
                constant.values = constant.values + random.normal(0, 0.1, constant.values.shape).astype(np.float32)
    return graph


NETWORKS: dict[str, Callable[[Net], str]] = {}
"""Every network by name: what builds it."""


def network(build: Callable[[Net], str]) -> Callable[[Net], str]:
    NETWORKS[build.__name__] = build
    return build


def made(name: str, size: tuple[int, int] = (29, 37)) -> gs.Graph:
    """A network's graph; `size` is (height, width)."""
    net = Net(sorted(NETWORKS).index(name), GREY.get(name, 3), SIZES.get(name, size))
    return net.graph(NETWORKS[name](net))


def sizes(name: str, nominal: Size) -> list[Size]:
    """The nominal size, and another that is not a multiple of a tile; `groups` holds its width, as exported.

    No side is a power of two: the software device compiles kernels again for textures of such a size.
    """
    if name == "groups":
        return [nominal, Size(nominal.width, nominal.height + 7)]
    factor = 8 if name in SIZES else 1
    return [nominal, Size(max(factor * 3, nominal.width - 2 * factor), nominal.height + 2 * factor)]


GREY = {"grey": 1}
SIZES = {"halved": (24, 40), "segmentation": (24, 40), "moved": (24, 36), "pooled": (31, 37), "sampled": (24, 36)}


@network
def style(n: Net) -> str:
    """The style networks: reflected padding, norms, a residual block, upsampled convolutions."""
    x = n.op("Relu", n.norm(n.conv(n.pad(n.image, 2), 3, 8, 5), 8))
    x = n.op("Relu", n.norm(n.conv(n.pad(x, 1), 8, 12, 3, strides=[2, 2]), 12))
    y = n.op("Relu", n.norm(n.conv(n.pad(x, 1), 12, 12, 3), 12))
    y = n.norm(n.conv(n.pad(y, 1), 12, 12, 3), 12)
    x = n.op("Add", y, x)
    y = n.op("Relu", n.norm(n.conv(n.pad(x, 1), 12, 12, 3), 12))
    x = n.op("Add", n.norm(n.conv(n.pad(y, 1), 12, 12, 3), 12), x)
    x = n.op("Relu", n.norm(n.conv(n.pad(n.nearest(x), 1), 12, 8, 3), 8))
    return n.painted(n.conv(n.pad(x, 2), 8, 3, 5))


@network
def zero_padded(n: Net) -> str:
    """Zero padding, transposed convolutions, tanh and a range behind it."""
    x = n.scaled(n.image, [[[2.0]], [[2.1]], [[1.9]]], [[[-1.0]], [[-0.9]], [[-1.1]]])
    x = n.op("LeakyRelu", n.norm(n.conv(x, 3, 10, 4, strides=[2, 2], pads=[1, 1, 1, 1]), 10), alpha=0.2)
    x = n.op("Elu", n.norm(n.transposed(x, 10, 6, 3, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]), 6))
    x = n.op("Tanh", n.conv(x, 6, 3, 3, pads=[1, 1, 1, 1]))
    return n.scaled(x, 0.5, 0.5)


@network
def residual(n: Net) -> str:
    """Without norms: sums, a crop, two activations, depth to space at the end, the picture added."""
    x = n.op("PRelu", n.conv(n.image, 3, 9, 3, pads=[1, 1, 1, 1]), n.constant(n.random.uniform(0, 0.5, (9, 1, 1))))
    y = n.op("Relu", n.conv(x, 9, 9, 3))
    y = n.conv(y, 9, 9, 3)
    cut = [n.constant(v, np.int64) for v in ([2, 2], [-2, -2], [2, 3])]
    x = n.op("Add", y, n.op("Slice", x, *cut))
    x = n.op("Sub", x, n.op("Sigmoid", n.conv(x, 9, 9, 1)))
    x = n.op("DepthToSpace", n.conv(x, 9, 12, 3, pads=[1, 1, 1, 1]), blocksize=2, mode="CRD")
    small = n.op("Slice", n.nearest(n.image), *[n.constant(v, np.int64) for v in ([4, 4], [-4, -4], [2, 3])])
    return n.painted(n.op("Add", x, small))


@network
def segmentation(n: Net) -> str:
    """Depthwise layers, hard swish, squeeze and excite, a dense layer, pools, concat, bilinear, softmax."""
    x = n.op("HardSwish", n.conv(n.image, 3, 16, 3, strides=[2, 2], pads=[1, 1, 1, 1]))
    y = n.op("Relu", n.conv(x, 16, 16, 3, group=16, strides=[2, 2], pads=[0, 0, 1, 1]))
    pooled = n.op("GlobalAveragePool", y)
    gate = n.op("Relu", n.conv(pooled, 16, 8, 1))
    gate = n.op("HardSigmoid", n.conv(gate, 8, 16, 1), alpha=1 / 6, beta=0.5)
    y = n.conv(n.op("Mul", y, gate), 16, 24, 1)
    y = n.resize(y, 2, mode="linear", coordinate_transformation_mode="half_pixel")
    z = n.op("Concat", y, n.op("MaxPool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1]), axis=1)
    z = n.op("Relu", n.conv(z, 40, 16, 3, group=2, pads=[1, 1, 1, 1]))
    vector = n.op("Flatten", n.op("GlobalAveragePool", z))
    weight, bias = n.constant(n.random.normal(0, 0.3, (16, 16))), n.constant(n.random.normal(0, 0.3, 16))
    vector = n.op("Sigmoid", n.op("Gemm", vector, weight, bias, transB=1))
    vector = n.op("Reshape", vector, n.constant([1, 16, 1, 1], np.int64))
    z = n.op("Mul", z, vector)
    z = n.resize(z, 2, mode="linear", coordinate_transformation_mode="align_corners")
    return n.op("Softmax", n.conv(z, 16, 3, 1), axis=1)


@network
def pooled(n: Net) -> str:
    """Average pools of every kind, concat that begins in the middle of a block, sigmoid gates."""
    x = n.op("Relu", n.conv(n.image, 3, 6, 3, pads=[1, 1, 1, 1]))
    a = n.op("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
    b = n.op("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    c = n.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    x = n.op("Concat", a, b, c, axis=1)
    x = n.conv(x, 18, 8, 1)
    x = n.op("Mul", x, n.op("Sigmoid", x))
    mean = n.op("ReduceMean", x, n.constant([2, 3], np.int64), keepdims=1)
    x = n.op("Sub", x, mean)
    return n.painted(n.conv(x, 8, 3, 3, dilations=[2, 2], pads=[2, 2, 2, 2]))


@network
def groups(n: Net) -> str:
    """Group norm, grouped and transposed depthwise convolutions, GELU, large steps that share no memory."""
    x = n.conv(n.image, 3, 12, 7, strides=[3, 3], dilations=[2, 2], pads=[6, 6, 6, 6])
    scale, shift = n.random.normal(1, 0.3, 2), n.random.normal(0, 0.3, 2)
    x = n.group_norm(x, 12, 2, scale, shift)
    x = n.op("Softplus", n.conv(x, 12, 16, 3, group=2, pads=[1, 1, 1, 1]))
    turned = n.op("Transpose", x, perm=[0, 2, 3, 1])
    turned = n.op(
        "LayerNormalization",
        turned,
        n.constant(n.random.normal(1, 0.3, 16)),
        n.constant(n.random.normal(0, 0.3, 16)),
    )
    x = n.op("Transpose", turned, perm=[0, 3, 1, 2])
    x = n.transposed(x, 16, 16, 4, group=16, strides=[2, 2], pads=[1, 1, 1, 1])
    parts = n.op("Split", x, n.constant([6, 10], np.int64), outputs=2, axis=1)
    x = n.op("Concat", parts[1], parts[0], axis=1)
    x = n.op("Abs", n.op("SpaceToDepth", n.pad(x, 1, 0, 1, 2, mode="edge"), blocksize=2))
    return n.painted(n.conv(x, 64, 3, 3, pads=[1, 1, 1, 1]))


@network
def moved(n: Net) -> str:
    """Shuffles and slices of channels, edge and constant padding, transposed without overlap."""
    x = n.op("SpaceToDepth", n.image, blocksize=2)
    x = n.op("Clip", n.conv(n.pad(x, 1, 2, 1, 0, mode="edge"), 12, 20, 3), n.constant(-1.0), n.constant(1.0))
    one = n.op("Slice", x, *[n.constant(v, np.int64) for v in ([4], [12], [1])])
    other = n.op("Slice", x, *[n.constant(v, np.int64) for v in ([11], [19], [1])])
    x = n.op("Mul", n.op("Tanh", one), n.op("Sigmoid", other))
    x = n.conv(n.pad(x, 1, mode="constant", value=0.7), 8, 8, 3)
    x = n.norm(n.transposed(x, 8, 5, 2, strides=[2, 2]), 5)
    x = n.op("Exp", n.op("Min", x, n.constant(2.0)))
    x = n.op(
        "DepthToSpace",
        n.op("Sqrt", n.op("Abs", n.conv(n.op("Pow", x, n.constant(2.0)), 5, 12, 1, bias=False))),
        blocksize=2,
    )
    return n.painted(x)


@network
def sampled(n: Net) -> str:
    """Resizing that no factor describes, and what is read many times through a sum."""
    x = n.op("Tanh", n.norm(n.conv(n.image, 3, 8, 3, pads=[1, 1, 1, 1]), 8))
    y = n.resize(x, 0.5, mode="linear", coordinate_transformation_mode="pytorch_half_pixel")
    y = n.conv(n.op("Tanh", y), 8, 8, 3, group=8, pads=[1, 1, 1, 1])
    y = n.resize(y, 2, mode="linear", coordinate_transformation_mode="asymmetric")
    x = n.op("Add", x, y)
    x = n.conv(x, 8, 8, 5, group=8, pads=[2, 2, 2, 2])
    x = n.resize(x, 1.5, 2.5, mode="nearest", coordinate_transformation_mode="half_pixel", nearest_mode="floor")
    x = n.op("Relu", n.conv(n.pad(n.nearest(x), 1), 8, 16, 3))
    return n.painted(n.conv(n.op("Neg", x), 16, 3, 1))


@network
def halved(n: Net) -> str:
    """A network of joined skips, as U-Net: parts that are written where they belong, one that is copied."""
    a = n.op("Relu", n.conv(n.image, 3, 8, 3, pads=[1, 1, 1, 1]))
    b = n.op("LeakyRelu", n.norm(n.conv(a, 8, 12, 4, strides=[2, 2], pads=[1, 1, 1, 1]), 12))
    c = n.op("Relu", n.conv(b, 12, 16, 4, strides=[2, 2], pads=[1, 1, 1, 1]))
    d = n.op("Relu", n.transposed(c, 16, 12, 4, strides=[2, 2], pads=[1, 1, 1, 1]))
    e = n.op("Relu", n.transposed(n.op("Concat", d, b, axis=1), 24, 8, 3, strides=[2, 2], auto_pad="SAME_UPPER"))
    e = n.op("Concat", e, a, axis=1)
    return n.op("Sigmoid", n.conv(n.op("Concat", e, e, axis=1), 32, 3, 3, pads=[1, 1, 1, 1]))


@network
def dense(n: Net) -> str:
    """Dense blocks: convolutions that read what their own result is joined with; the same part twice."""
    x = n.op("LeakyRelu", n.conv(n.image, 3, 8, 3, pads=[1, 1, 1, 1]), alpha=0.2)
    a = n.op("LeakyRelu", n.conv(x, 8, 4, 3, pads=[1, 1, 1, 1]), alpha=0.2)
    b = n.op("LeakyRelu", n.conv(n.op("Concat", x, a, axis=1), 12, 4, 3, pads=[1, 1, 1, 1]), alpha=0.2)
    c = n.conv(n.op("Concat", x, a, b, axis=1), 16, 8, 3, pads=[1, 1, 1, 1])
    pooled = n.op("MaxPool", c, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    x = n.op("Concat", c, n.op("Sigmoid", c), pooled, pooled, axis=1)
    return n.painted(n.conv(x, 32, 3, 3, pads=[1, 1, 1, 1]))


@network
def strided(n: Net) -> str:
    """Strides larger and smaller than the kernel, in one direction only, and with dilation."""
    x = n.op("Relu", n.conv(n.pad(n.image, 3), 3, 8, 7, strides=[2, 2]))
    x = n.op("Relu", n.conv(x, 8, 8, (2, 3), strides=[1, 2], pads=[0, 1, 1, 1]))
    x = n.op("Relu", n.conv(x, 8, 8, 3, strides=[2, 1], pads=[1, 1, 1, 1]))
    x = n.op("Relu", n.conv(x, 8, 8, 3, strides=[2, 2], dilations=[2, 2], pads=[3, 3, 2, 2]))
    return n.painted(n.conv(x, 8, 3, (2, 2), strides=[3, 3], pads=[1, 1, 1, 1]))


@network
def shuffled(n: Net) -> str:
    """Norms behind a depth to space, whose phases have biases and weights of their own."""
    x = n.op("DepthToSpace", n.conv(n.image, 3, 16, 3), blocksize=2, mode="CRD")
    x = n.op("Relu", n.norm(x, 4))
    x = n.conv(x, 4, 8, 3, strides=[2, 2], pads=[1, 1, 1, 1])
    x = n.norm(n.op("DepthToSpace", n.conv(x, 8, 20, 1), blocksize=2), 5)
    return n.painted(n.conv(x, 5, 3, 3, pads=[1, 1, 1, 1]))


@network
def gathered(n: Net) -> str:
    """Channels gathered: a shuffle, any order with repetitions, a slice, counted from the end."""

    def gather(x: str, *picks: int) -> str:
        return n.op("Gather", x, n.constant(picks, np.int64), axis=1)

    x = n.conv(gather(n.image, 2, 1, 0), 3, 12, 3, pads=[1, 1, 1, 1])
    x = gather(n.op("Relu", x), *np.arange(12).reshape(3, 4).T.reshape(-1))
    x = n.op("Tanh", n.conv(x, 12, 12, 3, group=3, pads=[1, 1, 1, 1]))
    x = n.op("Add", gather(x, 5, 0, 0, 11, -1, 7), gather(x, 3, 4, 5, 6, 7, 8))
    return n.painted(n.conv(x, 6, 3, 1))


@network
def gelus(n: Net) -> str:
    """GELU as exporters write it, with the half before and behind, and the error function by itself."""

    def gate(x: str) -> str:
        return n.op("Add", n.op("Erf", n.op("Div", x, n.constant(np.float32(2**0.5)))), n.constant(1.0))

    x = n.conv(n.image, 3, 8, 3, pads=[1, 1, 1, 1])
    x = n.op("Mul", n.op("Mul", x, gate(x)), n.constant(0.5))
    x = n.conv(x, 8, 8, 3, pads=[1, 1, 1, 1])
    x = n.conv(n.op("Mul", n.op("Mul", x, n.constant(0.5)), gate(x)), 8, 8, 1)
    return n.painted(n.conv(n.op("Mul", x, gate(n.op("Neg", x))), 8, 3, 1))


@network
def gated(n: Net) -> str:
    """Layer norm over channels in pieces, as NAFNet has it, and a gate by the mean of a pixel's channels."""

    def mean(x: str) -> str:
        return n.op("ReduceMean", x, n.constant([1], np.int64), keepdims=1)

    x = n.conv(n.image, 3, 8, 3, pads=[1, 1, 1, 1])
    apart = n.op("Sub", x, mean(x))
    spread = n.op("Add", mean(n.op("Pow", apart, n.constant(2.0))), n.constant(1e-6))
    x = n.op("Div", apart, n.op("Sqrt", spread))
    x = n.scaled(x, n.random.normal(1, 0.3, (8, 1, 1)), n.random.normal(0, 0.3, (8, 1, 1)))
    gate = n.op("Sigmoid", n.conv(mean(x), 1, 1, 3, pads=[1, 1, 1, 1]))
    return n.painted(n.conv(n.op("Mul", x, gate), 8, 3, 1))


@network
def grey(n: Net) -> str:
    """One channel in and out."""
    x = n.norm(n.conv(n.pad(n.image, 1), 1, 4, 3), 4)
    return n.painted(n.op("Mul", n.conv(x, 4, 1, 3, pads=[1, 1, 1, 1]), n.image))


@network
def untouched(n: Net) -> str:
    """No convolution at all."""
    return n.op("Sub", n.constant(np.ones(1)), n.image)
