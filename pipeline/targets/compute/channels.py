"""Compiles pools, and what looks at several channels or moves them: softmax, shuffles, slices, concat."""

from __future__ import annotations

from pipeline.targets.compute.assembly import PIXELS, Assembly
from pipeline.targets.compute.plan import PICTURE, Dispatch, Extent, Value, blocks
from pipeline.targets.compute.steps import Step
from pipeline.targets.compute.views import Term, View


def pool(assembly: Assembly, number: int, step: Step) -> None:
    held, view = step.held, assembly.unmoved(step.inputs[0])
    if view.costly and max(held["kernel"]) > 1:
        assembly.stored(step.inputs[0])
        view = assembly.views[step.inputs[0]]
    more = [held["strides"][axis] - 1 if held["ceil"] else 0 for axis in (0, 1)]
    top, left, bottom, right = held["pads"]
    (kernel_y, kernel_x), (stride_y, stride_x) = held["kernel"], held["strides"]
    output = assembly.value(
        step.output,
        assembly.channels(view),
        view.a.value,
        Extent(1, top + bottom - kernel_y + stride_y + more[0], stride_y),
        Extent(1, left + right - kernel_x + stride_x + more[1], stride_x),
    )
    macros = {
        "POOL": held["mode"],
        "KERNEL_X": kernel_x,
        "KERNEL_Y": kernel_y,
        "STRIDE_X": stride_x,
        "STRIDE_Y": stride_y,
        **PIXELS,
    }
    title = f"{'largest' if held['mode'] == 0 else 'average'} of {kernel_x}x{kernel_y}"
    dispatch = Dispatch("Pool", macros, "pixels", output=output.number, nodes=(step.node,), title=title)
    dispatch.fixed |= {"PAD_TOP": top, "PAD_LEFT": left, "SECOND_TOP": bottom, "SECOND_LEFT": right}
    assembly.reading(view, dispatch)
    assembly.emit(dispatch)
    assembly.views[step.output] = View(Term(output.number))


def softmax(assembly: Assembly, number: int, step: Step) -> None:
    view = assembly.unmoved(step.inputs[0])
    output = assembly.like(view, step.output)
    dispatch = Dispatch(
        "AcrossChannels",
        {"ACROSS": 0, **PIXELS},
        "flat",
        output=output.number,
        nodes=(step.node,),
        title="softmax",
    )
    assembly.reading(view, dispatch)
    assembly.emit(dispatch)
    assembly.views[step.output] = View(Term(output.number))


def layer(assembly: Assembly, number: int, step: Step) -> None:
    view, held = assembly.unmoved(step.inputs[0]), step.held
    output = assembly.like(view, step.output)
    macros = {"ACROSS": 1, **PIXELS}
    dispatch = Dispatch("AcrossChannels", macros, "flat", output=output.number, nodes=(step.node,))
    dispatch.title = "normalise channels of a pixel"
    dispatch.fixed["WEIGHTS_AT"] = assembly.rows(held["gamma"], held["beta"])
    dispatch.real["EPSILON"] = (held["epsilon"],)
    assembly.reading(view, dispatch)
    assembly.emit(dispatch)
    assembly.views[step.output] = View(Term(output.number))


def mixed(assembly: Assembly, number: int, step: Step) -> None:
    channels = assembly.steps.shapes[step.output][0]
    _move(assembly, step, {"MOVE": 5}, channels, Extent(), Extent(), OPTION=step.held["groups"])


def _move(
    assembly: Assembly,
    step: Step,
    macros: dict[str, int],
    channels: int,
    height: Extent,
    width: Extent,
    **fixed: int,
) -> None:
    view = assembly.unmoved(step.inputs[0])
    output = assembly.value(step.output, channels, view.a.value, height, width)
    dispatch = Dispatch(
        "Gather", {"FACTOR": 1, **macros, **PIXELS}, "pixels", output=output.number, nodes=(step.node,)
    )
    dispatch.title = step.operator
    dispatch.fixed |= fixed
    assembly.reading(view, dispatch)
    assembly.emit(dispatch)
    assembly.views[step.output] = View(Term(output.number))


def shuffle(assembly: Assembly, number: int, step: Step) -> None:
    size, channels = step.held["size"], assembly.steps.shapes[step.output][0]
    move = 1 if step.held["mode"] == "DCR" else 2
    _move(assembly, step, {"MOVE": move, "FACTOR": size}, channels, Extent(size), Extent(size))


def unshuffle(assembly: Assembly, number: int, step: Step) -> None:
    size, channels = step.held["size"], assembly.steps.shapes[step.output][0]
    _move(assembly, step, {"MOVE": 3, "FACTOR": size}, channels, Extent(1, 0, size), Extent(1, 0, size))


def channels(assembly: Assembly, number: int, step: Step) -> None:
    first, count = step.held["first"], step.held["count"]
    if first % 4:
        _move(assembly, step, {"MOVE": 0}, count, Extent(), Extent(), OPTION=first)
        return
    whole = assembly.stored(step.inputs[0])
    part = assembly.value(step.output, count, whole.number, Extent(), Extent())
    part.root, part.first_block = whole.root, whole.first_block + first // 4
    assembly.views[step.output] = View(Term(part.number))


def concat(assembly: Assembly, number: int, step: Step) -> None:
    counts = [assembly.steps.shapes[name][0] for name in step.inputs]
    if any(count % 4 for count in counts[:-1]):
        _concat_anywhere(assembly, step)
        return
    first = assembly.unmoved(step.inputs[0])
    whole = assembly.like(first, step.output, sum(counts))
    at = 0
    for name, count in zip(step.inputs, counts, strict=True):
        view = assembly.views[name]
        read = [term.value for part in step.inputs for term in _terms(assembly.views[part])]
        _place_part(assembly, view, name, whole, at, read.count(view.a.value) > 1)
        at += blocks(count)
    assembly.views[step.output] = View(Term(whole.number))


def _place_part(assembly: Assembly, view: View, name: str, whole: Value, at: int, several: bool) -> None:
    """Let a part be written where it belongs from the start, or copy it there: one that `several` parts read."""
    held = assembly.values[view.a.value]
    maker = assembly.makers.get(held.number)
    own = view.plain and held.root == held.number and maker is not None and maker.output == held.number
    parts = any(value.root == held.number for value in assembly.values if value is not held)
    if own and not several and not parts and held.number != PICTURE and not _both(assembly, held, whole):
        held.root, held.first_block = whole.number, at
        return
    part = assembly.like(view, f"{name} (part)")
    part.root, part.first_block = whole.number, at
    assembly.written(view, name, part)


def _terms(view: View) -> list[Term]:
    return [view.a] if view.b is None else [view.a, view.b]


def _both(assembly: Assembly, held: Value, whole: Value) -> bool:
    """Whether a kernel would read and write one buffer if a value lay in the whole: no API takes that."""
    for dispatch in assembly.dispatches:
        read, written = (dispatch.first, dispatch.second), (dispatch.output, dispatch.kept)
        for one, other in ((read, written), (written, read)):
            if held.number in one and any(v >= 0 and assembly.values[v].root == whole.number for v in other):
                return True
    return False


def _concat_anywhere(assembly: Assembly, step: Step) -> None:
    """Parts that do not begin at a block: one after another, channel by channel."""
    view = assembly.term(step.inputs[0])
    count = assembly.steps.shapes[step.inputs[0]][0]
    for place, name in enumerate(step.inputs[1:], 1):
        other = assembly.term(name)
        count += assembly.steps.shapes[name][0]
        last = place == len(step.inputs) - 1
        output = assembly.like(view, step.output if last else f"{step.output} ({place})", count)
        macros = {"MOVE": 4, "FACTOR": 1, **PIXELS}
        dispatch = Dispatch("Gather", macros, "pixels", output=output.number, nodes=(step.node,), title="join")
        assembly.reading(View(view.a, "Add", other.a), dispatch)
        assembly.emit(dispatch)
        view = View(Term(output.number))
    assembly.views[step.output] = view
