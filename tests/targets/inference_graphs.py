"""Small graphs for the tests of the inference family, and what its rules find in them."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from pipeline import targets
from pipeline.validation import validate

SENTIS, OLD, MIDDLE, NEW = (
    targets.get(name) for name in ("sentis-2.1", "inference-2.2", "inference-2.3", "inference-2")
)


def model(*nodes, opset=15, shape=(1, 3, 8, 10), constants=(), kind=TensorProto.FLOAT, out=None, domain=""):
    """A model from `x` to `y`; `constants` are (name, values)."""
    graph = helper.make_graph(
        [helper.make_node(op, inputs, outputs, **attributes) for op, inputs, outputs, attributes in nodes],
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(domain, opset)], ir_version=8)


def found(made, target) -> dict[str, str]:
    """Code -> severity of the findings that are at least warnings."""
    stored = [(finding.code, finding.severity.value) for finding in validate(made, target)]
    return {code: severity for code, severity in reversed(stored) if severity not in ("note", "slow")}


def floats(*shape):
    return np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def pool(**attributes):
    return model(("AveragePool", ["x"], ["y"], {"kernel_shape": [3, 3], **attributes}))


def transposed(**attributes):
    return model(
        ("ConvTranspose", ["x", "w"], ["y"], attributes),
        shape=(1, 4, 8, 10),
        constants=[("w", floats(4, 2, 3, 3))],
    )


def resize(shape=(1, 3, 8, 10), scales=None, sizes=None, opset=15, **attributes):
    constants = [("s", np.asarray(scales, np.float32) if sizes is None else np.asarray(sizes, np.int64))]
    inputs = ["x", "", "s"] if sizes is None else ["x", "", "", "s"]
    return model(("Resize", inputs, ["y"], attributes), shape=shape, constants=constants, opset=opset)


def sums(first, second):
    """Two arrays around data, as `first` and `second` name the operands."""
    return model(
        ("Add", first, ["t"], {}),
        ("Sub", second, ["y"], {}),
        constants=[("a", floats(1, 3, 1, 1)), ("b", floats(1, 3, 1, 1))],
    )
