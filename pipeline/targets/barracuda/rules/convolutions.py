"""Rules of convolutions, pools and padding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import onnx

from pipeline.targets.barracuda.rules.register import kind
from pipeline.targets.barracuda.rules.shaping import slice_of
from pipeline.targets.barracuda.rules.slicing import onnx_range, rounded_range
from pipeline.validation.findings import Severity
from pipeline.validation.kinds import Hit, plain
from pipeline.validation.view import View, attribute, given

if TYPE_CHECKING:
    from pipeline.targets import Rule


@kind("conv-groups")
def _groups(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    group = attribute(node, "group", 1)
    weight = view.shape(given(node, 1))
    if group == 1 or weight is None or None in weight or len(weight) < 3:
        return
    if weight[0] == group and weight[1] == 1 and len(weight) <= 4:
        return
    text = ""
    if weight[1] == 1:
        text = f"AssertionException: Assertion failure. Values are not equal. Expected: {group} == {weight[0]}"
    yield Hit(
        f"group={group} with {weight[1] * group} input and {weight[0]} output channels: "
        "only one group per channel runs, and one output channel per group",
        "group",
        values={"text": text} if text else {},
    )


@kind("same-pads")
def _same_pads(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    mode = str(attribute(node, "auto_pad", "NOTSET"))
    shape = view.shape(given(node, 0))
    kernel = attribute(node, "kernel_shape") or list((view.shape(given(node, 1)) or ())[2:])
    if not mode.startswith("SAME") or len(kernel) != 2:
        return
    strides = attribute(node, "strides", [1, 1])
    if strides == [1, 1]:
        return
    height, width = shape[2:] if shape is not None and len(shape) == 4 else (None, None)
    if height is None or width is None:
        yield Hit(
            f"{mode}: the pads of both axes come from the width, which is correct only if height and width leave "
            "the same remainder when divided by the stride",
            "auto_pad",
            Severity.WARNING,
        )
        return
    if _same_total(height, kernel[0], strides[0]) != _same_total(width, kernel[0], strides[0]):
        yield Hit(f"{mode} at {height}x{width}: the pads of both axes come from the width", "auto_pad")


def _same_total(size: int, kernel: int, stride: int) -> int:
    """Rows or columns that SAME adds along an axis of this size."""
    return max(0, kernel - stride if size % stride == 0 else kernel - size % stride)


@kind("symmetric-pads")
def _symmetric_pads(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    pads = attribute(node, "pads")
    weight = view.known_shape(given(node, 1))
    if str(attribute(node, "auto_pad", "NOTSET")).startswith("SAME") and weight is not None:
        shape, strides = view.shape(given(node, 0)), attribute(node, "strides", [1] * (len(weight) - 2))
        width = shape[-1] if shape is not None else None
        meant = [max(0, k - s) for k, s in zip(weight[2:], strides, strict=False)]
        used = [_same_total(width or s, k, s) for k, s in zip(weight[2:], strides, strict=False)]
        if any(total % 2 for total in used):
            yield Hit("auto_pad needs an odd number of rows or columns: one side gets one more", "auto_pad")
        elif used != meant:
            message = f"auto_pad at a width of {width}: the pads are those of a convolution, not of its transpose"
            yield Hit(message, "auto_pad", Severity.WRONG)
        return
    if pads and pads[: len(pads) // 2] != pads[len(pads) // 2 :]:
        yield Hit(f"pads={plain(pads)}: begin and end must be equal", "pads")


@kind("dilated-kernel")
def _dilated(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    weight, dilations = view.shape(given(node, 1)), attribute(node, "dilations", [1])
    if weight is None or all(item == 1 for item in dilations) or len(dilations) != len(weight) - 2:
        return
    if not any(size != 1 for size in weight[2:]):
        return
    size = [(k - 1) * d + 1 for k, d in zip(weight[2:], dilations, strict=True) if k is not None]
    yield Hit(
        f"dilations={plain(dilations)}: computed as a kernel of {'x'.join(map(str, size))} that is mostly zeros",
        "dilations",
    )


@kind("one-dimensional-stride")
def _one_dimensional(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    strides, kernel = attribute(node, "strides", [1]), attribute(node, "kernel_shape", [1])
    shape = view.shape(given(node, 0))
    if shape is None or len(shape) != 3 or strides == [1]:
        return
    padded = (shape[2] or 0) + sum(attribute(node, "pads", [0, 0]))
    if shape[2] is None or padded - kernel[0] >= strides[0]:  # else one window is taken
        yield Hit(f"the stride {plain(strides)} of a 1-D pool is ignored", "strides")


def pads_of(view: View, node: onnx.NodeProto) -> list[int] | None:
    """A Pad's pads, all begins then all ends over all axes; None when they are not known."""
    listed = attribute(node, "pads") or attribute(node, "paddings")
    rank = view.rank(given(node, 0))
    if listed is None:
        value = view.value(given(node, 1))
        if value is None:
            return None
        listed = [int(v) for v in value.reshape(-1)]
    axes = view.value(given(node, 3)) if given(node, 3) else None
    if axes is not None and rank is not None:
        full = [0] * (2 * rank)
        for index, axis in enumerate(int(a) % rank for a in axes.reshape(-1)):
            if index + len(axes) < len(listed):
                full[axis], full[axis + rank] = listed[index], listed[index + len(axes)]
        return full
    return listed if len(listed) % 2 == 0 else None


def _from_input(node: onnx.NodeProto) -> bool:
    return attribute(node, "pads") is None and given(node, 1) != ""


@kind("pads-input-ignored")
def _pads_input(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    pads = pads_of(view, node)
    if _from_input(node) and (pads is None or any(pads)):
        yield Hit(
            "the pads are an input, but only the attribute is read: nothing is padded, without any message", "pads"
        )


@kind("pads-fold")
def _pads_fold(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    name = given(node, 1)
    if not _from_input(node) or name in view.initializers:
        return
    if name not in view.folds:
        yield Hit(
            "the pads cannot be computed at import: they depend on more than constants and static shapes", "pads"
        )
    elif _reversed_slice(view, name, rule.options.get("reversed_slice", "")):
        yield Hit(
            "the pads are computed with a Slice of negative step (as torch writes them from opset 11 on), "
            "which this version folds to the wrong number of values",
            "pads",
        )


def _reversed_slice(view: View, name: str, how: str) -> bool:
    """Whether the constants behind a tensor pass through a Slice with a negative step that comes out wrong.

    `how` is "any" where all such slices do, "rounded" where it depends on the size (`slicing.rounded_range`).
    """
    if not how:
        return False
    seen, todo = set(), [name]
    while todo:
        maker = view.maker(todo.pop())
        if maker is None or id(maker) in seen:
            continue
        seen.add(id(maker))
        if maker.op_type == "Slice":
            steps = view.value(given(maker, 4)) if given(maker, 4) else None
            if steps is not None and (steps < 0).any() and (how == "any" or _loses(view, maker)):
                return True
        todo.extend(item for item in maker.input if item)
    return False


def _loses(view: View, node: onnx.NodeProto) -> bool:
    shape = view.shape(given(node, 0))
    if shape is None:
        return False
    bounds = [(shape[axis], start, end, step) for axis, start, end, step in slice_of(view, node) or ()]
    return any(size and rounded_range(size, *cut) != onnx_range(size, *cut) for size, *cut in bounds)


@kind("pad-rank")
def _pad_rank(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    rank = view.rank(given(node, 0))
    mode = attribute(node, "mode", "constant")
    if rank is None or rank in rule.options["ranks"]:
        return
    if rank in rule.options.get("constant_ranks", ()) and mode == "constant":
        return
    wrong = Severity.WRONG if rank in rule.options.get("wrong", ()) else None
    yield Hit(
        f"{mode} padding of data of rank {rank} is not supported", given(node, 0), wrong, values={"rank": rank}
    )


@kind("pad-value-lost")
def _value_lost(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    if not _from_input(node) or attribute(node, "mode", "constant") != "constant" or not given(node, 2):
        return
    value, pads = view.value(given(node, 2)), pads_of(view, node)
    if value is not None and not np.any(value):
        return
    if pads is None or any(pads):
        yield Hit("the padding value is an input, which is not read: the padding is 0", "constant_value")


@kind("pad-outer")
def _outer(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    pads, rank = pads_of(view, node), view.rank(given(node, 0))
    if pads is None or rank is None or rank < 3 or len(pads) != 2 * rank:
        return
    batch, channels = any((pads[0], pads[rank])), any((pads[1], pads[rank + 1]))
    kept = rule.options["channels"] and rank == 4 and attribute(node, "mode", "constant") == "constant"
    if batch or (channels and not kept):
        what = "batch" if batch else "channels"
        yield Hit(f"pads={plain(pads)}: padding of {what} is ignored", "pads", silent=_from_input(node))


@kind("pad-negative")
def _negative(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    pads = pads_of(view, node)
    if not _from_input(node) and pads is not None and len(pads) == 8 and pads[2] < 0:
        yield Hit(f"pads={plain(pads)}: rows that should be removed at the top are removed at the bottom", "pads")


@kind("pad-axes")
def _axes(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    if not given(node, 3):
        return
    axes, rank = view.value(given(node, 3)), view.rank(given(node, 0))
    if axes is None or rank is None or [int(a) % rank for a in axes.reshape(-1)] != list(range(rank)):
        fails = axes is not None and rank is not None and axes.size < rank
        message = "the axes input is not read: the pads are applied to other axes"
        yield Hit(message, "axes", Severity.ERROR if fails else None)


@kind("pad-rank5-mode")
def _rank5(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    mode = attribute(node, "mode", "constant")
    if view.rank(given(node, 0)) == 5 and mode != "constant":
        yield Hit(f"mode={mode} on data of rank 5 is computed as mode=constant", "mode")


@kind("pad-reflect-large")
def _large(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    pads, shape = pads_of(view, node), view.shape(given(node, 0))
    if (
        attribute(node, "mode", "constant") != "reflect"
        or pads is None
        or shape is None
        or len(pads) != 2 * len(shape)
    ):
        return
    for axis, size in enumerate(shape):
        widest = max(pads[axis], pads[axis + len(shape)])
        if size is not None and widest >= size and widest > 0:
            yield Hit(
                f"{widest} pixels of reflection from {size} pixels: beyond one reflection the edge pixel repeats",
                "pads",
            )
            return
