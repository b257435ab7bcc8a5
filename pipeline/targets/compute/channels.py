"""Compiles pools, and steps across channels: softmax, layer norm, shuffles, slices and concatenations."""

from __future__ import annotations

from pipeline.targets.compute.builder import PIXELS, PlanBuilder
from pipeline.targets.compute.plan import PICTURE, Dispatch, Extent, Value, blocks
from pipeline.targets.compute.steps import Step
from pipeline.targets.compute.views import Term, View


def pool(builder: PlanBuilder, number: int, step: Step) -> None:
    attrs, view = step.attrs, builder.pixel_aligned(step.inputs[0])
    if view.costly and max(attrs["kernel"]) > 1:
        builder.stored(step.inputs[0])
        view = builder.views[step.inputs[0]]
    rounding = [attrs["strides"][axis] - 1 if attrs["ceil"] else 0 for axis in (0, 1)]
    top, left, bottom, right = attrs["pads"]
    (kernel_y, kernel_x), (stride_y, stride_x) = attrs["kernel"], attrs["strides"]
    output = builder.value(
        step.output,
        builder.channels(view),
        view.a.value,
        Extent(1, top + bottom - kernel_y + stride_y + rounding[0], stride_y),
        Extent(1, left + right - kernel_x + stride_x + rounding[1], stride_x),
    )
    macros = {
        "POOL": attrs["mode"],
        "KERNEL_X": kernel_x,
        "KERNEL_Y": kernel_y,
        "STRIDE_X": stride_x,
        "STRIDE_Y": stride_y,
        **PIXELS,
    }
    title = f"{'largest' if attrs['mode'] == 0 else 'average'} of {kernel_x}x{kernel_y}"
    dispatch = Dispatch("Pool", macros, "pixels", output=output.number, nodes=(step.node,), title=title)
    dispatch.int_constants |= {"PAD_TOP": top, "PAD_LEFT": left, "SECOND_TOP": bottom, "SECOND_LEFT": right}
    builder.bind_inputs(view, dispatch)
    builder.emit(dispatch)
    builder.views[step.output] = View(Term(output.number))


def softmax(builder: PlanBuilder, number: int, step: Step) -> None:
    view = builder.pixel_aligned(step.inputs[0])
    output = builder.like(view, step.output)
    dispatch = Dispatch(
        "AcrossChannels",
        {"ACROSS": 0, **PIXELS},
        "flat",
        output=output.number,
        nodes=(step.node,),
        title="softmax",
    )
    builder.bind_inputs(view, dispatch)
    builder.emit(dispatch)
    builder.views[step.output] = View(Term(output.number))


def layer(builder: PlanBuilder, number: int, step: Step) -> None:
    view, attrs = builder.pixel_aligned(step.inputs[0]), step.attrs
    output = builder.like(view, step.output)
    macros = {"ACROSS": 1, **PIXELS}
    dispatch = Dispatch("AcrossChannels", macros, "flat", output=output.number, nodes=(step.node,))
    dispatch.title = "normalise channels of a pixel"
    dispatch.int_constants["WEIGHTS_AT"] = builder.rows(attrs["gamma"], attrs["beta"])
    dispatch.float_constants["EPSILON"] = (attrs["epsilon"],)
    builder.bind_inputs(view, dispatch)
    builder.emit(dispatch)
    builder.views[step.output] = View(Term(output.number))


def channel_shuffle(builder: PlanBuilder, number: int, step: Step) -> None:
    channels = builder.steps.shapes[step.output][0]
    _move(builder, step, {"MOVE": 5}, channels, Extent(), Extent(), OPTION=step.attrs["groups"])


def _move(
    builder: PlanBuilder,
    step: Step,
    macros: dict[str, int],
    channels: int,
    height: Extent,
    width: Extent,
    **fixed: int,
) -> None:
    view = builder.pixel_aligned(step.inputs[0])
    output = builder.value(step.output, channels, view.a.value, height, width)
    dispatch = Dispatch(
        "Gather", {"FACTOR": 1, **macros, **PIXELS}, "pixels", output=output.number, nodes=(step.node,)
    )
    dispatch.title = step.operator
    dispatch.int_constants |= fixed
    builder.bind_inputs(view, dispatch)
    builder.emit(dispatch)
    builder.views[step.output] = View(Term(output.number))


def shuffle(builder: PlanBuilder, number: int, step: Step) -> None:
    size, channels = step.attrs["size"], builder.steps.shapes[step.output][0]
    move = 1 if step.attrs["mode"] == "DCR" else 2
    _move(builder, step, {"MOVE": move, "FACTOR": size}, channels, Extent(size), Extent(size))


def unshuffle(builder: PlanBuilder, number: int, step: Step) -> None:
    size, channels = step.attrs["size"], builder.steps.shapes[step.output][0]
    _move(builder, step, {"MOVE": 3, "FACTOR": size}, channels, Extent(1, 0, size), Extent(1, 0, size))


def channels(builder: PlanBuilder, number: int, step: Step) -> None:
    first, count = step.attrs["first"], step.attrs["count"]
    if first % 4:
        _move(builder, step, {"MOVE": 0}, count, Extent(), Extent(), OPTION=first)
        return
    whole = builder.stored(step.inputs[0])
    part = builder.value(step.output, count, whole.number, Extent(), Extent())
    part.root, part.first_block = whole.root, whole.first_block + first // 4
    builder.views[step.output] = View(Term(part.number))


def concat(builder: PlanBuilder, number: int, step: Step) -> None:
    counts = [builder.steps.shapes[name][0] for name in step.inputs]
    if any(count % 4 for count in counts[:-1]):
        _concat_anywhere(builder, step)
        return
    first = builder.pixel_aligned(step.inputs[0])
    whole = builder.like(first, step.output, sum(counts))
    at = 0
    for name, count in zip(step.inputs, counts, strict=True):
        view = builder.views[name]
        read = [term.value for part in step.inputs for term in _terms(builder.views[part])]
        _place_part(builder, view, name, whole, at, read.count(view.a.value) > 1)
        at += blocks(count)
    builder.views[step.output] = View(Term(whole.number))


def _place_part(builder: PlanBuilder, view: View, name: str, whole: Value, at: int, several: bool) -> None:
    """Let a part be written directly to its place in the whole, or copy it there if `several` parts read it."""
    value = builder.values[view.a.value]
    producer = builder.producers.get(value.number)
    own = view.plain and value.root == value.number and producer is not None and producer.output == value.number
    parts = any(other.root == value.number for other in builder.values if other is not value)
    if own and not several and not parts and value.number != PICTURE and not _both(builder, value, whole):
        value.root, value.first_block = whole.number, at
        return
    part = builder.like(view, f"{name} (part)")
    part.root, part.first_block = whole.number, at
    builder.store_view(view, name, part)


def _terms(view: View) -> list[Term]:
    return [view.a] if view.b is None else [view.a, view.b]


def _both(builder: PlanBuilder, part: Value, whole: Value) -> bool:
    """Whether a kernel would read and write the same buffer if `part` were stored in `whole`."""
    for dispatch in builder.dispatches:
        read, written = (dispatch.first, dispatch.second), (dispatch.output, dispatch.kept)
        for one, other in ((read, written), (written, read)):
            if part.number in one and any(v >= 0 and builder.values[v].root == whole.number for v in other):
                return True
    return False


def _concat_anywhere(builder: PlanBuilder, step: Step) -> None:
    """Concatenate parts that do not start at a multiple of four channels: two at a time."""
    view = builder.term(step.inputs[0])
    count = builder.steps.shapes[step.inputs[0]][0]
    for place, name in enumerate(step.inputs[1:], 1):
        other = builder.term(name)
        count += builder.steps.shapes[name][0]
        last = place == len(step.inputs) - 1
        output = builder.like(view, step.output if last else f"{step.output} ({place})", count)
        macros = {"MOVE": 4, "FACTOR": 1, **PIXELS}
        dispatch = Dispatch("Gather", macros, "pixels", output=output.number, nodes=(step.node,), title="join")
        builder.bind_inputs(View(view.a, "Add", other.a), dispatch)
        builder.emit(dispatch)
        view = View(Term(output.number))
    builder.views[step.output] = view
