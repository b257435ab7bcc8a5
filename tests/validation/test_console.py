"""The console's words and the verdict, as Barracuda's own importer and CSharp worker gave them.

Each row was run in the importers of 1.0.4, 2.0.0 and 3.0.0 (their own C#, compiled outside Unity): what the
console showed while the model was imported, and what the worker computed against ONNX Runtime.
"""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import targets
from pipeline.validation import validate
from tests.validation.cases import resize
from tests.validation.small import floats, graph, ints, node
from tests.validation.test_measured import VERSIONS, verdict

IGNORED = "Unsupported attribute {}, node y of type {}. Value will be ignored"
ROUNDED = (
    "Only integer scale values are currently supported. Scale value will be rounded to closest integer value."
)
INVERSE = (
    "Only inverse of scale values which produce integer are currently supported. "
    "Inverse of scale value will be rounded to closest integer."
)
CUBIC = "Mode `cubic` is not supported for type Resize."
SQUEEZED = "Sqeeze on any axis next to batch dimension for non-constant tensors might lead to unexpected results."
OUTER = (
    "Only spatial (H and W) resizing is currently supported. "
    "Non spatial sizes (N and C) will be ignored and default to 1."
)
GROUPED = (IGNORED + " and defaulted to 1.").format("group", "ConvTranspose")


def scales(*values: float) -> np.ndarray:
    return np.array([1, 1, *values], np.float32)


def transposed(*inputs: str, channels: int = 1, **constants: object):
    new_node = node("ConvTranspose", " ".join(("x", "w", *inputs)), group=8, strides=[2, 2], pads=[1] * 4)
    return graph(new_node, w=floats(8, channels, 4, 4), **constants)


def channels_last(axis: int):
    return graph(
        node("Conv", "x w", "t", pads=[1] * 4), node("Transpose", "t", "u", perm=[0, 2, 3, 1]),
        node("ReduceMean", "u", "m", axes=[axis]), node("Sub", "u m", "v"),
        node("Transpose", "v", perm=[0, 3, 1, 2]), w=floats(8, 8, 3, 3),
    )  # fmt: skip


REDUCED = ["NotImplementedException: The method or operation is not implemented."]
ROWS = {
    "MaxPool with dilations": (
        graph(node("MaxPool", "x", kernel_shape=[3, 3], dilations=[2, 2]), opset=10),
        ("wrong", "wrong", "wrong"),
        *[[(IGNORED + " and defaulted to [1, 1].").format("dilations", "MaxPool")]] * 3,
    ),
    "ArgMax, the last of equals": (
        graph(node("ArgMax", "x", "i", axis=1, select_last_index=0), node("Cast", "i", to=1), opset=13),
        ("warns", "warns", "fails"),
        *[[(IGNORED + ".").format("select_last_index", "ArgMax").replace("node y", "node i")]] * 2,
        ["OnnxImportException: Unknown type ArgMax encountered while parsing layer i."],
    ),
    "cubic": (
        resize(scales=scales(2, 2), opset=13, mode="cubic", coordinate_transformation_mode="half_pixel"),
        ("wrong", "wrong", "wrong"),
        *[[CUBIC]] * 3,
    ),
    "linear at 0.4": (
        resize(scales=scales(0.4, 0.4), opset=13, mode="linear"),
        ("wrong", "wrong", "fails"),
        *[[INVERSE]] * 2,
        ["AssertionException: Assertion failure. Values are not equal. Expected: 4 == 2"],
    ),
    "nearest at 1.5 and 0.75": (
        graph(node("Resize", "x s"), opset=10, s=scales(1.5, 0.75)),
        ("wrong", "wrong", "wrong"),
        *[[ROUNDED]] * 3,
    ),
    "sizes of eight channels": (
        resize(ints(1, 8, 24, 32), opset=13, mode="linear"),
        ("right", "right", "warns"),
        [],
        [],
        [OUTER],
    ),
    "sizes of one channel": (
        graph(node("Resize", "x _ _ n", mode="linear"), opset=13, shape=(1, 1, 12, 16), n=ints(1, 1, 24, 32)),
        ("right", "right", "right"),
        *[[]] * 3,
    ),
    "Squeeze of the channel": (
        graph(node("Squeeze", "x", axes=[1]), shape=(1, 1, 12, 16)),
        ("right", "right", "warns"),
        [],
        [],
        [SQUEEZED],
    ),
    "grouped transposed convolution without bias": (transposed(), ("wrong",) * 3, *[[GROUPED]] * 3),
    "grouped transposed convolution": (transposed("b", b=floats(8)), ("fails",) * 3, *[[GROUPED]] * 3),
    "LeakyRelu above 1": (
        graph(node("LeakyRelu", "x", alpha=1.5)),
        ("fails",) * 3,
        *[["AssertionException: Assertion failure. Value was False Expected: True"]] * 3,
    ),
    "vectors of rank 1": (
        graph(node("Add", "x c"), shape=(3,), c=floats(3)),
        ("right",) * 3,
        *[[]] * 3,
    ),
    "a flipped channel order before a convolution": (
        graph(node("Slice", "x s e a t", "f"), node("Conv", "f w"), opset=11, shape=(1, 3, 12, 16),
              w=floats(8, 3, 3, 3), s=ints(-1), e=ints(-(2**63) + 1), a=ints(1), t=ints(-1)),
        ("fails",) * 3,
        *[[]] * 3,
    ),
    "transposed SAME at an odd size": (
        graph(node("ConvTranspose", "x w", auto_pad="SAME_UPPER", strides=[2, 2]), shape=(1, 8, 3, 3),
              w=floats(8, 4, 3, 3)),
        ("wrong",) * 3,
        *[[]] * 3,
    ),
    "transposed SAME at an even size": (
        graph(node("ConvTranspose", "x w", auto_pad="SAME_UPPER", strides=[2, 2]), w=floats(8, 4, 3, 3)),
        ("fails",) * 3,
        *[["AssertionException: Assertion failure. Values are not equal."]] * 3,
    ),
    "a mean over the last axis, channels-last": (channels_last(-1), ("wrong", "wrong", "fails"), [], [], REDUCED),
    "a mean over axis 3, channels-last": (channels_last(3), ("right", "right", "fails"), [], [], REDUCED),
    "unit transposition of rank 4": (
        graph(node("Transpose", "x", perm=[0, 1, 2, 3])),
        ("right", "right", "fails"),
        [],
        [],
        ["Currently only constant inputs for node of type Transpose are supported."],
    ),
    "Squeeze of a second part": (
        graph(node("Split", "x", "p q", axis=1, split=[1, 1]), node("Squeeze", "q", axes=[1]), shape=(1, 2, 3, 4)),
        ("right", "fails", "fails"),
        [],
        ["The given key 'q' was not present in the dictionary."],
        ["OnnxImportException: Unknown type Split encountered while parsing layer p.", SQUEEZED],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_console_and_verdict_are_those_of_the_real_importer(name):
    model, verdicts, *texts = ROWS[name]
    found = {version: validate(model, targets.get(version)) for version in VERSIONS}
    assert tuple(verdict(found[version]) for version in VERSIONS) == verdicts
    for version, expected in zip(VERSIONS, texts, strict=True):
        assert sorted({f.console for f in found[version] if f.console}) == sorted(expected), version
