"""Rearrangements that compute the same and may be cheaper on the class of devices that a build is for.

Each knows the `places` where it could be done and does one of them. Whether it pays is not for it to say: the cost
model is asked for each place (pipeline.cost.rearrange), since what is cheaper on one worker is dearer on another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.forms import filler, is_nearest_enlarging, pads_of, scales_of
from pipeline.rewrites.base import Edit
from pipeline.rewrites.blocks import Blocks
from pipeline.rewrites.kernels import named, plain_convolution, weights_and_bias

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.graph.channels import Group

BLOCK = 16
"""Channels in and out from which the compute worker has kernels over blocks (BarracudaCompute.cs:1010@3.0.0)."""


class Cheaper(Protocol):
    """A rearrangement. `places` are names of nodes (or of several, joined by spaces) of the graph."""

    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def needs(self) -> tuple[str, ...]:
        """The capabilities of a target that computes what it makes (targets/capabilities.json)."""

    def places(self, graph: gs.Graph) -> list[str]:
        """Where it could be done."""
        ...

    def apply(self, graph: gs.Graph, place: str) -> Edit:
        """Do it at one place, in the graph given."""
        ...


@dataclass(frozen=True)
class UpsampledConvolutions:
    """Nearest x2 and a 3x3 convolution are a smaller convolution of the small picture and a DepthToSpace.

    Each output pixel meets only 2x2 different pixels under the 3x3 kernel, whose weights add up: 4 multiply-adds
    instead of 9, and the enlarged picture is never written. With 2 `taps` the four outputs of a small pixel come
    from four neighbouring positions, and a Slice takes off the rows and columns that are too many; with 3 taps all
    four come from one position, with zeros among the weights and no Slice, for layers whose Slice costs more than
    the multiply-adds. A reflecting pad of 1 of the enlarged picture repeats the edge of the small one. Cases: the
    pad may be a Pad node (reflect, edge or zeros) between the two, or the convolution's own. Left alone: other
    kernels, strides, scales, and an enlarged picture that others read too.
    """

    taps: int = 2

    @property
    def name(self) -> str:
        return "upsampled-convolutions" + ("" if self.taps == 2 else "-uncut")

    @property
    def summary(self) -> str:
        cut = " and a Slice" if self.taps == 2 else ""
        return f"nearest x2 and a 3x3 convolution become a {self.taps}x{self.taps} one and DepthToSpace{cut}"

    needs = ("depth-to-space-keeps-rank",)

    def places(self, graph: gs.Graph) -> list[str]:
        return [node.name for node in n.nodes_of(graph, "Conv") if self._parts(graph, node) is not None]

    def _parts(self, graph: gs.Graph, conv: gs.Node) -> tuple[gs.Node, gs.Node | None, str] | None:
        """The Upsample, the Pad if there is one, and how the picture is padded."""
        kernel = n.value(conv.inputs[1])
        if not plain_convolution(conv) or kernel is None or kernel.shape[2:] != (3, 3):
            return None
        if n.ints(conv, "strides", (1, 1)) != (1, 1):
            return None
        own = n.ints(conv, "pads", (0, 0, 0, 0))
        before = n.producer(conv.inputs[0])
        pad = None
        mode = "constant"
        if before is not None and before.op == "Pad" and own == (0, 0, 0, 0):
            pad = before
            mode = n.text(pad, "mode", "constant")
            fits = pads_of(pad, 4) == (0, 0, 1, 1, 0, 0, 1, 1)
            if not fits or mode not in ("reflect", "edge", "constant") or filler(pad) != 0.0:
                return None
            if not n.read_only_by(graph, conv.inputs[0], conv):
                return None
            before = n.producer(pad.inputs[0])
        elif own != (1, 1, 1, 1):
            return None
        scales = scales_of(before) if before is not None and is_nearest_enlarging(before) else None
        if before is None or scales is None or scales.tolist() != [1, 1, 2, 2]:
            return None
        if not n.read_only_by(graph, before.outputs[0], pad or conv):
            return None
        return before, pad, mode

    def apply(self, graph: gs.Graph, place: str) -> Edit:
        conv = named(graph, place)
        parts = self._parts(graph, conv)
        assert parts is not None
        upsample, pad, mode = parts
        kernel, bias = weights_and_bias(conv)
        make = n.Builder(graph, conv, self.name)
        small = upsample.inputs[0]
        attrs: dict[str, Any] = {}
        if mode == "constant":
            attrs = {"pads": [1, 1, 1, 1]}
        else:
            small = make.op("Pad", small, pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="edge")
        constants = [make.const(merged(kernel, self.taps), "weights"), make.const(np.tile(bias, 4), "bias")]
        shape = [self.taps, self.taps]
        wide = make.op("Conv", small, *constants, kernel_shape=shape, strides=[1, 1], **attrs)
        if self.taps == 2:
            large = make.op("DepthToSpace", wide, blocksize=2, mode="DCR")
            make.op("Slice", large, starts=[1, 1], ends=[-1, -1], axes=[2, 3], out=conv.outputs[0])
        else:
            make.op("DepthToSpace", wide, blocksize=2, mode="DCR", out=conv.outputs[0])
        make.drop()
        names = tuple(node.name for node in (upsample, pad, conv) if node is not None)
        what = f"became a {self.taps}x{self.taps} convolution and DepthToSpace"
        why = "4 multiply-adds instead of 9" if self.taps == 2 else "the enlarged picture is not written"
        return Edit(self.name, names, what, why)


def merged(kernel: np.ndarray, taps: int = 2) -> np.ndarray:
    """Weights [4 * O, I, taps, taps] of the small convolution for those of the 3x3 one; exact but for the order of
    sums.

    Under an even row of the enlarged picture lie rows i-1, i, i of the small one, under an odd row i, i, i+1. With
    3 taps block (y, x) of DepthToSpace holds row y and column x of the two; with 2 taps block y = 0 holds the odd
    rows and y = 1 the even ones, since the enlarged picture is cut by one on each side.
    """
    even, odd = np.array([[1, 0, 0], [0, 1, 1]]), np.array([[1, 1, 0], [0, 0, 1]])
    nothing = np.zeros((1, 3), int)
    rows = (odd, even) if taps == 2 else (np.vstack([even, nothing]), np.vstack([nothing, odd]))
    blocks = [np.einsum("oiuv,au,bv->oiab", kernel.astype(np.float64), r, c) for r in rows for c in rows]
    return np.concatenate(blocks).astype(np.float32)


class WideOutputs:
    """A convolution with fewer than 16 outputs gets 16, of zeros, and a Slice behind it.

    For the last layer, whose 3 channels fall to the naive kernel. Left alone: inputs below 16 channels, which do
    so whatever the outputs are.
    """

    name = "wide-outputs"
    summary = "convolutions with few output channels get 16, and a Slice keeps the needed ones"
    needs = ()

    def places(self, graph: gs.Graph) -> list[str]:
        found = []
        for node in n.nodes_of(graph, "Conv"):
            kernel = n.value(node.inputs[1])
            if plain_convolution(node) and kernel is not None and kernel.shape[0] < BLOCK <= kernel.shape[1]:
                found.append(node.name)
        return found

    def apply(self, graph: gs.Graph, place: str) -> Edit:
        conv = named(graph, place)
        kernel, bias = weights_and_bias(conv)
        count = kernel.shape[0]
        make = n.Builder(graph, conv, self.name)
        more = [(0, BLOCK - count), (0, 0), (0, 0), (0, 0)]
        constants = [make.const(np.pad(kernel, more), "weights"), make.const(np.pad(bias, more[0]), "bias")]
        wide = make.op("Conv", conv.inputs[0], *constants, **conv.attrs)
        make.op("Slice", wide, starts=[0], ends=[count], axes=[1], out=conv.outputs[0])
        make.drop()
        return Edit(self.name, (place,), f"{count} outputs became {BLOCK} and a Slice", "a kernel over blocks")


class WideInputs:
    """A convolution with fewer than 16 inputs gets 16, by a 1x1 convolution that copies them and makes zeros.

    For the first layer. The copy stands before the Pad: in front of an unpadded convolution Barracuda would merge
    the two again. So a Pad node must be there; left alone without one.
    """

    name = "wide-inputs"
    summary = "convolutions with few input channels get 16, by a 1x1 convolution before their Pad"
    needs = ()

    def places(self, graph: gs.Graph) -> list[str]:
        found = []
        for node in n.nodes_of(graph, "Conv"):
            kernel = n.value(node.inputs[1])
            pad = n.producer(node.inputs[0])
            padded = pad is not None and pad.op == "Pad" and n.read_only_by(graph, pad.outputs[0], node)
            if (
                plain_convolution(node)
                and kernel is not None
                and padded
                and kernel.shape[1] < BLOCK <= kernel.shape[0]
            ):
                found.append(node.name)
        return found

    def apply(self, graph: gs.Graph, place: str) -> Edit:
        conv = named(graph, place)
        kernel, bias = weights_and_bias(conv)
        count = kernel.shape[1]
        make = n.Builder(graph, conv, self.name)
        pad = n.producer(conv.inputs[0])
        assert pad is not None
        copy = np.eye(BLOCK, count, dtype=np.float32)[:, :, None, None]
        wide = make.op("Conv", pad.inputs[0], make.const(copy, "copy"), make.const(np.zeros(BLOCK), "zeros"))
        _node_of(wide).attrs["kernel_shape"] = [1, 1]
        padded = make.op("Pad", wide, *pad.inputs[1:], **pad.attrs)
        more = [(0, 0), (0, BLOCK - count), (0, 0), (0, 0)]
        constants = [make.const(np.pad(kernel, more), "weights"), make.const(bias, "bias")]
        make.op("Conv", padded, *constants, out=conv.outputs[0], **conv.attrs)
        make.drop()
        return Edit(self.name, (pad.name, place), f"{count} inputs became {BLOCK}", "a kernel over blocks")


def _node_of(tensor: gs.Tensor) -> gs.Node:
    node = n.producer(tensor)
    assert node is not None
    return node


class WideLayers:
    """Widths from 9 to 15 (of one or of all layers) become 16, by channels of zeros through all that is coupled.

    Such a channel is zero after every layer: its weights, biases, and the factors and shifts of its norms are.
    Left alone: channels that constants are taken from or divide, and shuffled ones.
    """

    name = "wide-layers"
    summary = "widths from 9 to 15 become 16, by adding zero channels"
    needs = ()

    def places(self, graph: gs.Graph) -> list[str]:
        names = [group.name for group in self._groups(graph)]
        return ([" ".join(names)] if len(names) > 1 else []) + names

    def _groups(self, graph: gs.Graph) -> list[Group]:
        from pipeline.graph.channels import groups

        producers = {t.name: node.op for node in graph.nodes for t in node.inputs if n.value(t) is not None}
        kinds = ("Add", "Conv", "InstanceNormalization", "Mul")
        found = []
        for group in groups(graph):
            unit = group.units[-1]
            once = len({slot[:2] for slot in unit.slots}) == len(unit.slots)
            known = all(producers.get(name) in kinds for name, _, _ in unit.slots)
            if BLOCK // 2 < group.width < BLOCK and once and known:
                found.append(group)
        return found

    def apply(self, graph: gs.Graph, place: str) -> Edit:
        chosen = place.split()
        tensors = {t.name: t for node in graph.nodes for t in node.inputs if n.value(t) is not None}
        for group in [group for group in self._groups(graph) if group.name in chosen]:
            for name, axis, index in group.units[-1].slots:
                more = np.zeros(BLOCK - group.width)
                values = tensors[name].values
                at = np.full(more.shape, index + 1)
                tensors[name].values = np.insert(values, at, 0, axis=axis).astype(values.dtype)
        for node in graph.nodes:
            for tensor in node.outputs:
                if not n.is_output(graph, tensor):
                    tensor.shape = None
        return Edit(
            self.name, tuple(chosen), f"widths became {BLOCK}, by adding zero channels", "a kernel over blocks"
        )


CHEAPER: tuple[Cheaper, ...] = (
    UpsampledConvolutions(2),
    UpsampledConvolutions(3),
    WideLayers(),
    WideOutputs(),
    WideInputs(),
    Blocks(2),
    Blocks(4),
    Blocks(2, folded=True),
    Blocks(4, folded=True),
)
"""Every rearrangement. Where several gain at one place, the one that gains most is tried first."""
