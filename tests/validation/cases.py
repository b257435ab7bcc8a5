"""One small graph for each way to break a rule, and one beside it that does not.

A row is (code, graph, verdicts): which targets find the code, in the order 3.0, 2.0, 1.0. Rows with no verdict are
the near misses. Most are the patterns of recipes_measured.md, with the verdicts measured there.
"""

# ruff: noqa: E501 - a table
from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.validation.small import floats, graph, ints, node

ALL, NEW, OLD, NONE = "3 2 1", "3 2", "2 1", ""
CONV = node("Conv", "x w", "t", pads=[1, 1, 1, 1])
W = floats(8, 8, 3, 3)
MAX64 = 2**63 - 1


def conv(**attributes: object) -> onnx.NodeProto:
    return node("Conv", "x w", **attributes)


def resize(
    sizes: np.ndarray | None = None, scales: np.ndarray | None = None, opset: int = 11, **attributes: object
):
    weights = {"n": sizes} if sizes is not None else {"s": scales}
    inputs = "x _ _ n" if sizes is not None else "x _ s"
    return graph(node("Resize", inputs, **attributes), opset=opset, **weights)


def upsample(*scales: float, mode: str = "nearest", producer: str = ""):
    return graph(node("Upsample", "x s", mode=mode), s=np.array([1, 1, *scales], np.float32), producer=producer)


def gram(product: str = "m"):
    """A map, flattened, times its own transpose."""
    turn = node("Transpose", "v", "t", perm=[0, 2, 1])
    return node("Reshape", "x r", "v"), turn, node("MatMul", "v t", product)


def pool(operator: str, **attributes: object):
    return graph(node(operator, "x", **attributes))


def reduce(
    operator: str = "ReduceMean", opset: int = 9, shape: tuple[int, ...] = (1, 8, 12, 16), **attributes: object
):
    return graph(node(operator, "x", **attributes), opset=opset, shape=shape)


def stale(operator: onnx.NodeProto, count: int, *between: onnx.NodeProto, **constants: object):
    last = between[-1].output[0] if between else operator.output[0]
    normal = node("InstanceNormalization", f"{last} g b")
    return graph(CONV, operator, *between, normal, w=W, g=floats(count), b=floats(count), **constants)


def first_operand(*after: onnx.NodeProto, operands: str = "c x", **more: object):
    """Add of a constant of rank 3 that comes first, and what reads its result, t."""
    return graph(node("Add", operands, "t"), *after, **({"c": floats(8, 1, 1)} | more))


def along_width(count: int, rank: int, width: int = 16):
    constant = floats(*([1] * (rank - 1)), width)
    return graph(
        node("Conv", "x w", "t"), node("Mul", "t c", "u"), node("Relu", "u"), w=floats(count, 8, 1, 1), c=constant
    )


def shift(constant: np.ndarray, *between: onnx.NodeProto, group: int = 1, pads: int = 1, before: str = "Add"):
    last = between[-1].output[0] if between else "t"
    weight = floats(8, 8 // group, 3, 3)
    end = node("Conv", f"{last} w", group=group, pads=[pads] * 4)
    return graph(node(before, "x c", "t"), *between, end, w=weight, c=constant)


def stored(field: str, kind: int, values: list) -> TensorProto:
    tensor = TensorProto(name="c", data_type=kind, dims=[len(values)])
    getattr(tensor, field).extend(values)
    return tensor


def with_tensor(tensor: TensorProto, shape: tuple[int, ...] = (1, 1)):
    tensor.name = "c"
    return graph(node("Add", "x c"), shape=shape, c=tensor)


def external() -> onnx.ModelProto:
    tensor = TensorProto(name="c", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="weights.bin")
    return with_tensor(tensor)


def with_function() -> onnx.ModelProto:
    model = graph(node("Twice", "x", domain="own"))
    body = helper.make_function("own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])],
                                [helper.make_opsetid("", 13)])  # fmt: skip
    model.functions.append(body)
    model.opset_import.append(helper.make_opsetid("own", 1))
    return model


def cycle() -> onnx.ModelProto:
    return graph(node("Add", "x b", "a"), node("Relu", "a", "b"), node("Relu", "b"))


def metadata(*keys: str) -> onnx.ModelProto:
    model = graph(node("Relu", "x"))
    for key in keys:
        model.metadata_props.add(key=key, value="1")
    return model


CASES = [
    # form
    ("unknown-operator", graph(node("HardSwish", "x"), opset=14), ALL),
    ("unknown-operator", graph(node("Where", "m x x"), m=np.ones((1, 8, 12, 16), bool)), "1"),
    ("unknown-operator", graph(node("FusedConv", "x w", domain="com.microsoft"), w=W), ALL),
    ("unknown-operator", graph(node("Relu", "x")), NONE),
    ("local-function", with_function(), ALL),
    ("foreign-domain", graph(node("Relu", "x", domain="own")), ALL),
    ("foreign-domain", graph(node("Relu", "x", domain="ai.onnx")), NONE),
    ("malformed-graph", cycle(), ALL),
    ("malformed-graph", graph(node("Add", "x nowhere")), ALL),
    ("malformed-graph", graph(node("Relu", "x", "z")), ALL),
    ("duplicate-name", graph(node("Relu", "x"), node("Tanh", "x")), ALL),
    ("duplicate-name", graph(node("Relu", "x", "t"), node("Tanh", "t")), NONE),
    ("duplicate-metadata", metadata("a", "a"), "3"),
    ("duplicate-metadata", metadata("a", "b"), NONE),
    ("nodes-not-sorted", graph(node("Relu", "t"), node("Tanh", "x", "t")), "1"),
    ("input-without-shape", graph(node("Relu", "x"), shape=None), ALL),
    ("unknown-dimension", graph(node("Relu", "x"), shape=(1, 3, "h", "w")), NEW),
    ("unknown-dimension", graph(node("Relu", "x"), shape=("n", 3, 4, 4)), NONE),
    ("rank-not-supported", graph(node("Relu", "x"), shape=(1, 1, 1, 1, 1)), "1"),
    ("rank-not-supported", graph(node("Conv", "x w"), shape=(1, 8, 16), w=floats(8, 8, 3)), "1"),
    ("rank-not-supported", graph(node("AveragePool", "x", kernel_shape=[2]), shape=(1, 8, 16)), ALL),
    ("rank-not-supported", graph(node("DepthToSpace", "x", blocksize=2), shape=(8, 4, 4)), NEW),
    ("rank-not-supported", graph(node("Reshape", "x s"), s=ints(1, 2, 4, 1, 12, 16)), "1"),
    # tensors
    ("tensor-rank", with_tensor(onnx.numpy_helper.from_array(floats(1, 1, 1, 1, 2))), "1"),
    ("tensor-rank", with_tensor(onnx.numpy_helper.from_array(floats(1, 1, 1, 2))), NONE),
    ("external-data", external(), ALL),
    ("tensor-storage", with_tensor(stored("double_data", TensorProto.DOUBLE, [1.0])), ALL),
    ("tensor-storage", with_tensor(stored("uint64_data", TensorProto.UINT64, [1])), ALL),
    ("tensor-storage", with_tensor(stored("float_data", TensorProto.FLOAT, [1.0])), NONE),
    ("tensor-dtype", with_tensor(helper.make_tensor("c", TensorProto.BFLOAT16, [1], [1.0])), ALL),
    ("tensor-dtype", with_tensor(onnx.numpy_helper.from_array(floats(1).astype(np.float16))), NONE),
    ("half-in-int32-data", with_tensor(helper.make_tensor("c", TensorProto.FLOAT16, [1], [1.0])), ALL),
    ("half-in-int32-data", with_tensor(onnx.numpy_helper.from_array(floats(1).astype(np.float16))), NONE),
    ("integer-precision", graph(node("Add", "x c"), c=ints(2**25 + 1)), ALL),
    ("integer-precision", graph(node("Slice", "x", axes=[2], starts=[0], ends=[5]), c=ints(7)), NONE),
    ("constant-without-tensor", graph(node("Constant", "", "c", value_float=2.0), node("Mul", "x c")), ALL),
    # constants
    ("input-not-constant", graph(node("Identity", "w", "v"), node("Conv", "x v"), w=W), NEW),
    ("input-not-constant", graph(node("Reshape", "w s", "v"), node("Conv", "x v"), w=W, s=ints(8, 8, 3, 3)), NONE),
    ("input-not-constant", graph(node("Conv", "x w"), inputs={"w": (8, 8, 3, 3)}), ALL),
    ("input-not-constant", graph(node("Identity", "g", "h"), node("InstanceNormalization", "x h b"), g=floats(8), b=floats(8)), NEW),
    ("input-not-constant", graph(node("MatMul", "x a"), shape=(2, 8), inputs={"a": (8, 4)}), "1"),
    ("optional-input-dropped", graph(node("Identity", "b", "i"), node("Conv", "x w i"), w=W, b=floats(8)), NEW),
    ("optional-input-dropped", graph(node("Mul", "b b", "i"), node("Conv", "x w i"), w=W, b=floats(8)), NEW),
    ("optional-input-dropped", graph(node("Reshape", "b s", "i"), node("Conv", "x w i"), w=W, b=floats(1, 8), s=ints(8)), NONE),
    ("optional-input-dropped", graph(node("Identity", "b", "i"), node("InstanceNormalization", "x g i"), g=floats(8), b=floats(8)), NEW),
    ("optional-input-dropped", graph(node("Cast", "a", "l", to=1), node("Clip", "x l"), a=np.float64(0.1), opset=11), NEW),
    ("optional-input-dropped", graph(node("Clip", "x l"), l=np.float32(0.1), opset=11), NONE),
    ("input-does-not-fold", graph(node("ReduceMax", "x", "m", axes=[0]), node("Range", "z m d"), shape=(3,), z=np.float32(0), d=np.float32(1), opset=11), NEW),
    ("input-missing", graph(node("Gemm", "x w"), shape=(1, 4), w=floats(4, 6), opset=11), "3"),
    ("input-missing", graph(node("Pad", "x p _"), p=ints(0, 0, 1, 1, 0, 0, 1, 1), opset=11), NEW),
    ("gemm-bias-lost", graph(node("Identity", "c", "i"), node("Gemm", "x w i"), shape=(1, 4), w=floats(4, 6), c=floats(6)), "3"),
    ("gemm-bias-lost", graph(node("Gemm", "x w c"), shape=(1, 4), w=floats(4, 6), c=floats(6)), NONE),
    # attributes
    ("attribute-ignored", pool("AveragePool", kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1), ALL),
    ("attribute-ignored", pool("MaxPool", kernel_shape=[3, 3], dilations=[2, 2]), ALL),
    ("attribute-ignored", pool("MaxPool", kernel_shape=[3, 3], ceil_mode=0), NONE),
    ("attribute-ignored", graph(node("Gemm", "x w c", alpha=0.5), shape=(1, 4), w=floats(4, 6), c=floats(6)), ALL),
    ("attribute-ignored", graph(node("Gemm", "x w c", transA=1), shape=(4, 1), w=floats(4, 6), c=floats(6)), OLD),
    ("attribute-rejected", graph(node("DepthToSpace", "x", blocksize=2, mode="RDC")), ALL),
    ("attribute-rejected", graph(node("DepthToSpace", "x", blocksize=2, mode="CRD")), NONE),
    ("axes-not-an-attribute", graph(node("Squeeze", "x a"), shape=(1, 1, 4, 4), a=ints(1), opset=13), OLD),
    ("axes-not-an-attribute", graph(node("Squeeze", "x", axes=[1]), shape=(1, 1, 4, 4)), NONE),
    ("split-without-attribute", graph(node("Split", "x", "y z", axis=1)), NEW),
    ("split-without-attribute", graph(node("Split", "x", "y z", axis=1, split=[4, 4])), NONE),
    ("transpose-without-permutation", graph(node("Transpose", "x"), shape=(2, 3)), NEW),
    ("transpose-not-supported", graph(node("Transpose", "x", perm=[0, 1, 3, 2])), "1"),
    ("transpose-as-identity", graph(node("Transpose", "x", perm=[0, 2, 3, 1])), "1"),
    # height and width
    ("height-width-swapped", graph(conv(strides=[2, 1], pads=[1] * 4), w=W), ALL),
    ("height-width-swapped", graph(conv(strides=[2, 2], pads=[1, 0, 1, 0]), w=W), NONE),
    ("height-width-swapped", pool("MaxPool", kernel_shape=[1, 3]), ALL),
    ("attribute-ignored", graph(node("SpaceToDepth", "x", blocksize=2, mode="CRD")), ALL),
    ("attribute-ignored", graph(node("Add", "x c", axis=1, broadcast=1), c=floats(8), opset=6), ALL),
    ("attribute-ignored", graph(node("Add", "x c", axis=1, broadcast=1), c=floats(8, 12, 16), opset=6), NONE),
    ("attribute-ignored", graph(node("Dropout", "x r t"), r=np.float32(0.5), t=np.array(True), opset=12), ALL),
    ("attribute-ignored", graph(node("Dropout", "x r t"), r=np.float32(0.5), t=np.array(False), opset=12), NONE),
    ("cast-does-nothing", graph(node("Cast", "x", to=TensorProto.FLOAT8E4M3FN), opset=19), ALL),
    ("tensor-dtype", graph(node("Equal", "x x"), dtype=TensorProto.STRING, opset=19), ALL),
    ("broadcast-by-rank", graph(node("Add", "x v"), inputs={"v": (16,)}), "1"),
    ("prelu-per-channel", graph(node("PRelu", "x s"), s=floats(8), opset=6), NEW),
    ("dilations-not-square", graph(conv(dilations=[1, 2]), w=W), "1"),
    ("dilation-zero-stuffed", graph(conv(dilations=[2, 2]), w=W), ALL),
    # convolutions
    ("grouped-convolution", graph(conv(group=2), w=floats(8, 4, 3, 3)), ALL),
    ("grouped-convolution", graph(conv(group=8), w=floats(16, 1, 3, 3)), ALL),
    ("grouped-convolution", graph(conv(group=8), w=floats(8, 1, 3, 3)), NONE),
    ("same-padding-from-width", graph(conv(strides=[2, 2], auto_pad="SAME_UPPER"), w=W, shape=(1, 8, 13, 16)), NEW),
    ("same-padding-from-width", graph(conv(strides=[2, 2], auto_pad="SAME_UPPER"), w=W), NONE),
    ("transposed-group", graph(node("ConvTranspose", "x w", group=2), w=floats(8, 4, 3, 3)), ALL),
    ("transposed-pads-asymmetric", graph(node("ConvTranspose", "x w", strides=[2, 2], pads=[0, 0, 1, 1]), w=W), ALL),
    ("transposed-pads-asymmetric", graph(node("ConvTranspose", "x w", strides=[2, 2], pads=[0, 1, 0, 1]), w=W), NONE),
    ("pool-stride-lost", graph(node("MaxPool", "x", kernel_shape=[2], strides=[2]), shape=(1, 8, 16)), NEW),
    ("extra-output", graph(node("MaxPool", "x", "y i", kernel_shape=[2, 2]), outputs="y i"), ALL),
    ("extra-output", graph(node("MaxPool", "x", "y i", kernel_shape=[2, 2])), NONE),
    ("global-max-zero-padded", graph(node("GlobalMaxPool", "x")), OLD),
    ("variance-in-one-pass", graph(node("InstanceNormalization", "x g b"), g=floats(8), b=floats(8)), ALL),
    ("instance-norm-on-pixelshader", graph(node("InstanceNormalization", "x g b"), g=floats(8), b=floats(8)), "3"),
    # padding
    ("pads-input-ignored", graph(node("Pad", "x p", mode="edge"), p=ints(0, 0, 2, 1, 0, 0, 2, 2), opset=11), "1"),
    ("pads-input-ignored", graph(node("Pad", "x", mode="edge", pads=[0, 0, 2, 1, 0, 0, 2, 2])), NONE),
    ("pads-do-not-fold", graph(node("Shape", "x", "s"), node("Concat", "s s", "p", axis=0), node("Pad", "x p"), shape=(1, 8, "h", "w"), opset=11), NEW),
    ("pad-value-lost", graph(node("Pad", "x p v"), p=ints(0, 0, 1, 1, 0, 0, 1, 1), v=np.float32(0.5), opset=11), "2"),
    ("pad-value-lost", graph(node("Pad", "x p v"), p=ints(0, 0, 1, 1, 0, 0, 1, 1), v=np.float32(0), opset=11), NONE),
    ("pad-outer-axes", graph(node("Pad", "x", pads=[0, 1, 0, 0, 0, 2, 0, 0])), OLD),
    ("pad-outer-axes", graph(node("Pad", "x", pads=[1, 0, 0, 0, 0, 0, 0, 0])), ALL),
    ("pad-negative", graph(node("Pad", "x", pads=[0, 0, -1, -1, 0, 0, 0, 0])), "1"),
    ("pad-negative", graph(node("Pad", "x", pads=[0, 0, 0, -1, 0, 0, -2, -1])), NONE),
    ("pad-mode-unknown", graph(node("Pad", "x", mode="wrap", pads=[0, 0, 1, 1, 0, 0, 1, 1])), ALL),
    ("pad-axes-ignored", graph(node("Pad", "x p _ a"), p=ints(1, 1, 1, 1), a=ints(2, 3), opset=18), NEW),
    ("reflect-pad-too-large", graph(node("Pad", "x", mode="reflect", pads=[0, 0, 12, 0, 0, 0, 0, 0])), ALL),
    ("reflect-pad-too-large", graph(node("Pad", "x", mode="reflect", pads=[0, 0, 8, 8, 0, 0, 8, 8])), NONE),
    # resizing
    ("scales-not-integral", upsample(1.5, 1.5), ALL),
    ("scales-not-integral", upsample(2, 4), NONE),
    ("scales-below-one", upsample(0.5, 0.5), ALL),
    ("scales-below-one", upsample(0.5, 0.5, mode="linear"), "1"),
    ("scales-below-one", upsample(0.25, 0.25, mode="linear"), ALL),
    ("resize-outer-axes", resize(sizes=ints(1, 16, 24, 32)), ALL),
    ("resize-mode-ignored", resize(sizes=ints(1, 8, 24, 32), mode="cubic"), ALL),
    ("resize-mode-ignored", resize(sizes=ints(1, 8, 6, 8), mode="linear", opset=18, antialias=1), ALL),
    ("resize-coordinates-differ", resize(sizes=ints(1, 8, 24, 32), mode="linear", coordinate_transformation_mode="align_corners"), ALL),
    ("resize-coordinates-differ", resize(sizes=ints(1, 8, 24, 32), mode="linear", coordinate_transformation_mode="pytorch_half_pixel"), NONE),
    ("resize-coordinates-differ", resize(sizes=ints(1, 8, 24, 32), mode="nearest"), NONE),
    ("resize-coordinates-differ", resize(scales=np.array([1, 1, 3, 3], np.float32), mode="nearest", coordinate_transformation_mode="asymmetric"), ALL),
    ("resize-coordinates-differ", upsample(2, 2, mode="linear"), ALL),
    ("resize-attribute-ignored", resize(sizes=ints(1, 8, 24, 32), nearest_mode="floor"), ALL),
    ("resize-attribute-ignored", resize(sizes=ints(1, 8, 24, 32)), NONE),
    ("sizes-do-not-fold", graph(node("Shape", "x", "n"), node("Resize", "x _ _ n"), shape=(1, 8, "h", "w"), opset=11), NEW),
    ("resize-sizes-warning", resize(sizes=ints(1, 8, 24, 32)), "1"),
    ("resize-pixelshader", resize(sizes=ints(1, 8, 24, 32), mode="linear"), "3"),
    # broadcasting
    ("broadcast-by-rank", graph(node("Mul", "x c"), c=floats(16)), "1"),
    ("broadcast-by-rank", graph(node("Mul", "x c"), c=floats(8, 12, 16)), "1"),
    ("broadcast-by-rank", graph(node("Mul", "x c"), c=floats(8, 1, 1)), NONE),
    ("broadcast-by-rank", graph(node("Mul", "x c"), c=floats(12, 16)), OLD),
    ("broadcast-by-rank", graph(node("Mul", "x c"), c=floats(12, 1)), "1"),
    ("broadcast-by-rank", graph(node("Mul", "x c"), c=floats(1, 16)), "2"),
    ("broadcast-by-rank", graph(node("Mul", "x c"), c=floats(8, 9), shape=(2, 8, 9)), NONE),
    ("broadcast-by-rank", graph(node("Mul", "x c"), c=floats(1, 8), shape=(2, 8)), "1"),
    ("broadcast-by-rank", graph(node("Concat", "x c", axis=1), c=floats(2, 8), shape=(2, 8)), "1"),
    ("broadcast-by-rank", graph(node("Concat", "x c", axis=1), c=floats(1, 8, 12, 16)), NONE),
    ("rank-of-first-operand", first_operand(node("Slice", "t", axes=[1], starts=[0], ends=[4])), "1"),
    ("rank-of-first-operand", first_operand(node("Slice", "t", axes=[3], starts=[0], ends=[4])), "1"),
    ("rank-of-first-operand", first_operand(node("Slice", "t", axes=[1], starts=[0], ends=[4]), operands="x c"), NONE),
    ("rank-of-first-operand", first_operand(node("Slice", "t", axes=[1], starts=[0], ends=[4]), c=floats(1, 8, 1, 1)), NONE),
    ("rank-of-first-operand", first_operand(node("Slice", "t", axes=[1], starts=[0], ends=[4]), shape=(1, 8, 12, 1)), NONE),
    ("rank-of-first-operand", first_operand(node("Concat", "t t", axis=2)), "1"),
    ("rank-of-first-operand", first_operand(node("Concat", "t t", axis=3)), "1"),
    ("rank-of-first-operand", first_operand(node("Concat", "t t", axis=1)), NONE),
    ("rank-of-first-operand", first_operand(node("Concat", "t x", axis=-1)), NONE),
    ("rank-of-first-operand", first_operand(node("Concat", "x t", axis=2)), NONE),
    ("rank-of-first-operand", first_operand(node("Gather", "t i", axis=3), i=ints(0, 3, 1)), "1"),
    ("rank-of-first-operand", first_operand(node("Gather", "t i", axis=1), i=ints(0, 3, 1)), NONE),
    ("rank-of-first-operand", first_operand(node("Relu", "t", "u"), node("Concat", "u u", axis=2)), "1"),
    ("rank-of-first-operand", first_operand(node("Reshape", "t r", "u"), node("Concat", "u u", axis=2), r=ints(1, 8, 12, 16)), NONE),
    ("rank-of-first-operand", first_operand(node("Relu", "t")), NONE),
    ("where-rank-from-condition", graph(node("Greater", "m z", "k"), node("Where", "k x x"), inputs={"m": (1, 8, 12, 1)}, z=floats(1)), "2"),
    ("single-operand", graph(node("Max", "x")), ALL),
    ("single-operand", graph(node("Max", "x x")), NONE),
    ("rank-not-supported", graph(node("MatMul", "x w"), shape=(8,), w=floats(8, 4)), ALL),
    ("rank-not-supported", graph(node("MatMul", "x w"), shape=(1, 8, 12, 16), inputs={"w": (1, 1, 16, 5)}), "2 1"),
    ("rank-not-supported", graph(node("MatMul", "x w"), shape=(2, 12, 16), w=floats(2, 16, 5)), "1"),
    ("rank-not-supported", graph(node("InstanceNormalization", "x g b"), shape=(1, 3, 4, 5, 6), g=floats(3), b=floats(3)), ALL),
    ("rank-not-supported", graph(node("Pad", "x", mode="edge", pads=[0, 0, 1, 0, 0, 1]), shape=(1, 3, 8)), NEW),
    ("rank-not-supported", graph(node("Pad", "x", pads=[0, 0, 0, 0, 1] * 2), shape=(1, 3, 4, 5, 6)), "1"),
    ("top-k-attribute", graph(node("TopK", "x", "y i", k=2)), NEW),
    ("top-k-attribute", graph(node("TopK", "x k", "y i"), k=ints(2), opset=10), NONE),
    ("expand-rank", graph(node("Expand", "x s"), s=ints(2, 3, 4), shape=(3, 4)), ALL),
    ("expand-rank", graph(node("Expand", "x s"), s=ints(1, 8, 12, 16), shape=(1, 8, 1, 1)), NONE),
    ("expand-rank", graph(node("Expand", "x s"), s=ints(12, 16)), ALL),
    ("gemm-bias-size", graph(node("Gemm", "x w c"), shape=(2, 4), w=floats(4, 6), c=floats(1)), ALL),
    ("gemm-bias-size", graph(node("Gemm", "x w c"), shape=(2, 4), w=floats(4, 6), c=floats(6)), NONE),
    ("gemm-transposed-data", graph(node("Gemm", "x w c", transA=1), shape=(4, 3), w=floats(4, 6), c=floats(6)), OLD),
    ("gemm-transposed-data", graph(node("Gemm", "x w c", transA=1), shape=(4, 4), w=floats(4, 6), c=floats(6)), NONE),
    ("optional-input-dropped", graph(node("Gemm", "x w c"), shape=(2, 4), w=floats(4, 6), c=floats(1, 6)), ALL),
    ("input-missing", graph(node("Gemm", "x w"), shape=(2, 4), inputs={"w": (4, 6)}, opset=11), NONE),
    ("input-does-not-fold", graph(node("Tile", "x r"), inputs={"r": (4,)}), NEW),
    ("input-not-constant", graph(node("LSTM", "x w r", "y", hidden_size=3), shape=(1, 3, 2), w=floats(1, 12, 2), r=floats(1, 12, 3)), NEW),
    ("input-not-constant", graph(node("LSTM", "x w r b", "y", hidden_size=3), shape=(1, 3, 2), w=floats(1, 12, 2), r=floats(1, 12, 3), b=floats(1, 24)), NONE),
    ("softmax-axis", graph(node("Softmax", "x", axis=2), opset=13), OLD),
    ("prelu-slope", graph(node("PRelu", "x s"), s=floats(16)), ALL),
    ("prelu-slope", graph(node("PRelu", "x s"), s=floats(6, 1, 1), shape=(1, 6, 12, 16)), ALL),
    ("cast-does-nothing", graph(node("Cast", "x", "i", to=7), node("Gather", "c i"), c=floats(9, 4), shape=(5,)), NONE),
    ("broadcast-by-rank", graph(node("Mul", "x c"), c=floats(1, 1, 12, 1)), NONE),
    ("where-rank-from-condition", graph(node("Greater", "m z", "k"), node("Where", "k x x"), inputs={"m": (16,)}, z=floats(1)), NEW),
    ("integer-division", graph(node("Div", "x c"), dtype=TensorProto.INT32, c=np.array([2], np.int32)), ALL),
    ("prelu-slope", graph(node("PRelu", "x s"), s=floats(8, 1, 1)), "1"),
    ("prelu-slope", graph(node("PRelu", "x s"), s=floats(1, 8, 1, 1)), ALL),
    ("prelu-slope", graph(node("PRelu", "x s"), s=floats(1)), NONE),
    ("prelu-per-channel", graph(node("PRelu", "x s"), s=floats(8, 1, 1)), NEW),
    ("leaky-relu-alpha", graph(node("LeakyRelu", "x", alpha=1.5)), ALL),
    ("leaky-relu-alpha", graph(node("LeakyRelu", "x", alpha=0.2)), NONE),
    ("softplus-overflows", graph(node("Softplus", "x")), NEW),
    ("round-does-nothing", graph(node("Round", "x"), opset=11), "1"),
    ("cast-does-nothing", graph(node("Cast", "x", "i", to=6), node("Cast", "i", to=1)), ALL),
    ("cast-does-nothing", graph(node("Floor", "x", "f"), node("Cast", "f", "i", to=6), node("Cast", "i", to=1)), NONE),
    # softmax, products
    ("softmax-axis", graph(node("Softmax", "x", axis=1), opset=13), "1"),
    ("softmax-axis", graph(node("Softmax", "x"), opset=13), ALL),
    ("softmax-axis", graph(node("Softmax", "x"), shape=(1, 8), opset=13), NONE),
    ("softmax-axis", graph(node("Softmax", "x", axis=1)), NEW),
    ("softmax-axis", graph(node("LogSoftmax", "x", axis=1), opset=13), OLD),
    ("softmax-axis-warning", graph(node("LogSoftmax", "x", axis=3), opset=13), OLD),
    ("matmul-of-activations", graph(*gram(), node("Relu", "m"), r=ints(1, 8, -1)), "2"),
    ("matmul-of-activations", graph(*gram("y"), r=ints(1, 8, -1)), NONE),
    ("matmul-of-activations", graph(node("Transpose", "x", "t", perm=[0, 2, 1]), node("MatMul", "x t", "m"), node("Relu", "m"), shape=(1, 8, 9)), NONE),
    ("matmul-of-activations", graph(*gram(), node("Softmax", "m", "s", axis=2), node("MatMul", "s v", "n"), node("Reshape", "n q"), r=ints(1, 8, -1), q=ints(1, 8, 12, 16)), NONE),
    ("matmul-of-activations", graph(node("Transpose", "a", "t", perm=[0, 2, 1]), node("MatMul", "x t", "m"), node("Relu", "m"), shape=(1, 8, 9), inputs={"a": (1, 8, 9)}), NONE),
    ("flatten-of-a-map", graph(node("Flatten", "x", "t"), node("Gemm", "t w c"), w=floats(1536, 5), c=floats(5)), "2"),
    ("flatten-of-a-map", graph(node("Reshape", "x s", "t"), node("Gemm", "t w c"), w=floats(1536, 5), c=floats(5), s=ints(1, -1)), NONE),
    # shapes
    ("reshape-of-memory", graph(node("Reshape", "x s"), s=ints(1, 16, 8, 12)), "1"),
    ("reshape-of-memory", graph(node("Reshape", "x s"), s=ints(1, 8, 16, 12)), NONE),
    ("reshape-of-memory", graph(node("Gemm", "x w c", "t"), node("Reshape", "t s"), shape=(1, 4), w=floats(4, 1536), c=floats(1536), s=ints(1, 8, 12, 16)), "1"),
    ("only-first-axis", graph(node("Unsqueeze", "x", axes=[0, 1]), shape=(12, 16)), NEW),
    ("only-first-axis", graph(node("Unsqueeze", "x", axes=[2, 3]), shape=(12, 16)), NONE),
    ("only-first-axis", graph(node("Squeeze", "x", axes=[0, 1]), shape=(1, 1, 12, 16)), NEW),
    ("only-first-axis", graph(node("Unsqueeze", "x a"), shape=(3, 12, 16), opset=13, a=ints(0, 4)), NEW),
    ("only-first-axis", graph(node("Unsqueeze", "x a"), shape=(3, 12, 16), opset=13, a=ints(0, 2)), NONE),
    ("clip-order", graph(node("Clip", "x", min=0.9, max=0.6)), ALL),
    ("clip-order", graph(node("Clip", "x", min=0.6, max=0.9)), NONE),
    ("only-first-axis", graph(node("GlobalAveragePool", "x", "t"), node("Squeeze", "t", axes=[2, 3])), NONE),
    ("negative-axes", graph(node("Unsqueeze", "x", axes=[-3]), shape=(4, 12, 16)), NEW),
    ("squeezed-constant", graph(node("Squeeze", "c", "d", axes=[0]), node("Mul", "x d"), c=floats(1, 8, 1, 1)), ALL),
    ("squeeze-as-identity", graph(node("Squeeze", "x", axes=[1]), shape=(1, 1, 12, 16)), "1"),
    ("unsqueeze-of-input", graph(node("Unsqueeze", "x", axes=[0]), shape=(3, 12, 16)), "1"),
    ("reduce-without-axes", reduce(), NEW),
    ("reduce-without-axes", reduce(axes=[2, 3]), NONE),
    ("reduce-drops-wrong-axes", reduce(axes=[-2, -1], keepdims=0), NEW),
    ("reduce-drops-wrong-axes", reduce(axes=[-2, -1]), NONE),
    ("reduce-drops-wrong-axes", reduce(axes=[2, 3], keepdims=0), NONE),
    ("reduce-not-over-channels", reduce(axes=[2, 3]), "1"),
    ("reduce-not-over-channels", reduce("ReduceMax", axes=[1]), NONE),
    ("axes-input-ignored", graph(node("ReduceSum", "x a"), a=ints(1), opset=13), "2"),
    # slices
    ("slice-without-steps", graph(node("Mul", "a b", "s"), node("Slice", "x s e d"), a=ints(1), b=ints(1), e=ints(3), d=ints(1), opset=10), NEW),
    ("slice-without-steps", graph(node("Slice", "x s e d"), s=ints(1), e=ints(3), d=ints(1), opset=10), NONE),
    ("slice-end-int64", graph(node("Slice", "x", axes=[2], starts=[6], ends=[MAX64])), "1"),
    ("slice-end-int64", graph(node("Slice", "x", axes=[2], starts=[6], ends=[2**31 - 1])), NONE),
    ("slice-backwards", graph(node("Slice", "x s e a d"), s=ints(-1), e=ints(-17), a=ints(3), d=ints(-1), opset=10), OLD),
    ("slice-steps", graph(node("Slice", "x s e a d"), s=ints(1), e=ints(16), a=ints(3), d=ints(2), opset=10), "1"),
    ("slice-steps", graph(node("Slice", "x s e a d"), s=ints(0), e=ints(16), a=ints(3), d=ints(2), opset=10), NONE),
    ("slice-empty", graph(node("Slice", "x", axes=[2], starts=[0], ends=[0])), ALL),
    ("slice-empty", graph(node("Slice", "x", axes=[0], starts=[0], ends=[-1])), ALL),
    ("slice-empty", graph(node("Slice", "x", axes=[2], starts=[0], ends=[1])), NONE),
    ("slice-steps", graph(node("Slice", "x s e a d"), s=ints(0), e=ints(16), a=ints(3), d=ints(5), opset=10), "3 1"),
    ("slice-steps", graph(node("Slice", "x s e a d"), s=ints(-1), e=ints(-MAX64), a=ints(2), d=ints(-1), opset=10), "3"),
    ("slice-steps", graph(node("Slice", "x s e a d"), s=ints(-1), e=ints(-MAX64), a=ints(3), d=ints(-1), opset=10), NONE),
    ("slice-end-int64", graph(node("Slice", "x s e a"), s=ints(-1), e=ints(MAX64), a=ints(3), opset=10), NONE),
    ("slice-end-int64", graph(node("Slice", "x s e a"), s=ints(-2), e=ints(MAX64), a=ints(3), opset=10), "1"),
    ("slice-start-beyond", graph(node("Slice", "x s e a d"), s=ints(20), e=ints(0), a=ints(3), d=ints(-2), opset=10), OLD),
    ("slice-start-beyond", graph(node("Slice", "x s e a d"), s=ints(15), e=ints(0), a=ints(3), d=ints(-2), opset=10), NONE),
    ("slice-of-vector", graph(node("Slice", "x", axes=[0], starts=[0], ends=[4]), shape=(8,)), "1"),
    ("slice-of-vector", graph(node("Slice", "x", axes=[0], starts=[0], ends=[1]), shape=(1,)), NONE),
    ("slice-of-rank-three", graph(node("Slice", "x", axes=[1], starts=[0], ends=[4]), shape=(2, 8, 9)), "1"),
    ("slice-of-rank-three", graph(node("Slice", "x", axes=[1], starts=[0], ends=[4]), shape=(2, 8, 9, 1)), NONE),
    ("slice-without-steps", graph(node("Slice", "x s e"), inputs={"s": (2,), "e": (2,)}, opset=10), NEW),
    ("split-second-output", graph(node("Split", "x", "a b", axis=1, split=[4, 4]), node("ReduceMean", "b", axes=[2, 3])), NEW),
    ("split-second-output", graph(node("Split", "x", "a b", axis=1, split=[4, 4]), node("GlobalAveragePool", "b")), NONE),
    ("gather-negative-index", graph(node("Gather", "x i", axis=1), i=ints(-1, 0)), ALL),
    ("gather-negative-index", graph(node("Gather", "x i", axis=1), i=ints(1, 0)), NONE),
    ("gather-scalar-index", graph(node("Gather", "x i", "t", axis=1), node("Conv", "t w"), i=np.int64(0), shape=(1, 2, 8, 12, 16), w=W), "1"),
    ("gather-scalar-index", graph(node("Gather", "x i", "t", axis=1), node("Relu", "t"), i=np.int64(0)), NONE),
    ("gather-of-constant", graph(node("Gather", "c i", "d"), node("Mul", "x d"), c=floats(8), i=ints(0, 1, 2, 3, 4)), NEW),
    ("gather-of-constant", graph(node("Gather", "c i", "d"), node("Mul", "x d"), c=floats(8), i=ints(-1)), ALL),
    ("gather-negative-index", graph(node("Shape", "x", "s"), node("Gather", "s i", "k"), node("TopK", "x k", "y z"), i=ints(-1), opset=11), NEW),
    ("gather-of-rank-two", graph(node("Gather", "x i", axis=1), i=ints(0, 1, 1, 0).reshape(2, 2)), ALL),
    ("gather-of-rank-two", graph(node("Gather", "x i", axis=1), i=ints(0, 1, 1, 0)), NONE),
    ("gather-of-rank-two", graph(node("Gather", "x i", axis=1), inputs={"i": (3,)}), "1"),
    ("shape-not-static", graph(node("Shape", "x", "s"), node("Slice", "s", "h", axes=[0], starts=[2], ends=[4]), node("Concat", "k h", "n", axis=0), node("Reshape", "x n"), k=ints(1, 8), shape=(1, 8, "h", "w")), NEW),
    ("shape-not-static", graph(node("Shape", "x", "s"), node("Gather", "s z", "n"), node("Unsqueeze", "n", "m", axes=[0]), node("Concat", "m k", "r", axis=0), node("Reshape", "x r"), z=np.int64(0), k=ints(-1), shape=("n", 8, "h", "w")), NONE),
    ("shape-of-constant", graph(node("Shape", "c", "s"), node("Reshape", "x s"), c=floats(1, 8, 12, 16)), NEW),
    ("shape-is-not-read", graph(node("Shape", "x")), "1"),
    ("shape-unknown-warning", graph(node("TopK", "x k", "y i", axis=1), k=ints(2), opset=11), NEW),
    # several nodes
    ("stale-feature-count", stale(node("Concat", "t t", "c", axis=1), 16), NEW),
    ("stale-feature-count", stale(node("Concat", "t t", "c", axis=1), 16, node("Mul", "one c", "d"), one=floats(1)), NONE),
    ("stale-feature-count", stale(node("Concat", "t t", "c", axis=1), 16, node("Mul", "c one", "d"), one=floats(1)), NEW),
    ("stale-feature-count", stale(node("SpaceToDepth", "t", "c", blocksize=2), 32), ALL),
    ("stale-feature-count", stale(node("Reshape", "t s", "c"), 8, s=ints(1, 8, 16, 12)), NONE),
    ("shift-before-padded-conv", shift(np.float32(0.5)), NEW),
    ("shift-before-padded-conv", shift(floats(1, 1, 1, 1)), NEW),
    ("shift-before-padded-conv", shift(floats(1, 8, 1, 1)), NONE),
    ("shift-before-padded-conv", shift(np.float32(0.5), before="Sub"), NONE),
    ("shift-before-padded-conv", shift(np.float32(0.5), node("Relu", "t", "u")), NONE),
    ("shift-before-padded-conv", shift(np.float32(0.5), group=8), NONE),
    ("shift-before-padded-conv", shift(np.float32(0.5), pads=0), NONE),
    ("shift-before-padded-conv", graph(node("Conv", "x w", "t"), node("Add", "t c", "u"), node("Conv", "u w", pads=[1] * 4), w=W, c=floats(1)), NONE),
    ("constant-along-width", along_width(16, 4), NEW),
    ("constant-along-width", along_width(16, 2), "2"),
    ("constant-along-width", along_width(8, 4), NONE),
    ("channels-last-transpose", graph(CONV, node("Transpose", "t", "u", perm=[0, 2, 3, 1]), node("Softmax", "u", "v", axis=3), node("Transpose", "v", perm=[0, 3, 1, 2]), w=W), NEW),
    ("channels-last-transpose", graph(CONV, node("Transpose", "t", perm=[0, 2, 3, 1]), w=W), NONE),
    ("shapes-disagree", graph(node("Upsample", "x s", "u"), node("Add", "u c"), s=np.array([1, 1, 1.5, 1.5], np.float32), c=floats(1, 8, 18, 24)), ALL),
    ("shapes-disagree", graph(node("Pad", "x p", "t"), node("Conv", "t w", "u"), node("Add", "u x"), p=ints(0, 0, 1, 1, 0, 0, 1, 1), w=W, opset=11), "1"),
    # others
    ("recurrent-network", graph(node("LSTM", "x w r", hidden_size=4), shape=(2, 1, 3), w=floats(1, 16, 3), r=floats(1, 16, 4)), ALL),
    ("scatter-along-channels", graph(node("ScatterND", "x i u"), shape=(8,), i=ints(1).reshape(1, 1), u=floats(1), opset=11), "3"),
    ("non-zero-unit-dims", graph(node("NonZero", "x")), NEW),
    ("reference-loop-on-cpu", graph(node("ConvTranspose", "x w"), w=W), ALL),
    ("reference-loop-on-cpu", graph(node("Relu", "x")), NONE),
]  # fmt: skip

GAMMA, BETA = floats(1, 8, 1, 1), floats(1, 8, 1, 1)
TAPS = [node("Gather", "x i", "a", axis=2), node("Mul", "a p", "b"), node("Gather", "x j", "c", axis=2), node("Mul", "c q", "d"), node("Add", "b d")]  # fmt: skip
GROUP_NORM = [
    node("GlobalAveragePool", "x", "m"), node("Conv", "m a", "n"), node("Sub", "x n", "d"), node("Mul", "d d", "s"),
    node("GlobalAveragePool", "s", "u"), node("Conv", "u a", "v"), node("Add", "v e", "w"), node("Sqrt", "w", "r"),
    node("Div", "d r", "z"), node("Mul", "z g", "h"), node("Add", "h b"),
]  # fmt: skip

RIGHT = {
    "Slice -3:-1": graph(node("Slice", "x", axes=[2], starts=[-3], ends=[-1])),
    "Slice axis -1": graph(node("Slice", "x", axes=[-1], starts=[1], ends=[9])),
    "Slice to INT32_MAX": graph(node("Slice", "x", axes=[2], starts=[6], ends=[2**31 - 1])),
    "Slice of two axes": graph(node("Slice", "x", axes=[2, 3], starts=[1, 2], ends=[9, 12])),
    "Concat axis -3": graph(node("Relu", "x", "t"), node("Concat", "x t", axis=-3)),
    "Concat of one tensor twice": graph(node("Concat", "x x", axis=1)),
    "Concat with a map": graph(node("Concat", "c x", axis=1), c=floats(1, 2, 12, 16)),
    "Expand": graph(node("GlobalAveragePool", "x", "t"), node("Expand", "t s"), s=ints(1, 8, 12, 16)),
    "Upsample of a vector": graph(node("GlobalAveragePool", "x", "t"), node("Upsample", "t s"), s=np.array([1, 1, 12, 16], np.float32)),
    "Upsample by attribute": graph(node("Upsample", "x", scales=[1.0, 1.0, 2.0, 2.0]), opset=7),
    "MaxPool kernel 1 stride 2": graph(node("MaxPool", "x", kernel_shape=[1, 1], strides=[2, 2])),
    "MaxPool pads at the end": graph(node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])),
    "AveragePool pads at the end": graph(node("AveragePool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])),
    "depthwise row": graph(node("Conv", "x w", group=8), w=floats(8, 1, 12, 1)),
    "depthwise stride 2": graph(node("Conv", "x w", group=8, strides=[2, 2], pads=[2] * 4), w=floats(8, 1, 5, 5)),
    "Conv of unequal pads": graph(node("Conv", "x w", pads=[0, 1, 2, 3]), w=W),
    "Conv of unequal kernel": graph(node("Conv", "x w", pads=[1, 2, 1, 2]), w=floats(8, 8, 3, 5)),
    "Conv SAME_LOWER": graph(node("Conv", "x w", strides=[2, 2], auto_pad="SAME_LOWER"), w=W),
    "full map Conv": graph(node("Conv", "x w b"), w=floats(5, 8, 12, 16), b=floats(5)),
    "ConvTranspose of unequal kernel": graph(node("ConvTranspose", "x w", strides=[2, 2], pads=[1] * 4), w=floats(8, 3, 3, 4)),
    "ConvTranspose of pads by axis": graph(node("ConvTranspose", "x w", strides=[2, 2], pads=[0, 1, 0, 1]), w=W),
    "DepthToSpace CRD": graph(node("DepthToSpace", "x", blocksize=2, mode="CRD"), opset=11),
    "SpaceToDepth": graph(node("SpaceToDepth", "x", blocksize=2)),
    "ReduceMax of channels": graph(node("ReduceMax", "x", "t", axes=[1]), node("Sub", "x t")),
    "reflect pad 8": graph(node("Pad", "x", mode="reflect", pads=[0, 0, 8, 8, 0, 0, 8, 8])),
    "constant pad -3e38": graph(node("Pad", "x", pads=[0, 0, 0, 0, 0, 0, 1, 1], value=-3e38)),
    "Clip-6": graph(node("Clip", "x", min=0.0)),
    "Clip-11": graph(node("Clip", "x a b"), a=np.float32(0), b=np.float32(1), opset=11),
    "Max of a constant": graph(node("Max", "x c"), c=floats(1)),
    "ImageNet normalisation": graph(node("Sub", "x m", "t"), node("Div", "t s", "u"), node("Conv", "u w", pads=[1] * 4), m=floats(1, 3, 1, 1), s=floats(1, 3, 1, 1), w=floats(8, 3, 3, 3), shape=(1, 3, 12, 16)),
    "Mul [1,1,H,1]": graph(CONV, node("Mul", "t c"), w=W, c=floats(1, 1, 12, 1)),
    "outer product of map and vector": graph(node("Mul", "x v"), shape=(1, 1, 12, 16), inputs={"v": (1, 8, 1, 1)}),
    "Gather taps": graph(*TAPS, i=ints(0, 0, 1), j=ints(1, 1, 2), p=floats(1, 1, 3, 1), q=floats(1, 1, 3, 1)),
    "flip by Gather": graph(node("Gather", "x i", axis=3), i=ints(*range(15, -1, -1))),
    "GroupNorm of convolutions": graph(*GROUP_NORM, a=floats(8, 8, 1, 1), e=floats(1), g=GAMMA, b=BETA),
    "shift as Sub": graph(node("Sub", "x c", "t"), node("Conv", "t w", pads=[1] * 4), w=W, c=floats(1)),
    "per channel Add before Conv": graph(node("Add", "x c", "t"), node("Conv", "t w", pads=[1] * 4), w=W, c=GAMMA),
    "InstanceNormalization after Pad": graph(node("Pad", "x", "t", mode="reflect", pads=[0, 0, 1, 1, 0, 0, 1, 1]), node("InstanceNormalization", "t g b"), g=floats(8), b=floats(8)),
    "Flatten of a vector, Gemm, Reshape": graph(node("GlobalAveragePool", "x", "t"), node("Reshape", "t r", "f"), node("Gemm", "f w c", "u"), node("Reshape", "u s", "v"), node("Mul", "x v"), w=floats(8, 8), c=floats(8), r=ints(1, 8), s=ints(1, 8, 1, 1)),
    "MatMul of rank 2": graph(node("MatMul", "x w", "t"), node("Add", "t b"), w=floats(4, 6), b=floats(6), shape=(1, 4)),
    "masked blend": graph(node("Greater", "x c", "k"), node("Cast", "k", "m", to=1), node("Mul", "m x"), c=floats(1)),
    "BatchNormalization": graph(node("BatchNormalization", "x g b m v"), g=floats(8), b=floats(8), m=floats(8), v=floats(8)),
    "weights as Constant nodes": graph(node("Constant", "", "w", value=onnx.numpy_helper.from_array(W)), node("Conv", "x w")),
    "Identity at the end": graph(CONV, node("Identity", "t"), w=W),
}  # fmt: skip
"""Forms that were measured right in all three versions without a warning (recipes_measured.md)."""
