from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.graph import declare_size, from_model, single_input_output, to_model
from pipeline.support.errors import PipelineError
from tests.rewrites import model, node, random, run

W = {"w": random((4, 3, 3, 3))}


def refusal(graph):
    with pytest.raises(PipelineError) as caught:
        single_input_output(graph)
    assert caught.value.code == "not-image-to-image"
    return str(caught.value)


def test_what_is_written_is_small_valid_and_the_same_each_time():
    source = model([node("Conv", "x w", "c"), node("Relu", "c", "y")], W)
    source.producer_name = "pytorch"
    source.graph.node[0].doc_string = "a stack trace"
    source.graph.value_info.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, [1, 4, 10, 14]))
    source.graph.initializer[0].CopyFrom(helper.make_tensor("w", TensorProto.FLOAT, (4, 3, 3, 3), W["w"].ravel()))
    network = to_model(from_model(source), {"b": "2", "a": "1"})
    onnx.checker.check_model(network)
    assert network.producer_name == "unity-bridge-pipeline"
    assert network.ir_version == 8
    assert [(item.domain, item.version) for item in network.opset_import] == [("", 18)]
    assert [(item.key, item.value) for item in network.metadata_props] == [("a", "1"), ("b", "2")]
    assert not network.graph.value_info
    assert not network.graph.node[0].doc_string
    assert network.graph.initializer[0].HasField("raw_data")
    again = to_model(from_model(source), {"a": "1", "b": "2"})
    assert network.SerializeToString(deterministic=True) == again.SerializeToString(deterministic=True)
    feeds = {"x": random((1, 3, 12, 16))}
    assert np.array_equal(run(source, feeds)[0], run(network, feeds)[0])


def test_writing_does_not_change_the_graph():
    graph = from_model(model([node("Relu", "x", "y")], input_shape=(1, 3, "h", "w")))
    before = graph.outputs[0].shape
    network = to_model(graph)
    assert graph.outputs[0].shape == before
    dims = network.graph.output[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims] == [1, 3, 0, 0]


def test_nodes_get_unique_names():
    source = model([node("Relu", "x", "a"), node("Relu", "a", "b"), node("Relu", "b", "y")])
    for item, name in zip(source.graph.node, ("same", "same", ""), strict=True):
        item.name = name
    assert [item.name for item in from_model(source).nodes] == ["same", "same_2", "y"]


def test_local_functions_are_inlined():
    function = helper.make_function(
        "here", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 18)]
    )
    source = model([node("Twice", "x", "y", domain="here")], opset=18)
    source.functions.append(function)
    assert [item.op for item in from_model(source).nodes] == ["Add"]


def test_declaring_a_size_renews_all_shapes_and_keeps_the_model():
    source = model([node("Conv", "x w", "c"), node("Relu", "c", "y")], W)
    source.graph.value_info.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, [1, 4, 10, 14]))
    before = source.SerializeToString()
    sized = declare_size(source, 30, 40)
    assert source.SerializeToString() == before
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*sized.graph.input, *sized.graph.value_info, *sized.graph.output)
    }
    assert shapes == {"x": [1, 3, 30, 40], "c": [1, 4, 28, 38], "y": [1, 4, 28, 38]}


def test_declaring_a_size_finds_height_and_width_of_a_channels_last_input():
    sized = declare_size(model([node("Relu", "x", "y")], input_shape=("n", 12, 16, 3)), 30, 40, batch=2)
    assert [dim.dim_value for dim in sized.graph.input[0].type.tensor_type.shape.dim] == [2, 30, 40, 3]


def test_declaring_a_size_ignores_initializers_listed_as_inputs():
    source = model([node("Conv", "x w", "y")], W)
    source.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3, 3, 3]))
    sized = declare_size(source, 30, 40)
    assert [dim.dim_value for dim in sized.graph.output[0].type.tensor_type.shape.dim] == [1, 4, 28, 38]


def test_a_model_without_a_picture_has_no_size():
    with pytest.raises(PipelineError) as caught:
        declare_size(model([node("Relu", "x", "y")], input_shape=(1, 10)), 8, 8)
    assert caught.value.code == "not-image-to-image"


def test_the_one_input_and_output_are_found():
    source, result = single_input_output(from_model(model([node("Conv", "x w", "y")], W)))
    assert (source.name, result.name) == ("x", "y")


def test_what_is_not_image_to_image_is_reported():
    classifier = [node("GlobalAveragePool", "x", "p"), node("Flatten", "p", "y")]
    assert "rank 2 (a classifier?)" in refusal(from_model(model(classifier)))
    two = model([node("Add", "x z", "y")], extra_inputs={"z": (1, 3, 12, 16)})
    assert "2 inputs (x, z)" in refusal(from_model(two))
    assert "rank 2" in refusal(from_model(model([node("Relu", "x", "y")], input_shape=(1, 10))))


def test_a_real_classifier_is_refused_and_real_style_networks_are_not(shared_models):
    assert "classifier" in refusal(from_model(onnx.load(shared_models / "barracuda" / "mnist-cnn-mini.onnx")))
    for name in ("cjmills/final.onnx", "fast_neural_style/mosaic_nc8_128x128.onnx", "other/super_resolution.onnx"):
        single_input_output(from_model(onnx.load(shared_models / name)))


def test_external_data_comes_inline(tmp_path):
    source = model([node("Conv", "x w", "y")], W)
    onnx.save(source, tmp_path / "net.onnx", save_as_external_data=True, size_threshold=0)
    network = to_model(from_model(onnx.load(tmp_path / "net.onnx")))
    assert np.array_equal(numpy_helper.to_array(network.graph.initializer[0]), W["w"])
    assert not network.graph.initializer[0].external_data


@pytest.mark.parametrize("kind", ["INT4", "FLOAT8E5M2"])
def test_constants_of_packed_types_are_refused_by_name(kind):
    source = model([node("CastLike", "x w", "y")], opset=19)
    raw = b"\x11" if kind == "INT4" else b"\x11\x11"
    source.graph.initializer.append(helper.make_tensor("w", getattr(TensorProto, kind), [2], raw, raw=True))
    with pytest.raises(PipelineError) as caught:
        from_model(source)
    assert caught.value.code == "unsupported-tensor"
    assert f"w is of type {kind.lower()}" in caught.value.message


def test_a_constant_of_a_packed_type_that_is_left_is_refused_by_name():
    source = model([node("DequantizeLinear", "w x", "y")], opset=21, input_shape=())
    source.graph.initializer.append(helper.make_tensor("w", TensorProto.INT4, [2], b"\x11", raw=True))
    with pytest.raises(PipelineError, match="w is of type int4") as caught:
        to_model(from_model(source))
    assert caught.value.code == "unsupported-tensor"
