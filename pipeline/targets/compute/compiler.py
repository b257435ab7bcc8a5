"""Compiles steps into a plan of dispatches, with elementwise steps, padding and upsampling fused.

An elementwise step becomes part of the view through which the next kernel reads its input (`views`), or of the
output of the kernel before it. A normalisation makes the kernel that writes its input also compute statistics,
which a merge dispatch combines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.contract import GUIDE_INPUT
from pipeline.support.size import Size
from pipeline.targets.compute import channels, convolutions, memory, pixels, statistics
from pipeline.targets.compute.builder import PlanBuilder
from pipeline.targets.compute.operators import read
from pipeline.targets.compute.plan import MOST_GUIDE_CHANNELS, Plan
from pipeline.targets.compute.steps import CONSTANT_SIZES, ELSEWHERE, Refused, Step, Steps, Unsupported

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

_HANDLERS: dict[str, Callable[[PlanBuilder, int, Step], None]] = {
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
    "mixed": channels.channel_shuffle,
    "shuffle": channels.shuffle,
    "unshuffle": channels.unshuffle,
    "channels": channels.channels,
    "concat": channels.concat,
}
"""The handler of each kind of step."""

MAX_STEPS = 4096
"""More operations than any image network has; compile time is quadratic in their number."""


@dataclass(frozen=True)
class Compiled:
    """A plan, or None and one `Refused` for each node that is not supported."""

    plan: Plan | None
    refused: tuple[Refused, ...]


def compile_graph(graph: gs.Graph, size: Size | None = None, *, half: bool = False) -> Compiled:
    """Compile a graph with one input and one output, both pictures with RGB values in 0..1.

    A second input of shape (1, K, 1, 1) is a style vector; an only input or output of that shape is one of a style
    predictor. Further inputs may be guides (`guide_inputs`). `size` is the nominal size of the picture, by default
    the declared one. The graph is not changed.
    """
    guides = guide_inputs(graph)
    if len(graph.inputs) != 1 and not takes_style(graph) and not guides:
        reason = f"it has {len(graph.inputs)} inputs, but the kernels read one picture"
        return Compiled(
            None, (Refused(graph.inputs[-1].name if graph.inputs else "", "Network", reason, ELSEWHERE),)
        )
    image = graph.inputs[0]
    pictures = [image, *(tensor for tensor in graph.inputs if tensor.name in guides)]
    declared = [tensor.shape for tensor in pictures]
    if size is not None:
        for tensor in pictures:
            tensor.shape = [1, tensor.shape[1], *size.hw]
    try:
        steps = read(graph, guides)
    finally:
        for tensor, shape_before in zip(pictures, declared, strict=True):
            tensor.shape = shape_before
    if steps.refused:
        return Compiled(None, tuple(steps.refused))
    for name, what, numbers in (
        (steps.picture, "goes in", is_vector(image)),
        (steps.result, "comes out", is_vector(graph.outputs[0])),
    ):
        shape = steps.shapes.get(name)
        if numbers:
            continue
        if shape is None or shape[0] not in (1, 3):
            known = "whose size is not declared" if shape is None else f"of {shape[0]} channels"
            reason = f"the picture that {what} is one {known}; 1 or 3 channels and a size are needed"
            return Compiled(None, (Refused(name, "Network", reason, ELSEWHERE),))
    for name in guides:
        if steps.shapes.get(name, (0,))[1:] != steps.shapes[steps.picture][1:]:
            reason = "the guides do not have the size of the picture"
            return Compiled(None, (Refused(name, "Network", reason, ELSEWHERE),))
    # Style vectors are few, and are exact: the buffers of a predictor are float32.
    numbers_out = is_vector(graph.outputs[0])
    compiled = _compiled(steps, half and not numbers_out, is_vector(image), numbers_out)
    if compiled.plan is not None and takes_style(graph):
        compiled.plan.style_input = graph.inputs[1].name
        compiled.plan.style_length = int(graph.inputs[1].shape[1])
    return compiled


def is_vector(tensor: gs.Tensor) -> bool:
    """Whether a tensor is declared as a vector of numbers, (1, K, 1, 1), instead of a picture."""
    shape = tensor.shape
    return shape is not None and len(shape) == 4 and list(shape[2:]) == [1, 1] and isinstance(shape[1], int)


def takes_style(graph: gs.Graph) -> bool:
    """Whether a graph has a style vector as its second input."""
    return len(graph.inputs) == 2 and is_vector(graph.inputs[1]) and not is_vector(graph.inputs[0])


def guide_inputs(graph: gs.Graph) -> tuple[str, ...]:
    """The names of the inputs after the first, if all are textures of guides by name, of up to four channels."""
    others = [tensor for tensor in graph.inputs[1:] if tensor.name.startswith(GUIDE_INPUT)]
    shapes = [tensor.shape for tensor in others if tensor.shape is not None and len(tensor.shape) == 4]
    fitting = [shape for shape in shapes if shape[1] in range(1, MOST_GUIDE_CHANNELS + 1)]
    return tuple(tensor.name for tensor in others) if len(fitting) == len(graph.inputs) - 1 else ()


def _compiled(steps: Steps, half: bool, numbers_in: bool, numbers_out: bool) -> Compiled:
    if len(steps.steps) > MAX_STEPS:
        reason = f"it has {len(steps.steps):,} operations; at most {MAX_STEPS:,} are supported"
        return Compiled(None, (Refused(steps.result, "Network", reason, ELSEWHERE),))
    builder = PlanBuilder(steps, numbers_in)
    for number, step in enumerate(steps.steps):
        if number in builder.done:
            continue
        try:
            _HANDLERS[step.kind](builder, number, step)
        except Unsupported as error:
            return Compiled(None, (Refused(step.node, step.operator, error.reason, error.fix),))
    result = builder.finish_numbers() if numbers_out else builder.finish()
    plan = Plan(
        builder.dispatches,
        builder.values,
        builder.weights,
        builder.tables,
        Size.of_hw(steps.shapes[steps.picture][1:]),
        (steps.shapes[steps.picture][0], steps.shapes[steps.result][0]),
        result,
        half,
        names=(steps.picture, steps.declared_result),
        numbers_in=builder.input if numbers_in else -1,
        numbers_out=numbers_out,
        guides=steps.guides,
    )
    try:
        sizes = plan.sizes(plan.size)
    except ValueError as error:
        return Compiled(
            None, (Refused(steps.result, "Network", f"{error}: it has constant sizes", CONSTANT_SIZES),)
        )
    for value, size in zip(plan.values, sizes, strict=True):
        known = steps.shapes.get(value.name)
        if known is not None and known[1:] != size.hw:
            reason = (
                f"its size is {known[2]}x{known[1]}, where {size} follows from the picture: it has constant sizes"
            )
            return Compiled(None, (Refused(value.name, "Network", reason, CONSTANT_SIZES),))
    memory.assign(plan)
    if clash := memory.clash(plan):
        raise AssertionError(f"{clash!r} reads and writes the same buffer")
    return Compiled(plan, ())
