from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest

from pipeline.graph import declare_size, from_model, to_model
from pipeline.rewrites import lower
from pipeline.rewrites.constants import Constants
from pipeline.rewrites.instance_norm import FuseInstanceNorm, InstanceNormInputs
from tests.rewrites import (
    BARRACUDA_1,
    BARRACUDA_3,
    TARGETS,
    apply,
    assert_equivalent,
    free_size,
    model,
    node,
    operators,
    random,
    run,
)

GAMMA = random((1, 3, 1, 1), 1)
BETA = random((1, 3, 1, 1), 2)
CONSTANTS = {"two": 2.0, "eps": 1e-3, "half": 0.5, "minus": -0.5, "one": 1.0, "g": GAMMA, "b": BETA}
AFFINE = [node("Mul", "z g", "s"), node("Add", "s b", "y")]
FREE = (1, 3, "h", "w")


def reduce_mean(source, output):
    return node("ReduceMean", source, output, axes=[2, 3], keepdims=1)


def global_pool(source, output):
    return node("GlobalAveragePool", source, output)


def fused(nodes, constants=CONSTANTS, shape=FREE, opset=9):
    source = model(nodes, constants, input_shape=shape, opset=opset)
    graph = from_model(source)
    apply(Constants(), graph)
    edits, _ = apply(FuseInstanceNorm(), graph)
    return source, graph, edits


SQUARES = {
    "product": [node("Mul", "d d", "q")],
    "power": [node("Pow", "d two", "q")],
    "shifted": [node("Add", "d eps", "d2"), node("Mul", "d d2", "q")],
    "twice": [node("Sub", "x m", "e"), node("Mul", "d e", "q")],
}
DIVISIONS = {
    "sqrt": [node("Sqrt", "ve", "r"), node("Div", "d r", "z")],
    "power": [node("Pow", "ve half", "r"), node("Div", "d r", "z")],
    "reciprocal": [node("Sqrt", "ve", "r"), node("Reciprocal", "r", "i"), node("Mul", "i d", "z")],
    "one over": [node("Sqrt", "ve", "r"), node("Div", "one r", "i"), node("Mul", "d i", "z")],
    "negative power": [node("Pow", "ve minus", "i"), node("Mul", "d i", "z")],
}


@pytest.mark.parametrize("mean", [reduce_mean, global_pool])
@pytest.mark.parametrize("square", SQUARES)
@pytest.mark.parametrize("division", DIVISIONS)
def test_every_way_of_writing_it_becomes_one_node_with_its_affine_part(mean, square, division):
    nodes = [mean("x", "m"), node("Sub", "x m", "d"), *SQUARES[square], mean("q", "v"), node("Add", "eps v", "ve")]
    source, graph, edits = fused([*nodes, *DIVISIONS[division], *AFFINE])
    assert operators(graph) == ["InstanceNormalization"]
    assert graph.nodes[0].attrs["epsilon"] == pytest.approx(1e-3)
    assert graph.nodes[0].outputs[0].name == "y"
    assert "z_node" in edits[0].nodes
    assert_equivalent(source, graph, batch=2, low=0, high=2)


def test_the_mean_of_squares_minus_the_square_of_the_mean_is_the_variance():
    nodes = [
        global_pool("x", "m"),
        node("Sub", "x m", "d"),
        node("Mul", "x x", "xx"),
        global_pool("xx", "mm"),
        node("Pow", "m two", "m2"),
        node("Sub", "mm m2", "v"),
        node("Add", "v eps", "ve"),
    ]
    source, graph, _ = fused([*nodes, *DIVISIONS["sqrt"], *AFFINE])
    assert operators(graph) == ["InstanceNormalization"]
    assert_equivalent(source, graph, tolerance=1e-4)


@pytest.mark.parametrize("affine", [True, False])
def test_tensorflows_batch_normalization_form_is_recognised(affine):
    nodes = [
        reduce_mean("x", "m"),
        node("Sub", "x m", "d"),
        node("Mul", "d d", "q"),
        reduce_mean("q", "v"),
        node("Add", "v eps", "ve"),
        node("Sqrt", "ve", "r"),
        node("Reciprocal", "r", "i"),
        *([node("Mul", "i g", "inv")] if affine else [node("Identity", "i", "inv")]),
        node("Mul", "x inv", "xi"),
        node("Mul", "m inv", "mi"),
        node("Sub", "b mi", "shift"),
        node("Add", "xi shift", "y"),
    ]
    source, graph, _ = fused(nodes)
    assert operators(graph) == ["InstanceNormalization"]
    assert_equivalent(source, graph)


def test_an_unbiased_variance_keeps_its_factor_in_scale_and_epsilon():
    # torch.var(unbiased=True): times n, over n - 1, with n the number of pixels when it was exported
    count = 12 * 16
    nodes = [
        reduce_mean("x", "m"),
        node("Sub", "x m", "d"),
        node("Mul", "d d", "q"),
        reduce_mean("q", "biased"),
        node("Mul", "biased n", "total"),
        node("Div", "total n1", "v"),
        node("Add", "v eps", "ve"),
    ]
    constants = CONSTANTS | {"n": float(count), "n1": float(count - 1), "eps": 0.1}
    source, graph, _ = fused([*nodes, *DIVISIONS["sqrt"], *AFFINE], constants)
    assert operators(graph) == ["InstanceNormalization"]
    assert graph.nodes[0].attrs["epsilon"] == pytest.approx(0.1 * (count - 1) / count)
    biased = model(
        [node("InstanceNormalization", "x gamma beta", "y", epsilon=0.1)],
        {"gamma": GAMMA.ravel(), "beta": BETA.ravel()},
    )
    with pytest.raises(AssertionError):  # the tolerance tells them apart
        assert_equivalent(biased, graph, sizes=[(12, 16)])
    assert_equivalent(source, graph)


@pytest.mark.parametrize(("operator", "factor"), [("Mul", 0.25), ("Div", 4.0), ("Mul", 3.0)])
def test_a_variance_times_a_number_keeps_that_in_scale_and_epsilon(operator, factor):
    nodes = [
        reduce_mean("x", "m"),
        node("Sub", "x m", "d"),
        node("Mul", "d d", "q"),
        reduce_mean("q", "u"),
        node(operator, "u factor", "v"),
        node("Add", "v eps", "ve"),
        node("Sqrt", "ve", "r"),
        node("Div", "d r", "z"),
        node("Mul", "z g", "s"),
        node("Add", "s b", "y"),
    ]
    source, graph, _ = fused(nodes, CONSTANTS | {"factor": factor}, opset=13)
    assert operators(graph) == ["InstanceNormalization"]
    assert_equivalent(source, graph)


def test_statistics_in_rows_as_adain_computes_them_are_recognised():
    # feat.view(N, C, -1).var(dim=2) + eps, .sqrt().view(N, C, 1, 1), and the mean likewise
    nodes = [
        node("Reshape", "x rows", "r"),
        node("ReduceMean", "r", "rm", axes=[2], keepdims=1),
        node("Sub", "r rm", "rd"),
        node("Mul", "rd rd", "rq"),
        node("ReduceMean", "rq", "rv", axes=[2], keepdims=0),
        node("Add", "rv eps", "rve"),
        node("Sqrt", "rve", "rs"),
        node("Reshape", "rs map", "std"),
        node("Reshape", "x rows", "r2"),
        node("ReduceMean", "r2", "rm2", axes=[2], keepdims=0),
        node("Reshape", "rm2 map", "m"),
        node("Sub", "x m", "d"),
        node("Div", "d std", "z"),
    ]
    constants = CONSTANTS | {"rows": np.array([1, 3, -1]), "map": np.array([1, 3, 1, 1])}
    source, graph, _ = fused([*nodes, *AFFINE], constants)
    assert operators(graph) == ["InstanceNormalization"]
    assert_equivalent(source, graph)


def test_a_computed_scale_stays_behind_the_fused_node():
    nodes = [
        global_pool("x", "m"),
        node("Sub", "x m", "d"),
        *SQUARES["product"],
        global_pool("q", "v"),
        node("Add", "v eps", "ve"),
        *DIVISIONS["sqrt"],
        node("Mul", "z style", "s"),
        node("Add", "s b", "y"),
    ]
    source = model(nodes, CONSTANTS, extra_inputs={"style": (1, 3, 1, 1)})
    graph = from_model(source)
    apply(FuseInstanceNorm(), graph)
    assert operators(graph) == ["InstanceNormalization", "Mul", "Add"]
    assert_equivalent(source, graph)


def refused(nodes, constants=CONSTANTS, shape=FREE):
    source, graph, edits = fused(nodes, constants, shape)
    assert not edits
    assert "InstanceNormalization" not in operators(graph)
    return source, graph


def test_keras_standard_deviation_plus_epsilon_is_not_instance_normalization():
    nodes = [
        reduce_mean("x", "m"),
        node("Sub", "x m", "d"),
        *SQUARES["product"],
        reduce_mean("q", "v"),
        node("Sqrt", "v", "r"),
        node("Add", "r eps", "re"),
        node("Div", "d re", "z"),
        *AFFINE,
    ]
    refused(nodes)
    source = model(nodes, CONSTANTS, input_shape=FREE)
    for target in TARGETS:
        graph = from_model(source)
        result = lower(graph, target)
        assert not result.refusals
        assert "InstanceNormalization" not in operators(graph)
        pooled = operators(graph).count("GlobalAveragePool")
        assert pooled == (2 if target is BARRACUDA_1 else 0), "means are pooled where the target lacks them"
        assert_equivalent(source, graph)


def test_formulas_that_differ_slightly_are_left_alone():
    tail = [node("Add", "v eps", "ve"), *DIVISIONS["sqrt"], *AFFINE]
    # the variance of another tensor
    refused(
        [global_pool("x", "m"), node("Sub", "x m", "d"), node("Mul", "x x", "q"), global_pool("q", "v"), *tail]
    )
    # the mean over channels too
    over_all = node("ReduceMean", "x", "m", axes=[1, 2, 3], keepdims=1)
    refused([over_all, node("Sub", "x m", "d"), *SQUARES["product"], global_pool("q", "v"), *tail])
    # a cube, not a square
    cube = [node("Pow", "d three", "q")]
    constants = CONSTANTS | {"three": 3.0}
    refused([global_pool("x", "m"), node("Sub", "x m", "d"), *cube, global_pool("q", "v"), *tail], constants)
    # the mean minus x
    refused([global_pool("x", "m"), node("Sub", "m x", "d"), *SQUARES["product"], global_pool("q", "v"), *tail])
    # a mean over height alone
    height = node("ReduceMean", "x", "m", axes=[2], keepdims=1)
    refused([height, node("Sub", "x m", "d"), *SQUARES["product"], global_pool("q", "v"), *tail])


def test_an_affine_part_that_is_not_per_channel_stays():
    nodes = [global_pool("x", "m"), node("Sub", "x m", "d"), *SQUARES["product"], global_pool("q", "v")]
    nodes += [node("Add", "v eps", "ve"), *DIVISIONS["sqrt"], node("Mul", "z row", "y")]
    source, graph, _ = fused(nodes, CONSTANTS | {"row": random((1, 1, 1, 16), 4)})
    assert operators(graph) == ["InstanceNormalization", "Mul"]
    assert_equivalent(source, graph, sizes=((12, 16), (20, 16)))


def test_a_normalised_tensor_that_others_read_too_keeps_its_own_node():
    nodes = [global_pool("x", "m"), node("Sub", "x m", "d"), *SQUARES["product"], global_pool("q", "v")]
    nodes += [node("Add", "v eps", "ve"), *DIVISIONS["sqrt"], node("Mul", "z g", "s"), node("Add", "s z", "y")]
    source, graph, _ = fused(nodes)
    assert sorted(operators(graph)) == ["Add", "InstanceNormalization", "Mul"]
    assert_equivalent(source, graph)


IN = {"scale": random((8,), 1), "bias": random((8,), 2)}
CONV = {"w": random((8, 3, 3, 3), 3)}


def prepared(source, target=BARRACUDA_3):
    graph = from_model(source)
    edits, refusals = apply(InstanceNormInputs(), graph, target)
    return graph, edits, refusals


def test_a_computed_scale_and_bias_become_mul_and_add():
    source = model(
        [
            node("Conv", "x w", "c"),
            node("Reshape", "style flat", "s"),
            node("InstanceNormalization", "c s t", "y", epsilon=1e-3),
        ],
        CONV | {"flat": np.array([8])},
        extra_inputs={"style": (1, 8, 1, 1), "t": (8,)},
    )
    graph, edits, _ = prepared(source)
    assert sorted(operators(graph)) == ["Add", "Conv", "InstanceNormalization", "Mul", "Reshape"]
    plain = next(item for item in graph.nodes if item.op == "InstanceNormalization")
    assert np.all(plain.inputs[1].values == 1)
    assert np.all(plain.inputs[2].values == 0)
    assert edits[0].nodes == ("y_node",)
    assert_equivalent(source, graph)


def test_a_computed_scale_of_unknown_channels_is_refused():
    source = model(
        [node("InstanceNormalization", "x s t", "y")],
        input_shape=(1, "c", "h", "w"),
        extra_inputs={"s": ("c",), "t": ("c",)},
    )
    _, edits, refusals = prepared(source)
    assert [refusal.code for refusal in refusals] == ["channels-unknown"]
    assert not edits


STALE = {
    "concat": [node("Conv", "x w4", "c"), node("Concat", "c c", "a", axis=1)],
    "depth to space": [node("Conv", "x w32", "c"), node("DepthToSpace", "c", "a", blocksize=2)],
    "slice": [node("Conv", "x w32", "c"), node("Slice", "c", "a", starts=[8], ends=[16], axes=[1])],
    "concat, relu": [node("Conv", "x w4", "c"), node("Concat", "c c", "d", axis=1), node("Relu", "d", "a")],
}
WEIGHTS = IN | {"w4": random((4, 3, 3, 3), 5), "w32": random((32, 3, 3, 3), 6)} | CONV


@pytest.mark.parametrize("case", STALE)
def test_a_stale_channel_count_is_reset_once_with_the_constant_first(case):
    source = model([*STALE[case], node("InstanceNormalization", "a scale bias", "y")], WEIGHTS)
    graph, edits, _ = prepared(source)
    assert len(edits) == 1
    reset = graph.nodes[-2]
    assert reset.op == "Mul"
    assert reset.inputs[0].values.tolist() == [1.0]
    assert_equivalent(source, graph, tolerance=1e-6)
    lower(graph, BARRACUDA_3)
    assert operators(graph).count("Mul") == 1


def test_a_channel_count_after_a_convolution_is_not_reset():
    nodes = [
        *STALE["concat"],
        node("Conv", "a wide", "e", pads=[1, 1, 1, 1]),
        node("Relu", "e", "f"),
        node("InstanceNormalization", "f scale bias", "y"),
    ]
    _, edits, _ = prepared(model(nodes, WEIGHTS | {"wide": random((8, 8, 3, 3))}))
    assert not edits


@pytest.mark.parametrize("name", ["mosaic_nc8_128x128.onnx", "candy_nc16_128x128.onnx"])
@pytest.mark.parametrize("target", [BARRACUDA_1, BARRACUDA_3])
def test_exports_of_2018_become_the_plain_style_network_at_any_size(shared_models, name, target):
    source = onnx.load(shared_models / "fast_neural_style" / name)
    graph = from_model(source)
    result = lower(graph, target)
    assert not result.refusals
    counts = Counter(operators(graph))
    assert counts == Counter(Pad=16, Conv=16, InstanceNormalization=15, Relu=10, Add=5, Resize=2)
    assert_equivalent(declare_size(source, 128, 128), graph, sizes=[(128, 128)], low=0, high=255)
    other = run(free_size(to_model(graph)), {"input.1": random((1, 3, 64, 96), scale=80.0)})
    assert other[0].shape == (1, 3, 64, 96)


def test_1_0_counts_channels_anew_before_a_batch_normalisation():
    """Run in Barracuda 1.0.4: behind Concat it warned of the number of features."""
    statistics = {name: np.abs(random((6,), seed)) for seed, name in enumerate("gbmv")}
    nodes = [
        node("Concat", "x x", "a", axis=1),
        node("Slice", "a", "s", starts=[0], ends=[6], axes=[1]),
        node("BatchNormalization", "s g b m v", "y"),
    ]
    source = model(nodes, statistics)
    old, new = from_model(source), from_model(source)
    assert apply(InstanceNormInputs(), old, BARRACUDA_1)[0]
    assert operators(old)[-2:] == ["Mul", "BatchNormalization"]
    assert_equivalent(source, old, tolerance=1e-6)
    assert not apply(InstanceNormInputs(), new, BARRACUDA_3, found=True)[0]
