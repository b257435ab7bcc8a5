"""Convolutions that compute a block of pixels at once: fewer unused lanes in kernels that compute many channels.

GPU kernels compute 32 or 64 output channels together, however few there are: the 3 channels of a picture fill a
tenth of them (Barracuda; gpu.md, "What a convolution costs"). With stride s a convolution of s*s times as many
outputs and a kernel that is s-1 larger computes each block of s x s pixels as channels, and DepthToSpace puts them
in their places. Every product of the convolution is there once, beside zeros: exact. At
sizes that are no multiples of s a few rows and columns more are computed, and a Slice takes them off; that is for
networks of one size only, since the importer wants to know how many.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.graph import nodes as n
from pipeline.rewrites.base import Edit
from pipeline.rewrites.kernels import named, plain_convolution, weights_and_bias

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.cost.model import Conv

MOST_OUTPUTS = 256
"""Channels of the convolution over blocks: beyond them there are no unused lanes left to fill."""
_MOST_FOLDED = 64
"""Input channels after SpaceToDepth."""


@dataclass(frozen=True)
class Blocks:
    """A convolution of stride 1 as one of stride `size`, and DepthToSpace.

    With `folded` the input goes through SpaceToDepth, too, and the convolution has stride 1 and a kernel that is
    `size` times smaller: for the few channels of a picture, which fill no kernel either. Left alone: kernels of
    1x1, and, folded, kernels that would read rows behind the picture's padding.
    """

    size: int
    folded: bool = False

    @property
    def name(self) -> str:
        return f"blocks-of-{self.size}" + ("-folded" if self.folded else "")

    @property
    def summary(self) -> str:
        way = "SpaceToDepth, a smaller kernel" if self.folded else f"stride {self.size}"
        return f"convolutions compute blocks of {self.size}x{self.size} pixels: {way} and DepthToSpace"

    needs = ("depth-to-space-keeps-rank",)

    def places(self, graph: gs.Graph) -> list[str]:
        return [node.name for node in n.nodes_of(graph, "Conv") if self._fits(node)]

    def _fits(self, node: gs.Node) -> bool:
        if not plain_convolution(node) or n.ints(node, "strides", (1, 1)) != (1, 1):
            return False
        outputs, inputs, *kernel = weights_and_bias(node)[0].shape
        square = self.size * self.size
        if max(kernel) == 1 or outputs * square > MOST_OUTPUTS:
            return False
        return not self.folded or (
            inputs * square <= _MOST_FOLDED and all((side - 1) % self.size == 0 for side in kernel)
        )

    def becomes(self, conv: Conv) -> Conv:
        """What the convolution becomes, for an estimate of what it gains."""
        high, wide = (self._taps(side) for side in conv.kernel)
        square = self.size * self.size
        return replace(
            conv,
            inputs=conv.inputs * (square if self.folded else 1),
            outputs=conv.outputs * square,
            kernel=(high // self.size, wide // self.size) if self.folded else (high, wide),
            stride=1 if self.folded else self.size,
            height=math.ceil(conv.height / self.size),
            width=math.ceil(conv.width / self.size),
        )

    def _taps(self, side: int) -> int:
        """The kernel's side, of which a folded one is a multiple of `size`."""
        taps = side + self.size - 1
        return math.ceil(taps / self.size) * self.size if self.folded else taps

    def apply(self, graph: gs.Graph, place: str) -> Edit:
        conv = named(graph, place)
        kernel, bias = weights_and_bias(conv)
        make = n.Builder(graph, conv, self.name)
        source, size = conv.inputs[0], self.size
        height, width = _pixels(graph, conv)
        more = -height % size, -width % size
        top, left, bottom, right = n.ints(conv, "pads", (0, 0, 0, 0))
        pads = [top, left, bottom + more[0], right + more[1]]
        spread = spread_out(kernel, size, tuple(self._taps(side) for side in kernel.shape[2:]))
        attrs: dict[str, Any] = {"strides": [size, size], "pads": pads}
        if self.folded:
            if any(pads):
                source = make.op("Pad", source, pads=[0, 0, *pads[:2], 0, 0, *pads[2:]], mode="constant")
            source = make.op("SpaceToDepth", source, blocksize=size)
            spread, attrs = fold(spread, size), {"strides": [1, 1]}
        constants = [make.const(spread, "weights"), make.const(np.tile(bias, size * size), "bias")]
        wide = make.op("Conv", source, *constants, kernel_shape=list(spread.shape[2:]), **attrs)
        if any(more):
            large = make.op("DepthToSpace", wide, blocksize=size, mode="DCR")
            make.op("Slice", large, starts=[0, 0], ends=[height, width], axes=[2, 3], out=conv.outputs[0])
        else:
            make.op("DepthToSpace", wide, blocksize=size, mode="DCR", out=conv.outputs[0])
        make.drop()
        what = f"computes blocks of {size}x{size} pixels" + (
            " from blocks of the same size" if self.folded else ""
        )
        return Edit(self.name, (place,), what, "its channels then fill the lanes of the kernel")


def _pixels(graph: gs.Graph, conv: gs.Node) -> tuple[int, int]:
    """Height and width of a convolution's output at the size that the graph's input declares; 0, 0 where they are
    not known."""
    from pipeline.graph import infer

    shape = infer(graph).static(conv.outputs[0])
    return (shape[2], shape[3]) if shape is not None and len(shape) == 4 else (0, 0)


def spread_out(kernel: np.ndarray, size: int, taps: tuple[int, ...]) -> np.ndarray:
    """Weights [size*size*O, I, *taps]: row (y * size + x) * O + o is output o moved down by y and right by x."""
    outputs, inputs, high, wide = kernel.shape
    spread = np.zeros((size, size, outputs, inputs, *taps), np.float32)
    for y in range(size):
        for x in range(size):
            spread[y, x, :, :, y : y + high, x : x + wide] = kernel
    return spread.reshape(size * size * outputs, inputs, *taps)


def fold(kernel: np.ndarray, size: int) -> np.ndarray:
    """Weights [O, size*size*I, h / size, w / size] for the input after SpaceToDepth, of weights [O, I, h, w]."""
    outputs, inputs, high, wide = kernel.shape
    apart = kernel.reshape(outputs, inputs, high // size, size, wide // size, size)
    return apart.transpose(0, 3, 5, 1, 2, 4).reshape(outputs, size * size * inputs, high // size, wide // size)
