"""Padding: merged into convolutions where it is zeros, split where Barracuda pads less than ONNX.

Barracuda pads only height and width, in 1.0 never negatively,
and reflects and repeats edges right (importer.md section 6, Pad; recipes_measured.md, padding).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.forms import TO_THE_END, filler, pads_of
from pipeline.graph.shapes import LazyShapes
from pipeline.rewrites.base import Edit, Needed, Outcome, Rewrite
from pipeline.rewrites.kernels import narrow

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target


class Paddings(Rewrite):
    """Negative and channel pads are written out, and computed ones refused.

    Left alone: reflect and edge pads and constants (right in every version). Refused: pads of the batch, of
    channels other than by a constant, and by amounts that are computed from the picture.
    """

    name = "padding"
    summary = "negative and channel pads become Slice, Concat or convolutions"
    removes = (
        "pad-negative",
        "pad-outer-axes",
        "pad-mode-unknown",
        "pads-do-not-fold",
        "pads-input-ignored",
        "not-compiled",
    )

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        shapes = LazyShapes(graph)
        outcome: Outcome = []
        for node in n.nodes_of(graph, "Pad"):
            if needed(node):
                outcome += self._pad(graph, node, shapes)
        return outcome

    def _pad(self, graph: gs.Graph, node: gs.Node, shapes: LazyShapes) -> Outcome:
        mode = n.text(node, "mode", "constant")
        pads = pads_of(node, shapes.here.rank(node.inputs[0]), shapes.here)
        if pads is None:
            reason, fix = "its pads are computed from the picture", "use constant pads in the network"
            return self.refuse(node, "pads-not-constant", reason, fix)
        if filler(node) is None:
            return self.refuse(node, "pad-value-not-constant", "the value that it pads with is computed")
        if pads_of(node) != pads:
            n.Builder(graph, node, self.name).set(node, pads=pads, value=filler(node) or None)
            return self.edit(node, "its pads were made explicit")
        if len(pads) != 8 or not any(pads):
            return []
        if pads[0] or pads[4]:
            return self.refuse(node, "pad-outer-axes", "it pads the batch")
        if min(pads) < 0:
            return self._negative(graph, node, pads)
        if pads[1] or pads[5]:
            return self._channels(graph, node, pads, mode, shapes)
        return []

    def _negative(self, graph: gs.Graph, node: gs.Node, pads: tuple[int, ...]) -> Outcome:
        make = n.Builder(graph, node, self.name)
        output, tensor = node.outputs[0], node.inputs[0]
        grow = [max(pad, 0) for pad in pads]
        cut = [axis for axis in range(4) if pads[axis] < 0 or pads[axis + 4] < 0]
        if any(grow):
            tensor = make.op("Pad", tensor, pads=grow, value=filler(node) or None, **node.attrs)
        starts = [max(-pads[axis], 0) for axis in cut]
        ends = [min(pads[axis + 4], 0) or TO_THE_END for axis in cut]
        make.op("Slice", tensor, starts=starts, ends=ends, axes=cut, out=output)
        make.drop()
        return self.edit(node, "the negative part became a Slice")

    def _channels(
        self, graph: gs.Graph, node: gs.Node, pads: tuple[int, ...], mode: str, shapes: LazyShapes
    ) -> Outcome:
        """A 1x1 convolution that copies the channels and gives the constant in the new ones."""
        channels = shapes.here.channels(node.inputs[0])
        if mode != "constant" or channels is None:
            reason = "it pads channels by something other than a constant, or their number is not known"
            return self.refuse(node, "pad-outer-axes", reason)
        make = n.Builder(graph, node, self.name)
        total = pads[1] + channels + pads[5]
        n.room(total, channels)
        weights = np.zeros((total, channels, 1, 1))
        weights[np.arange(channels) + pads[1], np.arange(channels)] = 1
        value = filler(node)
        bias = np.full(total, value)
        bias[pads[1] : pads[1] + channels] = 0
        rest = [0 if axis in (1, 5) else pad for axis, pad in enumerate(pads)]
        constants = [make.const(weights, "weights"), make.const(bias, "bias")]
        wide = make.op("Conv", node.inputs[0], *constants, kernel_shape=[1, 1])
        if any(rest):
            wide = make.op("Pad", wide, pads=rest, mode="constant", value=value or None)
        n.replace_output(wide, node.outputs[0])
        make.drop()
        return self.edit(node, "channel pads became a 1x1 convolution")


class MergedPads(Rewrite):
    """Zero pads join the Conv behind them, chains of pads merge, and pads by nothing go.

    Left alone: zeros before pools, whose own pads do not count as zeros.
    """

    name = "merge-pads"
    summary = "zero pads are merged into the Conv after them, and consecutive pads are merged"
    reason = "one layer less"

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        shapes = LazyShapes(graph)
        outcome: Outcome = []
        for node in n.nodes_of(graph, "Pad"):
            pads, mode = pads_of(node, shapes.here.rank(node.inputs[0])), n.text(node, "mode", "constant")
            if pads is None or filler(node) is None:
                continue
            if not any(pads):
                if n.bypass(graph, node):
                    outcome.append(Edit(self.name, (node.name,), "removed", "its pads are 0"))
                continue
            outcome += self._chain(graph, node, pads, mode) or self._into(graph, node, pads, mode, target, shapes)
        return outcome

    def _chain(self, graph: gs.Graph, node: gs.Node, pads: tuple[int, ...], mode: str) -> Outcome:
        """Two pads of zeros (or of one value), or two of edges, are one."""
        before = n.producer(node.inputs[0])
        if before is None or before.op != "Pad" or mode not in ("constant", "edge"):
            return []
        first = pads_of(before, len(pads) // 2)
        if first is None or len(first) != len(pads) or min(*first, *pads) < 0:
            return []
        same_value = filler(before) == filler(node)
        if n.text(before, "mode", "constant") != mode or not same_value:
            return []
        both, value = [a + b for a, b in zip(first, pads, strict=True)], filler(node) or None
        node.inputs[0] = before.inputs[0]
        n.Builder(graph, node, self.name).set(node, pads=both, value=value)
        return self.edit((before.name, node.name), "two pads became one", "one layer less")

    def _into(
        self,
        graph: gs.Graph,
        node: gs.Node,
        pads: tuple[int, ...],
        mode: str,
        target: Target,
        shapes: LazyShapes,
    ) -> Outcome:
        if (
            mode != "constant"
            or filler(node)
            or len(pads) != 8
            or min(pads) < 0
            or any(pads[i] for i in (0, 1, 4, 5))
        ):
            return []
        output = node.outputs[0]
        readers = n.consumers(output)
        spatial = (*pads[2:4], *pads[6:8])
        if n.is_output(graph, output) or not readers:
            return []
        for reader in readers:
            plain = n.text(reader, "auto_pad", "NOTSET") in ("NOTSET", "")
            if reader.op != "Conv" or not plain or any(tensor is output for tensor in reader.inputs[1:]):
                return []
            if target.can("one-column-assertion") and narrow(reader, shapes.here):
                return []
        for reader in readers:
            own = n.ints(reader, "pads", (0, 0, 0, 0)) or ()
            reader.attrs["pads"] = [a + b for a, b in zip(own, spatial, strict=True)]
        names = (node.name, *(reader.name for reader in readers))
        if not n.bypass(graph, node):
            raise AssertionError("a Pad that only convolutions read can be removed")
        return self.edit(names, "merged into the pads of the Conv", "zero padding in a Conv costs nothing")
