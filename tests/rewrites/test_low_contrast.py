"""Pictures of low contrast: means and biases that a norm cancels anyway are removed, which is exact."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import targets
from pipeline.graph import from_model
from pipeline.rewrites import finish
from pipeline.verify.proof import as_target_computes
from tests.rewrites import BARRACUDA_3, TARGETS, assert_equivalent, model, node, operators, random

PADS = [0, 0, 4, 4, 0, 0, 4, 4]


def network(mode: str = "reflect", own: int = 0, extra: tuple = ()):
    """A padded 9x9 convolution with a bias, a norm, Relu, and a 3x3 convolution with a norm and one without."""
    nodes = [
        *([node("Pad", "x", "p", mode=mode, pads=PADS)] if mode else []),
        node("Conv", f"{'p' if mode else 'x'} w b", "c", kernel_shape=[9, 9], pads=[own] * 4),
        node("InstanceNormalization", "c s t", "n", epsilon=1e-5),
        node("Relu", "n", "r"),
        node("Conv", "r v d", "e", kernel_shape=[3, 3], pads=[1] * 4),
        node("InstanceNormalization", "e s t", "m", epsilon=1e-5),
        node("Conv", "m o q", "y", kernel_shape=[1, 1]),
        *extra,
    ]
    weights = {"w": random((8, 3, 9, 9)) + 0.3, "b": random((8,), 1) + 5, "s": np.ones(8, np.float32)}
    weights |= {"t": random((8,), 2), "v": random((8, 8, 3, 3), 3), "d": random((8,), 4) + 3}
    return model(
        nodes, weights | {"o": random((3, 8, 1, 1), 5), "q": random((3,), 6)}, input_shape=(1, 3, "h", "w")
    )


@pytest.mark.parametrize("mode", ["reflect", "edge", ""])
@pytest.mark.parametrize("target", [*TARGETS, targets.get("inference-2")], ids=lambda item: item.name)
def test_removing_the_mean_and_the_biases_keeps_the_output(mode, target) -> None:
    before = network(mode)
    graph = from_model(before)
    edits = finish(graph, target).edits
    assert [edit.what.split()[-1] for edit in edits] == ["it", "changed"] and len(edits[1].nodes) == 2
    native = target.can("native-instance-norm")
    start = ["InstanceNormalization"] if native else ["GlobalAveragePool", "Sub"]
    start += ["Pad", "Conv"] if mode else ["Conv"]
    assert operators(graph)[: len(start)] == start
    assert [len(item.inputs) for item in graph.nodes if item.op == "Conv"] == [2, 2, 3]
    assert_equivalent(before, graph, sizes=((24, 32), (40, 24)), tolerance=1e-4)
    assert finish(graph, target).edits == []


def test_zeros_at_the_borders_keep_the_mean() -> None:
    for item in (network("constant"), network("", own=4)):
        graph = from_model(item)
        assert [len(edit.nodes) for edit in finish(graph, BARRACUDA_3).edits] == [2]
        assert "GlobalAveragePool" not in operators(graph)


def test_a_bias_stays_if_other_nodes_than_the_norm_read_it() -> None:
    stored = network()
    stored.graph.node.append(node("Relu", "c", "other"))
    stored.graph.output.add().name = "other"
    assert [len(edit.nodes) for edit in finish(from_model(stored), BARRACUDA_3).edits] == [1]


def test_targets_with_an_exact_variance_are_left_alone() -> None:
    graph = from_model(network())
    assert finish(graph, targets.get("compute")).edits == []


@pytest.mark.parametrize("target", [BARRACUDA_3, targets.get("inference-2")], ids=lambda stored: stored.name)
@pytest.mark.parametrize("contrast", [1.0, 0.1, 0.01, 0.004])
def test_low_contrast_is_as_accurate_as_high_contrast(contrast, target) -> None:
    """As the target computes it in float32, against float64: 1e-3 of the largest value at any contrast."""
    import torch
    from torch.nn import functional as f

    stored = network()
    graph = from_model(stored)
    plain = as_target_computes(target.family.write(graph, target), target)
    finish(graph, target)
    cured = as_target_computes(target.family.write(graph, target), target)
    drawn = np.random.default_rng(7).random((1, 3, 96, 128))
    picture = (255 * (1 - contrast * (1 - drawn))).astype(np.float32)
    value = {tensor.name: torch.from_numpy(tensor_values(tensor)) for tensor in stored.graph.initializer}
    x = f.pad(torch.from_numpy(picture.astype(np.float64)), (4,) * 4, mode="reflect")
    x = f.relu(f.instance_norm(f.conv2d(x, value["w"], value["b"]), weight=value["s"], bias=value["t"]))
    x = f.instance_norm(f.conv2d(x, value["v"], value["d"], padding=1), weight=value["s"], bias=value["t"])
    expected = f.conv2d(x, value["o"], value["q"]).numpy()
    off = [float(np.nan_to_num(np.abs(run(picture) - expected), nan=1e9).max()) for run in (plain, cured)]
    assert off[1] < 1e-3 * np.abs(expected).max()
    if contrast <= 0.01:
        assert off[0] > 20 * off[1], "what the cure is for"


def tensor_values(tensor) -> np.ndarray:
    from onnx import numpy_helper

    return numpy_helper.to_array(tensor).astype(np.float64)


def test_a_picture_of_one_colour_is_0_before_every_norm() -> None:
    """The second convolution takes off what it makes of the first norm's bias; padded by reflection throughout."""
    import torch
    from torch.nn import functional as f

    nodes = [
        node("Conv", "x w b", "c", kernel_shape=[9, 9]),
        node("InstanceNormalization", "c s t", "n", epsilon=1e-5),
        node("Relu", "n", "r"),
        node("Pad", "r", "p", mode="reflect", pads=[0, 0, 1, 1, 0, 0, 1, 1]),
        node("Conv", "p v d", "e", kernel_shape=[3, 3]),
        node("InstanceNormalization", "e s t", "m", epsilon=1e-5),
        node("Conv", "m o q", "y", kernel_shape=[1, 1]),
    ]
    weights = {"w": random((8, 3, 9, 9)) + 0.3, "b": random((8,), 1) + 5, "s": np.ones(8, np.float32)}
    weights |= {"t": random((8,), 2) + 2, "v": 30 * random((8, 8, 3, 3), 3), "d": random((8,), 4) + 3}
    network = model(
        nodes, weights | {"o": random((3, 8, 1, 1), 5), "q": random((3,), 6)}, input_shape=(1, 3, "h", "w")
    )
    target = targets.get("inference-2")
    graph = from_model(network)
    plain = as_target_computes(target.family.write(graph, target), target)
    finish(graph, target)
    given = [conv.inputs[2].values for conv in graph.nodes if conv.op == "Conv" and len(conv.inputs) > 2]
    flat = np.maximum(weights["t"].astype(np.float64), 0)
    np.testing.assert_allclose(given[0], -weights["v"].astype(np.float64).sum(axis=(2, 3)) @ flat, rtol=1e-5)
    cured = as_target_computes(target.family.write(graph, target), target)
    shift = torch.from_numpy(weights["t"].astype(np.float64)).reshape(1, -1, 1, 1).expand(1, 8, 24, 32)
    value = {tensor.name: torch.from_numpy(tensor_values(tensor)) for tensor in network.graph.initializer}
    expected = f.conv2d(shift, value["o"], value["q"]).numpy()
    for colour in (0.0, 0.3, 255.0):
        picture = np.full((1, 3, 32, 40), colour, np.float32)
        assert np.abs(cured(picture) - expected).max() < 1e-4 * np.abs(expected).max()
    assert not np.abs(plain(picture) - expected).max() < 0.1 * np.abs(expected).max(), "what it is for"
