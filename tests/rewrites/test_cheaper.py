"""Rearrangements for a class of devices keep the output at every size, and leave other nodes alone."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.graph import from_model
from pipeline.rewrites.blocks import Blocks
from pipeline.rewrites.cheaper import CHEAPER, UpsampledConvolutions, WideInputs, WideLayers, WideOutputs
from tests.rewrites import assert_equivalent, model, node, operators, random

REFLECT = {"pads": [0, 0, 1, 1, 0, 0, 1, 1]}


def upsampled(mode: str = "reflect", **conv):
    """Nearest x2, a pad (a node, or the convolution's own for ""), a 3x3 convolution."""
    nodes = [node("Upsample", "x s", "u", mode="nearest")]
    if mode:
        nodes.append(node("Pad", "u", "p", mode=mode, **REFLECT))
    attrs = {"kernel_shape": [3, 3], "pads": [0] * 4 if mode else [1] * 4} | conv
    nodes.append(node("Conv", ("p" if mode else "u") + " w b", "y", **attrs))
    return model(nodes, {"s": [1.0, 1.0, 2.0, 2.0], "w": random((5, 3, 3, 3)), "b": random((5,), 1)})


def done(rewrite, before):
    graph = from_model(before)
    for place in rewrite.places(graph):
        rewrite.apply(graph, place)
        graph.cleanup().toposort()
    return graph


@pytest.mark.parametrize("mode", ["reflect", "edge", "constant", ""])
def test_nearest_upsampling_and_a_convolution_become_one_2x2_convolution(mode) -> None:
    before = upsampled(mode)
    after = done(UpsampledConvolutions(), before)
    assert operators(after)[-3:] == ["Conv", "DepthToSpace", "Slice"]
    assert "Upsample" not in operators(after)
    assert_equivalent(before, after)


@pytest.mark.parametrize("mode", ["reflect", "edge", "constant", ""])
def test_nearest_upsampling_and_a_convolution_become_one_3x3_convolution_without_a_slice(mode) -> None:
    before = upsampled(mode)
    after = done(UpsampledConvolutions(3), before)
    assert operators(after)[-2:] == ["Conv", "DepthToSpace"]
    assert "Slice" not in operators(after)
    assert_equivalent(before, after)


@pytest.mark.parametrize(
    "changes", [{"strides": [2, 2]}, {"dilations": [2, 2]}, {"pads": [0, 0, 0, 0]}, {"auto_pad": "SAME_UPPER"}]
)
def test_other_convolutions_after_nearest_upsampling_are_left_alone(changes) -> None:
    assert UpsampledConvolutions().places(from_model(upsampled("", **changes))) == []


def test_an_upsampled_tensor_that_other_nodes_read_is_kept() -> None:
    stored = upsampled("")
    stored.graph.node.append(node("Relu", "u", "other"))
    stored.graph.output.add().name = "other"
    assert UpsampledConvolutions().places(from_model(stored)) == []


def test_few_outputs_become_16_and_a_slice() -> None:
    weights = {"w": random((3, 16, 3, 3)), "v": random((16, 3, 1, 1))}
    nodes = [
        node("Conv", "x v", "c", kernel_shape=[1, 1]),
        node("Conv", "c w", "y", kernel_shape=[3, 3], pads=[1] * 4),
    ]
    before = model(nodes, weights)
    after = done(WideOutputs(), before)
    assert operators(after) == ["Conv", "Conv", "Slice"]
    assert after.nodes[1].inputs[1].shape == [16, 16, 3, 3] or after.nodes[1].inputs[1].shape == (16, 16, 3, 3)
    assert_equivalent(before, after)


def test_few_inputs_become_16_before_their_pad() -> None:
    before = model(
        [node("Pad", "x", "p", mode="reflect", **REFLECT), node("Conv", "p w", "y", kernel_shape=[3, 3])],
        {"w": random((16, 3, 3, 3))},
    )
    after = done(WideInputs(), before)
    assert operators(after) == ["Conv", "Pad", "Conv"]
    assert_equivalent(before, after)
    without = model([node("Conv", "x w", "y", kernel_shape=[3, 3])], {"w": random((16, 3, 3, 3))})
    assert WideInputs().places(from_model(without)) == []


def narrow(width: int = 9, last: str = "Add"):
    nodes = [
        node("Conv", "x w1 b1", "c1", kernel_shape=[3, 3], pads=[1] * 4),
        node("InstanceNormalization", "c1 g h", "n1"),
        node("Relu", "n1", "r1"),
        node("Conv", "r1 w2", "c2", kernel_shape=[3, 3], pads=[1] * 4),
        node(last, "c2 r1", "s"),
        node("Conv", "s w3", "y", kernel_shape=[1, 1]),
    ]
    stored = {
        "w1": random((width, 3, 3, 3), 1),
        "b1": random((width,), 2),
        "g": random((width,), 3),
        "h": random((width,), 4),
        "w2": random((width, width, 3, 3), 5),
        "w3": random((3, width, 1, 1), 6),
    }
    return model(nodes, stored)


def test_widths_from_9_become_16_through_all_that_is_coupled() -> None:
    before = narrow()
    after = done(WideLayers(), before)
    assert [tuple(node.inputs[1].shape) for node in after.nodes if node.op == "Conv"] == [
        (16, 3, 3, 3),
        (16, 16, 3, 3),
        (3, 16, 1, 1),
    ]
    assert_equivalent(before, after)


@pytest.mark.parametrize("width", [8, 16])
def test_widths_of_16_and_widths_below_9_are_left_alone(width) -> None:
    assert WideLayers().places(from_model(narrow(width))) == []


def test_every_rearrangement_has_a_description() -> None:
    assert len({rewrite.name for rewrite in CHEAPER}) == len(CHEAPER)
    assert all(rewrite.summary for rewrite in CHEAPER)


def test_merged_weights_add_up() -> None:
    from pipeline.rewrites.cheaper import merged

    kernel = random((2, 3, 3, 3))
    small = merged(kernel)
    assert small.shape == (8, 3, 2, 2)
    for block in np.split(small, 4):
        np.testing.assert_allclose(block.sum(axis=(2, 3)), kernel.sum(axis=(2, 3)), atol=1e-5)


@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 2, 1]])
@pytest.mark.parametrize("blocks", [Blocks(2), Blocks(4), Blocks(2, folded=True)], ids=lambda blocks: blocks.name)
def test_a_convolution_of_blocks_computes_the_same_with_any_pads(blocks, pads) -> None:
    conv = node("Conv", "x w b", "y", kernel_shape=[3, 3], pads=pads)
    before = model([conv], {"w": random((5, 3, 3, 3)), "b": random((5,), 1)}, input_shape=(1, 3, 18, 22))
    after = done(blocks, before)
    assert "DepthToSpace" in operators(after)
    assert ("SpaceToDepth" in operators(after)) == blocks.folded
    assert_equivalent(before, after, sizes=[(18, 22)])


def test_a_folded_convolution_needs_a_kernel_that_the_blocks_divide() -> None:
    conv = node("Conv", "x w", "y", kernel_shape=[3, 3])
    graph = from_model(model([conv], {"w": random((5, 3, 3, 3))}))
    assert Blocks(2, folded=True).places(graph) and not Blocks(4, folded=True).places(graph)
