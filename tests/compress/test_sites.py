"""Weights as rows: what a node computes is rows times samples, whatever its kernel, stride, padding and groups."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.compress.sites import find_sites, find_vectors
from pipeline.graph.runtime import session
from tests.compress.packs import network

PICTURE = np.random.default_rng(0).normal(size=(1, 6, 11, 13)).astype(np.float32)


def one_node(operator: str, shape: tuple[int, ...], given: np.ndarray, **attributes) -> onnx.ModelProto:
    weight = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "w"], ["y"], **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, given.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize(
    ("operator", "shape", "attributes"),
    [
        ("Conv", (4, 6, 3, 3), {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
        ("Conv", (4, 3, 3, 2), {"group": 2, "dilations": [2, 1]}),
        ("Conv", (6, 1, 3, 3), {"group": 6, "pads": [1, 1, 1, 1]}),
        ("ConvTranspose", (6, 4, 3, 3), {"strides": [2, 2]}),
        ("ConvTranspose", (6, 4, 3, 2), {"strides": [2, 3], "dilations": [1, 2]}),
        ("MatMul", (13, 7), {}),
    ],
)
def test_rows_times_samples_are_the_output(operator, shape, attributes):
    model = one_node(operator, shape, PICTURE, **attributes)
    weight = numpy_helper.to_array(model.graph.initializer[0])
    expected = session(model).run(None, {"x": PICTURE})[0]
    (site,) = find_sites(model)
    rows = site.rows(weight)
    assert np.array_equal(site.from_rows(rows), weight)
    outputs = np.concatenate([part @ x.T for part, x in zip(rows, site.samples(PICTURE, np.arange), strict=True)])
    if operator == "MatMul":
        outputs = outputs.T
    assert np.allclose(outputs.reshape(expected.shape), expected, atol=1e-5)


def test_gemm_knows_its_orientation():
    given = PICTURE[0, 0]
    for shape, transposed in (((7, 13), 1), ((13, 7), 0)):
        model = one_node("Gemm", shape, given, transB=transposed)
        (site,) = find_sites(model)
        weight = numpy_helper.to_array(model.graph.initializer[0])
        (sample,) = site.samples(given, np.arange)
        assert np.allclose(site.rows(weight)[0] @ sample.T, session(model).run(None, {"x": given})[0].T, atol=1e-5)


@pytest.mark.parametrize(
    ("operator", "shape", "attributes"),
    [
        ("Conv", (4, 6, 3, 3), {"pads": [1, 1, 1, 1]}),
        ("Conv", (6, 1, 3, 3), {"group": 6}),
        ("ConvTranspose", (6, 4, 3, 3), {"strides": [2, 2]}),
        ("MatMul", (13, 7), {}),
    ],
)
def test_a_scale_for_each_row_lands_on_the_weights_of_that_row(operator, shape, attributes):
    """`inner` and the order of scales in a packed file agree with the rows."""
    (site,) = find_sites(one_node(operator, shape, PICTURE, **attributes))
    rows = site.rows(np.ones(shape))
    numbers = np.arange(rows.shape[0] * rows.shape[1]).reshape(*rows.shape[:2], 1) * np.ones_like(rows)
    flat = site.from_rows(numbers).reshape(-1)
    index = np.arange(flat.size)
    assert np.array_equal(flat, (index // site.inner) % (numbers.max() + 1))


def test_normalised_convolutions_and_their_gains_are_found():
    found = find_sites(network())
    assert [site.normalised for site in found] == [True, True, True, True, True, False]
    assert found[0].gain is not None and found[0].gain.shape == (8,) and found[5].gain is None


def test_a_normalisation_in_pieces_counts_too():
    pool = helper.make_node("GlobalAveragePool", ["y"], ["mean"])
    away = helper.make_node("Sub", ["y", "mean"], ["centred"])
    model = one_node("Conv", (4, 6, 3, 3), PICTURE)
    model.graph.node.extend([pool, away])
    assert find_sites(model)[0].normalised
    model.graph.node.append(helper.make_node("Relu", ["y"], ["other"]))
    assert not find_sites(model)[0].normalised


def test_vectors_are_weights_and_no_sizes():
    assert find_vectors(network()) == [f"norm{n}.{part}" for n in range(1, 6) for part in ("scale", "shift")]
