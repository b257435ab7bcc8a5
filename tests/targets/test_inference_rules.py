"""The rules of the inference family: verdicts on small graphs, of all versions and of each."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pipeline.targets.inference.resizing import short_size
from pipeline.validation import validate
from tests.targets.inference_graphs import (
    MIDDLE,
    NEW,
    OLD,
    SENTIS,
    floats,
    found,
    model,
    pool,
    resize,
    sums,
    transposed,
)

EVERYWHERE = [
    ("right", pool(), {}),
    ("a pool that counts the padding", pool(pads=[1] * 4, count_include_pad=1), {"attribute-ignored": "wrong"}),
    ("the same without padding", pool(count_include_pad=1), {"attribute-ignored": "warning"}),
    ("a pool that rounds up", pool(ceil_mode=1, strides=[2, 2]), {"attribute-ignored": "wrong"}),
    ("a cubic resize", resize(scales=[1, 1, 2, 2], mode="cubic"), {"resize-mode-ignored": "wrong"}),
    ("one that leaves the size", resize(scales=[1, 1, 1, 1], mode="cubic"), {}),
    (
        "an antialiased one",
        resize(scales=[1, 1, 0.5, 0.5], mode="linear", antialias=1, opset=18),
        {"attribute-ignored": "wrong"},
    ),
    ("an enlarged one", resize(scales=[1, 1, 2, 2], mode="linear", antialias=1, opset=18), {}),
    (
        "45 to 125",
        resize(shape=(1, 3, 45, 10), sizes=[1, 3, 125, 10], mode="linear"),
        {"resize-size-short": "wrong"},
    ),
    (
        "align_corners",
        resize(sizes=[1, 3, 16, 20], mode="linear", coordinate_transformation_mode="align_corners"),
        {},
    ),
    (
        "scales of two axes",
        resize(scales=[2, 2], axes=[2, 3], mode="nearest", opset=18),
        {"resize-axes": "wrong"},
    ),
    ("nearest 2 to 7", resize(shape=(1, 1, 2, 2), sizes=[1, 1, 7, 8]), {"resize-tie": "wrong"}),
    (
        "clip of opset 6 in a file of 15",
        model(("Clip", ["x"], ["y"], {"min": 0.0})),
        {"form-of-another-opset": "wrong"},
    ),
    (
        "squeeze of opset 1 in a file of 15",
        model(("Squeeze", ["x"], ["y"], {"axes": [0]}), shape=(1, 1, 8, 10)),
        {"form-of-another-opset": "wrong"},
    ),
    (
        "pad of opset 2 in a file of 15",
        model(("Pad", ["x"], ["y"], {"pads": [0, 0, 1, 1, 0, 0, 1, 1]})),
        {"form-of-another-opset": "error"},
    ),
    ("softmax of opset 11", model(("Softmax", ["x"], ["y"], {}), opset=11), {"softmax-one-axis": "wrong"}),
    (
        "a grid sampled cubically",
        model(
            ("GridSample", ["x", "g"], ["y"], {"mode": "bicubic"}),
            opset=16,
            constants=[("g", floats(1, 8, 10, 2))],
        ),
        {"attribute-ignored": "wrong"},
    ),
    (
        "quantised",
        model(("DequantizeLinear", ["x", "s"], ["y"], {}), constants=[("s", np.float32(1))]),
        {"unknown-operator": "error"},
    ),
    (
        "a norm over three axes",
        model(
            ("LayerNormalization", ["x", "s", "s"], ["y"], {"axis": 1}),
            opset=17,
            constants=[("s", floats(3, 8, 10))],
        ),
        {"layer-norm-axis": "error"},
    ),
    (
        "a norm without bias",
        model(("LayerNormalization", ["x", "s"], ["y"], {}), opset=17, constants=[("s", floats(10))]),
        {"input-missing": "error"},
    ),
    (
        "a slope per channel of opset 6",
        model(("PRelu", ["x", "s"], ["y"], {}), opset=6, constants=[("s", floats(3))]),
        {"prelu-slope-broadcast": "error"},
    ),
    (
        "floats to booleans",
        model(("Cast", ["x"], ["t"], {"to": TensorProto.BOOL}), ("Cast", ["t"], ["y"], {"to": TensorProto.FLOAT})),
        {"cast-to-bool": "wrong"},
    ),
    ("a mask that is read", model(("Dropout", ["x"], ["d", "y"], {})), {"extra-output": "error"}),
]  # fmt: skip


@pytest.mark.parametrize("target", [SENTIS, OLD, MIDDLE, NEW], ids=lambda target: target.name)
@pytest.mark.parametrize(("what", "made", "expected"), EVERYWHERE, ids=[case[0] for case in EVERYWHERE])
def test_verdicts_that_all_versions_share(what, made, expected, target):
    assert found(made, target) == expected


VERSIONS = [
    (
        "a grouped transposed convolution",
        transposed(group=2),
        "attribute-ignored",
        ("wrong", "wrong", "", "warning"),
    ),
    ("a dilated one", transposed(dilations=[2, 2]), "attribute-ignored", ("wrong", "wrong", "", "warning")),
    ("B - (A + x)", sums(["a", "x"], ["b", "t"]), "subtracted-sum", ("wrong", "wrong", "wrong", "warning")),
    ("B - (x + A)", sums(["x", "a"], ["b", "t"]), "subtracted-sum", ("error", "error", "error", "warning")),
    ("(A + x) - B", sums(["a", "x"], ["t", "b"]), "subtracted-sum", ("error", "error", "error", "warning")),
    ("(x + A) - B", sums(["x", "a"], ["t", "b"]), "subtracted-sum", ("", "", "", "")),
    ("a sum of one", model(("Sum", ["x"], ["y"], {})), "sum-of-one", ("", "", "", "wrong")),
    ("a sum of one", model(("Sum", ["x"], ["y"], {})), "input-missing", ("error", "error", "error", "warning")),
    ("Mish", model(("Mish", ["x"], ["y"], {}), opset=18), "unknown-operator", ("error", "", "", "")),
    (
        "a constant of opset 12",
        model(("Constant", [], ["c"], {"value_float": 2.0}), ("Mul", ["x", "c"], ["y"], {})),
        "constant-without-tensor",
        ("error", "error", "", "warning"),
    ),
    (
        "axes of opset 18 in the domain ai.onnx",
        model(("ReduceMean", ["x", "a"], ["y"], {}), opset=18, constants=[("a", [2, 3])], domain="ai.onnx"),
        "form-of-another-opset",
        ("wrong", "wrong", "wrong", "warning"),
    ),
    (
        "a product of rank 4 and a number",
        model(
            ("MatMul", ["x", "w"], ["t"], {}),
            ("Add", ["t", "n"], ["y"], {}),
            constants=[("w", floats(1, 3, 10, 4)), ("n", np.float32(0.5))],
        ),
        "product-and-number",
        ("wrong", "wrong", "wrong", "error"),
    ),
]


@pytest.mark.parametrize(
    ("what", "made", "code", "severities"), VERSIONS, ids=[f"{c[0]} {c[2]}" for c in VERSIONS]
)
def test_verdicts_of_each_version(what, made, code, severities):
    got = tuple(found(made, target).get(code, "") for target in (SENTIS, OLD, MIDDLE, NEW))
    assert got == severities


def test_a_finding_for_some_versions_names_them():
    (findings,) = [
        finding for finding in validate(transposed(group=2), NEW) if finding.code == "attribute-ignored"
    ]
    assert findings.reason.endswith("(in versions before 2.3)")


def test_padded_external_data_is_read_at_the_wrong_offset(tmp_path):
    network = model(("Conv", ["x", "w"], ["y"], {}), constants=[("w", floats(4, 3, 3, 3)), ("v", floats(64))])
    for tensor, offset in zip(network.graph.initializer, (0, 4096), strict=True):
        onnx.external_data_helper.set_external_data(tensor, "w.bin", offset, len(tensor.raw_data))
        tensor.ClearField("raw_data")
    assert found(network, NEW)["external-data-offset"] == "wrong"
    network.graph.initializer[1].external_data[1].value = str(4 * 108)
    assert "external-data-offset" not in found(network, NEW)


def test_half_floats_in_int32_data():
    half = np.linspace(0, 1, 3, dtype=np.float16).reshape(1, 3, 1, 1)
    tensor = helper.make_tensor("h", TensorProto.FLOAT16, half.shape, half.view(np.uint16).reshape(-1).tolist())
    network = model(("Cast", ["h"], ["c"], {"to": TensorProto.FLOAT}), ("Mul", ["x", "c"], ["y"], {}))
    network.graph.initializer.append(tensor)
    if tensor.raw_data:
        tensor.int32_data.extend(half.view(np.uint16).reshape(-1).tolist())
        network.graph.initializer[0].CopyFrom(tensor)
        network.graph.initializer[0].ClearField("raw_data")
    assert found(network, SENTIS) == {"tensor-storage": "wrong"}
    assert found(network, NEW) == {"tensor-storage": "error"}


def test_short_sizes_are_those_of_float32():
    """About one in twenty pairs with a fraction between them; whole ratios never (importer.md, section 4)."""
    short = [(a, b) for a in range(1, 200) for b in range(a, 400) if short_size(a, b)]
    assert (45, 125) in short and (7, 31) in short
    assert not [pair for pair in short if pair[1] % pair[0] == 0]
    assert 0.03 < len(short) / sum(b % a != 0 for a in range(1, 200) for b in range(a, 400)) < 0.08
