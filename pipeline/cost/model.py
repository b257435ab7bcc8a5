"""The cost model: a graph's layers, and the milliseconds predicted from them per worker and device class.

The prediction has two terms: arithmetic (multiply-adds, weighted by the kernel that the worker uses for each
convolution) and traffic (activation elements read and written). For a GPU there is a third, the launch of each
layer. The cost of a layer on a worker of Unity is defined by its family (`Family.devices`). The terms are in files
costs.json, with their sources; those of `here` are fitted to ONNX Runtime by benchmarks/cost_model.py
(docs/cost.md).
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import targets
from pipeline.graph import nodes as n
from pipeline.graph.forms import is_nearest_enlarging
from pipeline.graph.shape import Shapes
from pipeline.graph.shapes import infer
from pipeline.graph.statistics import VIEWS, node_macs
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size

if TYPE_CHECKING:
    import onnx
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

SIZES = (Size(720, 540), Size(1280, 720), Size(1920, 1080))
"""The picture sizes for which costs are reported."""


@dataclass(frozen=True)
class Layer:
    """One node of a graph at one picture size. `read` and `written` are activation elements."""

    name: str
    operator: str
    macs: int
    read: int
    written: int
    behind: str = ""
    """The operator that writes its first input, if no other layer reads that; else ""."""
    conv: Conv | None = None


@dataclass(frozen=True)
class Conv:
    """The properties of a convolution that determine its kernel: channels, kernel, stride, groups, output size."""

    inputs: int
    outputs: int
    kernel: tuple[int, int]
    stride: int
    group: int
    height: int
    width: int

    @property
    def macs(self) -> int:
        """Number of multiply-adds of the convolution."""
        return self.outputs * self.height * self.width * (self.inputs // self.group) * math.prod(self.kernel)


def layers(graph: gs.Graph, shapes: Shapes | None = None) -> list[Layer]:
    """The layers of a graph at the size that its input declares; nodes of unknown shape have no cost.

    `shapes` are the shapes at that size, if they are already known.
    """
    shapes = infer(graph) if shapes is None else shapes
    return [_layer(graph, node, shapes) for node in graph.nodes if node.op not in VIEWS and node.outputs]


def _layer(graph: gs.Graph, node: gs.Node, shapes: Shapes) -> Layer:
    read = sum(_size(shapes, tensor) for tensor in node.inputs if n.value(tensor) is None)
    written = _size(shapes, node.outputs[0])
    maker = n.producer(node.inputs[0]) if node.inputs else None
    alone = maker is not None and n.read_only_by(graph, node.inputs[0], node)
    behind = _operator(maker) if maker is not None and alone else ""
    macs = node_macs(node, shapes) or 0
    return Layer(node.name, _operator(node), macs, read, written, behind, _conv(node, shapes))


def _operator(node: gs.Node) -> str:
    """The operator; a Resize that repeats pixels is called Upsample, because it has a different cost."""
    return "Upsample" if is_nearest_enlarging(node) else str(node.op)


def _size(shapes: Shapes, tensor: gs.Tensor) -> int:
    shape = shapes.static(tensor)
    return 0 if shape is None else math.prod(shape)


def _conv(node: gs.Node, shapes: Shapes) -> Conv | None:
    if node.op != "Conv":
        return None
    weights, out = shapes.static(node.inputs[1]), shapes.static(node.outputs[0])
    if weights is None or out is None or len(weights) != 4 or len(out) != 4:
        return None
    group = int(node.attrs.get("group", 1))
    return Conv(
        weights[1] * group,
        weights[0],
        (weights[2], weights[3]),
        n.ints(node, "strides", (1, 1))[0],
        group,
        out[2],
        out[3],
    )


# --- prediction ----------------------------------------------------------------------------------------------


class Worker(ABC):
    """A backend that computes layers, and its cost for each of them. `terms` are a device's weights by kernel."""

    name: str

    @abstractmethod
    def weight(self, layer: Layer, terms: Mapping[str, float]) -> float:
        """Cost of a multiply-add of this layer relative to the worker's plain kernel."""

    @abstractmethod
    def traffic(self, layer: Layer, terms: Mapping[str, float]) -> float:
        """Activation elements that are moved, in the unit of `Device.gelem`."""

    def fuses(self, layer: Layer) -> bool:
        """Whether the layer is fused into the previous one, and has no cost."""
        return False


class OnnxRuntime(Worker):
    """ONNX Runtime's CPU provider, one thread."""

    name = "onnxruntime"

    def weight(self, layer: Layer, terms: Mapping[str, float]) -> float:
        if layer.conv is None:
            return 1.0
        return terms["blocked-8" if self._blocked(layer.conv) else "plain"]

    def traffic(self, layer: Layer, terms: Mapping[str, float]) -> float:
        """Written elements; the inputs and outputs of convolutions are reordered into blocks of channels and
        back, but not what one convolution hands to the next (ONNX Runtime's NCHWc layout)."""
        if layer.conv is None:
            return layer.written
        kept = layer.read if layer.behind == "Conv" else 0
        return layer.written * terms["reordered"] - kept * (terms["reordered"] - 1)

    @staticmethod
    def _blocked(conv: Conv) -> bool:
        """Whether the kernel for blocks of 8 channels is used; the input may also have less than 8 channels."""
        return conv.outputs % 8 == 0 and (conv.inputs % 8 == 0 or conv.inputs < 8) and conv.group == 1


@dataclass(frozen=True)
class Device:
    """A worker on a class of devices, and the terms of its cost model.

    `gmac` is milliseconds for a billion multiply-adds in the worker's plain kernel, `gelem` for a billion
    activation elements moved, `launch` for each layer; `kernels` weighs the arithmetic by kernel. `basis` says
    where the terms are known from and `error` how far off a prediction may be, as a factor. `arranged`
    says whether graphs are arranged for it; the first such class of a family is what builds are for by default.
    """

    name: str
    title: str
    worker: Worker
    gmac: float
    gelem: float
    launch: float
    kernels: Mapping[str, float]
    basis: str
    error: float
    arranged: bool = False

    def milliseconds(self, graph_layers: list[Layer]) -> float:
        """Predicted time of one picture."""
        return sum(self.of_layer(layer) for layer in graph_layers)

    def of_layer(self, layer: Layer) -> float:
        """Predicted milliseconds of one layer; 0 if it is fused into another."""
        if self.worker.fuses(layer):
            return 0.0
        arithmetic = self.gmac * layer.macs * 1e-9 * self.worker.weight(layer, self.kernels)
        return arithmetic + self.gelem * self.worker.traffic(layer, self.kernels) * 1e-9 + self.launch

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "title": self.title, "worker": self.worker.name, "basis": self.basis}


def read_devices(path: Path, workers: Iterable[Worker]) -> tuple[Device, ...]:
    """The device classes of a costs.json; `workers` are found by their names."""
    named = {worker.name: worker for worker in workers}
    entries = json.loads(path.read_text(encoding="utf-8"))
    return tuple(Device(**{**entry, "worker": named[entry["worker"]]}) for entry in entries["devices"])


HERE = read_devices(Path(__file__).with_name("costs.json"), [OnnxRuntime()])
"""This machine with ONNX Runtime."""


def devices_of(target: Target) -> tuple[Device, ...]:
    """This machine, and the device classes for which the target's family has a cost model."""
    return (*HERE, *target.family.devices())


def devices() -> dict[str, Device]:
    """All device classes of all families by name, `here` first. Raises ValueError for duplicate names."""
    found = {entry.name: entry for entry in HERE}
    for name in targets.families():
        for entry in targets.family_of(name).devices():
            if entry.name in found:
                raise ValueError(f"the device class {entry.name!r} of {name} is defined twice")
            found[entry.name] = entry
    return found


def device(name: str) -> Device:
    """A device class by name. Raises PipelineError `unknown-device`."""
    known = devices()
    if name not in known:
        raise PipelineError(
            "unknown-device",
            f"there is no device class named {name!r}",
            subject="--device",
            remedy=f"Use one of: {', '.join(known)}.",
        )
    return known[name]


def class_for(name: str, target: Target) -> str:
    """The name of a device class in a target's family: `phone` becomes `x-phone` if the family has only that."""
    names = [entry.name for entry in target.family.devices()]
    return name if name in names else next((entry for entry in names if entry.endswith(f"-{name}")), name)


def at_size(graph: gs.Graph, size: Size, shapes: Shapes | None = None) -> list[Layer]:
    """The layers at a picture size; the graph's declared input size is restored afterwards.

    If the network cannot run at the size, the nearest multiple of 32 is used. `shapes` are the shapes at `size`,
    if they are already known.
    """
    image = graph.inputs[0]
    declared = image.shape
    try:
        for step in (1, 32):
            image.shape = [1, declared[1], *size.rounded(step).hw]
            found = layers(graph, shapes if step == 1 else None)
            if all(layer.written for layer in found):
                break
        return found
    finally:
        image.shape = declared


def counted(graph: gs.Graph, size: Size, on: Iterable[Device]) -> dict[str, Any]:
    """The cost of a picture of this size as data: billions of multiply-adds, megabytes of activations written and
    peak megabytes in use (with the weights), and predicted milliseconds on each device.
    """
    from pipeline.graph.statistics import count

    image = graph.inputs[0]
    declared = image.shape
    image.shape = [1, declared[1], *size.hw]
    shapes = infer(graph)
    statistics = count(graph, shapes)
    image.shape = declared
    found = at_size(graph, size, shapes)
    return {
        "giga_macs": round(statistics.macs * 1e-9, 3),
        "written_megabytes": round(statistics.activation_elements * 4e-6, 1),
        "peak_megabytes": round(statistics.peak_elements * 4e-6 + statistics.weight_bytes * 1e-6, 1),
        "predicted": {entry.name: round(entry.milliseconds(found), 2) for entry in on},
    }


MOST_NODES = 5_000
"""Maximum number of nodes of a file whose cost is predicted during validation."""


def of_file(model: onnx.ModelProto, on: Iterable[Device]) -> dict[str, Any] | None:
    """The cost of a model file as it is: `size`, its own or the first of `SIZES`, and `milliseconds` by device.

    None if its input is not one picture, if it has more than `MOST_NODES` nodes, or if it is not valid ONNX.
    """
    from pipeline.graph import from_model

    if len(model.graph.node) > MOST_NODES:
        return None
    try:
        graph = from_model(model)
    except (PipelineError, ValueError, TypeError, KeyError, AttributeError, IndexError):
        return None  # the findings say what is wrong with it
    shape = graph.inputs[0].shape if len(graph.inputs) == 1 else None
    if shape is None or len(shape) != 4 or shape[1] not in (1, 3, 4):
        return None
    own = all(isinstance(side, int) and side > 0 for side in shape[2:])
    size = Size(shape[3], shape[2]) if own else SIZES[0]
    found = at_size(graph, size)
    return {"size": str(size), "milliseconds": {entry.name: round(entry.milliseconds(found), 2) for entry in on}}
