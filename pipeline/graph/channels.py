"""Which channels of a graph belong together: what must go when one of them goes.

Each channel of each tensor gets an identity. Norms, activations, padding and resizing pass identities on;
additions make those of their operands one; Concat puts them side by side; DepthToSpace makes the four (or b*b)
channels of an output channel one. A `Unit` is one identity: all the rows and columns of constants that hold one
channel. Taking out a whole unit leaves a graph whose shapes fit. What is not understood is kept: its channels
cannot go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from pipeline.graph import nodes as n
from pipeline.graph.forms import axes_of
from pipeline.graph.shape import Shapes
from pipeline.graph.shapes import infer

_PASSING = (
    "AveragePool BatchNormalization Cast Clip Dropout Elu Erf Exp GlobalAveragePool GlobalMaxPool HardSigmoid "
    "HardSwish Identity InstanceNormalization LRN LeakyRelu LpPool MaxPool Mish Neg Pad Relu Resize Selu Sigmoid "
    "Softplus Softsign Sqrt Swish Tanh ThresholdedRelu"
)
PASSING = frozenset(_PASSING.split())
"""Operators whose output channels are their input channels, one to one."""
JOINING = frozenset(["Add", "Div", "Max", "Mean", "Min", "Mul", "PRelu", "Pow", "Sub", "Sum"])
"""Operators whose operands' channels must be the same ones."""
_PER_CHANNEL = {"BatchNormalization": (1, 2, 3, 4), "InstanceNormalization": (1, 2)}
"""Inputs that hold a value for each channel."""

Slot = tuple[str, int, int]
"""A place in a constant: name, axis, index."""


@dataclass
class Unit:
    """One channel: where its numbers stand. `makes` are rows of weights that compute it, `reads` columns that use
    it, `scales` the factors of norms, `others` shifts, biases and statistics."""

    makes: list[Slot] = field(default_factory=list)
    reads: list[Slot] = field(default_factory=list)
    scales: list[Slot] = field(default_factory=list)
    others: list[Slot] = field(default_factory=list)
    seen: list[tuple[str, int, Slot]] = field(default_factory=list)
    """Where convolutions read it: input tensor, channel, and the column of weights that meets it."""

    @property
    def slots(self) -> list[Slot]:
        return [*self.makes, *self.reads, *self.scales, *self.others]


@dataclass
class Group:
    """Channels that the same layers make and read: a width of the network. `name` is the first convolution's."""

    name: str
    units: list[Unit]

    @property
    def width(self) -> int:
        return len(self.units)


class _Identities:
    """Union-find over channel identities; `kept` ones cannot go."""

    def __init__(self) -> None:
        self.parent: list[int] = []
        self.kept: set[int] = set()

    def fresh(self, count: int, kept: bool = False) -> list[int]:
        first = len(self.parent)
        self.parent += range(first, first + count)
        if kept:
            self.kept.update(range(first, first + count))
        return list(range(first, first + count))

    def find(self, identity: int) -> int:
        while self.parent[identity] != identity:
            self.parent[identity] = self.parent[self.parent[identity]]
            identity = self.parent[identity]
        return identity

    def join(self, one: Iterable[int], other: Iterable[int]) -> None:
        for a, b in zip(one, other, strict=True):
            a, b = self.find(a), self.find(b)
            if a != b:
                low, high = sorted((a, b))
                self.parent[high] = low
                if high in self.kept:
                    self.kept.add(low)

    def keep(self, identities: Iterable[int]) -> None:
        self.kept.update(self.find(identity) for identity in identities)


def groups(graph: gs.Graph) -> list[Group]:
    """The widths of a graph that can change, each with its channels, in the order of the nodes."""
    return _Reader(graph).groups()


class _Reader:
    def __init__(self, graph: gs.Graph) -> None:
        self.graph = graph
        self.shapes: Shapes = infer(graph)
        self.ids = _Identities()
        self.channels: dict[str, list[int]] = {}
        self.slots: list[tuple[int, str, Slot]] = []
        """(identity, kind of place, place)"""
        self.seen: list[tuple[int, str, Slot]] = []
        self.owners: dict[str, int] = {}
        """How many places of the graph read a constant."""

    def groups(self) -> list[Group]:
        for tensor in self.graph.tensors().values():
            if n.value(tensor) is not None:
                self.owners[tensor.name] = len(tensor.outputs)
        for image in self.graph.inputs:
            count = self.shapes.channels(image)
            if count:
                self.channels[image.name] = self.ids.fresh(count, kept=True)
        for node in self.graph.nodes:
            self._node(node)
        for output in self.graph.outputs:
            self.ids.keep(self.channels.get(output.name, ()))
        return self._collected()

    def _collected(self) -> list[Group]:
        units: dict[int, Unit] = {}
        for identity, kind, slot in self.slots:
            root = self.ids.find(identity)
            if root not in self.kept_roots:
                getattr(units.setdefault(root, Unit()), kind).append(slot)
        for identity, tensor, slot in self.seen:
            root = self.ids.find(identity)
            if root in units:
                units[root].seen.append((tensor, slot[2], slot))
        found: dict[tuple[tuple[str, int], ...], Group] = {}
        for unit in units.values():
            if not unit.makes:
                continue
            places = tuple(sorted({(name, axis) for name, axis, _ in unit.slots}))
            group = found.setdefault(places, Group(unit.makes[0][0], []))
            group.units.append(unit)
        return list(found.values())

    @property
    def kept_roots(self) -> set[int]:
        return {self.ids.find(identity) for identity in self.ids.kept}

    # --- one node ---------------------------------------------------------------------------------------------

    def _node(self, node: gs.Node) -> None:
        if node.op == "Constant" or not node.outputs:
            return
        source = node.inputs[0] if node.inputs else None
        given = self.channels.get(source.name) if source is not None else None
        channels: list[int] | None = None
        if node.op in ("Conv", "ConvTranspose") and given is not None:
            channels = self._convolution(node, given)
        elif node.op in PASSING and given is not None and self._spatial(node):
            channels = given
            self._per_channel(node, given)
        elif node.op in JOINING:
            channels = self._joined(node)
        elif node.op == "Concat" and self._on_channels(node):
            parts = [self._of(tensor) for tensor in node.inputs]
            channels = [identity for part in parts for identity in part]
        elif node.op == "Concat":
            channels = self._joined(node)
        elif node.op in ("DepthToSpace", "SpaceToDepth") and given is not None:
            channels = self._shuffled(node, given)
        elif (
            node.op in ("ReduceMean", "ReduceSum", "ReduceMax")
            and given is not None
            and self._keeps_channels(node)
        ):
            channels = given
        if channels is None:
            self._unknown(node)
            return
        self.channels[node.outputs[0].name] = channels

    def _unknown(self, node: gs.Node) -> None:
        """Everything that it reads stays as it is, and so does what it makes."""
        for tensor in node.inputs:
            self.ids.keep(self.channels.get(tensor.name, ()))
        for tensor in node.outputs:
            count = self.shapes.channels(tensor)
            if count:
                self.channels[tensor.name] = self.ids.fresh(count, kept=True)

    def _of(self, tensor: gs.Tensor) -> list[int]:
        """A tensor's identities; fixed ones for a constant or an unknown tensor."""
        identities = self.channels.get(tensor.name)
        if identities is None:
            identities = self.ids.fresh(self.shapes.channels(tensor) or 1, kept=True)
            self.channels[tensor.name] = identities
        return identities

    def _slot(self, kind: str, identities: Iterable[int], tensor: gs.Tensor, axis: int) -> None:
        """Note where channels stand in a constant; one that several nodes read is kept as it is."""
        identities = list(identities)
        if n.value(tensor) is None or self.owners.get(tensor.name, 1) > 1:
            self.ids.keep(identities)
            return
        self.slots += [(identity, kind, (tensor.name, axis, i)) for i, identity in enumerate(identities)]

    def _convolution(self, node: gs.Node, given: list[int]) -> list[int] | None:
        weights = self.shapes.static(node.inputs[1])
        group = int(node.attrs.get("group", 1))
        if weights is None or len(weights) < 3:
            return None
        transposed = node.op == "ConvTranspose"
        outputs = weights[1] * group if transposed else weights[0]
        if group == len(given) == outputs and group > 1:
            channels = given
            self._slot("makes", given, node.inputs[1], 0)
        elif group > 1:
            self.ids.keep(given)
            channels = self.ids.fresh(outputs, kept=True)
        else:
            channels = self.ids.fresh(outputs)
            axis = 0 if transposed else 1
            self._slot("reads", given, node.inputs[1], axis)
            tensor, weights_name = node.inputs[0].name, node.inputs[1].name
            self.seen += [(identity, tensor, (weights_name, axis, i)) for i, identity in enumerate(given)]
            self._slot("makes", channels, node.inputs[1], 1 if transposed else 0)
        if n.given(node, 2) is not None:
            self._slot("others", channels, node.inputs[2], 0)
        return channels

    def _per_channel(self, node: gs.Node, given: list[int]) -> None:
        for at in _PER_CHANNEL.get(node.op, ()):
            self._slot("scales" if at == 1 else "others", given, node.inputs[at], 0)

    def _spatial(self, node: gs.Node) -> bool:
        """Whether the node leaves batch and channels as they are."""
        before, after = self.shapes.channels(node.inputs[0]), self.shapes.channels(node.outputs[0])
        return before is not None and before == after

    def _joined(self, node: gs.Node) -> list[int] | None:
        """One identity for each channel of operands that have as many; operands of one channel are broadcast."""
        count = self.shapes.channels(node.outputs[0])
        if count is None or self.shapes.rank(node.outputs[0]) != 4:
            return None
        channels: list[int] | None = None
        for tensor in node.inputs:
            shape = self.shapes.of(tensor)
            if shape is None:
                return None
            if n.value(tensor) is not None:
                continue
            if len(shape) != 4 or (shape[1] == 1 and count > 1):
                self.ids.keep(self.channels.get(tensor.name, ()))
                continue
            identities = self._of(tensor)
            if len(identities) != count:
                return None
            if channels is None:
                channels = identities
            else:
                self.ids.join(channels, identities)
        if channels is None:
            return None
        for tensor in node.inputs:
            shape = self.shapes.static(tensor)
            if n.value(tensor) is None or shape is None:
                continue
            axis = len(shape) - 3
            if axis >= 0 and shape[axis] == count and count > 1:
                self._slot("others", channels, tensor, axis)
            elif axis >= 0 and shape[axis] != 1:
                self.ids.keep(channels)
        return channels

    def _on_channels(self, node: gs.Node) -> bool:
        rank = self.shapes.rank(node.outputs[0])
        return rank == 4 and int(node.attrs.get("axis", 1)) in (1, -3)

    def _shuffled(self, node: gs.Node, given: list[int]) -> list[int] | None:
        block = int(node.attrs.get("blocksize", 1))
        area = block * block
        if node.op == "SpaceToDepth":
            return given * area
        if len(given) % area:
            return None
        count = len(given) // area
        # DCR: channel = phase * count + output; CRD: channel = output * area + phase
        by_phase = n.text(node, "mode", "DCR") == "DCR"
        for output in range(count):
            parts = [given[p * count + output if by_phase else output * area + p] for p in range(area)]
            self.ids.join([parts[0]] * (area - 1), parts[1:])
        return [given[output if by_phase else output * area] for output in range(count)]

    def _keeps_channels(self, node: gs.Node) -> bool:
        axes = axes_of(node)
        inside = axes is not None and all(axis % 4 in (2, 3) for axis in axes)
        return bool(axes) and inside and int(node.attrs.get("keepdims", 1)) == 1


def removed(values: Mapping[str, np.ndarray], units: Iterable[Unit]) -> dict[str, np.ndarray]:
    """The constants that `units` stand in, without them; all other constants are not in the answer.

    A channel that stands several times in one axis (behind a Concat of a tensor with itself) goes everywhere.
    """
    dropped: dict[str, dict[int, set[int]]] = {}
    for unit in units:
        for name, axis, index in unit.slots:
            dropped.setdefault(name, {}).setdefault(axis, set()).add(index)
    result = {}
    for name, axes in dropped.items():
        array = values[name]
        for axis, indices in axes.items():
            array = np.delete(array, sorted(indices), axis=axis)
        result[name] = np.ascontiguousarray(array)
    return result


def constants(graph: gs.Graph) -> dict[str, gs.Constant]:
    """The graph's constants by name; Constant nodes become initializers first."""
    for node in n.nodes_of(graph, "Constant"):
        value = n.constant_node_value(node)
        if value is not None:
            output = node.outputs[0]
            constant = gs.Constant(output.name, np.ascontiguousarray(value))
            node.outputs.clear()
            for reader in list(output.outputs):
                reader.inputs = [constant if tensor is output else tensor for tensor in reader.inputs]
    graph.cleanup(remove_unused_graph_inputs=False)
    return {name: t for name, t in graph.tensors().items() if n.value(t) is not None}
