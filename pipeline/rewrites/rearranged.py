"""What arranging did to convolutions, undone: a graph is plain again before it is built for another family.

The weights say that a convolution was arranged: those of blocks are one kernel moved about among zeros, those
behind enlarging are its sums. A place is only changed where the weights come out of the arrangement again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.forms import pads_of, slice_spec
from pipeline.rewrites.blocks import fold, spread_out
from pipeline.rewrites.cheaper import merged
from pipeline.rewrites.kernels import plain_convolution, weights_and_bias

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

_NAME = "plain"


def undo(graph: gs.Graph) -> int:
    """Make arranged convolutions plain, in place; how many.

    Blocks of any size, folded or not, and convolutions behind enlarging in both forms. Left as they are: layers
    with channels of zeros.
    """
    count = 0
    for node in n.nodes_of(graph, "DepthToSpace"):
        conv = n.producer(node.inputs[0])
        if (
            n.text(node, "mode", "DCR") != "DCR"
            or conv is None
            or not plain_convolution(conv)
            or not n.read_only_by(graph, conv.outputs[0], node)
        ):
            continue
        size = int(node.attrs["blocksize"])
        count += _blocks(graph, node, conv, size) or (size == 2 and _enlarged(graph, node, conv))
    if count:
        graph.cleanup(remove_unused_graph_inputs=False).toposort()
    return count


def _blocks(graph: gs.Graph, node: gs.Node, conv: gs.Node, size: int) -> bool:
    """With stride 1 the one kernel gives every pixel, also those that a Slice behind takes off."""
    weights, bias = weights_and_bias(conv)
    strides = n.ints(conv, "strides", (1, 1))
    before = n.producer(conv.inputs[0])
    folded = strides == (1, 1) and before is not None and before.op == "SpaceToDepth"
    if folded:
        assert before is not None
        if int(before.attrs["blocksize"]) != size or any(n.ints(conv, "pads", (0, 0, 0, 0))):
            return False
        spread = _unfold(weights, size)
    elif strides == (size, size):
        spread = weights
    else:
        return False
    outputs = len(weights) // (size * size)
    high, wide = (side - size + 1 for side in spread.shape[2:])
    if min(high, wide) < 1 or len(weights) != outputs * size * size:
        return False
    kernel = spread[:outputs, :, :high, :wide]
    if not np.array_equal(spread_out(kernel, size, spread.shape[2:]), spread):
        return False
    if not np.array_equal(np.tile(bias[:outputs], size * size), bias):
        return False
    make = n.Builder(graph, node, _NAME)
    source = before.inputs[0] if folded and before is not None else conv.inputs[0]
    constants = [make.const(kernel, "weights"), make.const(bias[:outputs], "bias")]
    pads = list(n.ints(conv, "pads", (0, 0, 0, 0)))
    make.op("Conv", source, *constants, kernel_shape=[high, wide], strides=[1, 1], pads=pads, out=node.outputs[0])
    make.drop()
    return True


def _unfold(weights: np.ndarray, size: int) -> np.ndarray:
    """What `blocks.fold` made the weights of."""
    outputs, inputs, high, wide = weights.shape
    apart = weights.reshape(outputs, size, size, inputs // (size * size), high, wide)
    spread = apart.transpose(0, 3, 4, 1, 5, 2).reshape(outputs, -1, high * size, wide * size)
    assert np.array_equal(fold(spread, size), weights)
    return spread


def _enlarged(graph: gs.Graph, node: gs.Node, conv: gs.Node) -> bool:
    """The 3x3 convolution of a picture that nearest enlarging doubles."""
    weights, bias = weights_and_bias(conv)
    taps, outputs = weights.shape[2], len(weights) // 4
    if weights.shape[2:] not in ((2, 2), (3, 3)) or n.ints(conv, "strides", (1, 1)) != (1, 1):
        return False
    pads = n.ints(conv, "pads", (0, 0, 0, 0))
    pad = n.producer(conv.inputs[0])
    edges = pads == (0, 0, 0, 0) and pad is not None and pad.op == "Pad" and n.text(pad, "mode", "") == "edge"
    if edges and (pad is None or pads_of(pad, 4) != (0, 0, 1, 1, 0, 0, 1, 1)):
        return False
    if not edges and pads != (1, 1, 1, 1):
        return False
    kernel = _apart(weights.reshape(2, 2, outputs, *weights.shape[1:]))
    near = float(np.abs(weights).max()) * 1e-5
    if not np.allclose(merged(kernel, taps), weights, rtol=0, atol=near):
        return False
    if not np.array_equal(np.tile(bias[:outputs], 4), bias):
        return False
    last = node
    if taps == 2:
        cut = n.only_consumer(graph, node.outputs[0])
        spec = slice_spec(cut) if cut is not None and cut.op == "Slice" else None
        if (
            cut is None
            or spec is None
            or [list(constants) for constants in spec] != [[1, 1], [-1, -1], [2, 3], [1, 1]]
        ):
            return False
        last = cut
    small = pad.inputs[0] if edges and pad is not None else conv.inputs[0]
    make = n.Builder(graph, last, _NAME)
    mode = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    large = make.op("Resize", small, scales=[1.0, 1.0, 2.0, 2.0], **mode)
    if edges:
        large = make.op("Pad", large, pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="edge")
    constants = [make.const(kernel, "weights"), make.const(bias[:outputs], "bias")]
    own = [0] * 4 if edges else [1] * 4
    make.op("Conv", large, *constants, kernel_shape=[3, 3], strides=[1, 1], pads=own, out=last.outputs[0])
    make.drop()
    return True


def _apart(blocks: np.ndarray) -> np.ndarray:
    """The kernel [O, I, 3, 3] of sums [2, 2, O, I, taps, taps]; the first axes are a block's rows and columns."""
    taps = blocks.shape[-1]
    even, odd, middle = (1, 0, 0) if taps == 2 else (0, 1, 1)

    def along(sums: np.ndarray, axis: int) -> np.ndarray:
        """`taps` sums of both kinds of rows become 3 weights: k0 and k2 stand alone, k0 + k1 between them."""
        first = np.take(sums[even], 0, axis)
        last = np.take(sums[odd], taps - 1, axis)
        return np.stack([first, np.take(sums[odd], middle, axis) - first, last], axis)

    whole = blocks.astype(np.float64)
    rows = np.stack([along(whole[:, column], 2) for column in (0, 1)])
    return along(rows, 3).astype(np.float32)
