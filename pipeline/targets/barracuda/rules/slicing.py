"""Rules of Slice: the elements that the target selects compared with those that ONNX selects."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import onnx

from pipeline.targets.barracuda.rules.register import kind
from pipeline.targets.barracuda.rules.shaping import slice_of, text
from pipeline.validation.findings import Severity
from pipeline.validation.kinds import Hit, variable
from pipeline.validation.view import View, attribute, given

if TYPE_CHECKING:
    from pipeline.targets import Rule

INT32_MAX, INT32_MIN = 2**31 - 1, -(2**31)
_TRIAL = 64
"""Used in place of an unknown size."""
Part = tuple[int, int, int, int, int]
"""Axis, its size, start, end and step as written."""


def onnx_range(size: int, start: int, end: int, step: int) -> tuple[int, int]:
    """(number of elements, index of the first) that ONNX selects along an axis."""
    selected = range(*slice(start, end, step).indices(size))
    return len(selected), selected[0] if selected else 0


def rounded_range(size: int, start: int, end: int, step: int) -> tuple[int, int]:
    """The same in 3.0.0, where the number of steps is rounded, and an empty slice has one element.

    TensorExtensions.cs:1051@3.0.0.
    """
    start, end = _int32(start), _int32(end)
    low, high = _wrap(start, size), _wrap(end, size)
    first = min(low, size - 1)
    if low == 0 and high == 0:
        high = size
    span = min(high, size) - first if step > 0 else first - min(high, size) + (end < -size)
    count = span / abs(step)
    return max(int(math.copysign(math.floor(abs(count) + 0.5), count)), 1), first


def truncated_range(size: int, start: int, end: int, step: int, attributes: bool) -> tuple[int, int] | None:
    """The same in 1.0.4 for forward steps (TensorExtensions.cs:507@1.0.4); None when it throws.

    The number of steps is rounded down, and is at least one. An end beyond 32 bits becomes -1 in an attribute and
    the lowest number in an input.
    """
    if start >= size:
        return None
    if end > INT32_MAX:
        end = -1 if attributes else INT32_MIN
    low = _wrap(start, size)
    count = size if start == end else _wrap(end, size) - low
    count = max(int(count / step), 1) if step < size else 1
    return (count, low) if low + (count - 1) * step < size else None


def _int32(value: int) -> int:
    return min(max(value, INT32_MIN), INT32_MAX)


def _wrap(index: int, size: int) -> int:
    return size if index >= size else index % size


def _parts(view: View, node: onnx.NodeProto) -> Iterator[Part]:
    """The axes of known size that a Slice of data cuts."""
    shape = view.shape(given(node, 0))
    if shape is None or given(node, 0) in view.folds:
        return
    for axis, start, end, step in slice_of(view, node) or ():
        size = shape[axis] if -len(shape) <= axis < len(shape) else None
        if size and step:
            yield axis, size, start, end, step


@kind("slice-four-inputs")
def _four_inputs(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    given_names = [name for name in node.input[1:3] if name]
    if attribute(node, "starts") is not None or all(name in view.constants for name in given_names):
        return
    if not variable(view, given(node, 0)) or given(node, 0) in view.folds:
        return
    if any(name in view.inputs for name in given_names):
        yield Hit("the bounds are inputs of the graph, whose number of elements is not known at import")
    elif len([name for name in node.input if name]) == 4:
        yield Hit("computed bounds without steps: the importer creates no layer for this form")


@kind("slice-to-the-end")
def _to_the_end(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """1.0.4 and an end beyond 32 bits."""
    if given(node, 0) in view.constants:
        return
    sizes = {axis: size for axis, size, *_ in _parts(view, node)}
    attributes = attribute(node, "starts") is not None
    for axis, start, end, step in slice_of(view, node) or ():
        if end <= INT32_MAX or step < 1:
            continue
        size = sizes.get(axis, _TRIAL)
        selected = truncated_range(size, start, end, step, attributes)
        if selected is None or selected != onnx_range(size, start, end, step):
            shorter = (
                f"{selected[0]} of {size} elements are taken"
                if selected and axis in sizes
                else "the slice comes out shorter"
            )
            message = shorter if selected else "it reads beyond the data"
            fails = selected is None and view.rank(given(node, 0)) != 3
            yield Hit(
                f"the end {end} on axis {axis} overflows: {message}", "ends", Severity.ERROR if fails else None
            )
            return


@kind("slice-backwards")
def _backwards(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    if given(node, 0) in view.folds:
        return
    sizes = {axis: size for axis, size, *_ in _parts(view, node)}
    for axis, start, end, step in slice_of(view, node) or ():
        if step < 0 and not (
            axis in sizes and onnx_range(sizes[axis], start, end, step) == (1, start % sizes[axis])
        ):
            yield Hit("a negative step gives only one element", "steps")
            return


@kind("slice-steps")
def _steps(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """1.0.4 and a step above 1."""
    for axis, size, start, end, step in _parts(view, node):
        if step <= 1 or end > INT32_MAX or start >= size:
            continue
        selected, correct = truncated_range(size, start, end, step, True), onnx_range(size, start, end, step)
        if selected is not None and selected != correct and correct[0]:
            yield Hit(
                f"{start}:{end}:{step} on axis {axis} takes {selected[0]} elements instead of {correct[0]}",
                "steps",
            )
            return


@kind("slice-rounded")
def _rounded(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """3.0.0 and any step but 1."""
    for axis, size, start, end, step in _parts(view, node):
        selected, correct = rounded_range(size, start, end, step), onnx_range(size, start, end, step)
        if step != 1 and selected != correct and correct[0]:
            yield Hit(
                f"{start}:{end}:{step} on axis {axis} takes {selected[0]} elements instead of {correct[0]}",
                "steps",
            )
            return


@kind("slice-start-beyond")
def _beyond(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    for axis, size, start, _, _ in _parts(view, node):
        if start >= size:
            yield Hit(f"the start {start} on axis {axis} lies beyond its {size} elements", "starts")
            return


@kind("slice-empty")
def _slice_empty(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    if not variable(view, given(node, 0)):
        return
    for axis, size, start, end, step in _parts(view, node):
        if not onnx_range(size, start, end, step)[0]:
            yield Hit(
                f"{start}:{end} on axis {axis} is empty in ONNX; the target returns at least one element", "ends"
            )
            return
    for axis, start, end, _ in slice_of(view, node) or ():
        if start == 0 and end == 0:
            yield Hit(f"0:0 on axis {axis} is read as the whole axis", "ends")
            return


@kind("slice-rank-one")
def _rank_one(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """1.0.4 gives the bounds of a vector to the batch, of which there is one (measured)."""
    shape = view.shape(given(node, 0))
    if shape is None or len(shape) != 1 or not variable(view, given(node, 0)) or shape[0] == 1:
        return
    beyond = any(start >= 1 for _, start, _, _ in slice_of(view, node) or ())
    yield Hit(
        f"the bounds of a slice of a vector ({text(shape)}) are applied to the batch axis",
        given(node, 0),
        Severity.ERROR if beyond else None,
    )


@kind("slice-rank-three")
def _rank_three(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """1.0.4 gives the bounds of (N, C, W) to N, C, H, and 0:1 to W (measured)."""
    shape = view.shape(given(node, 0))
    if shape is None or len(shape) != 3 or not variable(view, given(node, 0)) or shape[2] == 1:
        return
    beyond = any(axis in (2, -1) and start >= 1 for axis, start, _, _ in slice_of(view, node) or ())
    yield Hit(
        f"a slice of data of rank 3 ({text(shape)}) takes one column, regardless of the bounds",
        given(node, 0),
        Severity.ERROR if beyond else None,
    )
