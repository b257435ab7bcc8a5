"""Quantised networks: made by ONNX Runtime's and PyTorch's quantisers, and the smallest graphs by hand."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.graph import from_model, to_model
from pipeline.quantisation.rewrite import Quantised, integers
from pipeline.rewrites.base import always
from pipeline.targets import DEFAULT, get
from tests.rewrites.cases import assert_same, compute, lowered, model, operators, random

QUANTISED = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "Cast"}


def network(clip: tuple[float, float] | None = None) -> onnx.ModelProto:
    """Conv, Relu (or Clip), Conv, Add of the first, on 3 channels."""
    weights = {"w1": random(8, 3, 3, 3, scale=0.4), "b1": random(8), "w2": random(8, 8, 3, 3, seed=2, scale=0.2)}
    weights["b2"] = random(8, seed=5)
    activation = helper.make_node("Relu", ["c1"], ["r"], name="act")
    if clip:
        weights |= {"low": np.float32(clip[0]), "high": np.float32(clip[1])}
        activation = helper.make_node("Clip", ["c1", "low", "high"], ["r"], name="act")
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="conv1", pads=[1] * 4, kernel_shape=[3, 3]),
        activation,
        helper.make_node("Conv", ["r", "w2", "b2"], ["c2"], name="conv2", pads=[1] * 4, kernel_shape=[3, 3]),
        helper.make_node("Add", ["c2", "r"], ["y"], name="add"),
    ]
    return model(nodes, weights, ("n", 3, "h", "w"))


class Pictures:
    """Three calibration pictures in -1..1."""

    def __init__(self) -> None:
        self.left = [{"x": np.tanh(random(1, 3, 12, 16, seed=seed))} for seed in range(3)]

    def get_next(self) -> dict | None:
        return self.left.pop() if self.left else None


def static(source: onnx.ModelProto, folder: Path, **options: object) -> onnx.ModelProto:
    """ONNX Runtime's quantize_static."""
    from onnxruntime.quantization import quantize_static

    logging.disable(logging.WARNING)
    onnx.save(source, folder / "float.onnx")
    quantize_static(str(folder / "float.onnx"), str(folder / "q.onnx"), Pictures(), **options)
    logging.disable(logging.NOTSET)
    return onnx.load(folder / "q.onnx")


def with_weights(source: onnx.ModelProto, weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """The float model with some initializers replaced: what a lowered quantised model must compute."""
    copy = onnx.ModelProto.FromString(source.SerializeToString())
    for tensor in copy.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    return copy


def rounded(graph, source: onnx.ModelProto) -> onnx.ModelProto:
    """`source` with the weights and biases that the lowered `graph` has under the same names."""
    weights = {tensor.name: tensor.values for tensor in graph.tensors().values() if hasattr(tensor, "values")}
    names = {tensor.name for tensor in source.graph.initializer}
    assert names & set(weights)
    return with_weights(source, {name: weights[name] for name in names & set(weights)})


FORMS = [
    {"quant_format": "QDQ", "per_channel": False, "activation_type": "QInt8", "weight_type": "QInt8"},
    {"quant_format": "QDQ", "per_channel": True, "activation_type": "QUInt8", "weight_type": "QInt8"},
    {"quant_format": "QDQ", "per_channel": True, "activation_type": "QUInt8", "weight_type": "QUInt8"},
    {"quant_format": "QOperator", "per_channel": False, "activation_type": "QUInt8", "weight_type": "QInt8"},
    {"quant_format": "QOperator", "per_channel": True, "activation_type": "QUInt8", "weight_type": "QInt8"},
    {"quant_format": "QDQ", "per_channel": False, "activation_type": "QInt16", "weight_type": "QInt8"},
    {
        "quant_format": "QDQ",
        "activation_type": "QInt8",
        "weight_type": "QInt8",
        "extra_options": {"ActivationSymmetric": True},
    },
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(str(v) for v in form.values()))
def test_static_quantisation_becomes_the_float_network_with_rounded_weights(form: dict, tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType

    options = {key: getattr(QuantType, item) for key, item in form.items() if key.endswith("_type")}
    options |= {key: item for key, item in form.items() if key in ("per_channel", "extra_options")}
    source = network()
    quantised = static(source, tmp_path, quant_format=QuantFormat[form["quant_format"]], **options)
    graph, _, refusals = lowered(quantised, Quantised())
    assert refusals == []
    assert sorted(operators(graph)) == ["Add", "Conv", "Conv", "Relu"]
    for size in ((12, 16), (20, 14)):
        assert_same(rounded(graph, source), graph, np.tanh(random(1, 3, *size, seed=9)))
    x = np.tanh(random(1, 3, 12, 16, seed=9))
    exact, plain = compute(source, x), compute(to_model(graph), x)
    assert np.abs(plain - exact).max() < 0.02 * np.abs(exact).max()


def test_a_folded_relu6_comes_back_as_clip(tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType

    source = network(clip=(0.0, 1.0))
    quantised = static(source, tmp_path, quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8)
    assert "Clip" not in [node.op_type for node in quantised.graph.node]
    graph, edits, _ = lowered(quantised, Quantised())
    assert sorted(operators(graph)) == ["Add", "Clip", "Conv", "Conv"]
    assert any("Clip 0..1" in edit.what for edit in edits)
    onnx.checker.check_model(to_model(graph), full_check=True)
    assert_same(rounded(graph, source), graph, random(1, 3, 12, 16, scale=3), random(2, 3, 9, 7, scale=3))


def q(name: str, source: str, out: str, scale: str = "s", zero: str = "z") -> onnx.NodeProto:
    return helper.make_node("QuantizeLinear", [source, scale, zero], [out], name=name)


def dq(name: str, source: str, out: str, scale: str = "s", zero: str = "z") -> onnx.NodeProto:
    return helper.make_node("DequantizeLinear", [source, scale, zero], [out], name=name)


def test_operators_that_move_integers_move_the_floats() -> None:
    weights = {
        "s": np.float32(0.1),
        "z": np.uint8(30),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "fill": np.uint8(40),
    }
    nodes = [
        helper.make_node("Neg", ["x"], ["n"]),
        q("q1", "n", "a"),
        helper.make_node("MaxPool", ["a"], ["p"], kernel_shape=[2, 2], strides=[1, 1]),
        helper.make_node("Pad", ["p", "pads", "fill"], ["e"]),
        dq("d1", "e", "y"),
    ]
    graph, _, refusals = lowered(model(nodes, weights), Quantised())
    assert refusals == []
    assert operators(graph) == ["Neg", "MaxPool", "Pad"]
    y = compute(to_model(graph), np.zeros((1, 3, 4, 4), np.float32))
    assert np.allclose(y[0, 0, 0], (40 - 30) * 0.1)
    assert y[0, 0, 1, 1] == 0


def test_weights_that_are_quantised_in_the_graph_are_rounded_exactly() -> None:
    weights = {
        "w": random(4, 3, 3, 3),
        "s": np.array([0.01, 0.02, 0.03, 0.04], np.float32),
        "z": np.zeros(4, np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["w", "s", "z"], ["wq"], name="q", axis=0),
        helper.make_node("DequantizeLinear", ["wq", "s", "z"], ["wd"], name="d", axis=0),
        helper.make_node("Conv", ["x", "wd"], ["y"], name="conv", kernel_shape=[3, 3]),
    ]
    source = model(nodes, weights)
    graph, _, _ = lowered(source, Quantised())
    assert operators(graph) == ["Conv"]
    assert_same(source, graph, random(1, 3, 8, 8), random(1, 3, 5, 9), tolerance=0)
    (kept,) = integers(source)
    assert kept.axis == 0
    assert kept.ints.dtype == np.int8


def test_a_number_that_is_quantised_in_the_graph_stays_an_array() -> None:
    """ONNX Runtime quantises the 1 of x * (1 + s) like any other constant."""
    nodes = [q("q", "one", "one_q"), dq("d", "one_q", "one_f"), helper.make_node("Mul", ["x", "one_f"], ["y"])]
    source = model(nodes, {"one": np.float32(1), "s": np.float32(0.5), "z": np.uint8(3)})
    graph, _, refusals = lowered(source, Quantised())
    assert refusals == []
    assert operators(graph) == ["Mul"]
    assert_same(source, graph, random(1, 3, 4, 5))


def test_blocked_and_four_bit_weights_are_dequantised_exactly() -> None:
    values = np.arange(-8, 8).reshape(4, 4)
    ints = helper.make_tensor("q", TensorProto.INT4, (4, 4), values.reshape(-1).tolist())
    source = model(
        [
            helper.make_node("DequantizeLinear", ["q", "s"], ["w"], name="d", axis=0, block_size=2),
            helper.make_node("MatMul", ["x", "w"], ["y"], name="m"),
        ],
        {"s": np.abs(random(2, 4)) + 0.1},
        ("n", 4),
        opset=21,
    )
    source.graph.initializer.append(ints)
    source.ir_version = 10
    graph, _, refusals = lowered(source, Quantised())
    assert refusals == []
    assert_same(source, graph, random(3, 4), tolerance=0)


def test_a_sigmoid_needs_no_clamp_and_a_calibrated_range_is_dropped() -> None:
    weights = {"s": np.float32(1 / 255), "z": np.uint8(0), "s2": np.float32(0.01), "z2": np.uint8(100)}
    nodes = [
        helper.make_node("Neg", ["x"], ["n"]),
        q("q0", "n", "a0", "s2", "z2"),
        dq("d0", "a0", "n0", "s2", "z2"),
        helper.make_node("Sigmoid", ["n0"], ["g"]),
        q("q1", "g", "a"),
        dq("d1", "a", "y"),
    ]
    graph, edits, _ = lowered(model(nodes, weights), Quantised())
    assert operators(graph) == ["Neg", "Sigmoid"]
    assert edits[-1].nodes == ("q0", "d0", "q1", "d1")


def test_an_integer_picture_in_and_out_becomes_arithmetic() -> None:
    weights = {"s": np.float32(1 / 64), "z": np.uint8(128)}
    source = model([dq("d", "x", "f"), helper.make_node("Tanh", ["f"], ["t"]), q("q", "t", "y")], weights)
    source.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    source.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8
    graph, edits, refusals = lowered(source, Quantised())
    assert refusals == []
    assert len(edits) == 2
    x = np.random.default_rng(0).integers(0, 255, (1, 3, 6, 5)).astype(np.uint8)
    got = compute(to_model(graph), x.astype(np.float32))
    assert np.array_equal(got, compute(source, x))


def test_a_quantised_convolution_of_an_integer_picture() -> None:
    ints = np.random.default_rng(1).integers(-127, 127, (4, 3, 3, 3)).astype(np.int8)
    weights = {
        "xs": np.float32(1 / 128),
        "xz": np.uint8(120),
        "w": ints,
        "ws": np.float32(0.004),
        "wz": np.int8(0),
    }
    weights |= {"ys": np.float32(0.02), "yz": np.uint8(100), "b": np.array([100, -200, 300, 0], np.int32)}
    node = helper.make_node("QLinearConv", ["x", *weights], ["y"], name="conv", kernel_shape=[3, 3])
    source = model([node], weights)
    source.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    source.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8
    graph, _, refusals = lowered(source, Quantised())
    assert refusals == []
    x = np.random.default_rng(0).integers(0, 255, (1, 3, 9, 8)).astype(np.uint8)
    got, expected = compute(to_model(graph), x.astype(np.float32)), compute(source, x)
    assert np.abs(got - expected).max() <= 1
    assert np.mean(got != expected) < 0.01


def test_a_picture_with_a_scale_per_channel_becomes_arithmetic_per_channel() -> None:
    weights = {"s": np.array([0.1, 0.2, 0.3], np.float32), "z": np.array([10, 20, 30], np.uint8)}
    source = model([dq("d", "x", "f"), helper.make_node("Neg", ["f"], ["y"])], weights)
    source.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    graph, _, refusals = lowered(source, Quantised())
    assert refusals == []
    assert operators(graph) == ["Sub", "Mul", "Neg"]
    x = np.random.default_rng(0).integers(0, 255, (1, 3, 6, 5)).astype(np.uint8)
    assert np.array_equal(compute(to_model(graph), x.astype(np.float32)), compute(source, x))


def test_an_activation_quantised_in_blocks_is_refused() -> None:
    weights = {"s": np.full((1, 3, 2, 5), 0.1, np.float32)}
    node = helper.make_node("QuantizeLinear", ["x", "s"], ["y"], name="q", axis=2, block_size=3)
    source = model([node], weights, (1, 3, 6, 5), opset=21)
    (refusal,) = Quantised().apply(from_model(source), get(DEFAULT), always)
    assert (refusal.code, refusal.node) == ("quantised-form-unknown", "q")


def test_integers_that_are_moved_before_they_are_given_are_refused() -> None:
    weights = {"s": np.float32(0.1), "z": np.uint8(0), "shape": np.array([0, -1])}
    nodes = [q("q1", "x", "a"), helper.make_node("Reshape", ["a", "shape"], ["y"], name="last")]
    source = model(nodes, weights)
    source.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8
    (refusal,) = Quantised().apply(from_model(source), get(DEFAULT), always)
    assert (refusal.code, refusal.node) == ("quantised-form-unknown", "last")


def test_a_scale_that_changes_between_quantising_and_dequantising_is_refused_and_nothing_changed() -> None:
    weights = {"s": np.float32(0.1), "z": np.uint8(0), "t": np.float32(0.2)}
    source = model([q("q1", "x", "a"), dq("d1", "a", "y", scale="t")], weights)
    graph = from_model(source)
    (refusal,) = Quantised().apply(graph, get(DEFAULT), always)
    assert (refusal.code, refusal.node) == ("quantised-form-unknown", "d1")
    assert operators(graph) == ["QuantizeLinear", "DequantizeLinear"]
    assert integers(source) == []


def test_arithmetic_on_integers_is_refused() -> None:
    weights = {"s": np.float32(0.1), "z": np.uint8(0)}
    nodes = [q("q1", "x", "a"), helper.make_node("Add", ["a", "a"], ["b"], name="sum"), dq("d1", "b", "y")]
    (refusal,) = Quantised().apply(from_model(model(nodes, weights)), get(DEFAULT), always)
    assert (refusal.code, refusal.node) == ("quantised-form-unknown", "sum")


def test_a_scale_computed_in_the_graph_is_refused() -> None:
    nodes = [helper.make_node("ReduceMax", ["x"], ["s"], keepdims=0), q("q1", "x", "a"), dq("d1", "a", "y")]
    refusals = Quantised().apply(from_model(model(nodes, {"z": np.uint8(0)})), get(DEFAULT), always)
    assert {refusal.reason for refusal in refusals} == {"its scale is computed in the graph"}


def test_a_convolution_of_integers_with_a_bias_and_a_scale_computed_in_the_graph_is_refused() -> None:
    weights = {
        "xz": np.uint8(120),
        "w": np.ones((4, 3, 3, 3), np.int8),
        "ws": np.float32(0.004),
        "wz": np.int8(0),
        "ys": np.float32(0.02),
        "yz": np.uint8(100),
        "b": np.array([100, -200, 300, 0], np.int32),
    }
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["f"], ["xs"], keepdims=0),
        helper.make_node("QLinearConv", ["x", "xs", *weights], ["y"], name="conv", kernel_shape=[3, 3]),
    ]
    source = model(nodes, weights)
    source.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    source.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8
    refusals = Quantised().apply(from_model(source), get(DEFAULT), always)
    assert "its scale is computed in the graph" in {refusal.reason for refusal in refusals}


def test_a_float_graph_is_left_alone() -> None:
    _, edits, refusals = lowered(network(), Quantised())
    assert (edits, refusals) == ([], [])
    assert integers(network()) == []


def test_integers_are_those_of_the_file_under_their_float_names(tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantFormat

    quantised = static(network(), tmp_path, quant_format=QuantFormat.QOperator, per_channel=True)
    kept = integers(quantised)
    graph, _, _ = lowered(quantised, Quantised())
    weights = {tensor.name: tensor.values for tensor in graph.tensors().values() if hasattr(tensor, "values")}
    assert [tensor.name for tensor in kept] == ["w1", "w2"]
    for tensor in kept:
        assert tensor.ints.dtype == np.int8
        assert np.array_equal(weights[tensor.name], tensor.real())


def test_quantised_pytorch_networks_become_float(tmp_path: Path) -> None:
    import warnings

    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.quant, self.dequant = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()
            self.conv, self.relu, self.last = (
                nn.Conv2d(3, 8, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(8, 3, 3, padding=1),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.dequant(self.last(self.relu(self.conv(self.quant(x)))))

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = Net().eval()
        net.qconfig = torch.ao.quantization.get_default_qconfig("qnnpack")
        prepared = torch.ao.quantization.prepare(net)
        x = torch.tanh(torch.from_numpy(random(1, 3, 12, 16)))
        expected = net(x).detach().numpy()
        prepared(x)
        converted = torch.ao.quantization.convert(prepared)
        path = tmp_path / "torch.onnx"
        torch.onnx.export(converted, (x,), str(path), opset_version=13, dynamo=False)
    source = onnx.load(path)
    assert QUANTISED & {node.op_type for node in source.graph.node}
    graph, _, refusals = lowered(source, Quantised())
    assert refusals == []
    assert sorted(operators(graph)) == ["Conv", "Conv", "Relu"]
    got = compute(to_model(graph), x.numpy())
    assert np.abs(got - expected).max() < 0.01 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("quantised", "original", "least"),
    [
        ("3_small.ort_dynamic_quint8", "cjmills/3_small", 50),
        ("udnie_full.ort_dynamic_quint8", "tf_fast_style/udnie_full.converted", 50),
        ("mosaic_final.ort_static_qdq_int8", "cjmills/mosaic_final", 38),
    ],
)
def test_real_quantised_networks_come_nearer_to_the_float_original(
    quantised: str, original: str, least: float, shared_models: Path
) -> None:
    from PIL import Image

    with Image.open(shared_models / "images" / "amber.jpg") as picture:
        pixels = np.asarray(picture.convert("RGB").resize((120, 80)), np.float32)
    x = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])

    def at_size(path: Path) -> onnx.ModelProto:
        stored = onnx.load(path)
        sizes = stored.graph.input[0].type.tensor_type.shape.dim
        sizes[2].dim_value, sizes[3].dim_value = 80, 120
        stored.graph.output[0].type.tensor_type.ClearField("shape")
        del stored.graph.value_info[:]
        return stored

    def decibels(a: np.ndarray, b: np.ndarray) -> float:
        return float(10 * np.log10(255**2 / np.mean((a.astype(np.float64) - b) ** 2)))

    source = at_size(shared_models / "quantised" / f"{quantised}.onnx")
    graph, _, refusals = lowered(source, Quantised())
    assert refusals == []
    assert not QUANTISED & set(operators(graph))
    exact = compute(at_size(shared_models / f"{original}.onnx"), x)
    before, after = decibels(compute(source, x), exact), decibels(compute(to_model(graph), x), exact)
    assert after > least
    assert after > before + 3
