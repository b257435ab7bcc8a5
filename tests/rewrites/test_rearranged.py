"""Rearranged convolutions are turned back into the original ones."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.graph import from_model, to_model
from pipeline.rewrites.blocks import Blocks
from pipeline.rewrites.cheaper import UpsampledConvolutions
from pipeline.rewrites.rearranged import undo
from tests.rewrites import assert_equivalent, model, node, operators, random
from tests.rewrites.test_cheaper import done, upsampled


@pytest.mark.parametrize("taps", [2, 3])
@pytest.mark.parametrize("mode", ["reflect", "edge", "constant", ""])
def test_an_arranged_upsampling_becomes_resize_and_convolution_again(taps, mode) -> None:
    before = upsampled(mode)
    graph = from_model(to_model(done(UpsampledConvolutions(taps), before)))
    assert undo(graph) == 1
    assert "DepthToSpace" not in operators(graph)
    assert "Slice" not in operators(graph)
    (conv,) = (node for node in graph.nodes if node.op == "Conv")
    assert tuple(conv.inputs[1].shape) == (5, 3, 3, 3)
    assert_equivalent(before, graph)


@pytest.mark.parametrize("rewrite", [Blocks(2), Blocks(4), Blocks(2, folded=True), Blocks(4, folded=True)])
@pytest.mark.parametrize("size", [(12, 16), (13, 18)])
@pytest.mark.parametrize("padded", [True, False])
def test_a_convolution_of_blocks_becomes_one_kernel_again(rewrite, size, padded) -> None:
    pads = [0, 0, 4, 4, 0, 0, 4, 4]
    conv = {"kernel_shape": [9, 9], "pads": [0] * 4 if padded else [4] * 4}
    nodes = [node("Pad", "x", "p", mode="reflect", pads=pads)] if padded else []
    nodes.append(node("Conv", f"{'p' if padded else 'x'} w b", "y", **conv))
    weights = {"w": random((3, 3, 9, 9)), "b": random((3,), 1)}
    before = model(nodes, weights, input_shape=(1, 3, *size))
    graph = from_model(to_model(done(rewrite, before)))
    assert "DepthToSpace" in operators(graph)
    assert undo(graph) == 1
    (conv_again,) = (item for item in graph.nodes if item.op == "Conv")
    assert np.array_equal(conv_again.inputs[1].values, weights["w"])
    assert "DepthToSpace" not in operators(graph)
    assert_equivalent(before, graph, sizes=(size,))


def test_other_pixel_shuffles_are_left_alone() -> None:
    nodes = [
        node("Conv", "x w", "c", kernel_shape=[3, 3], pads=[1] * 4),
        node("DepthToSpace", "c", "y", blocksize=2),
    ]
    graph = from_model(model(nodes, {"w": random((12, 3, 3, 3))}))
    assert undo(graph) == 0
    assert "DepthToSpace" in operators(graph)
