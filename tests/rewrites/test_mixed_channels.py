"""A matrix times the channels of every pixel becomes a 1x1 convolution, and nothing else does."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from pipeline.graph import from_model, to_model
from pipeline.graph.runtime import free_size, run, session
from pipeline.rewrites.base import always
from pipeline.rewrites.mixed_channels import MixedChannels
from tests.rewrites.cases import NEW, compute, model, random

node = onnx.helper.make_node


def flattened(
    rank: int = 3, to: tuple[int, ...] = (1, 5, 8, 12), flat: tuple[int, ...] = (4, -1)
) -> onnx.ModelProto:
    shape = (1,) * (rank - len(flat)) + flat
    return model(
        [
            node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
            node("Reshape", ["a", "flat"], ["f"]),
            node("MatMul", ["m", "f"], ["p"]),
            node("Reshape", ["p", "back"], ["y"]),
        ],
        {
            "w": random(4, 3, 3, 3),
            "m": random(*((1,) * (rank - 2)), 5, 4),
            "flat": np.array(shape, np.int64),
            "back": np.array(to, np.int64),
        },
        shape=(1, 3, 8, 12),
    )


def rewritten(source: onnx.ModelProto) -> tuple[onnx.ModelProto, list[Any]]:
    graph = from_model(source)
    edits = list(MixedChannels().apply(graph, NEW, always))
    graph.cleanup().toposort()
    return to_model(graph), edits


@pytest.mark.parametrize("rank", [2, 3])
def test_a_product_over_channels_becomes_a_convolution_for_every_size(rank: int) -> None:
    source = flattened(rank)
    result, edits = rewritten(source)
    assert [edit.rewrite for edit in edits] == ["mixed-channels"]
    assert [node.op_type for node in result.graph.node] == ["Conv", "Conv"]
    picture = random(1, 3, 8, 12)
    np.testing.assert_allclose(compute(result, picture), compute(source, picture), atol=1e-5)
    assert run(session(free_size(result)), random(1, 3, 10, 6)).shape == (1, 5, 10, 6)


def test_a_product_that_moves_pixels_or_channels_is_left_alone() -> None:
    for other in (flattened(to=(1, 5, 12, 8)), flattened(to=(1, 10, 8, 6)), flattened(to=(5, 1, 8, 12))):
        assert rewritten(other)[1] == []
