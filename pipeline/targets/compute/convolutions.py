"""Compiles convolutions: operations fused into their weights, input and output, and the kernel variant."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from pipeline.targets.compute.builder import PlanBuilder
from pipeline.targets.compute.linear import Constant, Linear, depends
from pipeline.targets.compute.plan import PICTURE, Dispatch, Extent, Weight, blocks
from pipeline.targets.compute.steps import ELSEWHERE, Step, Unsupported
from pipeline.targets.compute.views import NEUTRAL, Activation, Affine, Table, Term, View

SHARED_BYTES = 16384
"""Most groupshared memory of a thread group: what Vulkan guarantees (maxComputeSharedMemorySize)."""
MAX_DENSE_WEIGHTS = 1 << 22
"""Most weights of a grouped convolution that is computed as a dense one."""


@dataclass
class _Convolution:
    """A convolution as the kernel computes it: `shuffle`^2 phases of output channels, written interleaved.

    `crop` (top, left) is cut off the interleaved output. `phased`: each phase reads its own window of the input.
    """

    weight: np.ndarray
    bias: Constant
    group: int
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    height: Extent
    width: Extent
    shuffle: int = 1
    crop: tuple[int, int] = (0, 0)
    phased: bool = False

    @property
    def channels(self) -> int:
        return self.weight.shape[0] // (self.shuffle * self.shuffle)


def convolve(builder: PlanBuilder, number: int, step: Step) -> None:
    """Emit the dispatch of a convolution step; steps after it that are fused into it are marked as done."""
    view = _readable(builder, step)
    conv = _transposed(step) if step.kind == "transposed" else _plain(step, view)
    if step.kind == "transposed" and not view.pixel_aligned:
        builder.stored(step.inputs[0])
        view = builder.views[step.inputs[0]]
    tail, output_name, nodes = _tail(builder, step, conv)
    centred = _centred(builder, conv, view, tail, output_name)
    view = centred or view
    if _upsampled(conv, view) and not _normalised(builder, output_name):
        conv, view = _as_phases(conv, view)
    depthwise = conv.group > 1 and conv.weight.shape[1] == 1 and conv.weight.shape[0] == conv.group
    windowed = max(conv.weight.shape[2:]) > 1
    if depthwise and conv.shuffle == 1:
        if view.costly and windowed:
            view = _stored_first(builder, step, view)
        dispatch = _depthwise(builder, conv, view)
    else:
        dispatch = _dense(builder, conv, view)
        if dispatch.macros["SHARE"] == 0 and windowed and view.costly:
            view = _stored_first(builder, step, view)
    output = builder.value(output_name, conv.channels, view.a.value, conv.height, conv.width)
    dispatch.output = output.number
    dispatch.nodes = (step.node, *nodes)
    dispatch.title = _title(conv, view, tail, depthwise)
    builder.bind_inputs(view, dispatch)
    if centred is not None:
        dispatch.macros["CENTRED"] = 1
    _write_tail(builder, tail, dispatch)
    if _keeps(builder, number, step, view, dispatch, conv):
        origin = view.origin or step.inputs[0]
        kept = builder.like(replace(view, pads=(0, 0, 0, 0)), origin)
        dispatch.kept, dispatch.macros["KEEP"] = kept.number, 1
        dispatch.title += ", store the sum"
        builder.views[origin] = View(Term(kept.number))
    builder.emit(dispatch)
    builder.views[output_name] = View(Term(output.number))


def pixel_mean(builder: PlanBuilder, number: int, step: Step) -> None:
    """Emit the mean over the channels of each pixel, as a 1x1 convolution to one channel."""
    channels = builder.steps.shapes[step.inputs[0]][0]
    weight, bias = np.full((1, channels, 1, 1), 1 / channels), np.zeros(1)
    attrs = {
        "weight": weight,
        "bias": bias,
        "group": 1,
        "strides": (1, 1),
        "dilations": (1, 1),
        "pads": (0, 0, 0, 0),
    }
    convolve(builder, number, replace(step, kind="conv", attrs=attrs))


def _readable(builder: PlanBuilder, step: Step) -> View:
    """The input as a view whose padding can be added to the convolution's own."""
    view, pads = builder.views[step.inputs[0]], step.attrs["pads"]
    own = any(pads) or step.kind == "transposed"
    zero = view.mode == "constant" and view.pad_value == 0 and all(pad >= 0 for pad in view.pads)
    if own and any(view.pads) and not zero:
        builder.stored(step.inputs[0])
        view = builder.views[step.inputs[0]]
    return view


def _stored_first(builder: PlanBuilder, step: Step, view: View) -> View:
    """The same view of a value that is stored first, so that it is computed once per pixel, not once per tap."""
    origin = view.origin or step.inputs[0]
    if builder.views[origin].plain:
        value = builder.views[origin].a.value
    else:
        value = builder.store_view(replace(view, up=1, pads=(0, 0, 0, 0), mode="constant"), origin).number
        builder.views[origin] = View(Term(value))
    return View(
        Term(value), up=view.up, pads=view.pads, mode=view.mode, pad_value=view.pad_value, origin=view.origin
    )


def _plain(step: Step, view: View) -> _Convolution:
    attrs = step.attrs
    weight, strides, dilations = attrs["weight"], attrs["strides"], attrs["dilations"]
    pads = tuple(own + other for own, other in zip(attrs["pads"], view.pads, strict=True))
    extents = []
    for axis in (0, 1):
        reach = (weight.shape[2 + axis] - 1) * dilations[axis] + 1
        extents.append(Extent(view.up, pads[axis] + pads[axis + 2] - reach + strides[axis], strides[axis]))
    return _Convolution(weight, attrs["bias"], attrs["group"], strides, dilations, pads, extents[0], extents[1])


def _transposed(step: Step) -> _Convolution:
    """A transposed convolution of stride s as s x s phases, each a convolution of the input.

    Row y = q * s + phase of the uncropped output reads rows q, q - 1, ... of the input with the kernel rows phase,
    phase + s, ...
    """
    attrs = step.attrs
    group, dilations, (top, left, bottom, right) = attrs["group"], attrs["dilations"], attrs["pads"]
    if attrs["strides"][0] != attrs["strides"][1]:
        raise Unsupported(
            "transposed convolutions with different strides for height and width are not supported", ELSEWHERE
        )
    s = attrs["strides"][0]
    inputs, each, height, width = attrs["weight"].shape
    size = [(height - 1) * dilations[0] + 1, (width - 1) * dilations[1] + 1]
    full = np.zeros((inputs, each, *size))
    full[:, :, :: dilations[0], :: dilations[1]] = attrs["weight"]
    taps = [-(-length // s) for length in size]
    per_group = inputs // group
    weight = np.zeros((s, s, group * each, per_group, *taps))
    for py in range(s):
        for px in range(s):
            part = full[:, :, py::s, px::s]
            grouped = part.reshape(group, per_group, each, *part.shape[2:]).transpose(0, 2, 1, 3, 4)
            grouped = grouped.reshape(group * each, per_group, *part.shape[2:])[:, :, ::-1, ::-1]
            weight[py, px, :, :, taps[0] - part.shape[2] :, taps[1] - part.shape[3] :] = grouped
    output_padding = attrs["more"]
    rows = Extent(s, -s - top - bottom + size[0] + output_padding[0])
    columns = Extent(s, -s - left - right + size[1] + output_padding[1])
    stacked = weight.reshape(s * s * group * each, per_group, *taps)
    pads = (taps[0] - 1, taps[1] - 1, 0, 0)
    if group > 1 and s > 1:
        stacked, group = _ungrouped(stacked, group, s * s), 1
    bias = np.tile(attrs["bias"], s * s)
    return _Convolution(stacked, bias, group, (1, 1), (1, 1), pads, rows, columns, s, (top, left))


def _ungrouped(weight: np.ndarray, group: int, phases: int = 1) -> np.ndarray:
    """The weight of a grouped convolution as that of a dense one, with zeros outside the groups.

    Raises Unsupported if that has more than MAX_DENSE_WEIGHTS weights.
    """
    outputs, inputs, height, width = weight.shape
    if weight.size * group > MAX_DENSE_WEIGHTS:
        raise Unsupported(f"a convolution of {group} groups is too large to be computed without them", ELSEWHERE)
    full = np.zeros((outputs, inputs * group, height, width))
    each = outputs // phases // group
    for output in range(outputs):
        at = output % (outputs // phases) // each * inputs
        full[output, at : at + inputs] = weight[output]
    return full


# --- operations on the output --------------------------------------------------------------------------------


@dataclass
class _Tail:
    act: Activation | None = None
    later: Affine | None = None
    act_later: Activation | None = None


def _tail(builder: PlanBuilder, step: Step, conv: _Convolution) -> tuple[_Tail, str, list[str]]:
    """Fuse following steps into the output: scales, activations, depth to space. Returns (tail, tensor, nodes)."""
    tail, name, nodes = _Tail(), step.output, []
    while (reader := builder.sole_reader(name)) is not None:
        place, after = reader
        if (
            after.kind == "affine"
            and tail.act is None
            and tail.later is None
            and not depends(after.attrs["scale"])
        ):
            scale, shift = after.attrs["scale"], after.attrs["shift"]
            phases = conv.weight.shape[0] // scale.size
            conv.weight = conv.weight * np.tile(scale, phases)[:, None, None, None]
            conv.bias = conv.bias * np.tile(scale, phases) + np.tile(shift, phases)
        elif after.kind == "affine" and tail.act_later is None:
            affine = Affine(after.attrs["scale"], after.attrs["shift"])
            if tail.later is not None and not tail.later.joins(affine):
                break
            tail.later = affine if tail.later is None else tail.later.then(affine)
        elif after.kind == "act" and tail.act is None and tail.later is None:
            tail.act = Activation(after.attrs["act"], after.attrs["bounds"], after.attrs.get("slopes"))
        elif after.kind == "act" and tail.act_later is None and after.attrs.get("slopes") is None:
            tail.act_later = Activation(after.attrs["act"], after.attrs["bounds"])
        elif after.kind == "shuffle" and _shuffles(conv, tail):
            _fold_shuffle(conv, after)
        else:
            break
        builder.done.add(place)
        nodes.append(after.node)
        name = after.output
    if _mean_removed(builder, tail, name) and not isinstance(conv.bias, Linear):
        # Only what the phases of a channel have in common: a depth to space joins channels of different bias.
        phases = conv.bias.reshape(conv.shuffle**2, -1)
        conv.bias = (phases - phases.mean(axis=0)).reshape(-1)
    return tail, name, nodes


def _mean_removed(builder: PlanBuilder, tail: _Tail, tensor: str) -> bool:
    """Whether the only reader of a tensor is a norm of each channel, which removes any constant."""
    reader = builder.sole_reader(tensor)
    return (
        reader is not None and tail.act is None and reader[1].kind == "norm" and reader[1].attrs["channels"] == 1
    )


def _centred(builder: PlanBuilder, conv: _Convolution, view: View, tail: _Tail, output: str) -> View | None:
    """The view of the picture if it may be read relative to one of its pixels; None if that changes the result.

    A float32 convolution of a picture of low contrast loses digits that a following norm amplifies. Subtracting a
    constant from all pixels shifts each output channel by a constant, which the norm removes, provided that the
    padding repeats pixels of the picture.
    """
    padded = any(pad > 0 for pad in conv.pads)
    plain = view.single and view.a.act is None and not isinstance(view.a.norm, Table)
    if view.a.value != PICTURE or not plain or (padded and view.mode not in NEUTRAL) or conv.shuffle > 1:
        return None
    if not _mean_removed(builder, tail, output):
        return None
    if not isinstance(view.a.norm, Affine):
        return view
    scale = view.a.norm.scale
    return replace(view, a=replace(view.a, norm=Affine(scale, np.zeros_like(scale))))


def _shuffles(conv: _Convolution, tail: _Tail) -> bool:
    """Whether a depth to space can be fused: the kernel then writes its phases interleaved."""
    slopes = any(act is not None and act.slopes is not None for act in (tail.act, tail.act_later))
    uniform = tail.later is None or tail.later.uniform
    return conv.shuffle == 1 and conv.strides == (1, 1) and conv.group == 1 and not slopes and uniform


def _fold_shuffle(conv: _Convolution, step: Step) -> None:
    size, phases = step.attrs["size"], step.attrs["size"] ** 2
    outputs = conv.weight.shape[0]
    order = np.arange(outputs)
    if step.attrs["mode"] == "CRD":
        order = order.reshape(outputs // phases, phases).T.reshape(-1)
    conv.weight, conv.bias = conv.weight[order], conv.bias[order]
    conv.shuffle = size
    conv.height = Extent(conv.height.mul * size, conv.height.add * size)
    conv.width = Extent(conv.width.mul * size, conv.width.add * size)


def _write_tail(builder: PlanBuilder, tail: _Tail, dispatch: Dispatch) -> None:
    builder.bind_activation(tail.act, "ACT_OUTPUT", "BOUNDS_OUTPUT", "SLOPES_OUTPUT", dispatch)
    if tail.later is not None:
        later = tail.later
        size = builder.values[dispatch.output].channels
        if later.scale.size != size:
            later = Affine(later.scale[:size], later.shift[:size])
        dispatch.macros["NORM_OUTPUT"] = 2
        dispatch.int_constants["TABLE_OUTPUT"] = builder.rows(later.scale, later.shift)
    if tail.act_later is not None:
        builder.bind_activation(tail.act_later, "ACT_LATER", "BOUNDS_LATER", "", dispatch)


# --- upsampling of the input ----------------------------------------------------------------------------------


def _upsampled(conv: _Convolution, view: View) -> bool:
    """Whether this is a padded 3x3 convolution of a nearest x2 upsampling, which equals four 2x2 convolutions."""
    return (
        view.up == 2
        and conv.weight.shape[2:] == (3, 3)
        and conv.pads == (1, 1, 1, 1)
        and conv.strides == (1, 1)
        and conv.dilations == (1, 1)
        and conv.group == 1
        and conv.shuffle == 1
        and (view.mode in ("reflect", "edge") or view.pad_value == 0)
    )


def _normalised(builder: PlanBuilder, tensor: str) -> bool:
    """Whether a normalisation reads the tensor.

    The weights of the four phases are rounded differently, so on a flat picture the phases differ in the last bit,
    which normalising a flat channel amplifies to whole levels. A single convolution adds the same numbers at every
    pixel.
    """
    return any(step.kind in ("norm", "layer") for step in builder.readers(tensor))


def _as_phases(conv: _Convolution, view: View) -> tuple[_Convolution, View]:
    """The four 2x2 convolutions that equal a 3x3 convolution of an upsampled picture.

    Phase 0 has weights w0, w1 + w2 on rows q - 1, q; phase 1 w0 + w1, w2 on rows q, q + 1. Reflecting one row of
    the upsampled picture equals repeating the edge of the small one.
    """
    low = np.array([[1.0, 0, 0], [0, 1, 1]])
    high = np.array([[1.0, 1, 0], [0, 0, 1]])
    parts = [
        np.einsum("oikl,yk,xl->oiyx", conv.weight, rows, columns)
        for rows in (low, high)
        for columns in (low, high)
    ]
    phases = replace(
        conv,
        weight=np.concatenate(parts),
        bias=np.tile(cast(Any, conv.bias), 4),
        pads=(1, 1, 0, 0),
        height=Extent(2),
        width=Extent(2),
        shuffle=2,
        phased=True,
    )
    mode = "edge" if view.mode == "reflect" else view.mode
    return phases, replace(view, up=1, pads=(0, 0, 0, 0), mode=mode)


# --- variants -------------------------------------------------------------------------------------------------


def _geometry(conv: _Convolution) -> dict[str, int]:
    return {
        "KERNEL_X": conv.weight.shape[3],
        "KERNEL_Y": conv.weight.shape[2],
        "STRIDE_X": conv.strides[1],
        "STRIDE_Y": conv.strides[0],
        "DILATION_X": conv.dilations[1],
        "DILATION_Y": conv.dilations[0],
        "STORE": 1,
    }


def _dense(builder: PlanBuilder, conv: _Convolution, view: View) -> Dispatch:
    weight, group = conv.weight, conv.group
    outputs, inputs = weight.shape[:2]
    if group > 1 and (inputs % 4 or outputs // group % 8):
        weight, group = _ungrouped(weight, group), 1
        inputs = weight.shape[1]
    phases = conv.shuffle * conv.shuffle
    phase_blocks = blocks(outputs // phases)
    blocks_per_thread = (
        2 if phase_blocks * phases > 1 and (phases == 1 or phase_blocks % 2 == 0 or not conv.phased) else 1
    )
    slices = -(-phase_blocks * phases // blocks_per_thread)
    lanes = inputs if inputs < 4 and group == 1 else 4
    form = {
        "slices": slices,
        "step_blocks": blocks(inputs),
        "lanes": lanes,
        "blocks": blocks_per_thread,
        "phase_blocks": phase_blocks,
        "phases": phases,
    }
    macros = _geometry(conv) | _threads(conv) | {"BLOCKS": blocks_per_thread, "LANES": lanes}
    if conv.shuffle > 1:
        macros["SHUFFLE"] = conv.shuffle
    if conv.phased:
        macros["PHASED"] = 1
    dispatch = Dispatch("Conv", macros, "tiles")
    dispatch.int_constants |= {
        "WEIGHTS_AT": builder.add_weight(Weight("conv", weight, form)),
        "BIAS_AT": builder.rows(conv.bias, phases=phases, length=slices * blocks_per_thread),
        "SLICES": slices,
        "BLOCKS_A_PHASE": phase_blocks,
        "SLICES_A_GROUP": slices // group,
        "GROUPS": group,
        "BLOCKS_A_GROUP": blocks(inputs),
        "PAD_TOP": conv.pads[0],
        "PAD_LEFT": conv.pads[1],
        "CROP_TOP": conv.crop[0],
        "CROP_LEFT": conv.crop[1],
    }
    return dispatch


def _threads(conv: _Convolution) -> dict[str, int]:
    """The thread group, and whether it caches its input in groupshared memory."""
    _, _, height, width = conv.weight.shape
    if height * width == 1:
        return {"THREADS_X": 16, "THREADS_Y": 8, "SHARE": 0}
    for across, down in ((16, 8), (8, 8)):
        columns = _cached(2 * across, width, conv.strides[1], conv.dilations[1])
        columns *= conv.strides[1] if conv.dilations[1] == 1 else 1
        rows = _cached(2 * down, height, conv.strides[0], conv.dilations[0])
        if 16 * columns * rows <= SHARED_BYTES:
            return {"THREADS_X": across, "THREADS_Y": down, "SHARE": 1}
    return {"THREADS_X": 8, "THREADS_Y": 8, "SHARE": 0}


def _cached(tile: int, kernel: int, stride: int, dilation: int) -> int:
    """Rows of the input that a pass over a tile of the output caches (Conv.hlsl), or columns of a remainder."""
    if stride > 1 and dilation == 1:
        return tile + (kernel - 1) // stride
    return (tile - 1) * stride + (kernel - 1) * dilation + 1


def _depthwise(builder: PlanBuilder, conv: _Convolution, view: View) -> Dispatch:
    dispatch = Dispatch("Depthwise", _geometry(conv) | {"THREADS_X": 8, "THREADS_Y": 8}, "pixels")
    dispatch.int_constants |= {
        "WEIGHTS_AT": builder.add_weight(Weight("depthwise", conv.weight[:, 0], {})),
        "BIAS_AT": builder.rows(conv.bias),
        "PAD_TOP": conv.pads[0],
        "PAD_LEFT": conv.pads[1],
    }
    return dispatch


def _keeps(
    builder: PlanBuilder, number: int, step: Step, view: View, dispatch: Dispatch, conv: _Convolution
) -> bool:
    """Whether this dispatch also stores the sum that it reads, because later dispatches read it too."""
    covered = view.up == 1 and not any(pad < 0 for pad in view.pads) and not conv.phased
    covered = covered and conv.strides == (1, 1) and conv.shuffle == 1
    covered = covered and conv.height.add >= 0 and conv.width.add >= 0 and view.a.value != PICTURE
    shared = dispatch.macro("SHARE") == 1 and conv.group == 1
    return view.b is not None and covered and shared and builder.read_later(number, view.origin or step.inputs[0])


def _title(conv: _Convolution, view: View, tail: _Tail, depthwise: bool) -> str:
    _, _, height, width = conv.weight.shape
    words = [f"{'depthwise ' if depthwise else ''}{width}x{height}"]
    if conv.strides != (1, 1):
        words.append(f"/{conv.strides[1]}")
    if conv.phased:
        words.append("of x2")
    elif conv.shuffle > 1:
        words.append(f"to x{conv.shuffle}")
    folded = [*_words(view.a), *(["plus", *_words(view.b)] if view.b is not None else [])]
    folded += [view.act.kind.lower()] if view.act is not None else []
    folded += [f"x{view.up}"] if view.up > 1 else []
    folded += [view.mode] if any(view.pads) and view.mode != "constant" else []
    if folded:
        words.append(f"of {' '.join(folded)}")
    after = [act.kind.lower() for act in (tail.act, tail.act_later) if act is not None]
    return ", ".join([" ".join(words), *after])


def _words(term: Term) -> list[str]:
    """The operations applied to a stored value when it is read, in words."""
    words = ["norm"] if isinstance(term.norm, Table) else ["scaled"] if term.norm is not None else []
    words += [term.act.kind.lower()] if term.act is not None else []
    return words or ["stored"]
