"""Bakes the image contract into a graph: RGB 0..1 goes in, RGB 0..1 comes out, clamped.

Unity's `Tensor(Texture, 3)` delivers RGB in 0..1 and `ToRenderTexture` shows RGB in 0..1 (Barracuda 3.0.0,
TextureUtils.compute:73 and :124), so a graph with the contract inside leaves the C# side nothing to get wrong.

At the input, in this order of preference:

1. scale, shift and channel order are folded into the first Conv, also through a reflect or edge Pad (which
   commutes with them); exact when no zero padding can see the shift;
2. the shift stays a node, `Sub(x, c)`, where zero padding follows (Add(scalar) would be folded past the padding
   by Barracuda >= 1.1, LayerFusingHelper.cs:331@3.0.0), and scale and order go into the Conv;
3. nodes in front: where the input has several readers, or no Conv is near.

At the output the chain of constant Mul/Add/Sub/Div/Neg nodes at the end is composed with the inverse mapping and
folded into the Conv before it, or written as at most one Mul and one Add, or (Tanh + 1) / 2 as Sigmoid; then a
Clip 0..1, where values can lie outside and the target does not clamp pictures itself (`clamps-pictures`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.contract import ImageContract, ImageSide
from pipeline.graph.forms import filler, has, pads_of, parameter
from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

_NEUTRAL_PAD_MODES = ("reflect", "edge")
_BOUNDED = {"Tanh": (-1.0, 1.0), "Sigmoid": (0.0, 1.0), "HardSigmoid": (0.0, 1.0), "Softmax": (0.0, 1.0)}
"""Operators whose results have these bounds, whatever goes in."""
_ROUNDING = 1e-6
"""How far scaled bounds may lie outside 0..1 by rounding: a four-thousandth of an 8-bit level."""


@dataclass(frozen=True)
class Baked:
    """What was done at each end, in a sentence, for the report."""

    input: str
    output: str


def bake(graph: gs.Graph, contract: ImageContract, *, clamp: bool = True) -> Baked:
    """Change `graph` (one NCHW image in, one out) in place so that it takes and gives RGB 0..1.

    Without `clamp` its values may lie outside: the target clamps them when they become a picture. Raises
    PipelineError `layout-not-baked` for a contract that is still channels-last.
    """
    if contract.input.layout != "nchw" or contract.output.layout != "nchw":
        raise PipelineError(
            "layout-not-baked",
            "the graph is channels-last, and its layout was not rewritten",
            remedy="Do not leave out the rewrite `layout` with --skip, or export the network channels-first.",
        )
    return Baked(_bake_input(graph, contract.input), _bake_output(graph, contract.output, clamp))


# --- input ---------------------------------------------------------------------------------------------------


def _bake_input(graph: gs.Graph, side: ImageSide) -> str:
    scale, shift = (np.asarray(v, dtype=np.float64) for v in side.affine())
    order = _order(side)
    moved = not np.array_equal(order, np.arange(side.channels))
    scale, shift = scale[order], shift[order]
    if np.all(scale == 1) and np.all(shift == 0) and not moved:
        return "the network already takes RGB 0..1"

    tensor = graph.inputs[0]
    conv, zero_padded = _first_conv(graph, tensor)
    if conv is None:
        _insert_in_front(graph, tensor, scale, shift, order if moved else None)
        return "scale, shift and channel order as nodes in front (the input is not read by only convolutions)"
    if zero_padded and np.any(shift != 0):
        # conv(scale * x + shift) = conv'(x - c) with the scale in the weights and c = -shift / scale.
        c = (-shift / scale)[_inverse(order)]
        _insert_sub(graph, tensor, c)
        _fold_into_first(conv, scale, np.zeros_like(shift), order)
        return (
            "shift as one Sub node (because zero padding follows), scale and channel order in the first "
            "convolution"
        )
    _fold_into_first(conv, scale, shift, order)
    return "scale, shift and channel order folded into the first convolution"


def _order(side: ImageSide) -> np.ndarray:
    """For each of the network's channels, the index of the bundle's channel that it holds."""
    if side.order == "bgr" and side.color_channels != 3:
        raise PipelineError(
            "bad-channel-order",
            f"the channel order bgr applies to 3 channels, but there are {side.color_channels}",
            subject="--channel-order",
            remedy="Omit --channel-order.",
        )
    return np.array(side.network_order())


def _inverse(order: np.ndarray) -> np.ndarray:
    return np.argsort(order)


def _first_conv(graph: gs.Graph, tensor: gs.Tensor) -> tuple[gs.Node | None, bool]:
    """The one Conv that reads the input, and whether zero padding lies between or in it."""
    import onnx_graphsurgeon as gs

    zero_padded = False
    while True:
        if len(tensor.outputs) != 1 or tensor in graph.outputs:
            return None, False
        node = tensor.outputs[0]
        if node.op == "Pad" and node.inputs[0] is tensor:
            mode = node.attrs.get("mode", "constant")
            if mode not in _NEUTRAL_PAD_MODES:
                if filler(node) != 0.0:
                    return None, False
                zero_padded = True
            pads = pads_of(node, 4)
            if pads is None or any(pads[i] for i in (0, 1, 4, 5)):
                return None, False
            tensor = node.outputs[0]
            continue
        if (
            node.op != "Conv"
            or node.inputs[0] is not tensor
            or node.attrs.get("group", 1) != 1
            or not all(isinstance(i, gs.Constant) for i in node.inputs[1:])
        ):
            return None, False
        padded = any(node.attrs.get("pads", [])) or node.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
        return node, zero_padded or padded


def _fold_into_first(conv: gs.Node, scale: np.ndarray, shift: np.ndarray, order: np.ndarray) -> None:
    weight = conv.inputs[1].values.astype(np.float64)
    bias = conv.inputs[2].values.astype(np.float64) if len(conv.inputs) > 2 else np.zeros(weight.shape[0])
    had_bias = len(conv.inputs) > 2
    bias = bias + np.einsum("oihw,i->o", weight, shift)
    weight = weight * scale[None, :, None, None]
    weight = weight[:, _inverse(order)]
    _set_constant(conv, 1, weight, "weight")
    if had_bias or np.any(bias != 0):
        _set_constant(conv, 2, bias, "bias")


def _insert_sub(graph: gs.Graph, tensor: gs.Tensor, c: np.ndarray) -> None:
    """Put `x - c` (c per channel) between the graph input and its readers."""
    import onnx_graphsurgeon as gs

    shifted = gs.Variable("image_contract/shifted", dtype=np.float32)
    _redirect(tensor, shifted)
    constant = gs.Constant("image_contract/shift", _per_channel(c))
    graph.nodes.insert(0, gs.Node("Sub", "image_contract/Sub", inputs=[tensor, constant], outputs=[shifted]))


def _insert_in_front(
    graph: gs.Graph, tensor: gs.Tensor, scale: np.ndarray, shift: np.ndarray, order: np.ndarray | None
) -> None:
    import onnx_graphsurgeon as gs

    nodes: list[gs.Node] = []
    readers_input = gs.Variable("image_contract/input", dtype=np.float32)
    _redirect(tensor, readers_input)
    value: gs.Tensor = tensor

    def then(op: str, constant: gs.Constant, **attrs: object) -> None:
        nonlocal value
        out = gs.Variable(f"image_contract/{op}_out", dtype=np.float32)
        nodes.append(gs.Node(op, f"image_contract/{op}", attrs=attrs, inputs=[value, constant], outputs=[out]))
        value = out

    if order is not None:
        one_hot = np.zeros((order.size, order.size, 1, 1), np.float32)
        one_hot[np.arange(order.size), order] = 1
        then("Conv", gs.Constant("image_contract/order", one_hot), kernel_shape=[1, 1])
    if np.any(shift != 0):
        then("Sub", gs.Constant("image_contract/shift", _per_channel(-shift / scale)))
    if np.any(scale != 1):
        then("Mul", gs.Constant("image_contract/scale", _per_channel(scale)))
    nodes[-1].outputs = [readers_input]
    for position, node in enumerate(nodes):
        graph.nodes.insert(position, node)


def _redirect(tensor: gs.Tensor, replacement: gs.Tensor) -> None:
    """Make every reader of `tensor` read `replacement`."""
    for node in list(tensor.outputs):
        for index, read in enumerate(node.inputs):
            if read is tensor:
                node.inputs[index] = replacement


def _set_constant(node: gs.Node, index: int, values: np.ndarray, what: str) -> None:
    import onnx_graphsurgeon as gs

    constant = gs.Constant(f"{node.outputs[0].name}/image_contract/{what}", values.astype(np.float32))
    if index < len(node.inputs):
        node.inputs[index] = constant
    else:
        node.inputs.append(constant)


# --- output --------------------------------------------------------------------------------------------------


def _bake_output(graph: gs.Graph, side: ImageSide, clamp: bool) -> str:
    import onnx_graphsurgeon as gs

    scale, shift = (np.asarray(v, dtype=np.float64) for v in side.affine())
    order = _order(side)
    # Network channel i holds RGB channel order[i]: rgb[order[i]] = (y[i] - shift[order[i]]) / scale[order[i]].
    slope, offset = 1.0 / scale[order], -shift[order] / scale[order]

    output = graph.outputs[0]
    tensor, slope, offset = _compose_tail(graph, output, slope, offset, (0.0, 1.0))
    producer = tensor.inputs[0] if tensor.inputs else None

    foldable = (
        producer is not None
        and producer.op == "Conv"
        and len(tensor.outputs) <= 1
        and all(isinstance(i, gs.Constant) for i in producer.inputs[1:])
        and (tensor is output or (len(tensor.outputs) == 1 and tensor not in graph.outputs))
    )
    done = []
    if np.allclose((slope, offset), 0.5, rtol=1e-12, atol=0) and _becomes_sigmoid(tensor):
        slope, offset = np.ones_like(slope), np.zeros_like(offset)
        done.append("Tanh and mapping written as Sigmoid")
    mapping = slope, offset
    if foldable:
        assert producer is not None
        weight = producer.inputs[1].values.astype(np.float64)
        bias = (
            producer.inputs[2].values.astype(np.float64) if len(producer.inputs) > 2 else np.zeros(weight.shape[0])
        )
        if np.any(slope != 1) or np.any(offset != 0) or side.order == "bgr":
            groups = producer.attrs.get("group", 1)
            weight, bias = weight * slope[:, None, None, None], bias * slope + offset
            if side.order == "bgr" and groups == 1:
                weight, bias = weight[_inverse(order)], bias[_inverse(order)]
                order = np.arange(side.channels)
            _set_constant(producer, 1, weight, "weight")
            _set_constant(producer, 2, bias, "bias")
            done.append("mapping folded into the last convolution")
        slope, offset = np.ones_like(slope), np.zeros_like(offset)

    name, value = output.name, tensor
    if value is output:
        value = gs.Variable(f"{name}/image_contract/network", dtype=np.float32)
        for node in list(output.inputs):
            node.outputs[node.outputs.index(output)] = value
        _redirect(output, value)
    if np.any(slope != 1):
        value = _append(graph, "Mul", value, slope)
        done.append("scale as one Mul")
    if np.any(offset != 0):
        value = _append(graph, "Add", value, offset)
        done.append("shift as one Add")
    if not np.array_equal(order, np.arange(side.channels)):
        one_hot = np.zeros((3, 3, 1, 1), np.float32)
        one_hot[order, np.arange(3)] = 1
        value = _append_node(graph, "Conv", value, gs.Constant("image_contract/output_order", one_hot))
        done.append("channel order as one 1x1 convolution")
    if _within(producer, *mapping):
        done.append("always within 0..1")
    elif clamp or not value.inputs:
        value = _append_clip(graph, value)
        done.append("clamped to 0..1")
    else:
        done.append("clamped to 0..1 when it is written to a texture")
    value.name, value.dtype, value.shape = name, np.float32, output.shape
    graph.outputs = [value]
    graph.cleanup(remove_unused_graph_inputs=False).toposort()
    return ", ".join(done)


def _becomes_sigmoid(tensor: gs.Tensor) -> bool:
    """Write a Tanh behind a Conv as Sigmoid: (tanh(x) + 1) / 2 is sigmoid(2 x), and the 2 goes into the Conv."""
    import onnx_graphsurgeon as gs

    tanh = tensor.inputs[0] if tensor.inputs else None
    if tanh is None or tanh.op != "Tanh" or len(tensor.outputs) > 1 or len(tanh.inputs[0].outputs) != 1:
        return False
    conv = tanh.inputs[0].inputs[0] if tanh.inputs[0].inputs else None
    if (
        conv is None
        or conv.op != "Conv"
        or not all(isinstance(constant, gs.Constant) for constant in conv.inputs[1:])
    ):
        return False
    for index, what in enumerate(("weight", "bias")[: len(conv.inputs) - 1], start=1):
        _set_constant(conv, index, 2 * conv.inputs[index].values.astype(np.float64), what)
    tanh.op = "Sigmoid"
    return True


def _within(producer: gs.Node | None, slope: np.ndarray, offset: np.ndarray) -> bool:
    """Whether slope * (what `producer` gives) + offset lies in 0..1, whatever the picture is."""
    if producer is None or producer.op not in _BOUNDED:
        return False
    ends = np.stack([slope * bound + offset for bound in _BOUNDED[producer.op]])
    return bool(np.all(ends >= -_ROUNDING) and np.all(ends <= 1 + _ROUNDING))


def _append_clip(graph: gs.Graph, value: gs.Tensor) -> gs.Tensor:
    import onnx_graphsurgeon as gs

    bounds = [
        gs.Constant(f"image_contract/{side}", np.array(bound, np.float32))
        for side, bound in (("min", 0), ("max", 1))
    ]
    clamped = gs.Variable("image_contract/clamped", dtype=np.float32)
    graph.nodes.append(gs.Node("Clip", "image_contract/Clip", inputs=[value, *bounds], outputs=[clamped]))
    return clamped


def _append(graph: gs.Graph, op: str, value: gs.Tensor, per_channel: np.ndarray) -> gs.Tensor:
    import onnx_graphsurgeon as gs

    constant = gs.Constant(f"image_contract/output_{op}", _per_channel(per_channel))
    return _append_node(graph, op, value, constant)


def _per_channel(values: np.ndarray) -> np.ndarray:
    """(1, C, 1, 1), or (1, 1, 1, 1) for one number, which targets merge with other numbers."""
    values = values[:1] if np.all(values == values[0]) else values
    return values.astype(np.float32).reshape(1, -1, 1, 1)


def _append_node(graph: gs.Graph, op: str, value: gs.Tensor, constant: gs.Constant) -> gs.Tensor:
    import onnx_graphsurgeon as gs

    out = gs.Variable(f"image_contract/output_{op}_out", dtype=np.float32)
    attrs = {"kernel_shape": [1, 1]} if op == "Conv" else {}
    graph.nodes.append(
        gs.Node(op, f"image_contract/output_{op}", attrs=attrs, inputs=[value, constant], outputs=[out])
    )
    return out


def _compose_tail(
    graph: gs.Graph, output: gs.Tensor, slope: np.ndarray, offset: np.ndarray, clamp: tuple[float, float]
) -> tuple[gs.Tensor, np.ndarray, np.ndarray]:
    """Walk back from the output over constant affine nodes: the tensor t with output01 = slope * t + offset.

    A Clip on the way is dropped where the final clamp makes it void. Nodes walked over become dead.
    """
    channels = slope.size
    tensor = output
    while len(tensor.inputs) == 1:
        if tensor is not output and len(tensor.outputs) != 1:
            break
        if tensor is output and tensor.outputs:
            break
        node = tensor.inputs[0]
        if node.op == "Clip":
            bounds = [parameter(node, name) for name in ("min", "max")]
            if any(bound is None and has(node, name) for bound, name in zip(bounds, ("min", "max"), strict=True)):
                break
            low = slope * (-np.inf if bounds[0] is None else float(bounds[0].reshape(()))) + offset
            high = slope * (np.inf if bounds[1] is None else float(bounds[1].reshape(()))) + offset
            if not (np.all(slope > 0) and np.all(low <= clamp[0]) and np.all(high >= clamp[1])):
                break
            tensor = node.inputs[0]
            continue
        if node.op == "Neg":
            slope = -slope
            tensor = node.inputs[0]
            continue
        operand = _affine_operand(node, channels)
        if operand is None:
            break
        variable, constant, first = operand
        if node.op == "Mul":
            slope = slope * constant
        elif node.op == "Div" and not first and np.all(constant != 0):
            slope = slope / constant
        elif node.op == "Add":
            offset = offset + slope * constant
        elif node.op == "Sub" and not first:
            offset = offset - slope * constant
        elif node.op == "Sub":
            offset, slope = offset + slope * constant, -slope
        else:
            break
        tensor = variable
    return tensor, slope, offset


def _affine_operand(node: gs.Node, channels: int) -> tuple[gs.Tensor, np.ndarray, bool] | None:
    """(variable, constant per channel, constant is the first input) of a Mul/Add/Sub/Div, else None."""
    import onnx_graphsurgeon as gs

    if node.op not in ("Mul", "Add", "Sub", "Div") or len(node.inputs) != 2:
        return None
    for index, operand in enumerate(node.inputs):
        other = node.inputs[1 - index]
        if not isinstance(operand, gs.Constant) or isinstance(other, gs.Constant):
            continue
        values = np.asarray(operand.values, dtype=np.float64)
        if values.size == 1 and values.ndim <= 4:
            return other, np.full(channels, values.reshape(())), index == 0
        if values.ndim in (3, 4) and values.size == channels and values.shape[-3] == channels:
            return other, values.reshape(channels), index == 0
    return None
