"""Graphs that differ in constants become one with a weight for each; what cannot be interpolated is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.graph import from_model, to_model
from pipeline.graph.runtime import session
from pipeline.graph.weighted import INPUT, weighted
from pipeline.support.errors import PipelineError

PICTURE = np.random.default_rng(1).random((1, 3, 12, 16)).astype(np.float32)


def graph(seed: int, kind: str) -> gs.Graph:
    """A convolution, then one node of `kind` whose constants come from `seed`, then a convolution."""
    fixed, own = np.random.default_rng(0), np.random.default_rng(seed)
    constants: dict[str, Any] = {
        "w1": fixed.normal(0, 0.4, (6, 3, 3, 3)),
        "b1": fixed.normal(0, 0.4, 6),
        "w2": fixed.normal(0, 0.4, (3, 6, 3, 3)),
        "scale": own.normal(1, 0.3, 6),
        "shift": own.normal(0, 0.3, 6),
        "gain": own.normal(1, 0.3, (1, 6, 1, 1)),
        "number": own.normal(1, 0.3, ()),
        "map": own.normal(1, 0.3, (1, 6, 12, 16)),
        "kernel": own.normal(0, 0.3, (6, 6, 3, 3)),
        "rows": fixed.normal(0, 0.3, (6, 6, 3, 3)) * own.normal(1, 0.3, (6, 1, 1, 1)),
        "up": own.normal(0, 0.3, (6, 6, 2, 2)),
        "mean": fixed.normal(0, 0.1, 6),
        "variance": fixed.uniform(0.5, 2, 6),
        "slope": own.uniform(0, 1, (6, 1, 1)),
    }
    attributes: dict[str, Any] = {"kernel": {"pads": [1, 1, 1, 1]}, "rows": {"pads": [1, 1, 1, 1]}}
    result = {
        "norm": ("InstanceNormalization", ["a", "scale", "shift"]),
        "batch norm": ("BatchNormalization", ["a", "scale", "shift", "mean", "variance"]),
        "gain": ("Mul", ["a", "gain"]),
        "divisor": ("Div", ["a", "gain"]),
        "taken from": ("Sub", ["number", "a"]),
        "map": ("Add", ["a", "map"]),
        "kernel": ("Conv", ["a", "kernel", "shift"]),
        "rows": ("Conv", ["a", "rows", "b1"]),
        "bias": ("Conv", ["a", "w2", "number"]),
        "up": ("ConvTranspose", ["a", "up", "shift"]),
        "slope": ("PRelu", ["a", "slope"]),
    }[kind]
    given = attributes.get(kind, {"strides": [2, 2]} if kind == "up" else {})
    nodes = [
        helper.make_node("Conv", ["picture", "w1", "b1"], ["a"], "first", pads=[1, 1, 1, 1]),
        helper.make_node(result[0], result[1], ["b"], "styled", **given),
        helper.make_node("Conv", ["b", "w2"], ["result"], "last"),
    ]
    read = {name for node in nodes for name in node.input}
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "one",
            [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, 12, 16])],
            [helper.make_tensor_value_info("result", TensorProto.FLOAT, None)],
            [
                numpy_helper.from_array(np.asarray(value, np.float32), name)
                for name, value in constants.items()
                if name in read
            ],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
    )
    return from_model(model)


def made(one: gs.Graph, **feeds: np.ndarray) -> np.ndarray:
    return np.asarray(session(to_model(one)).run(None, {"picture": PICTURE, **feeds})[0])


KINDS = ["norm", "batch norm", "gain", "divisor", "taken from", "kernel", "rows", "up"]


@pytest.mark.parametrize("kind", KINDS)
def test_each_graph_is_its_weight_and_constants_between_are_interpolated(kind: str) -> None:
    graphs = [graph(seed, kind) for seed in (1, 2, 3)]
    before = [to_model(one).SerializeToString() for one in graphs]
    joined = weighted(graphs)
    assert [to_model(one).SerializeToString() for one in graphs] == before
    assert [tensor.name for tensor in joined.inputs] == ["picture", INPUT]
    for number, one in enumerate(graphs):
        weights = np.eye(3, dtype=np.float32)[number].reshape(1, 3, 1, 1)
        np.testing.assert_allclose(made(joined, **{INPUT: weights}), made(one), atol=2e-5)
    middle = graph(1, kind)
    for node, *others in zip(middle.nodes, *(one.nodes for one in graphs), strict=True):
        for index, item in enumerate(node.inputs):
            if isinstance(item, gs.Constant):
                values = [np.asarray(other.inputs[index].values) for other in others]
                item.values = np.asarray(0.25 * values[0] + 0.75 * values[2], np.float32)
    mix = np.array([0.25, 0, 0.75], np.float32).reshape(1, 3, 1, 1)
    np.testing.assert_allclose(made(joined, **{INPUT: mix}), made(middle), atol=2e-5)


def test_a_kernel_whose_rows_are_scaled_is_stored_once() -> None:
    sizes = {
        kind: sum(
            np.asarray(tensor.values).size
            for tensor in weighted([graph(seed, kind) for seed in (1, 2, 3)]).tensors().values()
            if isinstance(tensor, gs.Constant)
        )
        for kind in ("rows", "kernel")
    }
    assert sizes["rows"] + 2 * 6 * 6 * 9 < sizes["kernel"]


@pytest.mark.parametrize(
    ("kind", "told"),
    [("map", "whose shape does not match its channels"), ("slope", "PRelu styled has constants that cannot be")],
)
def test_what_cannot_be_interpolated_is_refused(kind: str, told: str) -> None:
    with pytest.raises(PipelineError, match=f"styles-differ.*{told}"):
        weighted([graph(seed, kind) for seed in (1, 2)])


def test_other_nodes_or_attributes_are_not_one_network() -> None:
    with pytest.raises(PipelineError, match="styles-differ"):
        weighted([graph(1, "norm"), graph(1, "gain")])
    other = graph(2, "kernel")
    other.nodes[1].attrs["pads"] = [0, 0, 2, 2]
    with pytest.raises(PipelineError, match="styles-differ"):
        weighted([graph(1, "kernel"), other])
