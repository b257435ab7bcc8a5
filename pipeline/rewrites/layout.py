"""Channels-last graphs (TensorFlow, Keras) become channels-first ones, at their edges and inside.

Barracuda's tensors are channels-last already, behind ONNX's channels-first names; a Transpose between the two
makes its importer guess which regions are which ("model detected as NCHW, but not natively in this layout,
behavior might be erroneous", LayoutTransposesRemovalHelper.cs:63@3.0.0), and 1.0.4 takes four permutations for
nothing at all and none else. So every such Transpose must go: `to_channels_first` moves them out of the network's
input and output, once, and `ChannelsLast` moves the rest along the graph until they meet their inverse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from pipeline.graph import nodes as n
from pipeline.graph.forms import axes_of
from pipeline.graph.shape import Shape, Shapes
from pipeline.graph.shapes import infer
from pipeline.rewrites.base import Edit, Needed, Outcome, Rewrite
from pipeline.rewrites.driver import run
from pipeline.rewrites.remapping import MOVED, remap

if TYPE_CHECKING:
    from pipeline.targets import Target

TO_LAST = (0, 2, 3, 1)
"""The Transpose from channels first to channels last."""
TO_FIRST = (0, 3, 1, 2)
"""The Transpose from channels last to channels first."""
_RESHAPING = frozenset(["Reshape", "Squeeze", "Unsqueeze", "Flatten"])


def to_channels_first(graph: gs.Graph) -> list[Edit]:
    """Let a channels-last network take and give channels-first pictures: (N, C, H, W) instead of (N, H, W, C).

    To be called once, before lowering, as it changes what the network's own tensors are: the image contract's
    layout is nchw from then on wherever an Edit says so. An input counts as channels-last when it has 1, 3 or 4
    channels on the last axis and reaches a Transpose to channels first through operators that treat all axes
    alike; an output, when it comes from a Transpose to channels last in the same way. A rank 3 input (C, H, W)
    whose first operator adds the batch axis takes it from outside, and a rank 3 output likewise.
    """
    edits: list[Edit] = []
    shapes = infer(graph)
    for tensor in list(graph.inputs):
        edits += _batch_in(graph, tensor) or _channels_in(graph, tensor, shapes)
    shapes = infer(graph)
    for tensor in list(graph.outputs):
        edits += _batch_out(graph, tensor) or _channels_out(graph, tensor, shapes)
    if edits:
        graph.cleanup(remove_unused_graph_inputs=False).toposort()
        edits += run(graph, None, (ChannelsLast(),)).edits  # type: ignore[arg-type]
    return edits


class ChannelsLast(Rewrite):
    """Removes the Transposes between channels first and last inside a graph, with the Reshapes that act as such.

    * Reshape, Squeeze, Unsqueeze and Flatten there and back to the same shape (Keras around a global pool): gone.
    * Two Transposes in a row: one, or none.
    * A Transpose to channels last moves behind elementwise operators, Concat, Pad, Slice, Split, Resize, Reduce*,
      Softmax and products with a constant matrix (which become 1x1 Convs), as long as an inverse lies ahead.
    Nothing moves where no inverse lies ahead: a permutation that is part of the network is left alone.
    """

    name = "layout"
    summary = "channels-last regions become channels-first, and the Transposes around them cancel"
    reason = "each Transpose copies the data"

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        if not any(node.op in (*_RESHAPING, "Transpose") for node in graph.nodes):
            return []
        outcome: Outcome = []
        outcome += _there_and_back(graph)
        outcome += _meet(graph)
        outcome += _move(graph)
        return outcome


def _channels_in(graph: gs.Graph, tensor: gs.Variable, shapes: Shapes) -> list[Edit]:
    shape = tensor.shape
    if shape is None or len(shape) != 4 or shape[3] not in (1, 3, 4) or shape[1] in (1, 3, 4):
        return []
    if not _reaches(graph, tensor, TO_FIRST, shapes):
        return []
    before = list(shape)
    inner = gs.Variable(n.fresh_name(graph, f"{tensor.name}/layout/channels_last"), np.float32, before)
    n.replace_everywhere(graph, tensor, inner)
    tensor.shape = [before[axis] for axis in TO_FIRST]
    name = n.fresh_name(graph, f"{tensor.name}/layout/Transpose")
    graph.nodes.insert(0, gs.Node("Transpose", name, {"perm": list(TO_LAST)}, [tensor], [inner]))
    return [
        Edit(
            ChannelsLast.name,
            (tensor.name,),
            f"the input {tensor.name} is {_sizes(tensor.shape)} (was {_sizes(before)}): channels first",
            "a Transpose at the input copies the picture; textures fit either layout",
        )
    ]


def _channels_out(graph: gs.Graph, tensor: gs.Variable, shapes: Shapes) -> list[Edit]:
    shape = shapes.of(tensor)
    maker = n.producer(tensor)
    if shape is None or len(shape) != 4 or maker is None or not _comes_from(tensor, shapes):
        return []
    before = list(tensor.shape) if tensor.shape is not None else list(shape)
    inner = gs.Variable(n.fresh_name(graph, f"{tensor.name}/layout/channels_last"), np.float32, before)
    for reader in n.consumers(tensor):
        reader.inputs = [inner if source is tensor else source for source in reader.inputs]
    maker.outputs = [inner if output is tensor else output for output in maker.outputs]
    tensor.shape = [before[axis] for axis in TO_FIRST]
    name = n.fresh_name(graph, f"{tensor.name}/layout/Transpose")
    graph.nodes.append(gs.Node("Transpose", name, {"perm": list(TO_FIRST)}, [inner], [tensor]))
    return [
        Edit(
            ChannelsLast.name,
            (tensor.name,),
            f"the output {tensor.name} is {_sizes(tensor.shape)} (was {_sizes(before)}): channels first",
            "a Transpose at the output copies the picture; textures fit either layout",
        )
    ]


def _batch_in(graph: gs.Graph, tensor: gs.Variable) -> list[Edit]:
    """A (C, H, W) input whose only reader is an Unsqueeze of axis 0."""
    reader = n.only_consumer(graph, tensor)
    if tensor.shape is None or len(tensor.shape) != 3 or reader is None or reader.op != "Unsqueeze":
        return []
    if axes_of(reader) != [0] or n.is_output(graph, reader.outputs[0]):
        return []
    n.replace_everywhere(graph, reader.outputs[0], tensor)
    reader.outputs.clear()
    tensor.shape = [1, *tensor.shape]
    what = f"the input {tensor.name} is {_sizes(tensor.shape)}: it includes the batch axis"
    return [Edit(ChannelsLast.name, (tensor.name, reader.name), what, "pictures have four dimensions")]


def _batch_out(graph: gs.Graph, tensor: gs.Variable) -> list[Edit]:
    """A (C, H, W) output that a Squeeze of axis 0 makes."""
    maker = n.producer(tensor)
    if maker is None or maker.op != "Squeeze" or axes_of(maker) != [0] or n.consumers(tensor):
        return []
    if tensor.shape is not None and len(tensor.shape) != 3:
        return []
    name = maker.name
    if not n.bypass(graph, maker):
        return []
    tensor.shape = None if tensor.shape is None else [1, *tensor.shape]
    what = f"the output {tensor.name} keeps its batch axis"
    return [Edit(ChannelsLast.name, (tensor.name, name), what, "pictures have four dimensions")]


def _sizes(shape: list) -> str:
    return "(" + ", ".join(str(size) for size in shape) + ")"


def _perm(node: gs.Node | None, shapes: Shapes | None = None) -> tuple[int, ...] | None:
    """The permutation of a Transpose, or of a Reshape that moves axes of size 1 only, as a channels Transpose."""
    if node is None or not node.outputs:
        return None
    if node.op == "Transpose":
        return n.ints(node, "perm")
    if node.op in _RESHAPING and shapes is not None:
        return _as_transpose(shapes.of(node.inputs[0]), shapes.of(node.outputs[0]))
    return None


def _as_transpose(before: Shape | None, after: Shape | None) -> tuple[int, ...] | None:
    """TO_LAST or TO_FIRST when reshaping `before` to `after` is that, as one side of it has size 1."""
    if before is None or after is None or len(before) != 4 or len(after) != 4 or before == after:
        return None
    if [size for size in (*before, *after) if size is None] not in ([], [None, None]):
        return None
    for order in (TO_LAST, TO_FIRST):
        channels = before[1] if order == TO_LAST else before[3]
        spatial = before[2:] if order == TO_LAST else before[1:3]
        if tuple(before[axis] for axis in order) == after and (channels == 1 or spatial == (1, 1)):
            return order
    return None


def _reaches(graph: gs.Graph, tensor: gs.Tensor, order: tuple[int, ...], shapes: Shapes | None = None) -> bool:
    """Whether a Transpose of this order lies ahead, behind nothing but what Transposes move across."""
    seen: set[int] = set()
    ahead = [tensor]
    while ahead:
        for reader in n.consumers(ahead.pop()):
            if id(reader) in seen:
                continue
            seen.add(id(reader))
            if _perm(reader, shapes) == order:
                return True
            if reader.op in MOVED:
                ahead += reader.outputs
    return False


def _comes_from(tensor: gs.Tensor, shapes: Shapes) -> bool:
    """Whether a Transpose to channels last lies behind a tensor, with nothing but `MOVED` between."""
    seen: set[int] = set()
    behind = [tensor]
    while behind:
        node = n.producer(behind.pop())
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if _perm(node, shapes) == TO_LAST:
            return True
        if node.op in MOVED:
            behind += [source for source in node.inputs if n.value(source) is None]
    return False


def _there_and_back(graph: gs.Graph) -> list[Edit]:
    """Chains of reshapes: gone when they end at the shape they began with, a Transpose when they act as one."""
    edits: list[Edit] = []
    chains = [node for node in n.nodes_of(graph, *_RESHAPING)]
    if not chains:
        return edits
    shapes = infer(graph)
    channels_last = any(_perm(node) in (TO_LAST, TO_FIRST) for node in graph.nodes)
    for node in chains:
        after = shapes.of(node.outputs[0])
        if after is None or len(after) != 4 or sum(size is None for size in after) > 1:
            continue
        names, first = [node.name], node
        while True:
            source = first.inputs[0]
            before = shapes.of(source)
            if before == after:
                if n.bypass(graph, node, source):
                    what = "reshapes that return to the original shape removed"
                    edits.append(Edit(ChannelsLast.name, tuple(reversed(names)), what, "they move nothing"))
                break
            order = _as_transpose(before, after) if channels_last else None
            if order is not None:
                node.op, node.attrs, node.inputs = "Transpose", {"perm": list(order)}, [source]
                what = "a reshape around an axis of size 1 became the equivalent Transpose"
                edits.append(
                    Edit(
                        ChannelsLast.name,
                        tuple(reversed(names)),
                        what,
                        "in this form it can cancel with its inverse",
                    )
                )
                break
            maker = n.producer(source)
            if maker is None or maker.op not in _RESHAPING:
                break
            first = maker
            names.append(first.name)
    return edits


def _meet(graph: gs.Graph) -> list[Edit]:
    """Two Transposes in a row become one, or none."""
    edits: list[Edit] = []
    for node in n.nodes_of(graph, "Transpose"):
        before = n.producer(node.inputs[0])
        if before is None or before.op != "Transpose":
            continue
        first, second = _perm(before), _perm(node)
        if first is None or second is None or len(first) != len(second):
            continue
        both = [first[axis] for axis in second]
        names = (before.name, node.name)
        if both == sorted(both):
            if n.bypass(graph, node, before.inputs[0]):
                edits.append(Edit(ChannelsLast.name, names, "two inverse Transposes removed", "they move nothing"))
        else:
            node.inputs[0], node.attrs["perm"] = before.inputs[0], both
            edits.append(Edit(ChannelsLast.name, names, f"two Transposes became one, {both}", "one copy fewer"))
    return edits


def _move(graph: gs.Graph) -> list[Edit]:
    """Move Transposes to channels last behind the operators that read them, where an inverse lies ahead."""
    edits: list[Edit] = []
    if not any(_perm(node) == TO_FIRST for node in graph.nodes):
        return edits
    graph.toposort()
    shapes = infer(graph)
    for node in list(graph.nodes):
        if node.op not in MOVED or not node.outputs:
            continue
        makers = [n.producer(tensor) for tensor in node.inputs]
        turned = [maker for maker in makers if _perm(maker) == TO_LAST]
        if not turned or not any(_reaches(graph, output, TO_FIRST) for output in node.outputs):
            continue
        old = node.op
        results = remap(graph, node, shapes)
        if results is None:
            continue
        for position in results:
            output = node.outputs[position]
            name = n.fresh_name(graph, f"{node.name}/{ChannelsLast.name}/Transpose")
            inner = gs.Variable(f"{name}_input", output.dtype)
            node.outputs[position] = inner
            graph.nodes.append(gs.Node("Transpose", name, {"perm": list(TO_LAST)}, [inner], [output]))
        what = "the Transpose to channels last moved after it"
        what += f", {old} became {node.op}" if node.op != old else ""
        edits.append(Edit(ChannelsLast.name, (node.name,), what, "so that it cancels with the Transpose back"))
    return edits
