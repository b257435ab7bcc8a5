"""The geometry of convolutions, in numbers small enough to read."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pipeline.graph import nodes as n
from pipeline.rewrites.kernels import (
    Axis,
    block_diagonal,
    keep_pixels,
    phases,
    repeat_pixels,
    same_pads,
    zero_stuff,
)


def test_dilation_inserts_zeros_only_between_the_taps() -> None:
    stuffed = zero_stuff(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), (2, 3))
    assert stuffed.tolist() == [[[[1, 0, 0, 2], [0, 0, 0, 0], [3, 0, 0, 4]]]]


def test_grouped_weights_become_a_block_diagonal() -> None:
    dense = block_diagonal(np.arange(1.0, 5.0).reshape(4, 1, 1, 1), 2)
    assert dense[:, :, 0, 0].tolist() == [[1, 0], [2, 0], [0, 3], [0, 4]]


def test_tensorflows_same_upsampling_has_phases_of_two_and_one_taps() -> None:
    axis = Axis(reach=3, stride=2, begin=0, end=1, extra=0)
    assert (axis.excess, axis.before, axis.after, axis.taps, axis.crop) == (0, 1, 0, 2, 0)
    kernel = phases(np.arange(9.0).reshape(1, 1, 3, 3), (axis, axis))
    assert kernel[:, 0].tolist() == [[[8, 6], [2, 0]], [[0, 7], [0, 1]], [[0, 0], [5, 3]], [[0, 0], [0, 4]]]


def test_an_odd_result_is_made_even_and_cropped() -> None:
    axis = Axis(reach=3, stride=2, begin=1, end=1, extra=0)
    assert (axis.excess, axis.crop) == (-1, 1)


def test_same_pads_follow_a_known_odd_size_or_else_the_multiples_of_the_stride() -> None:
    node = gs.Node("Conv", attrs={"auto_pad": "SAME_UPPER", "strides": [2, 2]})
    assert same_pads(node, (3, 3), (13, 16)) == ((1, 0, 1, 1), "the declared size [13, 16]")
    assert same_pads(node, (3, 3), (None, None)) == ((0, 0, 1, 1), "sizes that are multiples of the stride")
    node.attrs["strides"] = [1, 1]
    assert same_pads(node, (4, 3), (None, None)) == ((1, 1, 2, 1), "all sizes")


def test_square_strides_keep_the_pixels_for_every_pair_of_factors() -> None:
    x = gs.Variable("x", np.float32, (1, 1, 4, 6))
    graph = gs.Graph(nodes=[gs.Node("Relu", "r", inputs=[x], outputs=[gs.Variable("y")])], inputs=[x])
    build = n.Builder(graph, graph.nodes[0], "test")
    assert repeat_pixels(build, x, (1, 1)) is x
    keep_pixels(build, x, (1, 2))
    repeat, keep = graph.nodes[1:]
    assert repeat.inputs[2].values.tolist() == [1, 1, 2, 1]
    assert keep.attrs["strides"] == [2, 2]
