"""Older opsets' forms, checked against onnx.version_converter where that one takes the file."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import version_converter

from pipeline.graph import OPSET, from_model, to_model
from tests.rewrites import model, node, random, run

ONES = np.ones(3, np.float32)
SQUEEZES = [node("Squeeze", "a", "b", axes=[1]), node("Unsqueeze", "b", "y", axes=[0])]
CASES = {
    "pad": (2, [node("Pad", "x", "y", pads=[0, 0, 1, 2, 0, 0, 0, 1], mode="reflect")], {}),
    "clip": (6, [node("Clip", "x", "y", min=-0.5, max=0.25)], {}),
    "slice": (1, [node("Slice", "x", "y", starts=[1], ends=[-1], axes=[2])], {}),
    "squeeze": (9, [node("ReduceMax", "x", "a", axes=[1]), *SQUEEZES], {}),
    "split": (2, [node("Split", "x", "a b c", axis=1), node("Concat", "c a", "y", axis=1)], {}),
    "upsample": (9, [node("Upsample", "x k", "y", mode="nearest")], {"k": np.array([1, 1, 2, 3], np.float32)}),
    "resize 10": (10, [node("Resize", "x k", "y", mode="linear")], {"k": np.array([1, 1, 2, 2], np.float32)}),
    "softmax": (11, [node("Softmax", "x", "y", axis=1)], {}),
    "reduce": (11, [node("ReduceSum", "x", "y", axes=[-1, 1], keepdims=0)], {}),
    "batch norm": (8, [node("BatchNormalization", "x g g g v", "y")], {"g": ONES * 2, "v": ONES}),
    "dropout": (7, [node("Dropout", "x", "y", ratio=0.4)], {}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_valid_form_computes_what_onnxs_own_converter_makes_of_it(name):
    opset, nodes, constants = CASES[name]
    source = model(nodes, constants, opset=max(opset, 7))
    graph = from_model(source)
    network = to_model(graph)
    assert network.opset_import[0].version == OPSET
    onnx.checker.check_model(network, full_check=True)
    x = {"x": random((1, 3, 12, 16), 5)}
    got = run(network, x)[0]
    assert np.allclose(run(source, x)[0], got, atol=1e-6)
    if name != "resize 10":  # it makes half-pixel coordinates of asymmetric ones
        assert np.allclose(run(version_converter.convert_version(source, OPSET), x)[0], got, atol=1e-6)
    lost = {node.name for node in source.graph.node} - {node.name for node in graph.nodes}
    assert lost == ({"y_node"} if name == "softmax" else set()), "names of nodes stay"


SYMMETRIC = {"coordinate_transformation_mode": "half_pixel_symmetric"}


@pytest.mark.parametrize(
    ("made", "constants", "opset"),
    [
        (node("Gelu", "x", "y", approximate="tanh"), {}, 20),
        (node("Swish", "x", "y", alpha=1.5), {}, 24),
        (node("RMSNormalization", "x g", "y"), {"g": random((16,))}, 23),
        (node("GroupNormalization", "x g g", "y", num_groups=3), {"g": random((3,))}, 21),
        (node("Pad", "x p", "y", mode="wrap"), {"p": np.array([0, 0, 1, 2, 0, 0, 3, 1])}, 19),
        (node("AveragePool", "x", "y", kernel_shape=[2, 2], dilations=[2, 2], pads=[1, 1, 0, 0]), {}, 19),
        (
            node("Resize", "x - k", "y", coordinate_transformation_mode="half_pixel_symmetric", mode="linear"),
            {"k": np.array([1, 1, 2, 2], np.float32)},
            19,
        ),
        (node("Resize", "x - k", "y", mode="linear", **SYMMETRIC), {"k": np.float32([1, 1, 1.3, 0.7])}, 19),
        (node("Cast", "x", "y", to=1, saturate=0), {}, 19),
    ],
    ids=lambda item: item.op_type if isinstance(item, onnx.NodeProto) else "",
)
def test_newer_operators_have_a_form_in_the_valid_one(made, constants, opset):
    source = model([made], constants, opset=opset)
    written = to_model(from_model(source))
    onnx.checker.check_model(written, full_check=True)
    x = {"x": random((1, 3, 12, 16), 5)}
    from onnx.reference import ReferenceEvaluator

    expected = ReferenceEvaluator(source).run(None, x)
    assert np.allclose(expected[0], run(written, x)[0], atol=2e-6)
