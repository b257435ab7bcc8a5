"""Folds steps into dispatches: which kernel reads what with which norm, activation, sum, padding folded in.

A step that works on single pixels costs nothing by itself: it becomes part of the view through which the next
kernel reads (`views`), or of what the kernel before it writes. A normalisation asks the kernel that wrote its
input for statistics, and puts a merge behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.support.size import Size
from pipeline.targets.compute import channels, convolutions, memory, pixels, statistics
from pipeline.targets.compute.assembly import Assembly
from pipeline.targets.compute.operators import read
from pipeline.targets.compute.plan import Plan
from pipeline.targets.compute.steps import ELSEWHERE, Refused, Step, Steps, Unsupported

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

_HANDLERS: dict[str, Callable[[Assembly, int, Step], None]] = {
    "conv": convolutions.convolve,
    "transposed": convolutions.convolve,
    "affine": pixels.affine,
    "act": pixels.activation,
    "binary": pixels.binary,
    "pad": pixels.pad,
    "resize": pixels.resize,
    "norm": statistics.norm,
    "mean": statistics.mean,
    "pixel_mean": convolutions.pixel_mean,
    "pool": channels.pool,
    "softmax": channels.softmax,
    "layer": channels.layer,
    "mixed": channels.mixed,
    "shuffle": channels.shuffle,
    "unshuffle": channels.unshuffle,
    "channels": channels.channels,
    "concat": channels.concat,
}
"""What compiles each kind of step."""

MOST_STEPS = 4096
"""More operations than any network of pictures has; compiling takes the square of them."""


@dataclass(frozen=True)
class Compiled:
    """A plan, or why there is none: one `Refused` for each node that is not carried."""

    plan: Plan | None
    refused: tuple[Refused, ...]


def compile_graph(graph: gs.Graph, size: Size | None = None, *, half: bool = False) -> Compiled:
    """Compile a graph of one picture in and one picture out, its values RGB 0..1 on both sides.

    `size` is the nominal one; by default it is the declared one. The graph is not changed.
    """
    if len(graph.inputs) != 1:
        reason = f"it has {len(graph.inputs)} inputs, and one picture is what a kernel reads"
        return Compiled(
            None, (Refused(graph.inputs[-1].name if graph.inputs else "", "Network", reason, ELSEWHERE),)
        )
    image = graph.inputs[0]
    declared = image.shape
    if size is not None:
        image.shape = [1, declared[1], *size.hw]
    try:
        steps = read(graph)
    finally:
        image.shape = declared
    if steps.refused:
        return Compiled(None, tuple(steps.refused))
    for name, what in ((steps.picture, "goes in"), (steps.result, "comes out")):
        shape = steps.shapes.get(name)
        if shape is None or shape[0] not in (1, 3):
            known = "whose size is not declared" if shape is None else f"of {shape[0]} channels"
            reason = f"the picture that {what} is one {known}; 1 or 3 channels and a size are needed"
            return Compiled(None, (Refused(name, "Network", reason, ELSEWHERE),))
    return _compiled(steps, half)


def _compiled(steps: Steps, half: bool) -> Compiled:
    if len(steps.steps) > MOST_STEPS:
        reason = f"it has {len(steps.steps):,} operations; at most {MOST_STEPS:,} are supported"
        return Compiled(None, (Refused(steps.result, "Network", reason, ELSEWHERE),))
    assembly = Assembly(steps)
    for number, step in enumerate(steps.steps):
        if number in assembly.done:
            continue
        try:
            _HANDLERS[step.kind](assembly, number, step)
        except Unsupported as error:
            return Compiled(None, (Refused(step.node, step.operator, error.reason, error.fix),))
    result = assembly.paint()
    plan = Plan(
        assembly.dispatches,
        assembly.values,
        assembly.weights,
        assembly.tables,
        Size.of_hw(steps.shapes[steps.picture][1:]),
        (steps.shapes[steps.picture][0], steps.shapes[steps.result][0]),
        result,
        half,
        names=(steps.picture, steps.declared_result),
    )
    try:
        sizes = plan.sizes(plan.size)
    except ValueError as error:
        return Compiled(None, (Refused(steps.result, "Network", f"{error}: it has constant sizes", ELSEWHERE),))
    for value, size in zip(plan.values, sizes, strict=True):
        known = steps.shapes.get(value.name)
        if known is not None and known[1:] != size.hw:
            reason = (
                f"its size is {known[2]}x{known[1]}, where {size} follows from the picture: it has constant sizes"
            )
            return Compiled(None, (Refused(value.name, "Network", reason, ELSEWHERE),))
    memory.assign(plan)
    if clash := memory.clash(plan):
        raise AssertionError(f"{clash!r} reads and writes one buffer")
    return Compiled(plan, ())
