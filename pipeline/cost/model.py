"""What a picture costs: a graph's layers, and from them predicted milliseconds per worker and device class.

Two terms carry the prediction: arithmetic (multiply-adds, weighed by the kernel that the worker picks for each
convolution) and traffic (activation elements read and written). A GPU adds a third, the launch of each layer. The
terms stand in costs.json with where each is known from; those of `here` are fitted to ONNX Runtime by
benchmarks/cost_model.py, those of Unity's workers are anchored or scaled, and say so. docs/cost.md has the fit.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.graph import nodes as n
from pipeline.graph.forms import is_nearest_enlarging
from pipeline.graph.shapes import Shapes, infer
from pipeline.graph.statistics import VIEWS, node_macs
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

SIZES = (Size(720, 540), Size(1280, 720), Size(1920, 1080))
"""Of the pictures whose cost is told."""

ACTIVATIONS = frozenset(["Clip", "Elu", "LeakyRelu", "PRelu", "Relu", "Selu", "Sigmoid", "Tanh"])
"""Barracuda fuses the unary ones of these into the layer before (importer.md section 4, FuseActivations)."""
_FUSED = ACTIVATIONS - {"PRelu", "Clip", "Elu", "Selu"}
_FUSE_INTO = frozenset(["Add", "Conv", "ConvTranspose", "InstanceNormalization", "BatchNormalization"])
_PLAIN_LOOPS = frozenset(
    ["ConvTranspose", "DepthToSpace", "InstanceNormalization", "LRN", "Resize", "SpaceToDepth", "Upsample"]
)
"""Without a Burst version in any Barracuda up to 3.0.0: reference loops (importer.md section 9)."""


@dataclass(frozen=True)
class Layer:
    """One node of a graph at one picture size. `read` and `written` are activation elements."""

    name: str
    operator: str
    macs: int
    read: int
    written: int
    fused: bool
    """An activation that Barracuda computes inside the layer before it."""
    conv: Conv | None = None


@dataclass(frozen=True)
class Conv:
    """What the choice of a kernel depends on: channels in and out, kernel, stride, group, output size."""

    inputs: int
    outputs: int
    kernel: tuple[int, int]
    stride: int
    group: int
    height: int
    width: int


def layers(graph: gs.Graph) -> list[Layer]:
    """The layers of a graph at the size that its input declares; nodes of unknown shape count as nothing."""
    shapes = infer(graph)
    return [_layer(graph, node, shapes) for node in graph.nodes if node.op not in VIEWS and node.outputs]


def _layer(graph: gs.Graph, node: gs.Node, shapes: Shapes) -> Layer:
    read = sum(_size(shapes, tensor) for tensor in node.inputs if n.value(tensor) is None)
    written = _size(shapes, node.outputs[0])
    maker = n.producer(node.inputs[0]) if node.inputs else None
    fused = (
        node.op in _FUSED
        and maker is not None
        and (maker.op in _FUSE_INTO or is_nearest_enlarging(maker))
        and n.only_consumer(graph, node.inputs[0]) is node
    )
    operator = "Upsample" if is_nearest_enlarging(node) else node.op
    return Layer(node.name, operator, node_macs(node, shapes) or 0, read, written, fused, _conv(node, shapes))


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


# --- kernels -------------------------------------------------------------------------------------------------


def kernel(conv: Conv, worker: str = "compute") -> str:
    """Which of its kernels a compute worker gives a convolution.

    The worker takes the valid entry with the fewest threads times work each (BarracudaCompute.cs:1010@3.0.0;
    conditions: importer.md section 9). `compute` has channels last, as every worker that does not ask for another
    order; `compute-nchw` asks for it; `compute-mobile` is that of ARM's and Apple's GPUs, which have their own.
    """
    if conv.group > 1:
        return "depthwise"
    if worker == "compute-mobile":
        return "mobile-1x1" if conv.kernel == (1, 1) else "mobile-4x4"
    c, k, h, w = conv.inputs, conv.outputs, conv.height, conv.width
    pixels = h * w
    square = conv.kernel == (3, 3) and conv.stride == 1
    entries = [("naive", k * pixels * c * 1.0)]
    if k % 64 == 0 and w % 8 == 0 and h % 4 == 0:
        entries.append(("register-4x2", k * (w // 4) * (h // 2) * c * 1.1 / 2))
    blocks = math.ceil(k / 4) * math.ceil(pixels / 4) * c
    if k >= 16 and c >= 16:
        entries.append(("blocked-4x4", blocks / 4))
    if k % 64 == 0 and c % 16 == 0:
        entries.append(("strict-4x4", blocks * 0.9 / 4))
        if conv.kernel == (1, 1) and conv.stride == 1:
            entries.append(("strict-1x1", blocks * 0.8 / 4))
    if worker == "compute-nchw":
        entries += _nchw_entries(conv, square)
    return min(entries, key=lambda entry: entry[1])[0]


def _blocked(conv: Conv) -> bool:
    """Whether ONNX Runtime has a convolution over blocks of 8 channels for it; a picture's 3 may stay."""
    return conv.outputs % 8 == 0 and (conv.inputs % 8 == 0 or conv.inputs < 8) and conv.group == 1


def _nchw_entries(conv: Conv, square: bool) -> list[tuple[str, float]]:
    c, k, pixels = conv.inputs, conv.outputs, conv.height * conv.width
    entries = []
    if square and c % 8 == 0 and (k % 64 or c >= 64 or pixels <= 128 * 128):
        tiles = math.ceil(math.ceil(conv.width / 2) * math.ceil(conv.height / 2) / 16)
        weight = 0.9 if k % 16 else 0.8
        entries.append(("winograd", 256 * math.ceil(k / 16) * tiles * c * weight / 64 / 2.25))
    eighths = math.ceil(k / 8) * math.ceil(pixels / 8)
    if eighths >= 4096:
        if c % 8 == 0 and k % 16 == 0 and k >= 32:
            entries.append(("blocked-8x8", eighths * c * (0.75 if k % 64 else 0.7)))
        if pixels > 256 and (c % 4 == 0 or k % 16 == 0):
            entries.append(("tall-8x8", eighths * c * (1.1 if c % 4 == 0 and k % 16 == 0 else 1.25)))
    return entries


# --- prediction ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Device:
    """A worker on a class of devices, and the terms of its law.

    `gmac` is milliseconds for a billion multiply-adds in the worker's plain kernel, `gelem` for a billion
    activation elements moved, `launch` for each layer; `kernels` weighs the arithmetic by kernel. `worker` is
    onnxruntime, burst, compute or compute-mobile. `basis` says where the terms are known from and `error` how far
    off a prediction may be, as a factor.
    """

    name: str
    title: str
    worker: str
    gmac: float
    gelem: float
    launch: float
    kernels: Mapping[str, float]
    basis: str
    error: float

    def milliseconds(self, graph_layers: list[Layer]) -> float:
        """Predicted time of one picture."""
        total = 0.0
        for layer in graph_layers:
            if layer.fused and self.worker != "onnxruntime":
                continue
            total += self.gmac * layer.macs * 1e-9 * self.weight(layer)
            total += self.gelem * self.traffic(layer) * 1e-9 + self.launch
        return total

    def weight(self, layer: Layer) -> float:
        """How much a multiply-add of this layer costs against the worker's plain kernel."""
        if layer.conv is None:
            return 1.0
        if self.worker == "onnxruntime":
            return self.kernels["blocked-8" if _blocked(layer.conv) else "plain"]
        if self.worker == "burst":
            return self.kernels["pointwise" if layer.conv.kernel == (1, 1) else "shifted"]
        return self.kernels[kernel(layer.conv, self.worker)]

    def traffic(self, layer: Layer) -> float:
        """Elements moved: written ones for ONNX Runtime, read and written ones for Unity's workers.

        ONNX Runtime reorders what convolutions read and write into blocks of channels and back (`reordered`).
        Normalisation reads its input twice on a GPU. The reference loops that burst falls back to cost several
        times what a vectorised loop does (`loops`).
        """
        if self.worker == "onnxruntime":
            return layer.written * (self.kernels["reordered"] if layer.conv else 1.0)
        if self.worker == "burst":
            taps = math.prod(layer.conv.kernel) if layer.conv else 1
            moved = layer.read * taps + layer.written if layer.conv else layer.read + layer.written
            return moved * (self.kernels["loops"] if layer.operator in _PLAIN_LOOPS else 1.0)
        passes = 2 if layer.operator == "InstanceNormalization" else 1
        return passes * layer.read + layer.written

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "title": self.title, "worker": self.worker, "basis": self.basis}


@functools.cache
def devices() -> dict[str, Device]:
    """Every device class by name, in the order of costs.json: `here` first."""
    held = json.loads((Path(__file__).parent / "costs.json").read_text(encoding="utf-8"))
    return {entry["name"]: Device(**{**entry, "kernels": entry.get("kernels", {})}) for entry in held["devices"]}


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


def at_size(graph: gs.Graph, size: Size) -> list[Layer]:
    """The layers at a picture size; the graph's declared input size is left as it was.

    Where the network's halvings do not divide the size, the nearest multiple of 32 is taken.
    """
    image = graph.inputs[0]
    declared = image.shape
    try:
        for step in (1, 32):
            image.shape = [1, declared[1], *size.rounded(step).hw]
            found = layers(graph)
            if all(layer.written for layer in found):
                break
        return found
    finally:
        image.shape = declared


def counted(graph: gs.Graph, size: Size) -> dict[str, Any]:
    """What a picture of this size costs, as data: billions of multiply-adds, megabytes of activations written and
    (with the weights) alive at once, and predicted milliseconds by device class.
    """
    from pipeline.graph.statistics import count

    image = graph.inputs[0]
    declared = image.shape
    image.shape = [1, declared[1], *size.hw]
    told = count(graph)
    image.shape = declared
    found = at_size(graph, size)
    return {
        "giga_macs": round(told.macs * 1e-9, 3),
        "written_megabytes": round(told.activation_elements * 4e-6, 1),
        "peak_megabytes": round(told.peak_elements * 4e-6 + told.weight_bytes * 1e-6, 1),
        "predicted": {name: round(held.milliseconds(found), 2) for name, held in devices().items()},
    }
