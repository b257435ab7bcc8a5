"""The values of tensors for a picture of one colour are predicted."""

from __future__ import annotations

import numpy as np

from pipeline.graph import from_model, to_model
from pipeline.rewrites.one_colour import planes
from tests.rewrites import model, node, random, run

NORM = {"s": random((3,)), "t": random((3,), 1), "w": random((6, 1, 3, 3), 2), "b": random((6,), 3)}
NORM |= {"c": random((3, 1, 1), 4), "h": np.float32(0.5), "v": random((3, 6, 3, 3), 5)}
NORM |= {"p": np.array([0, 0, 1, 2, 0, 0, 2, 1], np.int64), "z": np.array([1, 1, 2, 2], np.float32)}


def network():
    return model(
        [
            node("InstanceNormalization", "x s t", "n"),
            node("Mul", "n c", "m"),
            node("Sub", "h m", "d"),
            node("LeakyRelu", "d", "l", alpha=0.1),
            node("Pad", "l p", "q", mode="reflect"),
            node("Conv", "q w b", "k", kernel_shape=[3, 3], group=3),
            node("Resize", "k - z", "u", mode="linear"),
            node("Tanh", "u", "a"),
            node("Conv", "a v", "f", kernel_shape=[3, 3]),
            node("Sigmoid", "f", "y"),
        ],
        NORM,
        opset=18,
    )


def test_each_predicted_plane_equals_the_output_of_the_graph() -> None:
    stored = network()
    found = planes(from_model(stored))
    picture = np.broadcast_to(random((1, 3, 1, 1), 8), (1, 3, 12, 16)).astype(np.float32)
    whole = to_model(from_model(stored))
    for name in "nmdlqkuafy":
        whole.graph.output[0].name = name
        (output,) = run(whole, {"x": picture})
        value = found[name]
        assert value is not None and np.ptp(output, axis=(2, 3)).max() < 1e-4
        np.testing.assert_allclose(output[0, :, 0, 0], np.broadcast_to(value, output.shape[1]), atol=1e-4)
    assert found["x"] is None


def test_zero_padding_and_unknown_operators_end_the_prediction() -> None:
    nodes = [
        node("InstanceNormalization", "x s t", "n"),
        node("Conv", "n w b", "k", kernel_shape=[3, 3], pads=[1] * 4, group=3),
        node("Relu", "k", "r"),
        node("DepthToSpace", "n", "e", blocksize=1),
        node("Add", "x n", "g"),
        node("Add", "g n", "y"),
    ]
    found = planes(from_model(model(nodes, {k: NORM[k] for k in "stwb"}, opset=18)))
    assert not {"k", "r", "e"} & set(found)
    assert found["g"] is None and found["y"] is None, "it depends on the colour"


def test_subtracting_the_mean_gives_0() -> None:
    nodes = [node("GlobalAveragePool", "x", "m"), node("Sub", "x m", "d"), node("Sub", "m x", "y")]
    found = planes(from_model(model(nodes, {}, opset=18)))
    assert not found["d"].any() and found["y"] is None
