"""Rules of operators with several operands: which axes are aligned with each other.

ONNX aligns the last axes. Barracuda gives every tensor places in N, C, H, W by its own rank, and 1.0.4 gives a
constant other places than data.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import onnx

from pipeline.targets.barracuda.rules.register import kind
from pipeline.targets.barracuda.rules.shaping import text
from pipeline.validation.findings import Severity
from pipeline.validation.kinds import Hit, variable
from pipeline.validation.view import View, given

if TYPE_CHECKING:
    from pipeline.graph.shape import Shape
    from pipeline.targets import Rule

DATA = {0: "", 1: "C", 2: "NC", 3: "NCW", 4: "NCHW"}
"""Where 1.0.4 puts the axes of data of each rank (ONNXLayout.cs:49@1.0.4, measured with operands of each rank)."""
CONSTANT = {0: "", 1: "C", 2: "CW", 3: "CWH", 4: "NCHW"}
"""Where 1.0.4 puts the axes of a constant of each rank (ONNXLayout.cs:58@1.0.4, measured)."""


def _known(view: View, names: list[str]) -> list[Shape] | None:
    shapes = [shape for name in names if (shape := view.shape(name)) is not None]
    return None if len(shapes) < len(names) or any(len(shape) > 4 for shape in shapes) else shapes


@kind("broadcast-places")
def _places(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """1.0.4: an operand whose axes are not read as the axes that ONNX aligns them with."""
    names = [name for name in node.input if name]
    if len(names) < 2 or all(name in view.constants for name in names):
        return
    shapes = _known(view, names)
    if shapes is None:
        return
    rank = max(len(shape) for shape in shapes)
    shapes = [_filled(shape, shapes) for shape in shapes]
    here: list[dict[str, int | None]] = []
    moved = []
    for name, shape in zip(names, shapes, strict=True):
        places = (CONSTANT if name in view.constants else DATA)[len(shape)]
        meant = DATA[rank][rank - len(shape) :] if shape else ""
        here.append(dict(zip(places, shape, strict=True)))
        if any(size != 1 and place != want for place, want, size in zip(places, meant, shape, strict=True)):
            moved.append((name, shape, places))
    for name, shape, places in moved:
        fails = _collide(here)
        what = "constant" if name in view.constants else "data"
        yield Hit(
            f"the axes of the {what} {name} ({text(shape)}) are read as {places} beside operands of rank {rank}: "
            f"{'the sizes do not match' if fails else 'it broadcasts along the wrong axes'}",
            name,
            Severity.ERROR if fails else None,
        )


def _filled(shape: Shape, shapes: list[Shape]) -> Shape:
    """The shape, with unknown sizes taken from the operands that ONNX aligns them with."""
    sizes = []
    for place, size in enumerate(reversed(shape)):
        others = [other[-1 - place] or 1 for other in shapes if len(other) > place]
        sizes.append(max(others) if size is None and max(others) > 1 else size)
    return tuple(reversed(sizes))


def _collide(operands: list[dict[str, int | None]]) -> bool:
    """Whether a place has two known sizes that differ and are not 1."""
    for place in "NCHW":
        sizes = {operand.get(place, 1) for operand in operands} - {1, None}
        if len(sizes) > 1:
            return True
    return False


@kind("concat-places")
def _concat_places(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """1.0.4: the axes of constants of rank 2 and 3 are read differently from those of data (measured)."""
    shapes = _known(view, list(node.input))
    if shapes is None or len(shapes) < 2 or all(name in view.constants for name in node.input):
        return
    if all(len(shape) == 1 for shape in shapes):
        return
    for name, shape in zip(node.input, shapes, strict=True):
        if name in view.constants and len(shape) < 4 and any(size != 1 for size in shape):
            yield Hit(
                f"the axes of the constant {name} ({text(shape)}) are read as {CONSTANT[len(shape)]}",
                name,
                Severity.ERROR,
            )
            return


def _ranks(view: View, names: list[str]) -> list[int]:
    """The rank of each tensor; [] if one is not known."""
    ranks = [rank for name in names if (rank := view.rank(name)) is not None]
    return ranks if len(ranks) == len(names) else []


@kind("rank-two-operand")
def _rank_two(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """2.0.0: an operand of rank 2 combined with one of rank 4 is read as height and channels (measured)."""
    names = [name for name in node.input if name]
    shapes = _known(view, names)
    if shapes is None or all(name in view.constants for name in names):
        return
    channels = {shape[1] for shape in shapes if len(shape) == 4} - {1, None}
    for name, shape in zip(names, shapes, strict=True):
        if len(shape) != 2 or shape[1] == 1 or max(len(other) for other in shapes) != 4:
            continue
        fails = rule.options["fails"] and bool(channels - {shape[1]})
        yield Hit(
            f"{name} ({text(shape)}), combined with data of rank 4, is read as height and channels, not height "
            "and width",
            name,
            Severity.ERROR if fails else None,
        )


@kind("constant-rank")
def _rank_alignment(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    ranks = _ranks(view, [name for name in node.input if variable(view, name)])
    if not ranks:
        return
    for name in node.input:
        rank = view.rank(name)
        if name in view.constants and rank is not None and rank > max(ranks):
            shape = view.shape(name)
            if shape is not None and not all(size == 1 for size in shape):
                yield Hit(f"the constant {name} has rank {rank}, the data only {max(ranks)}", name)


@kind("where-rank")
def _where_rank(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    ranks = _ranks(view, list(node.input))
    if len(ranks) == 3 and ranks[0] < max(ranks):
        yield Hit(
            f"the result gets the rank of the condition, {ranks[0]}, instead of {max(ranks)}",
            "condition",
        )


@kind("where-size")
def _where_size(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """2.0.0: the result has the size of the condition (measured)."""
    condition = view.shape(given(node, 0))
    result = view.shape(node.output[0]) if node.output else None
    if condition is None or result is None or len(condition) != len(result):
        return
    if any(a == 1 and b not in (1, None) for a, b in zip(condition, result, strict=True)):
        yield Hit(
            f"the result gets the size of the condition, {text(condition)}, instead of {text(result)}",
            "condition",
        )


@kind("single-operand")
def _single(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    if len([name for name in node.input if name]) == 1:
        yield Hit(f"{node.op_type} of one operand is not computed: the result is whatever was in memory")


# ------------------------------------------------------------------------------------------------ products
@kind("matmul-of-vector")
def _vector(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    first, second = view.rank(given(node, 0)), view.rank(given(node, 1))
    if first == 1 or (second == 1 and (rule.options["matrix_fails"] or (first or 0) > 2)):
        name = given(node, 0) if first == 1 else given(node, 1)
        yield Hit(f"{name} is a vector: matrix products of vectors are not supported", name, values={"rank": 1})


@kind("matmul-batches")
def _batches(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """2.0.0: the leading sizes of matrices of rank above 2 must be equal (measured)."""
    first, second = view.shape(given(node, 0)), view.shape(given(node, 1))
    if first is None or second is None or len(second) <= 2 or len(first) <= 2:
        return
    if len(first) != len(second) or any(
        a != b and None not in (a, b) for a, b in zip(first[:-2], second[:-2], strict=True)
    ):
        yield Hit(
            f"{text(first)} times {text(second)}: the leading sizes must be equal",
            given(node, 1),
            values={"rank": len(second)},
        )
