"""Nearest upsampling and the convolution behind it as one ConvTranspose: a layer less, or two with a Pad between.

Under a repeated pixel the taps of a kernel add up. So a k x k convolution of a picture enlarged r times is a
transposed one of the small picture: stride r, kernel k + r - 1, fewer multiply-adds where zeros are skipped (CPU
workers), and up to ((k + r - 1) / k)^2 times as many where they are not (GPUCompute's ConvTranspose). So it is
done only where a layer is needed elsewhere (`pipeline.cost.layers`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.forms import filler, is_nearest_enlarging, pads_of, scales_of
from pipeline.rewrites.base import Edit
from pipeline.rewrites.kernels import named, plain_convolution

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

NAME = "upsampled-as-transposed"


@dataclass(frozen=True)
class _Parts:
    resize: gs.Node
    pad: gs.Node | None
    factor: int
    edge: int
    """Pixels of the enlarged picture that a Pad repeats at each border; 0 where zeros are added."""
    zeros: int
    """Zeros at each border."""


def places(graph: gs.Graph) -> list[str]:
    """Names of the convolutions for which it can be done exactly."""
    return [node.name for node in n.nodes_of(graph, "Conv") if _parts(graph, node) is not None]


def apply(graph: gs.Graph, place: str) -> Edit:
    """Do it for one convolution of `places`, in the graph given."""
    conv = named(graph, place)
    parts = _parts(graph, conv)
    assert parts is not None
    kernel = n.value(conv.inputs[1])
    assert kernel is not None
    factor, taps = parts.factor, kernel.shape[2]
    make = n.Builder(graph, conv, NAME)
    small = parts.resize.inputs[0]
    border = -(-parts.edge // factor)
    if border:
        small = make.op("Pad", small, pads=[0, 0, border, border, 0, 0, border, border], mode="edge")
    # The padded small picture is enlarged by `border * factor` pixels at each side, of which `edge` are needed.
    pad = taps - 1 - (parts.zeros or parts.edge) + border * factor
    weights = make.const(_spread(kernel, factor), "weights")
    make.op(
        "ConvTranspose",
        small,
        weights,
        *conv.inputs[2:],
        kernel_shape=[taps + factor - 1] * 2,
        strides=[factor] * 2,
        pads=[pad] * 4,
        out=conv.outputs[0],
    )
    make.drop()
    names = tuple(node.name for node in (parts.resize, parts.pad, conv) if node is not None)
    why = "it computes the same in fewer layers, so that the network has no more layers than its source"
    return Edit(NAME, names, f"nearest x{factor} and the convolution became one ConvTranspose", why)


def _parts(graph: gs.Graph, conv: gs.Node) -> _Parts | None:
    kernel = n.value(n.given(conv, 1))
    if not plain_convolution(conv) or kernel is None or n.ints(conv, "strides", (1, 1)) != (1, 1):
        return None
    own = n.ints(conv, "pads", (0, 0, 0, 0))
    if kernel.shape[2] != kernel.shape[3] or len(set(own)) != 1 or own[0] >= kernel.shape[2]:
        return None
    before, edge, zeros, pad = n.producer(conv.inputs[0]), 0, own[0], None
    if before is not None and before.op == "Pad" and not zeros:
        if not n.read_only_by(graph, conv.inputs[0], conv):
            return None
        pad, pads, mode = before, pads_of(before, 4), n.text(before, "mode", "constant")
        if pads is None or any((*pads[:2], *pads[4:6])) or len({*pads[2:4], *pads[6:8]}) != 1 or pads[2] < 0:
            return None
        if mode == "constant":
            zeros = pads[2]
            if filler(pad) != 0 or zeros >= kernel.shape[2]:
                return None
        elif mode in ("edge", "reflect"):
            edge = pads[2]
        else:
            return None
        before = n.producer(pad.inputs[0])
    factor = _factor(before)
    if before is None or factor is None or not n.read_only_by(graph, before.outputs[0], pad or conv):
        return None
    if edge and n.text(pad, "mode") == "reflect" and edge >= factor:  # type: ignore[arg-type]
        return None  # the pixel beside the border is repeated factor - 1 times beyond it, the next is not
    return _Parts(before, pad, factor, edge, zeros)


def _factor(resize: gs.Node | None) -> int | None:
    """How often a Resize repeats each pixel along both axes; None unless equally often, and at least twice."""
    if resize is None or not is_nearest_enlarging(resize):
        return None
    scales = scales_of(resize)
    if scales is None or scales[2] != scales[3] or scales[2] < 2:
        return None
    return int(scales[2])


def _spread(kernel: np.ndarray, factor: int) -> np.ndarray:
    """Weights [I, O, k + r - 1, k + r - 1] of the transposed convolution for [O, I, k, k] and r repeats.

    Pixel i lies under outputs r * i + d, d = p - k + 1 .. p + r - 1, of a convolution padded by p, with the taps
    p - d .. p - d + r - 1 of each axis: its weight is their sum, taken in float64.
    """
    taps = kernel.shape[2]
    n.room(*kernel.shape[:2], taps + factor - 1, taps + factor - 1, item=8)
    offsets = np.arange(taps + factor - 1)
    first = taps - 1 - offsets
    under = (np.arange(taps) >= first[:, None]) & (np.arange(taps) < first[:, None] + factor)
    return np.einsum("oiuv,au,bv->ioab", kernel.astype(np.float64), under.astype(float), under.astype(float))
