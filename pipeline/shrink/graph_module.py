"""A graph as a torch module whose weights can be trained and copied back into the graph.

For fine-tuning networks that exist only as .onnx files. Imports torch: import it inside a function. The graph is
in the valid form (opset 18); height and width remain variable as far as the graph allows it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as f

from pipeline.graph import forms
from pipeline.graph import nodes as n
from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

TRAINED = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "InstanceNormalization": (1, 2),
    "BatchNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "PRelu": (1,),
    "Gemm": (1, 2),
    "MatMul": (1,),
}
"""Inputs of each operator that are trained if they are constant."""

Run = Callable[[list[Any]], Tensor | tuple[Tensor, ...]]


@dataclass(frozen=True)
class Step:
    """One node: its function, the names of its inputs ("" for a missing one) and of its outputs."""

    run: Run
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class GraphModule(nn.Module):
    """A graph with one input and one output picture as a torch module; (N, C, H, W) float32 in the graph's own
    ranges.

    Raises PipelineError `cannot-train-graph` for an operator, or a form of one, that is not supported here.
    """

    def __init__(self, graph: gs.Graph) -> None:
        super().__init__()
        self.names: dict[str, str] = {}
        """The graph's names of the constants, by the module's names."""
        own_names: dict[str, str] = {}
        trained = _trained(graph)
        for name, tensor in graph.tensors().items():
            value = n.value(tensor)
            if value is None:
                continue
            own = f"t{len(self.names)}"
            self.names[own] = name
            own_names[name] = own
            values = torch.from_numpy(np.array(value))
            if name in trained:
                self.register_parameter(own, nn.Parameter(values.float()))
            else:
                self.register_buffer(own, values.float() if values.is_floating_point() else values)
        self.held = own_names
        self.steps = [
            Step(
                _step(node),
                tuple("" if t.is_empty() else t.name for t in node.inputs),
                tuple(t.name for t in node.outputs),
            )
            for node in graph.nodes
            if node.op != "Constant"
        ]
        self.source, self.result = graph.inputs[0].name, graph.outputs[0].name

    def forward(self, picture: Tensor) -> Tensor:
        values: dict[str, Any] = {self.source: picture, "": None}
        for step in self.steps:
            given = [getattr(self, self.held[name]) if name in self.held else values[name] for name in step.inputs]
            outputs = step.run(given)
            for name, value in zip(
                step.outputs, outputs if isinstance(outputs, tuple) else (outputs,), strict=False
            ):
                values[name] = value
        result: Tensor = values[self.result]
        return result

    def values(self) -> dict[str, np.ndarray]:
        """The trained constants by their names in the graph, float32."""
        return {self.names[own]: value.detach().cpu().numpy().copy() for own, value in self.named_parameters()}


def _trained(graph: gs.Graph) -> set[str]:
    found = set()
    for node in graph.nodes:
        for position in TRAINED.get(node.op, ()):
            tensor = n.given(node, position)
            value = n.value(tensor)
            if tensor is not None and value is not None and value.dtype in (np.float32, np.float16, np.float64):
                found.add(tensor.name)
    return found


def _refuse(node: gs.Node, why: str) -> PipelineError:
    return PipelineError(
        "cannot-train-graph",
        f"{why}, so this graph cannot be trained",
        subject=f"{node.op} {node.name}".strip(),
        remedy="Omit --tune, prune the checkpoint that it was exported from, or distil a student from it.",
    )


# --- operators ------------------------------------------------------------------------------------------------

_PLAIN: dict[str, Callable[..., Tensor]] = {
    "Abs": torch.abs,
    "Add": torch.add,
    "Div": torch.div,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True),
    "GlobalMaxPool": lambda x: x.amax((2, 3), keepdim=True),
    "HardSwish": f.hardswish,
    "Identity": lambda x: x,
    "Log": torch.log,
    "MatMul": torch.matmul,
    "Mish": f.mish,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "PRelu": lambda x, slope: torch.where(x >= 0, x, x * slope),
    "Pow": torch.pow,
    "Reciprocal": torch.reciprocal,
    "Relu": f.relu,
    "Sigmoid": torch.sigmoid,
    "Softplus": f.softplus,
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Tanh": torch.tanh,
}


def _step(node: gs.Node) -> Run:
    """The function that a node computes."""
    if node.domain not in (None, "", "ai.onnx"):
        raise _refuse(node, f"the operator is of the domain {node.domain}")
    if node.op in _PLAIN:
        plain = _PLAIN[node.op]
        return lambda given: plain(*given)
    make = _MAKERS.get(node.op)
    if make is None:
        raise _refuse(node, f"{node.op} is not supported in training")
    return make(node)


def _symmetric(node: gs.Node) -> tuple[list[int], list[int]]:
    """Pads of a convolution or pool as (one number for each axis, as torch takes them; the rest, for F.pad)."""
    weights = node.inputs[1].shape if node.op in ("Conv", "ConvTranspose") else None
    kernel = list(weights[2:]) if weights is not None else list(n.ints(node, "kernel_shape") or ())
    if len(kernel) != 2:
        raise _refuse(node, "its kernel is not two-dimensional")
    pads = forms.explicit_pads(node, (None, None), kernel)
    if pads is None:
        raise _refuse(node, "its padding depends on the size")
    top, left, bottom, right = pads
    if (top, left) == (bottom, right):
        return [top, left], [0, 0, 0, 0]
    return [0, 0], [left, right, top, bottom]


def _pair(node: gs.Node, name: str) -> list[int]:
    return list(n.ints(node, name) or (1, 1))


def _conv(node: gs.Node) -> Run:
    pads, rest = _symmetric(node)
    stride, dilation, group = _pair(node, "strides"), _pair(node, "dilations"), int(node.attrs.get("group", 1))

    def run(given: list[Any]) -> Tensor:
        x = f.pad(given[0], rest) if any(rest) else given[0]
        bias = given[2] if len(given) > 2 else None
        return f.conv2d(x, given[1], bias, stride, pads, dilation, group)

    return run


def _conv_transpose(node: gs.Node) -> Run:
    pads, rest = _symmetric(node)
    if any(rest) or "output_shape" in node.attrs:
        raise _refuse(node, "its pads are not the same on both sides")
    stride, dilation, group = _pair(node, "strides"), _pair(node, "dilations"), int(node.attrs.get("group", 1))
    more = list(n.ints(node, "output_padding") or (0, 0))

    def run(given: list[Any]) -> Tensor:
        bias = given[2] if len(given) > 2 else None
        return f.conv_transpose2d(given[0], given[1], bias, stride, pads, more, group, dilation)

    return run


def _instance_norm(node: gs.Node) -> Run:
    epsilon = float(node.attrs.get("epsilon", 1e-5))
    return lambda given: f.instance_norm(given[0], None, None, given[1], given[2], eps=epsilon)


def _batch_norm(node: gs.Node) -> Run:
    epsilon = float(node.attrs.get("epsilon", 1e-5))
    return lambda given: f.batch_norm(given[0], given[3], given[4], given[1], given[2], eps=epsilon)


def _layer_norm(node: gs.Node) -> Run:
    epsilon, axis = float(node.attrs.get("epsilon", 1e-5)), int(node.attrs.get("axis", -1))

    def run(given: list[Any]) -> Tensor:
        shape = given[0].shape[axis:]
        bias = given[2] if len(given) > 2 else None
        return f.layer_norm(
            given[0], shape, given[1].expand(shape), None if bias is None else bias.expand(shape), epsilon
        )

    return run


def _pad(node: gs.Node) -> Run:
    pads = forms.pads_of(node, 4)
    mode = n.text(node, "mode", "constant")
    if pads is None or any(pads[axis] for axis in (0, 1, 4, 5)) or mode not in ("constant", "reflect", "edge"):
        raise _refuse(node, "its padding is not known or not of height and width")
    places = [pads[3], pads[7], pads[2], pads[6]]
    if mode == "constant":
        value = forms.filler(node)
        if value is None:
            raise _refuse(node, "its fill value is computed")
        return lambda given: f.pad(given[0], places, value=value)
    name = {"reflect": "reflect", "edge": "replicate"}[mode]
    return lambda given: f.pad(given[0], places, mode=name)


def _resize(node: gs.Node) -> Run:
    scales, sizes = forms.scales_of(node), forms.integers(node, "sizes")
    mode = n.text(node, "mode", "nearest")
    coordinates = n.text(node, "coordinate_transformation_mode", "half_pixel")
    if scales is None or scales.size != 4 or sizes is not None or "axes" in node.attrs:
        raise _refuse(node, "its scales are not constant")
    factors = [float(scales[2]), float(scales[3])]
    if forms.is_nearest_enlarging(node):
        return lambda given: f.interpolate(given[0], scale_factor=factors, mode="nearest")
    if mode == "linear" and coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        corners = coordinates == "align_corners"
        return lambda given: f.interpolate(given[0], scale_factor=factors, mode="bilinear", align_corners=corners)
    raise _refuse(node, f"it resizes by {mode} with {coordinates}")


def _pool(node: gs.Node) -> Run:
    pads, rest = _symmetric(node)
    kernel, stride = list(n.ints(node, "kernel_shape") or ()), _pair(node, "strides")
    ceil = bool(node.attrs.get("ceil_mode", 0))
    if any(rest) or any(dilation != 1 for dilation in _pair(node, "dilations")):
        raise _refuse(node, "its pads are not the same on both sides")
    if node.op == "MaxPool":
        return lambda given: f.max_pool2d(given[0], kernel, stride, pads, ceil_mode=ceil)
    counted = bool(node.attrs.get("count_include_pad", 0))
    return lambda given: f.avg_pool2d(given[0], kernel, stride, pads, ceil, counted)


def _clip(node: gs.Node) -> Run:
    def run(given: list[Any]) -> Tensor:
        low, high = (given[i] if len(given) > i else None for i in (1, 2))
        return given[0].clamp(low, high) if low is not None or high is not None else given[0]

    return run


def _leaky(node: gs.Node) -> Run:
    slope = float(node.attrs.get("alpha", 0.01))
    return lambda given: f.leaky_relu(given[0], slope)


def _elu(node: gs.Node) -> Run:
    alpha = float(node.attrs.get("alpha", 1.0))
    return lambda given: f.elu(given[0], alpha)


def _hard_sigmoid(node: gs.Node) -> Run:
    alpha, beta = float(node.attrs.get("alpha", 0.2)), float(node.attrs.get("beta", 0.5))
    return lambda given: (given[0] * alpha + beta).clamp(0, 1)


def _gelu(node: gs.Node) -> Run:
    kind = n.text(node, "approximate", "none")
    return lambda given: f.gelu(given[0], approximate=kind)


def _concat(node: gs.Node) -> Run:
    axis = int(node.attrs["axis"])
    return lambda given: torch.cat(given, axis)


def _transpose(node: gs.Node) -> Run:
    order = n.ints(node, "perm")
    return lambda given: given[0].permute(*(order or range(given[0].ndim - 1, -1, -1)))


def _reshape(node: gs.Node) -> Run:
    value = n.value(n.given(node, 1))
    if value is None:
        raise _refuse(node, "its shape is computed")
    shape = [int(size) for size in value.reshape(-1)]

    def run(given: list[Any]) -> Tensor:
        resolved = [given[0].shape[i] if size == 0 else size for i, size in enumerate(shape)]
        return given[0].reshape(resolved)

    return run


def _reduce(node: gs.Node) -> Run:
    axes = forms.axes_of(node)
    if not axes:
        raise _refuse(node, "its axes are not constant")
    keep = bool(node.attrs.get("keepdims", 1))
    reduce = {"ReduceMean": torch.mean, "ReduceSum": torch.sum}[node.op]
    return lambda given: reduce(given[0], tuple(axes), keepdim=keep)


def _softmax(node: gs.Node) -> Run:
    axis = int(node.attrs.get("axis", -1))
    return lambda given: torch.softmax(given[0], axis)


def _shuffle(node: gs.Node) -> Run:
    block = int(node.attrs["blocksize"])
    if node.op == "SpaceToDepth":

        def apart(given: list[Any]) -> Tensor:
            batch, channels, height, width = given[0].shape
            cut = given[0].reshape(batch, channels, height // block, block, width // block, block)
            return cut.permute(0, 3, 5, 1, 2, 4).reshape(batch, -1, height // block, width // block)

        return apart
    if n.text(node, "mode", "DCR") == "CRD":
        return lambda given: f.pixel_shuffle(given[0], block)

    def together(given: list[Any]) -> Tensor:
        batch, channels, height, width = given[0].shape
        cut = given[0].reshape(batch, block, block, channels // block**2, height, width)
        return cut.permute(0, 3, 4, 1, 5, 2).reshape(batch, -1, height * block, width * block)

    return together


_MAKERS: dict[str, Callable[[Any], Run]] = {
    "AveragePool": _pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DepthToSpace": _shuffle,
    "Elu": _elu,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": _leaky,
    "MaxPool": _pool,
    "Pad": _pad,
    "ReduceMean": _reduce,
    "ReduceSum": _reduce,
    "Reshape": _reshape,
    "Resize": _resize,
    "Softmax": _softmax,
    "SpaceToDepth": _shuffle,
    "Transpose": _transpose,
}
