"""Which channels belong together, and that taking them out is exact where they carry nothing."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.graph import from_model, to_model
from pipeline.graph.channels import Group, constants, groups, removed
from tests.rewrites import model, node, random, run


def read(nodes, held, **options):
    graph = from_model(model(nodes, held, **options))
    constants(graph)
    return graph, groups(graph)


def without(graph, units):
    copy = graph.copy()
    weights = constants(copy)
    values = {name: np.asarray(tensor.values) for name, tensor in weights.items()}
    for name, value in removed(values, units).items():
        weights[name].values = value
    for layer in copy.nodes:
        if layer.op == "Conv" and int(layer.attrs.get("group", 1)) > 1:
            layer.attrs["group"] = int(layer.inputs[1].shape[0])
        for tensor in layer.outputs:
            tensor.shape = None
    return copy


def painted(graph):
    picture = random((1, 3, 12, 16), 7)
    return run(to_model(graph), {"x": picture})[0]


def silence(graph, group: Group, which: list[int]):
    """Make channels of a group carry nothing: zero weights, shifts and factors wherever they are made."""
    weights = constants(graph)
    for index in which:
        unit = group.units[index]
        for name, axis, at in [*unit.makes, *unit.scales, *unit.others]:
            values = np.array(weights[name].values)
            np.moveaxis(values, axis, 0)[at] = 0
            weights[name].values = values


RESIDUAL = (
    [
        node("Conv", "x w1 b1", "c1", kernel_shape=[3, 3], pads=[1] * 4),
        node("InstanceNormalization", "c1 g1 h1", "n1"),
        node("Relu", "n1", "r1"),
        node("Conv", "r1 w2 b2", "c2", kernel_shape=[3, 3], pads=[1] * 4),
        node("Relu", "c2", "r2"),
        node("Conv", "r2 w3 b3", "c3", kernel_shape=[3, 3], pads=[1] * 4),
        node("Add", "c3 r1", "s"),
        node("Conv", "s w4 b4", "y", kernel_shape=[1, 1]),
    ],
    {
        "w1": random((6, 3, 3, 3), 1),
        "b1": random((6,), 2),
        "g1": random((6,), 3),
        "h1": random((6,), 4),
        "w2": random((5, 6, 3, 3), 5),
        "b2": random((5,), 6),
        "w3": random((6, 5, 3, 3), 8),
        "b3": random((6,), 9),
        "w4": random((3, 6, 1, 1), 10),
        "b4": random((3,), 11),
    },
)
DEPTHWISE = (
    [
        node("Conv", "x w1", "c1", kernel_shape=[1, 1]),
        node("Conv", "c1 w2", "c2", kernel_shape=[3, 3], pads=[1] * 4, group=4),
        node("Mul", "c2 m", "c3"),
        node("Conv", "c3 w3", "y", kernel_shape=[1, 1]),
    ],
    {
        "w1": random((4, 3, 1, 1), 1),
        "w2": random((4, 1, 3, 3), 2),
        "m": random((1, 4, 1, 1), 3),
        "w3": random((3, 4, 1, 1), 4),
    },
)
JOINED = (
    [
        node("Conv", "x w1", "c1", kernel_shape=[1, 1]),
        node("Conv", "x w2", "c2", kernel_shape=[1, 1]),
        node("Concat", "c1 c2 x c1", "j", axis=1),
        node("Conv", "j w3", "y", kernel_shape=[1, 1]),
    ],
    {"w1": random((4, 3, 1, 1), 1), "w2": random((2, 3, 1, 1), 2), "w3": random((3, 13, 1, 1), 3)},
)
SHUFFLED = (
    [
        node("Conv", "x w1", "c1", kernel_shape=[1, 1], strides=[2, 2]),
        node("DepthToSpace", "c1", "d", blocksize=2),
        node("ConvTranspose", "d w2", "t", kernel_shape=[1, 1]),
        node("Conv", "t w3", "y", kernel_shape=[1, 1]),
    ],
    {"w1": random((16, 3, 1, 1), 1), "w2": random((4, 6, 1, 1), 2), "w3": random((3, 6, 1, 1), 3)},
)


@pytest.mark.parametrize(
    ("network", "widths"),
    [(RESIDUAL, [6, 5]), (DEPTHWISE, [4]), (JOINED, [4, 2]), (SHUFFLED, [4, 6])],
    ids=["residual", "depthwise", "joined", "shuffled"],
)
def test_channels_that_carry_nothing_go_without_a_trace(network, widths) -> None:
    nodes, stored = network
    graph, found = read(nodes, stored)
    assert [group.width for group in found] == widths
    for group in found:
        silence(graph, group, [0, group.width - 1])
    before = painted(graph)
    after = without(graph, [unit for group in found for unit in (group.units[0], group.units[-1])])
    np.testing.assert_allclose(painted(after), before, atol=1e-5)
    assert sum(t.values.size for t in constants(after).values()) < sum(
        t.values.size for t in constants(graph).values()
    )


def test_a_residual_channel_stands_wherever_it_is_made_and_read() -> None:
    _, found = read(*RESIDUAL)
    unit = found[0].units[2]
    assert unit.makes == [("w1", 0, 2), ("w3", 0, 2)]
    assert unit.reads == [("w2", 1, 2), ("w4", 1, 2)]
    assert unit.scales == [("g1", 0, 2)]
    assert set(unit.others) == {("b1", 0, 2), ("h1", 0, 2), ("b3", 0, 2)}


def test_a_shuffled_channel_is_four() -> None:
    _, found = read(*SHUFFLED)
    assert found[0].units[1].makes == [("w1", 0, 1), ("w1", 0, 5), ("w1", 0, 9), ("w1", 0, 13)]


@pytest.mark.parametrize("operator", ["Reshape", "Softmax", "Slice"])
def test_what_is_not_understood_keeps_its_channels(operator) -> None:
    more = {
        "Reshape": (node("Reshape", "c1 s", "m"), {"s": [1, 4, 12, 16]}),
        "Softmax": (node("Softmax", "c1", "m", axis=1), {}),
        "Slice": (node("Slice", "c1", "m", axes=[1], starts=[0], ends=[4]), {}),
    }
    result, stored = more[operator]
    nodes = [
        node("Conv", "x w1", "c1", kernel_shape=[1, 1]),
        result,
        node("Conv", "m w2", "y", kernel_shape=[1, 1]),
    ]
    _, found = read(nodes, {"w1": random((4, 3, 1, 1)), "w2": random((3, 4, 1, 1)), **stored})
    assert found == []


def test_weights_that_two_convolutions_share_stay() -> None:
    nodes = [
        node("Conv", "x w", "c1", kernel_shape=[1, 1]),
        node("Conv", "c1 w", "c2", kernel_shape=[1, 1]),
        node("Conv", "c2 w", "y", kernel_shape=[1, 1]),
    ]
    assert read(nodes, {"w": random((3, 3, 1, 1))})[1] == []
