"""Networks become small and stay near: sizes, decibels, integers that are kept, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pipeline.compress.job import CompressOptions, compress
from pipeline.compress.packed import HALVES, unpack
from pipeline.graph import valid
from pipeline.graph.integers import QuantizedTensor
from pipeline.graph.runtime import free_size, run, session
from pipeline.support.errors import PipelineError
from tests.compress.conftest import PICTURES
from tests.compress.packs import initializers, network


def paint(model: bytes, picture: np.ndarray) -> np.ndarray:
    return np.clip(run(session(free_size(valid(onnx.load_from_string(model)))), picture), 0, 1)


def unseen() -> np.ndarray:
    """A picture that nothing was rounded or measured with: soft waves and hard edges, 120x88."""
    y, x = np.mgrid[:88, :120] / 17.0
    waves = np.stack([np.sin(x) * np.cos(y), np.sin(1.7 * x + y), np.sign(np.sin(3 * x - y))])
    return ((waves + 1) / 2)[None].astype(np.float32)


def psnr(model: bytes, other: bytes) -> float:
    picture = unseen()
    return -10 * math.log10(np.mean((paint(model, picture) - paint(other, picture)) ** 2))


def test_eight_bits_are_a_quarter_of_the_size_and_nearly_the_same_picture(model, packed_network):
    assert unpack(packed_network.packed).model == packed_network.model
    assert len(packed_network.packed) < 0.26 * len(model)
    assert psnr(model, packed_network.model) > 46
    assert packed_network.facts["bytes"] == len(packed_network.packed)
    assert packed_network.facts["psnr"] > 46


def test_auto_is_smaller_than_any_equal_number_of_bits_that_is_as_near(model, auto_network, packed_network):
    assert min(auto_network.facts["measured"].values()) >= 41.4
    assert psnr(model, auto_network.model) >= 40
    for row in packed_network.facts["table"]:
        assert row["psnr"] < auto_network.facts["psnr"] or row["bytes"] > auto_network.facts["bytes"]
    bits = {tensor["bits"] for tensor in auto_network.facts["tensors"] if len(tensor["shape"]) == 4}
    assert len(bits) > 1


def test_rounding_that_passes_errors_on_beats_rounding_to_the_nearest(model, packed_network):
    from pipeline.compress.holes import find_holes, with_raw_data
    from pipeline.compress.job import stored
    from pipeline.compress.sites import find_sites, find_vectors
    from pipeline.compress.weights import collect

    proto = onnx.load_from_string(model)
    data = bytearray(with_raw_data(proto))
    weights = collect(bytes(data), find_holes(bytes(data)), find_sites(proto), find_vectors(proto), {}, [], {})
    for filling in stored(weights, "int8"):
        real = filling.real().astype("<f4").tobytes()
        data[filling.offset : filling.offset + len(real)] = real
    assert psnr(model, packed_network.model) > psnr(model, bytes(data)) + 3


def test_smaller_and_nearer_than_dynamic_quantisation_of_onnx_runtime(model, packed_network, tmp_path):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    before = valid(onnx.load_from_string(model))
    onnx.save(before, tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "dynamic.onnx", weight_type=QuantType.QUInt8)
    theirs = (tmp_path / "dynamic.onnx").read_bytes()
    assert len(packed_network.packed) < len(theirs)
    assert psnr(model, packed_network.model) > psnr(model, theirs) + 6


def test_the_same_model_and_options_give_the_same_bytes(model, auto_network):
    again = compress(model, CompressOptions("auto", min_psnr=40), contract=PICTURES)
    assert again.packed == auto_network.packed and again.facts == auto_network.facts


def test_the_table_falls_with_the_bits(packed_network):
    table = packed_network.facts["table"]
    assert [row["weights"] for row in table] == ["half", "int7", "int6", "int5", "int4"]
    sizes, quality = [row["bytes"] for row in table], [row["psnr"] or 200 for row in table]
    assert sizes == sorted(sizes, reverse=True) and quality == sorted(quality, reverse=True)


def test_no_integer_is_larger_than_its_bits_and_zeros_stay(model):
    proto = network(seed=5)
    for tensor in proto.graph.initializer:
        if tensor.name == "conv3.weight":
            values = onnx.numpy_helper.to_array(tensor).copy()
            values[np.abs(values) < 0.1] = 0
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    done = unpack(compress(proto.SerializeToString(), CompressOptions("int4"), contract=PICTURES).packed)
    wide = [filling for filling in done.fillings if filling.integers.size > 100]
    assert len(wide) == 6 and all(np.abs(filling.integers).max() == 7 for filling in wide)
    assert np.array_equal(wide[2].integers == 0, (wide[2].integers == 0) | (values.reshape(-1) == 0))
    assert ((wide[2].integers == 0) >= (values.reshape(-1) == 0)).all()


def test_half_is_float16_where_that_can_hold_it():
    proto = network(seed=6)
    for tensor in proto.graph.initializer:
        if tensor.name == "norm5.shift":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.full(8, 1e5, np.float32), tensor.name))
    before = initializers(proto)
    done = compress(proto.SerializeToString(), CompressOptions("half"), contract=PICTURES)
    found = unpack(done.packed)
    assert {filling.kind for filling in found.fillings} == {HALVES}
    after = dict(zip(before, initializers(found.model).values(), strict=True))
    for name, values in before.items():
        kept = name in ("norm5.shift", "scales", "bias")
        assert np.array_equal(after[name], values if kept else values.astype(np.float16)), name


@pytest.mark.parametrize("kind", ["int8", "int4", "auto", "half"])
@pytest.mark.parametrize("times", [1, 255])
def test_integers_that_a_weight_came_with_are_kept(kind, times):
    rng = np.random.default_rng(1)
    ints = rng.integers(0, 256, (16, 16, 3, 3)).astype(np.uint8)
    scale = rng.uniform(1e-3, 2e-3, 16).astype(np.float32)
    given = QuantizedTensor("conv3.weight", ints, scale, np.full(16, 128, np.uint8), 0)
    real = given.real() * np.float32(times)
    proto = network(seed=7)
    for tensor in proto.graph.initializer:
        if tensor.name == "conv3.weight":
            tensor.CopyFrom(onnx.numpy_helper.from_array(real, tensor.name))
    done = compress(proto.SerializeToString(), CompressOptions(kind), contract=PICTURES, given=[given])
    filling = next(f for f in unpack(done.packed).fillings if f.integers.size == ints.size)
    assert done.facts["own_integers"] == 1
    assert np.array_equal(filling.integers, ints.reshape(-1).astype(np.int64) - 128)
    if times == 1:
        assert np.array_equal(filling.real(), given.real().reshape(-1))
        assert np.array_equal(filling.scales, scale)
    else:
        assert np.allclose(filling.real(), real.reshape(-1), rtol=2.0**-22, atol=0)


def test_inputs_outputs_and_numbers_of_nodes_stay(model, packed_network):
    before, after = onnx.load_from_string(model), onnx.load_from_string(packed_network.model)
    assert [value.name for value in after.graph.input] == ["image"]
    assert [value.name for value in after.graph.output] == ["painted"]
    assert [node.op_type for node in after.graph.node] == [node.op_type for node in before.graph.node]
    names = [tensor["name"] for tensor in packed_network.facts["tensors"]]
    assert "conv1.weight" in names and "scales" not in names
    assert packed_network.facts["tensors"][0]["of"] == "Conv 1 weight"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"weights": "int9"}, "bad-weights"),
        ({"min_psnr": 1000}, "bad-psnr"),
        ({"weights": "float"}, "bad-weights"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, code):
    with pytest.raises(PipelineError) as raised:
        CompressOptions(**options)
    assert raised.value.code == code


def test_quality_that_no_rounding_keeps_is_told(model):
    with pytest.raises(PipelineError) as raised:
        compress(model, CompressOptions("auto", min_psnr=100), contract=PICTURES)
    assert raised.value.code == "quality-not-reached" and "--min-psnr" in str(raised.value)


def test_what_is_no_picture_network_can_still_be_stored_as_half():
    weight = onnx.numpy_helper.from_array(np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 40])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 30])],
        [weight],
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString()
    with pytest.raises(PipelineError) as raised:
        compress(data, CompressOptions("int8"))
    assert raised.value.code == "not-image-to-image" and "half" in raised.value.remedy
    done = compress(data, CompressOptions("half"))
    assert done.facts["psnr"] is None and done.facts["measured"] == {} and len(done.packed) < 0.6 * len(data)
