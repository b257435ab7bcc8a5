from __future__ import annotations

import json

import onnx
import pytest

from pipeline.graph.statistics import statistics
from pipeline.support.errors import PipelineError
from tests.rewrites import model, node, random


def test_a_convolution_is_counted_at_the_given_size():
    nodes = [
        node("Conv", "x w b", "a", strides=[2, 2], pads=[1] * 4),
        node("Relu", "a", "r"),
        node("Flatten", "r", "y"),
    ]
    source = model(nodes, {"w": random((8, 3, 3, 3)), "b": random((8,))}, input_shape=(1, 3, "h", "w"))
    counted = statistics(source, 20, 30)
    assert counted.operators == {"Conv": 1, "Flatten": 1, "Relu": 1}
    assert counted.nodes == 3
    assert counted.weights == 8 * 27 + 8
    assert counted.weight_bytes == 4 * (8 * 27 + 8)
    assert counted.macs == 10 * 15 * 8 * 27
    assert counted.activation_elements == 2 * 10 * 15 * 8
    assert counted.inputs == {"x": "float32 1x3x20x30"}
    assert counted.outputs == {"y": "float32 1x1200"}
    assert counted.uncounted == ()
    json.dumps(counted.as_dict())


@pytest.mark.parametrize(
    ("nodes", "constants", "macs"),
    [
        ([node("Conv", "x w", "y", group=3)], {"w": random((3, 1, 3, 3))}, 8 * 8 * 3 * 9),
        ([node("ConvTranspose", "x w", "y", strides=[2, 2])], {"w": random((3, 5, 4, 4))}, 10 * 10 * 3 * 5 * 16),
        (
            [node("GlobalAveragePool", "x", "p"), node("Flatten", "p", "f"), node("Gemm", "f w", "y", transB=1)],
            {"w": random((7, 3))},
            21,
        ),
        ([node("MatMul", "x w", "y")], {"w": random((10, 4))}, 3 * 10 * 10 * 4),
        ([node("Relu", "x", "y")], {}, 0),
    ],
)
def test_multiply_adds_of_each_kind(nodes, constants, macs):
    assert statistics(model(nodes, constants, input_shape=(1, 3, 10, 10), opset=13), 10, 10).macs == macs


def test_scales_and_bounds_are_not_weights():
    nodes = [node("Resize", "x - k", "a"), node("Clip", "a lo hi", "y")]
    constants = {"k": random((4,)) * 0 + 1, "lo": 0.0, "hi": 1.0}
    assert statistics(model(nodes, constants, opset=13), 8, 8).weights == 0


def test_a_node_of_unknown_shape_is_named():
    source = model([node("NonZero", "x", "i"), node("Cast", "i", "y", to=1)])
    assert statistics(source, 8, 8).uncounted == ("i_node", "y_node")


def test_a_model_without_a_picture_is_refused():
    with pytest.raises(PipelineError, match="not-image-to-image"):
        statistics(model([node("Relu", "x", "y")], input_shape=(1, 10)), 8, 8)


def test_a_real_network_has_the_weights_that_its_authors_state(shared_models):
    counted = statistics(onnx.load(shared_models / "cjmills" / "12_small.onnx"), 540, 720)
    assert counted.weights == 108_771
    assert counted.macs == pytest.approx(4.87e9, rel=0.01)
