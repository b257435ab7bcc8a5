"""The first node where two graphs part is named, and nothing is where they do not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline import targets
from pipeline.targets.barracuda.emulation import emulate
from pipeline.verify.bisect import ModelWithInput, by_name, by_value
from tests.networks import style_onnx

SHAPE = (1, 3, 12, 16)
RNG = np.random.default_rng(11)
W1, W2 = RNG.normal(0, 0.4, (4, 3, 3, 3)), RNG.normal(0, 0.4, (3, 4, 1, 1))
B1 = RNG.normal(0, 0.4, 4)


def graph(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], opset: int = 9) -> onnx.ModelProto:
    """A model from `x` to the last node's output."""
    stored = [
        numpy_helper.from_array(v if v.dtype == np.int64 else v.astype(np.float32), k)
        for k, v in constants.items()
    ]
    proto = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        stored,
    )
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def chain(*middle: onnx.NodeProto, opset: int = 9, **constants: np.ndarray) -> onnx.ModelProto:
    """A convolution x -> a, what is given (a -> m), and a 1x1 convolution m -> y."""
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], name="first", pads=[1] * 4),
        *middle,
        helper.make_node("Conv", ["m", "w2"], ["y"], name="last"),
    ]
    return graph(nodes, {"w1": W1, "b1": B1, "w2": W2, **constants}, opset)


def noise() -> np.ndarray:
    return np.random.default_rng(5).random(SHAPE, dtype=np.float32)


def changed(model: onnx.ModelProto, name: str, by: float) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.float32(by), name))
    return copy


def on_target(model: onnx.ModelProto, target: str):
    value = noise()
    return by_name(ModelWithInput(model, value), ModelWithInput(emulate(model, targets.get(target)), value))


# --- one graph in two forms -----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", targets.names("barracuda"))
def test_a_graph_that_the_target_computes_right_does_not_part(tmp_path, target):
    model = onnx.load(style_onnx(tmp_path / "n.onnx", size=(12, 16)))
    assert on_target(model, target) is None


@pytest.mark.parametrize("target", targets.names("barracuda"))
def test_align_corners_is_named(target):
    resize = helper.make_node(
        "Resize",
        ["a", "", "s"],
        ["m"],
        name="bigger",
        mode="linear",
        coordinate_transformation_mode="align_corners",
    )
    divergence = on_target(chain(resize, opset=13, s=np.array([1.0, 1, 2, 2])), target)
    assert (divergence.operator, divergence.node, divergence.tensor) == ("Resize", "bigger", "m")
    assert divergence.shape_a == divergence.shape_b == (1, 4, 24, 32)
    assert divergence.difference > 0.01 and divergence.relative > 0.01
    assert (divergence.agreed, divergence.last) == (1, ("a", "a"))


def test_an_old_linear_upsample_is_named():
    upsample = helper.make_node("Upsample", ["a", "s"], ["m"], mode="linear")
    divergence = on_target(chain(upsample, s=np.array([1.0, 1, 2, 2])), "barracuda-3.0")
    assert (divergence.operator, divergence.node) == ("Upsample", "m")


def test_strides_that_differ_are_named_with_both_shapes():
    conv = helper.make_node("Conv", ["a", "w3"], ["m"], name="tall", strides=[2, 1], kernel_shape=[1, 1])
    divergence = on_target(chain(conv, w3=np.eye(4).reshape(4, 4, 1, 1)), "barracuda-3.0")
    assert (divergence.node, divergence.difference) == ("tall", None)
    assert (divergence.shape_a, divergence.shape_b) == ((1, 4, 6, 16), (1, 4, 12, 8))
    assert "has the shape 1x4x6x16 in A and 1x4x12x8 in B" in divergence.sentence


def test_a_graph_that_fails_behind_the_culprit_still_has_it_named():
    """The residual sum of two shapes does not run in B; nothing but the nodes before it is then run."""
    nodes = [
        helper.make_node("Conv", ["a", "w3"], ["t"], name="tall", strides=[2, 1], kernel_shape=[1, 1]),
        helper.make_node("Slice", ["a"], ["q"], name="half", axes=[2], starts=[0], ends=[6]),
        helper.make_node("Add", ["t", "q"], ["m"], name="sum"),
    ]
    model = chain(*nodes, w3=np.eye(4).reshape(4, 4, 1, 1))
    assert on_target(model, "barracuda-3.0").node == "tall"


def test_a_node_that_b_cannot_compute_is_named_with_the_reason():
    model = chain(helper.make_node("Relu", ["a"], ["m"], name="act"))
    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    broken.graph.node[1].op_type = "NoSuchOperator"
    divergence = by_name(ModelWithInput(model, noise()), ModelWithInput(broken, noise()))
    assert (divergence.node, divergence.shape_b) == ("act", None)
    assert "B cannot compute it" in divergence.hint and "NoSuchOperator" in divergence.hint


def test_a_tensor_that_the_emulation_drops_is_passed_over():
    """Add(scalar) before a padded Conv is folded into the bias: the Conv shows what became of it."""
    nodes = [
        helper.make_node("Add", ["x", "c"], ["s"], name="shift"),
        helper.make_node("Conv", ["s", "w1", "b1"], ["y"], name="padded", pads=[1] * 4),
    ]
    model = graph(nodes, {"c": np.array(0.5), "w1": W1, "b1": B1})
    divergence = on_target(model, "barracuda-3.0")
    assert divergence.node == "padded" and divergence.last == ("x", "x")
    row, column = divergence.place[2:]
    assert row in (0, 11) or column in (0, 15)


def test_the_largest_difference_is_measured_where_it_is():
    model = chain(helper.make_node("Relu", ["a"], ["m"], name="act"))
    divergence = by_name(ModelWithInput(model, noise()), ModelWithInput(changed(model, "b1", 0.25), noise()))
    assert divergence.node == "first" and divergence.difference == pytest.approx(0.25, abs=1e-5)
    assert "B has 1 times that value + 0.25" in divergence.hint
    assert divergence.last == ("x", "x") and divergence.agreed == 0


def test_single_numbers_and_values_that_are_not_finite_are_compared():
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], name="top", keepdims=0),
        helper.make_node("Div", ["x", "zero"], ["inf"], name="divide"),
        helper.make_node("Add", ["inf", "top"], ["y"], name="sum"),
    ]
    model = graph(nodes, {"zero": np.zeros(1)})
    assert by_name(ModelWithInput(model, noise()), ModelWithInput(model, noise())) is None
    other = onnx.ModelProto()
    other.CopyFrom(model)
    other.graph.node[0].op_type = "ReduceMin"
    divergence = by_name(ModelWithInput(model, noise()), ModelWithInput(other, noise()))
    assert (divergence.node, divergence.shape_a, divergence.place) == ("top", (), ())
    finite = changed(model, "zero", 2.0)
    assert by_name(ModelWithInput(model, noise()), ModelWithInput(finite, noise())).difference == np.inf


def test_more_tensors_than_are_fetched_at_once_are_compared():
    nodes = [
        helper.make_node("Add", [f"t{i}" if i else "x", "c"], [f"t{i + 1}"], name=f"n{i + 1}") for i in range(150)
    ]
    model, other = (graph(nodes, {"c": np.array(0.01)}) for _ in range(2))
    node = other.graph.node[130]
    node.op_type = "Sub"
    assert by_name(ModelWithInput(model, noise()), ModelWithInput(other, noise())).node == "n131"


# --- two graphs -----------------------------------------------------------------------------------------------


def found(a: onnx.ModelProto, b: onnx.ModelProto, value: np.ndarray | None = None, agree: bool = False):
    return by_value(
        ModelWithInput(a, noise() if value is None else value), ModelWithInput(b, noise()), outputs_agree=agree
    )


def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with other names of tensors and nodes."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        node.name = f"other_{node.name}"
        for names in (node.input, node.output):
            names[:] = [f"other_{name}" if name else "" for name in names]
    for tensor in (*copy.graph.input, *copy.graph.output, *copy.graph.initializer):
        tensor.name = f"other_{tensor.name}"
    return copy


RELU = helper.make_node("Relu", ["a"], ["m"], name="act")


def test_other_names_are_no_difference():
    model = chain(RELU)
    assert found(model, renamed(model)) is None


@pytest.mark.parametrize("rename", [False, True])
def test_a_changed_bias_is_found_in_its_convolution(rename):
    model = chain(
        RELU,
        helper.make_node("Conv", ["m", "w3", "b3"], ["n"], name="culprit"),
        w3=np.eye(4).reshape(4, 4, 1, 1),
        b3=B1,
    )
    model.graph.node[-1].input[0] = "n"
    other = changed(model, "b3", 0.1)
    divergence = found(model, renamed(other) if rename else other)
    assert (divergence.operator, divergence.node) == ("Conv", "culprit")
    assert divergence.last == ("m", "other_m" if rename else "m")
    assert divergence.difference == pytest.approx(0.1, abs=1e-5)
    assert "B has 1 times that value + 0.1" in divergence.hint
    if rename:
        assert divergence.counterpart == "other_n" and divergence.continues == ("Conv other_culprit",)


def test_a_fused_node_is_not_named_when_what_follows_is_found_again():
    """A scales by a Mul after the convolution, B has that in the weights, and another last convolution."""
    scale = helper.make_node("Mul", ["a", "k"], ["s"], name="scale")
    act = helper.make_node("Relu", ["s"], ["m"], name="act")
    k = np.array([0.5, 2, 3, 1.5]).reshape(1, 4, 1, 1)
    model = chain(scale, act, k=k)
    fused = chain(RELU)
    weights = {"w1": W1 * k.reshape(4, 1, 1, 1), "b1": B1 * k.reshape(4)}
    for tensor in fused.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name].astype(np.float32), tensor.name))
    assert found(model, fused) is None
    divergence = found(model, changed(fused, "w2", 0.2))
    assert divergence.node == "last" and divergence.last == ("m", "m")


def test_another_order_of_axes_is_no_difference():
    nodes = [
        helper.make_node("Transpose", ["a"], ["t"], name="there", perm=[0, 2, 3, 1]),
        helper.make_node("Relu", ["t"], ["r"], name="act"),
        helper.make_node("Transpose", ["r"], ["m"], name="back", perm=[0, 3, 1, 2]),
    ]
    other = chain(RELU)
    assert found(chain(*nodes), other) is None
    divergence = found(chain(*nodes), changed(other, "w2", 0.2))
    assert divergence.node == "last" and divergence.last == ("m", "m")


def test_the_last_agreement_may_be_in_another_order_of_axes():
    def channels_last(k: float) -> onnx.ModelProto:
        nodes = [
            helper.make_node("Transpose", ["a"], ["t"], name="there", perm=[0, 2, 3, 1]),
            helper.make_node("Relu", ["t"], ["r"], name="act"),
            helper.make_node("Mul", ["r", "k"], ["s"], name="scale"),
            helper.make_node("Transpose", ["s"], ["m"], name="back", perm=[0, 3, 1, 2]),
        ]
        return chain(*nodes, k=np.full(4, k))

    relu, scale = helper.make_node("Relu", ["a"], ["z"], name="act"), helper.make_node("Mul", ["z", "k"], ["m"])
    other = chain(relu, scale, k=np.full((1, 4, 1, 1), 2.0))
    assert found(channels_last(2.0), other) is None
    divergence = found(channels_last(3.0), other)
    assert (divergence.node, divergence.last) == ("scale", ("r", "z"))
    assert divergence.continues == ("Mul m",)


def test_what_only_lends_its_size_is_no_agreement():
    """A sum of two convolutions, one of them shaped like the other, which differs."""
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b3"], ["c"], name="culprit", pads=[1] * 4),
        helper.make_node("Shape", ["c"], ["size"], name="size"),
        helper.make_node("Reshape", ["a", "size"], ["r"], name="shaped"),
        helper.make_node("Relu", ["r"], ["p"], name="act"),
        helper.make_node("Add", ["p", "c"], ["m"], name="sum"),
    ]
    model = chain(*nodes, b3=B1 + 1)
    assert found(model, changed(model, "b3", 0.5)).node == "culprit"


def test_another_value_range_at_both_ends_is_no_difference_where_the_pictures_agree():
    """A takes 0..255 and gives 255 times as much; B takes 0..1."""
    wide = chain(RELU)
    for tensor in wide.graph.initializer:
        factor = {"w1": 1 / 255, "w2": 255}.get(tensor.name)
        if factor:
            array = numpy_helper.to_array(tensor) * np.float32(factor)
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float32), tensor.name))
    assert found(wide, chain(RELU), noise() * 255, agree=True) is None
    divergence = found(wide, changed(chain(RELU), "b1", 0.3), noise() * 255)
    assert (divergence.node, divergence.last) == ("first", ("x", "x"))


def test_a_shape_that_b_has_nowhere_is_said():
    pool = helper.make_node("AveragePool", ["a"], ["m"], name="half", kernel_shape=[2, 2], strides=[2, 2])
    divergence = found(chain(pool), chain(helper.make_node("Relu", ["a"], ["z"]), RELU))
    assert (divergence.node, divergence.counterpart, divergence.shape_a) == ("half", "m", (1, 4, 6, 8))
    divergence = found(chain(pool), renamed(chain(RELU)))
    assert (divergence.node, divergence.counterpart) == ("half", None)
    assert "1x4x6x8 in A, and no counterpart in B" in divergence.sentence


def test_the_report_is_plain_numbers():
    import json

    model = chain(RELU)
    report = json.loads(json.dumps(found(model, changed(model, "b1", 0.25)).as_dict()))
    assert (report["node"], report["operator"], report["shape_a"]) == ("first", "Conv", [1, 4, 12, 16])
    assert report["largest_difference"] == pytest.approx(0.25, abs=1e-5)
    assert report["last_agreement"] == {"a": "x", "b": "x"}


def normalised(bias: np.ndarray, epsilon: float = 1e-5, *, centred: bool = False) -> onnx.ModelProto:
    """A convolution with a bias, an instance normalisation and a 1x1 convolution."""
    nodes = [
        helper.make_node("Conv", ["c" if centred else "x", "w1", "b"], ["a" if centred else "k"], name="first")
    ]
    if centred:
        nodes.insert(0, helper.make_node("GlobalAveragePool", ["x"], ["mean"]))
        nodes.insert(1, helper.make_node("Sub", ["x", "mean"], ["c"]))
    result = nodes[-1].output[0]
    nodes.append(
        helper.make_node("InstanceNormalization", [result, "s", "t"], ["n"], name="norm", epsilon=epsilon)
    )
    nodes.append(helper.make_node("Conv", ["n", "w2"], ["y"], name="last"))
    return graph(nodes, {"w1": W1, "w2": W2, "b": bias, "s": np.ones(4), "t": np.ones(4)})


@pytest.mark.parametrize("written_out", [False, True])
def test_what_a_norm_takes_off_is_no_difference(written_out):
    """The bias and the mean of the picture are left out of B, and its norm is another: that is what is named."""
    a, b = normalised(B1), normalised(np.zeros(4), 0.3, centred=True)
    if written_out:
        b = emulate(b, targets.get("barracuda-3.0"))
    divergence = by_value(ModelWithInput(a, noise()), ModelWithInput(b, noise()), outputs_agree=False)
    assert (divergence.node, divergence.last) == ("norm", ("k", "a"))
