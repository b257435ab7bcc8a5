"""Reads a valid graph into steps: what each node means for pictures, or why it is not carried.

Forms of every opset from 9 on are taken (attributes or inputs for pads, bounds, scales, axes), because a graph may
come from a file as well as from the rewrites. A step has one output; shapes are those at the declared size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.shapes import Shapes, infer
from pipeline.targets.compute.patterns import patterns, recognise
from pipeline.targets.compute.reading import constant, number, picture_shape, required
from pipeline.targets.compute.steps import ELSEWHERE, Refused, Step, Steps, Unsupported

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs


LOWERED = "The lowering (`convert`, `build-unity`) takes out layouts with channels last where it can; else " + (
    ELSEWHERE[0].lower() + ELSEWHERE[1:]
)


def read(graph: gs.Graph) -> Steps:
    """The steps of a graph with one picture in and out; nodes that are not carried are in `refused`."""
    shapes = infer(graph)
    result = graph.outputs[0].name
    found = Steps([], [], graph.inputs[0].name, result, {}, result)
    same: dict[str, str] = {}
    for tensor in graph.tensors().values():
        shape = shapes.static(tensor)
        if shape is not None and 0 < len(shape) <= 4 and not hasattr(tensor, "values"):
            sizes = picture_shape(shape)
            if sizes is not None:
                found.shapes[tensor.name] = sizes
    wholes, parts = patterns(graph, shapes)
    for node in graph.nodes:
        if not node.outputs or node.op == "Constant" or id(node) in parts:
            continue
        try:
            if id(node) in wholes:
                step = wholes[id(node)]
                step.inputs = tuple(same.get(name, name) for name in step.inputs)
                found.steps.append(step)
                continue
            reader = _READERS.get(node.op)
            if reader is None or node.domain not in (None, "", "ai.onnx"):
                raise Unsupported(f"{node.op} has no kernel here", ELSEWHERE)
            for made in node.outputs:
                if made.name not in found.shapes:
                    raise Unsupported(f"the shape of {made.name} is not known, or it is no picture", ELSEWHERE)
            for step in reader(node, shapes):
                step.inputs = tuple(same.get(name, name) for name in step.inputs)
                if step.kind == "same":
                    same[step.output] = step.inputs[0]
                else:
                    found.steps.append(step)
        except Unsupported as error:
            found.refused.append(Refused(node.name, node.op, error.reason, error.fix))
    found.result = same.get(found.result, found.result)
    recognise(found)
    return found


def _step(kind: str, node: gs.Node, inputs: list[gs.Tensor] | None = None, **held: Any) -> Step:
    names = tuple(tensor.name for tensor in (inputs if inputs is not None else node.inputs[:1]))
    return Step(kind, node.name, node.op, names, node.outputs[0].name, held)


def _pads(
    node: gs.Node, shapes: Shapes, kernel: tuple[int, ...], strides: tuple[int, ...], dilations: Any
) -> tuple:
    """(top, left, bottom, right) of a window operator."""
    auto = n.text(node, "auto_pad", "NOTSET")
    if auto == "VALID":
        return (0, 0, 0, 0)
    if auto == "NOTSET":
        return n.ints(node, "pads", (0, 0, 0, 0))
    shape = shapes.static(node.inputs[0])
    sides = []
    for axis in (0, 1):
        size = shape[2 + axis] if shape else None
        if size is None or (strides[axis] > 1 and size % strides[axis]):
            raise Unsupported(f"auto_pad {auto} depends on the size of the picture", "Give explicit pads.")
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        total = max(0, (-(-size // strides[axis]) - 1) * strides[axis] + reach - size)
        small, large = total // 2, total - total // 2
        sides.append((small, large) if auto == "SAME_UPPER" else (large, small))
    return (sides[0][0], sides[1][0], sides[0][1], sides[1][1])


# --- one reader for each operator ----------------------------------------------------------------------------


def _conv(node: gs.Node, shapes: Shapes) -> list[Step]:
    weight = required(node, 1, "weight")
    if weight.ndim != 4:
        raise Unsupported(f"a convolution over {weight.ndim - 2} dimensions is not one over pictures", ELSEWHERE)
    transposed = node.op == "ConvTranspose"
    group = int(node.attrs.get("group", 1))
    channels = weight.shape[1] * group if transposed else weight.shape[0]
    bias = constant(node, 2)
    bias = np.zeros(channels) if bias is None else bias.astype(np.float64).reshape(-1)
    strides, dilations = n.ints(node, "strides", (1, 1)), n.ints(node, "dilations", (1, 1))
    kernel = (weight.shape[2], weight.shape[3])
    if transposed:
        more = n.ints(node, "output_padding", (0, 0))
        pads = _transposed_pads(node, kernel, strides, dilations, more)
        return [
            _step(
                "transposed",
                node,
                weight=weight,
                bias=bias,
                group=group,
                strides=strides,
                dilations=dilations,
                pads=pads,
                more=more,
            )
        ]
    pads = _pads(node, shapes, kernel, strides, dilations)
    return [
        _step("conv", node, weight=weight, bias=bias, group=group, strides=strides, dilations=dilations, pads=pads)
    ]


def _transposed_pads(
    node: gs.Node, kernel: tuple[int, int], strides: Any, dilations: Any, more: Any
) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) that a transposed convolution takes off; SAME_* gives stride times the size."""
    auto = n.text(node, "auto_pad", "NOTSET")
    if "output_shape" in node.attrs:
        raise Unsupported(
            "output_shape of a transposed convolution is a size that is baked in",
            "The lowering (`convert`, `build-unity`) turns it into pads.",
        )
    if auto in ("NOTSET", "VALID"):
        top, left, bottom, right = n.ints(node, "pads", (0, 0, 0, 0))
        return (top, left, bottom, right) if auto == "NOTSET" else (0, 0, 0, 0)
    sides = []
    for axis in (0, 1):
        total = max(0, (kernel[axis] - 1) * dilations[axis] + 1 - strides[axis] + more[axis])
        small, large = total // 2, total - total // 2
        sides.append((small, large) if auto == "SAME_UPPER" else (large, small))
    return sides[0][0], sides[1][0], sides[0][1], sides[1][1]


def _batch_norm(node: gs.Node, shapes: Shapes) -> list[Step]:
    scale, bias, mean, variance = (required(node, i, "statistics") for i in range(1, 5))
    scale = scale / np.sqrt(variance + float(node.attrs.get("epsilon", 1e-5)))
    return [_step("affine", node, scale=scale, shift=bias - mean * scale)]


def _instance_norm(node: gs.Node, shapes: Shapes) -> list[Step]:
    gamma, beta = required(node, 1, "scale"), required(node, 2, "bias")
    epsilon = float(node.attrs.get("epsilon", 1e-5))
    return [_step("norm", node, gamma=gamma, beta=beta, epsilon=epsilon, channels=1)]


def _group_norm(node: gs.Node, shapes: Shapes) -> list[Step]:
    groups = int(node.attrs["num_groups"])
    shape = shapes.static(node.inputs[0])
    if shape is None:
        raise Unsupported("the number of channels is not known")
    each = shape[1] // groups
    gamma, beta = required(node, 1, "scale"), required(node, 2, "bias")
    if gamma.size == groups and groups != shape[1]:
        gamma, beta = np.repeat(gamma, each), np.repeat(beta, each)
    epsilon = float(node.attrs.get("epsilon", 1e-5))
    return [_step("norm", node, gamma=gamma, beta=beta, epsilon=epsilon, channels=each)]


def _mean_variance(node: gs.Node, shapes: Shapes) -> list[Step]:
    shape = shapes.static(node.inputs[0])
    if shape is None or sorted(n.ints(node, "axes", (0, 2, 3))) not in ([0, 2, 3], [2, 3]):
        raise Unsupported("only the normalisation of each channel by itself is carried", ELSEWHERE)
    ones = np.ones(shape[1])
    return [_step("norm", node, gamma=ones, beta=0 * ones, epsilon=1e-9, channels=1)]


def _layer_norm(node: gs.Node, shapes: Shapes) -> list[Step]:
    raise Unsupported("layer norm is carried over channels, between transpositions that put them last", ELSEWHERE)


def _act(kind: str, *bounds: tuple[str, float]) -> Any:
    def reader(node: gs.Node, shapes: Shapes) -> list[Step]:
        return [_step("act", node, act=kind, bounds=tuple(float(node.attrs.get(a, d)) for a, d in bounds))]

    return reader


def _clip(node: gs.Node, shapes: Shapes) -> list[Step]:
    low, high = number(node, 1, "min", -3.0e38), number(node, 2, "max", 3.0e38)
    if low == 0 and high >= 3.0e38:
        return [_step("act", node, act="RELU", bounds=())]
    return [_step("act", node, act="CLIP", bounds=(max(low, -3.0e38), min(high, 3.0e38)))]


def _gelu(node: gs.Node, shapes: Shapes) -> list[Step]:
    kind = "GELU_TANH" if n.text(node, "approximate", "none") == "tanh" else "GELU"
    return [_step("act", node, act=kind, bounds=())]


def _prelu(node: gs.Node, shapes: Shapes) -> list[Step]:
    slope = required(node, 1, "slope")
    if slope.size == 1:
        return [_step("act", node, act="LEAKY", bounds=(float(slope.reshape(-1)[0]),))]
    return [_step("act", node, act="PRELU", bounds=(), slopes=_per_channel(slope, node, shapes))]


def _per_channel(held: np.ndarray, node: gs.Node, shapes: Shapes) -> np.ndarray:
    """A constant that broadcasts along channels alone, one number for each channel."""
    shape = shapes.static(node.outputs[0])
    if shape is None:
        raise Unsupported("the number of channels is not known")
    channels = shape[1] if len(shape) > 1 else shape[0]
    held = np.asarray(held, np.float64)
    if held.size == 1:
        return np.full(channels, float(held.reshape(())))
    along = held.ndim - len(shape) + 1 if len(shape) > 1 else 0
    if held.size == channels and 0 <= along < held.ndim and held.shape[along] == channels:
        return held.reshape(-1)
    raise Unsupported(f"a constant of shape {held.shape} is not one number for each channel", ELSEWHERE)


def _binary(node: gs.Node, shapes: Shapes) -> list[Step]:
    held = [n.value(tensor) for tensor in node.inputs]
    if held[0] is None and held[1] is None:
        return [_step("binary", node, list(node.inputs), combine=node.op)]
    first = held[0] is not None
    variable = node.inputs[1 if first else 0]
    number = _per_channel(held[0] if first else held[1], node, shapes)
    one = np.ones_like(number)
    if node.op == "Add":
        scale, shift = one, number
    elif node.op == "Sub":
        scale, shift = (-one, number) if first else (one, -number)
    elif node.op == "Mul":
        scale, shift = number, 0 * one
    elif first:
        raise Unsupported("a constant divided by a picture has no kernel here", ELSEWHERE)
    else:
        scale, shift = 1 / number, 0 * one
    return [_step("affine", node, [variable], scale=scale, shift=shift)]


def _negative(node: gs.Node, shapes: Shapes) -> list[Step]:
    one = _per_channel(np.ones(1), node, shapes)
    return [_step("affine", node, scale=-one, shift=0 * one)]


def _extreme(node: gs.Node, shapes: Shapes) -> list[Step]:
    held = [(tensor, n.value(tensor)) for tensor in node.inputs]
    constants = [value for _, value in held if value is not None]
    if len(held) != 2 or len(constants) != 1 or constants[0].size != 1:
        raise Unsupported(f"{node.op} is carried against one number", ELSEWHERE)
    number = float(constants[0].reshape(()))
    bounds = (number, 3.0e38) if node.op == "Max" else (-3.0e38, number)
    return [_step("act", node, [next(t for t, value in held if value is None)], act="CLIP", bounds=bounds)]


def _power(node: gs.Node, shapes: Shapes) -> list[Step]:
    exponent = required(node, 1, "exponent")
    kinds = {2.0: "SQUARE", 0.5: "SQUARE_ROOT"}
    if exponent.size != 1 or float(exponent.reshape(())) not in kinds:
        raise Unsupported("powers other than 2 and 1/2 have no kernel here", ELSEWHERE)
    return [_step("act", node, act=kinds[float(exponent.reshape(()))], bounds=())]


def _pad(node: gs.Node, shapes: Shapes) -> list[Step]:
    pads = [int(v) for v in np.asarray(constant(node, 1, "pads")).reshape(-1)]
    axes = constant(node, 3)
    if axes is not None:
        spread = [0] * 8
        for place, axis in enumerate(int(a) % 4 for a in axes.reshape(-1)):
            spread[axis], spread[axis + 4] = pads[place], pads[len(pads) // 2 + place]
        pads = spread
    if len(pads) != 8 or pads[0] or pads[1] or pads[4] or pads[5]:
        raise Unsupported("padding of channels has no kernel here", ELSEWHERE)
    mode = n.text(node, "mode", "constant")
    if mode not in ("constant", "reflect", "edge"):
        raise Unsupported(f"padding of mode {mode} has no kernel here", ELSEWHERE)
    value = number(node, 2, "value", 0.0) if mode == "constant" else 0.0
    return [_step("pad", node, pads=(pads[2], pads[3], pads[6], pads[7]), mode=mode, value=value)]


def _slice(node: gs.Node, shapes: Shapes) -> list[Step]:
    shape = shapes.static(node.inputs[0])
    if shape is None or len(shape) != 4:
        raise Unsupported("only slices of pictures are carried", ELSEWHERE)
    starts, ends = constant(node, 1, "starts"), constant(node, 2, "ends")
    axes, steps = constant(node, 3, "axes"), constant(node, 4, "steps")
    ranges = [(0, size) for size in shape]
    for place, (start, end) in enumerate(zip(starts.reshape(-1), ends.reshape(-1), strict=True)):
        axis = int(axes.reshape(-1)[place]) % 4 if axes is not None else place
        if steps is not None and int(steps.reshape(-1)[place]) != 1:
            raise Unsupported("slices with steps have no kernel here", ELSEWHERE)
        ranges[axis] = slice(int(start), int(end)).indices(shape[axis])[:2]
    if ranges[0] != (0, shape[0]):
        raise Unsupported("a slice of the batch is no picture", ELSEWHERE)
    steps_made = []
    cut = [(ranges[axis][0], shape[axis] - ranges[axis][1]) for axis in (2, 3)]
    spatial = any(side for pair in cut for side in pair)
    if ranges[1] != (0, shape[1]):
        made = _step("channels", node, first=ranges[1][0], count=ranges[1][1] - ranges[1][0])
        if spatial:
            raise Unsupported("a slice of channels and pixels at once has no kernel here", "Split it in two.")
        steps_made.append(made)
    elif spatial:
        pads = (-cut[0][0], -cut[1][0], -cut[0][1], -cut[1][1])
        steps_made.append(_step("pad", node, pads=pads, mode="constant", value=0.0))
    else:
        steps_made.append(_step("same", node))
    return steps_made


def _split(node: gs.Node, shapes: Shapes) -> list[Step]:
    shape = shapes.static(node.inputs[0])
    axis = int(node.attrs.get("axis", 0))
    if shape is None or len(shape) != 4 or axis % 4 != 1:
        raise Unsupported("only channels are split here", ELSEWHERE)
    made, first = [], 0
    for tensor in node.outputs:
        count = shapes.static(tensor)[1]
        made.append(
            Step(
                "channels",
                node.name,
                node.op,
                (node.inputs[0].name,),
                tensor.name,
                {"first": first, "count": count},
            )
        )
        first += count
    return made


def _concat(node: gs.Node, shapes: Shapes) -> list[Step]:
    if int(node.attrs.get("axis", 1)) % 4 != 1:
        raise Unsupported("only channels are joined here", ELSEWHERE)
    if any(n.value(tensor) is not None for tensor in node.inputs):
        raise Unsupported("a constant among the joined parts has no kernel here", ELSEWHERE)
    return [_step("concat", node, list(node.inputs))]


def _resize(node: gs.Node, shapes: Shapes) -> list[Step]:
    before, after = shapes.static(node.inputs[0]), shapes.static(node.outputs[0])
    mode = n.text(node, "mode", "nearest")
    if before is None or after is None or len(before) != 4 or before[:2] != after[:2]:
        raise Unsupported("only pictures are resized here, and not their channels", ELSEWHERE)
    if mode not in ("nearest", "linear", "bilinear") or int(node.attrs.get("antialias", 0)):
        raise Unsupported(f"resizing of mode {mode} with antialias or cubic weights has no kernel here", ELSEWHERE)
    scales = [_scale_of(node, axis, before[axis], after[axis]) for axis in (2, 3)]
    old = node.op == "Upsample" or (node.op == "Resize" and len(node.inputs) == 2)
    transform = n.text(node, "coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    rounding = n.text(node, "nearest_mode", "floor" if old else "round_prefer_floor")
    if transform not in ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"):
        raise Unsupported(f"the coordinate transformation {transform} has no kernel here", ELSEWHERE)
    return [
        _step(
            "resize",
            node,
            linear=mode != "nearest",
            scales=tuple(scales),
            transform=transform,
            rounding=rounding,
        )
    ]


def _scale_of(node: gs.Node, axis: int, before: int, after: int) -> float:
    """The factor along an axis: the declared one, or what the declared sizes come to."""
    place = 1 if node.op == "Upsample" or len(node.inputs) == 2 else 2
    scales = constant(node, place, "scales")
    if scales is not None and scales.size == 4:
        return float(scales.reshape(-1)[axis])
    if scales is not None and scales.size == 2:
        return float(scales.reshape(-1)[axis - 2])
    return after / before


def _shuffle(node: gs.Node, shapes: Shapes) -> list[Step]:
    size = int(node.attrs["blocksize"])
    mode = n.text(node, "mode", "DCR")
    return [_step("unshuffle" if node.op == "SpaceToDepth" else "shuffle", node, size=size, mode=mode)]


def _pool(node: gs.Node, shapes: Shapes) -> list[Step]:
    kernel, strides = n.ints(node, "kernel_shape"), n.ints(node, "strides", (1, 1))
    if kernel is None or len(kernel) != 2:
        raise Unsupported("pooling over other than two dimensions has no kernel here", ELSEWHERE)
    if set(n.ints(node, "dilations", (1, 1))) != {1}:
        raise Unsupported("dilated pooling has no kernel here", ELSEWHERE)
    if len(node.outputs) > 1:
        raise Unsupported("the indices of pooling have no kernel here", ELSEWHERE)
    pads = _pads(node, shapes, kernel, strides, (1, 1))
    counted = bool(node.attrs.get("count_include_pad", 0))
    mode = 0 if node.op == "MaxPool" else 2 if counted and any(pads) else 1
    ceil = bool(node.attrs.get("ceil_mode", 0))
    return [_step("pool", node, kernel=kernel, strides=strides, pads=pads, mode=mode, ceil=ceil)]


def _mean(node: gs.Node, shapes: Shapes) -> list[Step]:
    if node.op == "ReduceMean":
        axes = constant(node, 1, "axes")
        shape = shapes.static(node.inputs[0])
        if (
            shape is None
            or len(shape) != 4
            or axes is None
            or sorted(int(a) % 4 for a in axes.reshape(-1)) != [2, 3]
        ):
            raise Unsupported("only the mean over all pixels of a channel is carried", ELSEWHERE)
    return [_step("mean", node)]


def _softmax(node: gs.Node, shapes: Shapes) -> list[Step]:
    shape = shapes.static(node.inputs[0])
    if shape is None or len(shape) != 4 or int(node.attrs.get("axis", -1)) % 4 != 1:
        raise Unsupported("softmax is supported over channels only", ELSEWHERE)
    return [_step("softmax", node)]


def _dense(node: gs.Node, shapes: Shapes) -> list[Step]:
    """A dense layer on the one pixel that a global pooling left: a 1x1 convolution."""
    weight = required(node, 1, "weight")
    shape = shapes.static(node.inputs[0])
    if shape is None or len(shape) != 2 or shape[0] != 1 or weight.ndim != 2:
        raise Unsupported("a dense layer is supported only after global pooling", ELSEWHERE)
    if node.op == "Gemm":
        if node.attrs.get("transA", 0) or float(node.attrs.get("beta", 1)) != 1:
            raise Unsupported("this form of Gemm has no kernel here", ELSEWHERE)
        weight = (weight if node.attrs.get("transB", 0) else weight.T) * float(node.attrs.get("alpha", 1))
        bias = constant(node, 2)
    else:
        weight, bias = weight.T, None
    bias = np.zeros(weight.shape[0]) if bias is None else np.broadcast_to(bias.reshape(-1), weight.shape[0])
    return [
        _step(
            "conv",
            node,
            weight=weight[:, :, None, None],
            bias=bias.astype(np.float64),
            group=1,
            strides=(1, 1),
            dilations=(1, 1),
            pads=(0, 0, 0, 0),
        )
    ]


def _reshape(node: gs.Node, shapes: Shapes) -> list[Step]:
    before, after = shapes.static(node.inputs[0]), shapes.static(node.outputs[0])
    if before is not None and after is not None:
        if tuple(before) == tuple(after):
            return [_step("same", node)]
        one, other = picture_shape(tuple(before)), picture_shape(tuple(after))
        if one is not None and one == other:
            return [_step("same", node)]
    raise Unsupported("it moves data between channels and pixels in a way that no kernel here has", LOWERED)


def _transpose(node: gs.Node, shapes: Shapes) -> list[Step]:
    before = shapes.static(node.inputs[0])
    after = shapes.static(node.outputs[0])
    moved = [size for size in (after or ()) if size != 1] == [size for size in (before or ()) if size != 1]
    if before is not None and moved and picture_shape(tuple(before)) == picture_shape(tuple(after or ())):
        return [_step("same", node)]
    raise Unsupported("only a transposition that moves nothing is carried", LOWERED)


def _same(node: gs.Node, shapes: Shapes) -> list[Step]:
    return [_step("same", node)]


_READERS = {
    "Conv": _conv,
    "ConvTranspose": _conv,
    "Gemm": _dense,
    "MatMul": _dense,
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _instance_norm,
    "GroupNormalization": _group_norm,
    "LayerNormalization": _layer_norm,
    "MeanVarianceNormalization": _mean_variance,
    "Relu": _act("RELU"),
    "LeakyRelu": _act("LEAKY", ("alpha", 0.01)),
    "PRelu": _prelu,
    "Elu": _act("ELU", ("alpha", 1.0)),
    "Tanh": _act("TANH"),
    "Sigmoid": _act("SIGMOID"),
    "HardSigmoid": _act("HARD_SIGMOID", ("alpha", 0.2), ("beta", 0.5)),
    "HardSwish": _act("HARD_SWISH"),
    "Softplus": _act("SOFTPLUS"),
    "Mish": _act("MISH"),
    "Gelu": _gelu,
    "Abs": _act("ABSOLUTE"),
    "Sqrt": _act("SQUARE_ROOT"),
    "Exp": _act("EXPONENTIAL"),
    "Clip": _clip,
    "Max": _extreme,
    "Min": _extreme,
    "Pow": _power,
    "Add": _binary,
    "Sub": _binary,
    "Mul": _binary,
    "Div": _binary,
    "Neg": _negative,
    "Pad": _pad,
    "Slice": _slice,
    "Split": _split,
    "Concat": _concat,
    "Resize": _resize,
    "Upsample": _resize,
    "DepthToSpace": _shuffle,
    "SpaceToDepth": _shuffle,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": _mean,
    "ReduceMean": _mean,
    "Softmax": _softmax,
    "Reshape": _reshape,
    "Flatten": _reshape,
    "Squeeze": _reshape,
    "Unsqueeze": _reshape,
    "Transpose": _transpose,
    "Identity": _same,
    "Dropout": _same,
}

CARRIED = tuple(sorted(_READERS))
"""The operators that the compiler has a reader for; a use of one may still be refused."""
