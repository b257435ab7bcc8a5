"""Networks that take and give pictures of bytes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline import targets
from pipeline.build.job import convert
from pipeline.sources import read
from pipeline.validation import validate

BYTES = TensorProto.UINT8


def network(path, quantised: bool, rounding: str = "Round", high: float = 255.0):
    """A convolution between Cast and Round, or between DequantizeLinear and QuantizeLinear."""
    weights = np.random.default_rng(3).normal(0, 0.2, (3, 3, 3, 3)).astype(np.float32)
    stored = {
        "w": weights,
        "s": np.float32(1 / 255),
        "z": np.uint8(0),
        "low": np.float32(0),
        "high": np.float32(high),
    }
    if quantised:
        names = [("DequantizeLinear", ["input", "s", "z"], "real"), ("Conv", ["real", "w"], "made")]
        names += [("QuantizeLinear", ["made", "s", "z"], "output")]
    else:
        names = [("Cast", ["input"], "real"), ("Conv", ["real", "w"], "made"), (rounding, ["made"], "whole")]
        names += [("Clip", ["whole", "low", "high"], "within"), ("Identity", ["within"], "same")]
        names += [("Cast", ["same"], "output")]
    extra = {"Conv": {"pads": [1, 1, 1, 1]}, "real": {"to": 1}, "output": {"to": BYTES}}
    nodes = [
        helper.make_node(op, given, [out], name=f"{op}_{out}", **extra.get(out if op == "Cast" else op, {}))
        for op, given, out in names
    ]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "bytes",
        [helper.make_tensor_value_info("input", BYTES, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("output", BYTES, [1, 3, "h", "w"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items() if name in used],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), path)
    return path


@pytest.mark.parametrize("quantised", [False, True])
def test_bytes_in_and_out_convert(tmp_path, quantised):
    source = network(tmp_path / "bytes.onnx", quantised)
    result = convert(source, tmp_path / "out.onnx")
    assert result.report["proof"]["passed"]
    contract = read(source).contract
    assert (contract.input.value_range, contract.output.value_range) == ("0..255", "0..255")


@pytest.mark.parametrize(
    ("rounding", "high", "right"), [("Round", 255.0, True), ("Abs", 255.0, False), ("Round", 254.5, False)]
)
def test_a_cast_of_what_is_whole_is_right(tmp_path, rounding, high, right):
    model = onnx.load(network(tmp_path / "cast.onnx", False, rounding, high))
    found = [f for f in validate(model, targets.get("barracuda-3.0")) if f.code == "cast-does-nothing"]
    assert not found if right else found
