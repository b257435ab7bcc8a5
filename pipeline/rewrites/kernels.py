"""The geometry of convolutions: weights rearranged, pixels repeated or left out, pads worked out.

Nothing here looks at a target; `conv`, `pooling` and `shuffle` build their forms from it. No function bakes a
size into the graph.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.graph.shape import Shapes


NARROW = 8
"""Output columns up to which `narrow` counts a strided convolution: a smaller picture may leave it one."""


def narrow(conv: gs.Node, shapes: Shapes) -> bool:
    """Whether a strided, left-padded Conv may give a single column, at this picture size or a smaller one.

    With one column and stride 2 or more, taps that lie wholly in the padding fail an assertion of the CPU backends
    in the Editor (BarracudaUnsafeArrayCPU.cs:2190@3.0.0; measured in 1.0.4, 2.0.0 and 3.0.0: the innermost
    convolution of pix2pix's U-Net at 256x256). Padded by a Pad node before it is right.
    """
    strides, pads = n.ints(conv, "strides", (1, 1)), n.ints(conv, "pads", (0, 0, 0, 0))
    shape = shapes.of(conv.outputs[0])
    if len(strides) != 2 or strides[1] == 1 or shape is None or len(shape) != 4:
        return False
    return shape[3] is not None and shape[3] <= NARROW and len(pads) == 4


def named(graph: gs.Graph, name: str) -> gs.Node:
    """The node of a name."""
    return next(node for node in graph.nodes if node.name == name)


def plain_convolution(node: gs.Node) -> bool:
    """Whether a node is a Conv of two axes with constant weights, one group, no dilation, and pads of its own."""
    kernel = n.value(node.inputs[1]) if node.op == "Conv" else None
    return (
        kernel is not None
        and kernel.ndim == 4
        and int(node.attrs.get("group", 1)) == 1
        and n.ints(node, "dilations", (1, 1)) == (1, 1)
        and n.text(node, "auto_pad", "NOTSET") in ("NOTSET", "")
    )


def weights_and_bias(conv: gs.Node) -> tuple[np.ndarray, np.ndarray]:
    """A convolution's weights and bias; a bias of zeros where there is none."""
    kernel = n.value(conv.inputs[1])
    assert kernel is not None
    bias = n.given(conv, 2)
    values = np.zeros(kernel.shape[0], np.float32) if bias is None else n.value(bias)
    return np.asarray(kernel), np.asarray(values)


@dataclass(frozen=True)
class Axis:
    """One axis of a transposed convolution: out = stride * in + reach + extra - begin - end - stride.

    `reach` is the kernel's size with its dilation. Output j = stride * q + r takes tap u = stride * d + r + begin
    of input q - d, so all phases r together are one convolution whose taps are d = -after_taps .. before.
    """

    reach: int
    stride: int
    begin: int
    end: int
    extra: int
    surplus: int | None = None
    """out - stride * in, when it is not what the other numbers say."""

    @property
    def excess(self) -> int:
        plain = self.reach + self.extra - self.begin - self.end - self.stride
        return plain if self.surplus is None else self.surplus

    def spread(self, factor: int) -> Axis:
        """The same axis with `factor` - 1 empty output rows after each, so that its stride is `factor` times."""
        reach = factor * (self.reach - 1) + 1
        return Axis(reach, factor * self.stride, factor * self.begin, 0, 0, factor * self.excess)

    @property
    def before(self) -> int:
        """Pads at the begin = the highest d."""
        return (self.reach - 1 - self.begin) // self.stride

    @property
    def taps(self) -> int:
        return self.before + (self.stride - 1 + self.begin) // self.stride + 1

    @property
    def _after(self) -> int:
        return math.ceil(self.excess / self.stride) + self.taps - 1 - self.before

    @property
    def after(self) -> int:
        """Pads at the end, so that the convolution makes ceil(out / stride) rows."""
        return max(0, self._after)

    @property
    def crop(self) -> int:
        """Rows to take off the end after the DepthToSpace."""
        rounded = math.ceil(self.excess / self.stride) * self.stride - self.excess
        return rounded + self.stride * max(0, -self._after)


def phases(weights: np.ndarray, axes: tuple[Axis, ...]) -> np.ndarray:
    """The weights [s*s*O, I, th, tw] of the Conv whose DepthToSpace (DCR, blocksize s) is a ConvTranspose.

    `weights` [I, O, kh, kw] are those of the ConvTranspose. Row (y * s + x) * O + o is output o of phase (y, x).
    Exact: each product of the ConvTranspose occurs once, beside zeros (measured for k2s2, k4s2p1, k3s2p1op1 in
    1.0.4 .. 3.0.0, and with all geometries of the test against ONNX Runtime's ConvTranspose).
    """
    high, wide = axes
    stride = high.stride
    channels_in, channels_out = weights.shape[:2]
    n.room(stride, stride, channels_out, channels_in, high.taps, wide.taps)
    kernel = np.zeros((stride, stride, channels_out, channels_in, high.taps, wide.taps), weights.dtype)
    for row, phase_y, tap_y in _taps(high):
        for column, phase_x, tap_x in _taps(wide):
            kernel[phase_y, phase_x, :, :, tap_y, tap_x] = weights[:, :, row, column].T
    return kernel.reshape(stride * stride * channels_out, channels_in, high.taps, wide.taps)


def _taps(axis: Axis) -> list[tuple[int, int, int]]:
    """(kernel index u, phase r, tap index in the phase convolution) of an axis."""
    found = []
    for u in range(axis.reach):
        d, phase = divmod(u - axis.begin, axis.stride)
        found.append((u, phase, axis.before - d))
    return found


def zero_stuff(weights: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """Weights [.., .., kh, kw] with factor - 1 zeros between the taps: dilations as a larger kernel."""
    if set(factors) == {1}:
        return weights
    sizes = tuple((k - 1) * f + 1 for k, f in zip(weights.shape[2:], factors, strict=True))
    n.room(*weights.shape[:2], *sizes)
    stuffed = np.zeros((*weights.shape[:2], *sizes), weights.dtype)
    stuffed[:, :, :: factors[0], :: factors[1]] = weights
    return stuffed


def block_diagonal(weights: np.ndarray, group: int) -> np.ndarray:
    """Dense weights [A, B, kh, kw] of grouped ones [A, B/group, kh, kw], zeros between the groups.

    A is the outputs and B the inputs for Conv, and the other way round for ConvTranspose.
    """
    first, each = weights.shape[:2]
    rows = first // group
    n.room(first, each * group, *weights.shape[2:])
    dense = np.zeros((first, each * group, *weights.shape[2:]), weights.dtype)
    for index in range(group):
        block = slice(index * rows, (index + 1) * rows)
        dense[block, index * each : (index + 1) * each] = weights[block]
    return dense


def repeat_pixels(build: n.Builder, x: gs.Tensor, factors: tuple[int, ...]) -> gs.Tensor:
    """`x` with each row and column repeated (nearest Upsample: floor, as every Barracuda computes it)."""
    if set(factors) == {1}:
        return x
    return nearest(build, x, factors, leaf="repeat")


def nearest(
    build: n.Builder, x: gs.Tensor, factors: tuple[int, ...], out: gs.Tensor | None = None, leaf: str = ""
) -> gs.Tensor:
    """Each pixel of `x` repeated along height and width: the Resize that every target computes alike."""
    attrs = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return build.op("Resize", x, scales=[1, 1, *factors], out=out, leaf=leaf, **attrs)


def keep_pixels(build: n.Builder, x: gs.Tensor, factors: tuple[int, ...]) -> gs.Tensor:
    """Rows 0, a, 2a, .. and columns 0, b, 2b, .. of `x` for factors (a, b), at any size, with square strides only.

    A MaxPool of kernel 1 (measured as nearest x0.5); where the factors differ, the denser axis is repeated first.
    """
    common = math.lcm(*factors)
    x = repeat_pixels(build, x, tuple(common // factor for factor in factors))
    return build.op("MaxPool", x, leaf="keep", kernel_shape=[1, 1], strides=[common, common], pads=[0, 0, 0, 0])


def take_over(new: gs.Tensor, old: gs.Tensor) -> None:
    """Let the producer of `new` produce `old` instead, the output of the node that is replaced."""
    maker = new.inputs[0]
    old.inputs.clear()
    maker.outputs[0] = old


def same_pads(
    node: gs.Node, kernel: tuple[int, ...], spatial: tuple[int | None, ...]
) -> tuple[tuple[int, ...], str]:
    """Pads (begins, ends) of a Conv or pool with auto_pad, and for which sizes they hold.

    SAME at stride > 1 depends on the size: they are those of the declared size, or, where that is unknown, those
    of any multiple of the stride.
    """
    mode = n.text(node, "auto_pad", "NOTSET")
    rank = len(kernel)
    if mode == "VALID":
        return (0,) * (2 * rank), "all sizes"
    strides, dilations = n.ints(node, "strides", (1,) * rank), n.ints(node, "dilations", (1,) * rank)
    begins, ends, sizes = [], [], "all sizes"
    for k, stride, dilation, size in zip(kernel, strides, dilations, spatial, strict=True):
        rest = 0 if size is None else size % stride
        total = max(0, (k - 1) * dilation + 1 - (rest or stride))
        small = total // 2
        begins.append(small if mode == "SAME_UPPER" else total - small)
        ends.append(total - begins[-1])
        if rest:
            sizes = f"the declared size {list(spatial)}"
        elif stride > 1 and sizes == "all sizes":
            sizes = "sizes that are multiples of the stride"
    return (*begins, *ends), sizes
