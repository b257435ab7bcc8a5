from __future__ import annotations

import numpy as np
import onnx
import pytest

from pipeline.graph import from_model, to_model
from pipeline.graph.runnable import runnable
from tests.rewrites import assert_equivalent, model, node, run

SCALES = {"k": np.array([1, 1, 2, 2], np.float32)}
RESIZE = node("Resize", "a - k", "y", mode="linear")


def test_a_model_that_is_valid_as_it_is_stays():
    source = model([node("Pad", "x", "y", pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="reflect")])
    assert runnable(source) is source


@pytest.mark.parametrize(
    "old",
    [
        node("Pad", "x", "a", pads=[0, 0, 1, 2, 0, 0, 0, 1], mode="reflect"),
        node("Pad", "x", "a", pads=[0, 0, 1, 2, 0, 0, 0, 1], value=0.5),
        node("Clip", "x", "a", min=-0.5, max=0.5),
        node("Clip", "x", "a", max=0.5),
        node("Slice", "x", "a", starts=[1, 0], ends=[-1, 5], axes=[2, 3]),
        node("ReduceSum", "x", "a", axes=[1], keepdims=1),
        node("Upsample", "x k", "a"),
        node("Upsample", "x k", "a", mode="linear"),
    ],
)
def test_old_forms_beside_a_young_one_are_raised_with_the_same_meaning(old):
    both = to_model(from_model(model([old, RESIZE], SCALES)))
    assert both.opset_import[0].version == 13
    raised = runnable(both)
    onnx.checker.check_model(raised, full_check=True)
    # the reference: the old form alone at opset 9, then the young one alone at opset 13
    first = model([old], SCALES, output="a")
    second = model([node("Resize", "x - k", "y", mode="linear")], SCALES, opset=13)

    def reference(feeds):
        return run(second_of(first, second, feeds), {"x": run(first, feeds)[0]})

    assert_equivalent(both, raised, sizes=[(12, 16)], expected=reference, tolerance=1e-6)


def second_of(first, second, feeds):
    free = onnx.ModelProto()
    free.CopyFrom(second)
    for axis, size in enumerate(run(first, feeds)[0].shape):
        free.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = size
    return free


def test_squeezes_and_splits_are_raised():
    nodes = [
        node("Squeeze", "x", "s", axes=[0]),
        node("Unsqueeze", "s", "u", axes=[0]),
        node("Split", "u", "p q", axis=1, split=[1, 2]),
        node("Concat", "q p", "a", axis=1),
        RESIZE,
    ]
    raised = runnable(to_model(from_model(model(nodes, SCALES))))
    onnx.checker.check_model(raised, full_check=True)
    feeds = {"x": np.arange(576, dtype=np.float32).reshape(1, 3, 12, 16)}
    assert run(raised, feeds)[0].shape == (1, 3, 24, 32)
