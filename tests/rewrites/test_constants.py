from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from pipeline.graph import declare_size, from_model, to_model
from pipeline.rewrites.constants import BakedSizes, Constants
from tests.rewrites import apply, assert_equivalent, model, node, operators, random

W = random((4, 3, 3, 3), 1)
B = random((4,), 2)


def lowered(source):
    graph = from_model(source)
    edits, refusals = apply(Constants(), graph)
    return graph, edits, refusals


def test_a_bias_read_through_identity_becomes_the_initializer_itself():
    source = model([node("Identity", "b", "b2"), node("Conv", "x w b2", "y", pads=[1, 1, 1, 1])], {"w": W, "b": B})
    graph, edits, _ = lowered(source)
    assert operators(graph) == ["Conv"]
    assert np.array_equal(graph.nodes[0].inputs[2].values, B)
    assert edits[0].nodes == ("b2_node",)
    assert_equivalent(source, graph)


def test_a_chain_of_identities_leaves_the_graphs_output_its_name():
    source = model([node("Relu", "x", "a"), node("Identity", "a", "b"), node("Identity", "b", "y")])
    graph, _, _ = lowered(source)
    assert operators(graph) == ["Relu"]
    assert graph.outputs[0].name == "y"
    assert_equivalent(source, graph)


def test_an_identity_between_input_and_output_stays():
    graph, edits, _ = lowered(model([node("Identity", "x", "y")]))
    assert operators(graph) == ["Identity"]
    assert not edits


def test_a_tensor_that_is_an_output_and_is_read_keeps_its_readers():
    source = model([node("Relu", "x", "a"), node("Identity", "a", "y"), node("Neg", "a", "z")])
    source.graph.output.append(onnx.helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    graph, _, _ = lowered(source)
    assert sorted(operators(graph)) == ["Neg", "Relu"]
    assert_equivalent(source, graph)


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("value", numpy_helper.from_array(np.float32(1.5))),
        ("value_float", 1.5),
        ("value_floats", [1.5]),
    ],
)
def test_constant_nodes_of_every_form_become_initializers(name, held):
    source = model([node("Constant", "", "c", **{name: held}), node("Mul", "x c", "y")], opset=13)
    graph, _, _ = lowered(source)
    assert operators(graph) == ["Mul"]
    assert_equivalent(source, graph)


def test_weights_computed_from_constants_are_folded():
    source = model(
        [
            node("Mul", "v g", "w"),
            node("Cast", "b", "bias", to=TensorProto.FLOAT),
            node("Conv", "x w bias", "y"),
        ],
        {"v": W, "g": random((4, 1, 1, 1), 3), "b": B.astype(np.float64)},
    )
    graph, _, _ = lowered(source)
    assert operators(graph) == ["Conv"]
    assert_equivalent(source, graph, tolerance=1e-6)


def test_random_numbers_are_not_folded_but_refused():
    source = model([node("RandomNormalLike", "c", "r"), node("Add", "x r", "y")], {"c": np.zeros(1, np.float32)})
    graph, edits, refusals = lowered(source)
    assert "RandomNormalLike" in operators(graph)
    assert [refusal.code for refusal in refusals] == ["random-values"]
    assert not edits


def test_torchs_computed_pads_fold_at_every_picture_size():
    # what torch's legacy exporter writes for F.pad at opset 11 and later
    source = model(
        [
            node("ConstantOfShape", "four", "zeros", value=numpy_helper.from_array(np.array([0], np.int64))),
            node("Concat", "given zeros", "all", axis=0),
            node("Reshape", "all pairs", "rows"),
            node("Slice", "rows start end axes step", "reversed"),
            node("Transpose", "reversed", "turned", perm=[1, 0]),
            node("Reshape", "turned flat", "pads64"),
            node("Cast", "pads64", "pads", to=TensorProto.INT64),
            node("Pad", "x pads", "y", mode="reflect"),
        ],
        {
            "four": np.array([4]),
            "given": np.array([1, 2, 3, 4]),
            "pairs": np.array([-1, 2]),
            "start": np.array([-1]),
            "end": np.array([-(2**63) + 1]),
            "axes": np.array([0]),
            "step": np.array([-1]),
            "flat": np.array([-1]),
        },
        opset=11,
    )
    graph, _, _ = lowered(source)
    assert operators(graph) == ["Pad"]
    assert graph.nodes[0].inputs[1].values.tolist() == [0, 0, 3, 1, 0, 0, 4, 2]
    assert_equivalent(source, graph)


def test_a_shape_chain_that_only_yields_channels_is_folded_without_baking_the_size():
    source = model(
        [
            node("Shape", "x", "s"),
            node("Gather", "s one", "c", axis=0),
            node("Unsqueeze", "c", "c1", axes=[0]),
            node("Concat", "n c1 rest", "shape", axis=0),
            node("Reshape", "x shape", "y"),
        ],
        {"one": np.array(1), "n": np.array([1]), "rest": np.array([1, -1])},
    )
    graph, _, _ = lowered(source)
    assert operators(graph) == ["Reshape"]
    assert_equivalent(source, graph)


SIZE_DEPENDENT = [
    node("Shape", "x", "s"),
    node("Slice", "s", "hw", starts=[2], ends=[4], axes=[0]),
    node("Concat", "head hw", "shape", axis=0),
    node("Reshape", "x shape", "y"),
]


def test_a_size_that_follows_from_the_picture_is_left_alone_by_constants():
    source = model(SIZE_DEPENDENT, {"head": np.array([3, 1])})
    graph, edits, _ = lowered(source)
    assert "Shape" in operators(graph)
    assert not edits


def test_baked_sizes_says_so_and_computes_the_same_at_that_size():
    source = model(SIZE_DEPENDENT, {"head": np.array([3, 1])})
    graph = from_model(source)
    edits, _ = apply(BakedSizes(), graph)
    assert operators(graph) == ["Reshape"]
    assert "1x3x12x16" in edits[0].what
    assert_equivalent(source, graph, sizes=[(12, 16)])


def test_baked_sizes_refuses_without_a_declared_size():
    source = model(SIZE_DEPENDENT, {"head": np.array([3, 1])}, input_shape=(1, 3, "h", "w"))
    graph = from_model(source)
    edits, refusals = apply(BakedSizes(), graph)
    assert not edits
    assert [refusal.code for refusal in refusals] == ["size-not-declared"]


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_half_and_double_models_become_float32_and_lose_their_casts(kind):
    numpy_type = onnx.helper.tensor_dtype_to_np_dtype(kind)
    source = model(
        [
            node("Mul", "x w", "a"),
            node("Cast", "a", "a32", to=TensorProto.FLOAT),
            node("Relu", "a32", "r"),
            node("Cast", "r", "y", to=kind),
        ],
        {"w": random((1, 3, 1, 1)).astype(numpy_type)},
        dtype=kind,
    )
    graph, _, _ = lowered(source)
    assert operators(graph) == ["Mul", "Relu"]
    network = to_model(graph)
    types = {network.graph.input[0].type.tensor_type.elem_type, network.graph.output[0].type.tensor_type.elem_type}
    assert types | {network.graph.initializer[0].data_type} == {TensorProto.FLOAT}
    assert_equivalent(source, graph, tolerance=2e-3 if kind == TensorProto.FLOAT16 else 1e-6)


def test_a_cast_to_the_type_of_a_float_tensor_is_removed():
    source = model([node("CastLike", "x w", "a"), node("Relu", "a", "y")], {"w": W}, opset=18)
    graph, _, _ = lowered(source)
    assert operators(graph) == ["Relu"]


def test_an_integer_cast_stays():
    source = model([node("Cast", "x", "i", to=TensorProto.INT32), node("Cast", "i", "y", to=TensorProto.FLOAT)])
    graph, edits, _ = lowered(source)
    assert operators(graph) == ["Cast", "Cast"]
    assert not edits


def test_a_byte_picture_input_is_fed_as_float():
    source = model([node("Cast", "x", "f", to=TensorProto.FLOAT), node("Relu", "f", "y")], dtype=TensorProto.UINT8)
    source.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    graph, _, _ = lowered(source)
    assert operators(graph) == ["Relu"]
    assert to_model(graph).graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT


def test_neutral_arithmetic_is_removed_except_the_reset_of_the_channel_count():
    source = model(
        [
            node("Add", "zero x", "a"),
            node("Mul", "a one", "b"),
            node("Mul", "one b", "reset"),
            node("Relu", "reset", "y"),
        ],
        {"zero": 0.0, "one": np.ones(1, np.float32)},
    )
    graph, _, _ = lowered(source)
    assert operators(graph) == ["Mul", "Relu"]
    assert_equivalent(source, graph, tolerance=0)


def test_a_zero_that_broadcasts_is_not_neutral():
    source = model([node("Add", "x zero", "y")], {"zero": np.zeros((2, 1, 1, 1), np.float32)})
    graph, edits, _ = lowered(source)
    assert not edits
    assert_equivalent(source, graph)


def test_dropout_is_removed_and_refused_in_training_mode():
    graph, _, _ = lowered(model([node("Dropout", "x", "d"), node("Relu", "d", "y")]))
    assert operators(graph) == ["Relu"]
    source = model(
        [node("Dropout", "x ratio training", "d"), node("Relu", "d", "y")],
        {"ratio": 0.5, "training": np.array(True)},
        opset=13,
    )
    _, edits, refusals = lowered(source)
    assert [refusal.code for refusal in refusals] == ["dropout-in-training-mode"]
    assert not edits


def test_batch_norm_loses_unread_training_outputs_and_is_refused_in_training_mode():
    constants = {"s": random((3,), 1), "b": random((3,), 2), "m": random((3,), 3), "v": np.ones(3, np.float32)}
    source = model([node("BatchNormalization", "x s b m v", "y m2 v2")], constants, opset=15)
    graph, edits, _ = lowered(source)
    assert len(graph.nodes[0].outputs) == 1
    assert "training outputs" in edits[-1].what
    training = model([node("BatchNormalization", "x s b m v", "y m2 v2", training_mode=1)], constants, opset=14)
    _, _, refusals = lowered(training)
    assert [refusal.code for refusal in refusals] == ["batch-norm-in-training-mode"]


def test_an_input_that_nothing_reads_is_removed():
    source = model([node("Relu", "x", "y")], extra_inputs={"unused": (1,)})
    graph, _, _ = lowered(source)
    assert [tensor.name for tensor in graph.inputs] == ["x"]


def test_initializers_listed_as_inputs_are_constants():
    source = model([node("Conv", "x w", "y")], {"w": W})
    source.graph.input.append(onnx.helper.make_tensor_value_info("w", TensorProto.FLOAT, W.shape))
    graph, _, _ = lowered(source)
    assert [tensor.name for tensor in graph.inputs] == ["x"]
    assert [value.name for value in to_model(graph).graph.input] == ["x"]


def test_real_networks_of_2018_compute_the_same_after_folding(shared_models):
    path = shared_models / "fast_neural_style" / "mosaic_nc8_128x128.onnx"
    source = onnx.load(path)
    graph, edits, refusals = lowered(source)
    assert not refusals
    assert sum(len(edit.nodes) for edit in edits) == 81 + 30
    assert_equivalent(declare_size(source, 128, 128), graph, sizes=[(128, 128)], low=0, high=255)


def test_batch_norm_with_five_outputs_below_opset_14_is_in_training_mode_and_refused():
    constants = {"s": random((3,), 1), "b": random((3,), 2), "m": random((3,), 3), "v": np.ones(3, np.float32)}
    source = model([node("BatchNormalization", "x s b m v", "y m2 v2 m3 v3")], constants, opset=13)
    _, edits, refusals = lowered(source)
    assert [refusal.code for refusal in refusals] == ["batch-norm-in-training-mode"]
    assert not edits
