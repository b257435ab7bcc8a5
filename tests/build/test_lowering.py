"""From a network to the target's graph: sizes, channels, and what no file says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline import sources, targets
from pipeline.build.lowering import Lowered, lower_network, trial_sizes
from pipeline.graph.statistics import operators
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from pipeline.validation import validate
from tests.networks import style_onnx

RNG = np.random.default_rng(4)


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    shape: list[object],
    output: list[object] | None = None,
    **weights: np.ndarray,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output or ["n", "c", "oh", "ow"])],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4), path)
    return path


def lowered(
    path: Path, size: tuple[int, int] = (540, 960), target: str = "barracuda-3.0", baked: bool = True
) -> Lowered:
    network = sources.read(path, sources.ReadOptions(input_range="0..1", output_range="0..1"))
    return lower_network(network, targets.get(target), Size.of_hw(size), bake_contract=baked, metadata={})


def declared(model: onnx.ModelProto) -> list[int]:
    return [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]


def test_the_nominal_size_is_declared_whatever_the_file_declared(tmp_path):
    result = lowered(style_onnx(tmp_path / "n.onnx", size=(32, 48)))
    assert declared(result.model) == [1, 3, 540, 960]
    assert (result.fixed_size, result.size_multiple, result.output_scale) == (None, 4, 1.0)


def test_the_integers_of_a_quantised_source_are_named_as_the_lowered_weights(tmp_path):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    plain, small = style_onnx(tmp_path / "n.onnx"), tmp_path / "q.onnx"
    quantize_dynamic(plain, small, weight_type=QuantType.QUInt8)
    result = lowered(small)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in result.model.graph.initializer}
    assert len(result.integers) == 2
    for weight in result.integers:
        assert weight.ints.dtype == np.uint8
        assert np.array_equal(weight.real(), weights[weight.name])
    assert lowered(plain).integers == ()


def test_the_nominal_size_is_rounded_to_the_size_rule(tmp_path):
    assert declared(lowered(style_onnx(tmp_path / "n.onnx"), size=(541, 963)).model) == [1, 3, 540, 964]


def test_a_deep_network_asks_for_a_larger_multiple(tmp_path):
    """Four halvings and a skip: sizes that are not multiples of 16 do not fit together again."""
    nodes, last = [], "x"
    for level in range(4):
        nodes.append(helper.make_node("MaxPool", [last], [f"d{level}"], kernel_shape=[2, 2], strides=[2, 2]))
        last = f"d{level}"
    for level in range(4):
        nodes.append(helper.make_node("Upsample", [last, "s"], [f"u{level}"], mode="nearest"))
        last = f"u{level}"
    nodes.append(helper.make_node("Add", [last, "x"], ["y"]))
    path = save(tmp_path / "deep.onnx", nodes, [1, 3, "h", "w"], s=np.array([1, 1, 2, 2], np.float32))
    result = lowered(path)
    assert result.size_multiple == 16
    assert declared(result.model) == [1, 3, 544, 960]
    assert all(s % 16 == 0 for size in trial_sizes(result, None) for s in size.hw)


def test_a_baked_size_is_found_and_kept(tmp_path):
    """A map of 24 x 32 weights is added: no other size fits."""
    nodes = [helper.make_node("Add", ["x", "m"], ["y"])]
    path = save(tmp_path / "fixed.onnx", nodes, [1, 3, 24, 32], m=RNG.random((1, 3, 24, 32)).astype(np.float32))
    result = lowered(path)
    assert result.fixed_size == result.size == Size(32, 24)
    assert declared(result.model) == [1, 3, 24, 32]
    assert trial_sizes(result, None) == (Size(32, 24),)
    assert any("only at 32x24" in note for note in result.notes)


def test_an_output_twice_as_large_is_told(tmp_path):
    nodes = [helper.make_node("Upsample", ["x", "s"], ["y"], mode="nearest")]
    result = lowered(save(tmp_path / "sr.onnx", nodes, [1, 1, "h", "w"], s=np.array([1, 1, 2, 2], np.float32)))
    assert (result.output_scale, result.input_channels, result.output_channels) == (2.0, 1, 1)


def test_six_channels_make_a_model_but_no_bundle(tmp_path):
    path = save(tmp_path / "six.onnx", [helper.make_node("Relu", ["x"], ["y"])], [1, 6, 8, 8])
    assert lowered(path, baked=False).input_channels == 6
    with pytest.raises(PipelineError, match="--input-channels rgb,normals") as caught:
        lowered(path)
    assert caught.value.code == "auxiliary-inputs"
    with pytest.raises(PipelineError, match="up to 64"):
        lowered(save(tmp_path / "many.onnx", [helper.make_node("Relu", ["x"], ["y"])], [1, 65, 8, 8]), baked=False)


def test_a_classifier_is_refused(tmp_path):
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["g"]), helper.make_node("Flatten", ["g"], ["y"])]
    with pytest.raises(PipelineError) as caught:
        lowered(save(tmp_path / "c.onnx", nodes, [1, 3, 8, 8], output=[1, 3]))
    assert caught.value.code == "not-image-to-image"


@pytest.mark.parametrize("target", targets.names("barracuda"))
def test_nothing_is_left_of_what_a_target_does_not_take(tmp_path, target):
    nodes = [
        helper.make_node("Identity", ["b"], ["b2"]),
        helper.make_node("Conv", ["x", "w", "b2"], ["c"], kernel_shape=[3, 3], auto_pad="SAME_UPPER"),
        helper.make_node("Sigmoid", ["c"], ["y"]),
    ]
    weights = {"w": RNG.random((3, 3, 3, 3)).astype(np.float32), "b": np.ones(3, np.float32)}
    result = lowered(save(tmp_path / "i.onnx", nodes, [1, 3, 8, 8], **weights), target=target)
    assert operators(result.model) == {"Conv": 1, "Sigmoid": 1}
    found = validate(result.model, targets.get(target))
    assert not [item for item in found if item.severity in ("error", "wrong")]
    assert all(t.HasField("raw_data") for t in result.model.graph.initializer)


def test_the_file_carries_what_unity_checks(tmp_path):
    network = sources.read(
        style_onnx(tmp_path / "n.onnx"), sources.ReadOptions(input_range="0..1", output_range="0..1")
    )
    result = lower_network(
        network,
        targets.get("barracuda-3.0"),
        Size(960, 540),
        bake_contract=True,
        metadata={"source_digest": "abc"},
    )
    assert {p.key: p.value for p in result.model.metadata_props} == {"source_digest": "abc"}
    assert result.model.producer_name == "unity-bridge-pipeline"


def test_a_network_that_halves_eight_times_asks_for_multiples_of_256(tmp_path):
    nodes = [
        helper.make_node("MaxPool", ["x"], ["d"], kernel_shape=[256, 256], strides=[256, 256]),
        helper.make_node("Upsample", ["d", "s"], ["u"], mode="nearest"),
        helper.make_node("Add", ["u", "x"], ["y"]),
    ]
    path = save(tmp_path / "deep.onnx", nodes, [1, 3, "h", "w"], s=np.array([1, 1, 256, 256], np.float32))
    result = lowered(path)
    assert (result.size_multiple, result.size) == (256, Size(1024, 512))


def test_a_size_at_which_the_source_does_not_run_gives_way_to_the_nearest_at_which_it_does(tmp_path):
    """align_corners bakes sizes in, and 52x100 does not halve three times: 56x104 does."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["d"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node(
            "Resize",
            ["d", "", "s"],
            ["u"],
            mode="linear",
            coordinate_transformation_mode="align_corners",
        ),
        helper.make_node("Add", ["u", "x"], ["y"]),
    ]
    path = save(tmp_path / "corners.onnx", nodes, [1, 3, "h", "w"], s=np.array([1, 1, 8, 8], np.float32))
    model = onnx.load(path)
    model.opset_import[0].version = 13
    onnx.save(model, path)
    result = lowered(path, (52, 100))
    assert result.fixed_size == result.size == Size(96, 48)


def test_a_graph_can_be_declared_to_run_at_its_own_size_alone(tmp_path):
    network = sources.read(
        style_onnx(tmp_path / "n.onnx"), sources.ReadOptions(input_range="0..1", output_range="0..1")
    )
    target = targets.get("barracuda-3.0")
    result = lower_network(network, target, Size(96, 64), bake_contract=True, metadata={}, alone=True)
    assert (result.fixed_size, result.size_multiple) == (Size(48, 32), 1)
    assert trial_sizes(result, None) == (Size(48, 32),)


def test_a_nominal_size_below_one_multiple_is_lowered_at_that_multiple(tmp_path):
    """The strided convolution at the bottom is seen to give a single column, and padded before."""
    nodes = [helper.make_node("MaxPool", ["x"], ["d"], kernel_shape=[64, 64], strides=[64, 64])]
    nodes.append(helper.make_node("Conv", ["d", "w"], ["c"], kernel_shape=[4, 4], strides=[2, 2], pads=[1] * 4))
    nodes.append(helper.make_node("Upsample", ["c", "s"], ["u"], mode="nearest"))
    nodes.append(helper.make_node("Add", ["u", "x"], ["y"]))
    weights = {"w": RNG.normal(size=(3, 3, 4, 4)).astype(np.float32), "s": np.array([1, 1, 128, 128], np.float32)}
    result = lowered(save(tmp_path / "deep.onnx", nodes, [1, 3, "h", "w"], **weights), (32, 32))
    assert result.size == Size(128, 128)
    assert "Pad" in operators(result.model)


def test_a_network_in_half_precision_is_held_against_its_weights_in_float32(tmp_path):
    """Its own run rounds each result to 11 bits, which the target does not."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["c"], ["y"]),
    ]
    weights = (RNG.random((3, 3, 3, 3)) - 0.5).astype(np.float16)
    half = onnx.TensorProto.FLOAT16
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", half, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("y", half, [1, 3, "h", "w"])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    path = tmp_path / "half.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    result = lowered(path)
    assert result.quantised is not None
    picture = RNG.random((1, 3, 16, 16)).astype(np.float32)
    assert np.allclose(result.quantised(picture), result.candidate(picture), atol=1e-6)


def test_the_proof_says_what_low_contrast_comes_to_with_the_cure_and_without(tmp_path):
    from pipeline.build.options import BuildOptions
    from pipeline.build.prove import make
    from tests.networks import style_checkpoint

    source = style_checkpoint(tmp_path / "n.pth", (4, 6, 8), blocks=1)
    cured, left = (
        make(source, BuildOptions(skip=skip), lambda *_: None, bake_contract=True)[3]["proof"]["low_contrast"]
        for skip in ((), ("low-contrast",))
    )
    assert cured["mean_taken_off"] is True and cured["levels"] < cured["levels_without"] == left["levels"]
    assert (left["levels_without"], left["mean_taken_off"]) == (None, None)


def test_a_graph_that_does_not_run_names_what_is_at_fault(tmp_path):
    """Sizes baked in that contradict each other at any size: the source does not run either."""
    nodes = [helper.make_node("Reshape", ["x", "s"], ["r"]), helper.make_node("Relu", ["r"], ["y"])]
    path = save(tmp_path / "baked.onnx", nodes, [1, 3, "h", "w"], s=np.array([1, 3, 40, 50]))
    with pytest.raises(PipelineError) as caught:
        lowered(path)
    assert caught.value.code == "graph-does-not-run"
    assert "The source does not run at that size either" in caught.value.remedy


def test_numbers_of_another_form_than_the_picture_are_none(tmp_path):
    """A classifier whose ten numbers were reshaped to rank 4."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Conv", ["p", "w"], ["c"]),
        helper.make_node("Reshape", ["c", "s"], ["y"]),
    ]
    weights = {"w": np.ones((10, 3, 1, 1), np.float32), "s": np.array([1, 1, 10, 1])}
    with pytest.raises(PipelineError, match="1x10 numbers") as caught:
        lowered(save(tmp_path / "classifier.onnx", nodes, [1, 3, 64, 64], **weights))
    assert caught.value.code == "not-image-to-image"


def test_weights_of_four_bits_become_floats_before_anything_is_written(tmp_path) -> None:
    """A DequantizeLinear of int4 weights, as opset 21 has it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(1)
    integers = random.integers(-8, 8, (8, 3, 3, 3))
    constants = {"s": np.full(8, 0.05, np.float32), "v": random.normal(0, 0.3, (3, 8, 1, 1)).astype(np.float32)}
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["w4", "s"], ["w"], axis=0),
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
            helper.make_node("Conv", ["c", "v"], ["o"]),
            helper.make_node("Sigmoid", ["o"], ["y"]),
        ],
        "four",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [
            helper.make_tensor("w4", TensorProto.INT4, integers.shape, integers.flatten().tolist()),
            *(numpy_helper.from_array(value, name) for name, value in constants.items()),
        ],
    )
    path = tmp_path / "four.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    network = sources.read(path, sources.ReadOptions(input_range="0..1", output_range="0..1"))
    lowered = lower_network(network, targets.get("barracuda-3.0"), Size(64, 48), bake_contract=True, metadata={})
    assert {node.op_type for node in lowered.model.graph.node} == {"Conv", "Sigmoid"}
    weights = [numpy_helper.to_array(tensor) for tensor in lowered.model.graph.initializer]
    assert any(value.shape == integers.shape and np.allclose(value, integers * 0.05) for value in weights)


def test_attention_over_all_pixels_of_a_fixed_size_is_lowered_at_that_size(tmp_path):
    """Trying multiples of larger sizes would need too much memory: that search ends, and the build goes on."""
    from pipeline.build.options import BuildOptions
    from pipeline.build.prove import make
    from tests.rewrites import model, node, random

    nodes = [
        node("Conv", "x w", "c", kernel_shape=[1, 1]),
        node("Reshape", "c s", "q"),
        node("Transpose", "q", "k", perm=[0, 2, 1]),
        node("MatMul", "k q", "a"),
        node("Softmax", "a", "b", axis=-1),
        node("MatMul", "q b", "m"),
        node("Reshape", "m t", "y"),
    ]
    weights = {"w": random((3, 3, 1, 1)), "s": np.array([1, 3, -1]), "t": np.array([1, 3, 24, 32])}
    path = tmp_path / "attention.onnx"
    onnx.save(model(nodes, weights, opset=15, input_shape=(1, 3, 24, 32)), path)
    options = BuildOptions(target="inference-2", size=Size(32, 24), input_range="0..1", output_range="0..1")
    lowered = make(path, options, lambda *_: None, bake_contract=True)[1]
    assert lowered.fixed_size == Size(32, 24)
