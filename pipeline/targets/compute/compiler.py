"""Folds steps into dispatches: which kernel reads what with which norm, activation, sum, padding folded in.

A step that works on single pixels costs nothing by itself: it becomes part of the view through which the next
kernel reads (`views`), or of what the kernel before it writes. A normalisation asks the kernel that wrote its input
for statistics, and puts a merge behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pipeline.targets.compute import convolutions, memory
from pipeline.targets.compute.operators import ELSEWHERE, Refused, Step, Steps, Unsupported, read
from pipeline.targets.compute.plan import PICTURE, Dispatch, Extent, Plan, Value, Weight, blocks
from pipeline.targets.compute.views import Act, Affine, Table, Term, View

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

_COMBINES = {"Add": 1, "Sub": 2, "Mul": 3, "Div": 4}
_WORDS = {1: "+", 2: "-", 3: "*", 4: "/"}
_ROUNDINGS = {"floor": 0, "ceil": 1, "round_prefer_floor": 2, "round_prefer_ceil": 3}
PIXELS = {"THREADS_X": 8, "THREADS_Y": 8}
"""Threads of kernels that compute one pixel in each."""
STATISTICS_PIXELS = {"THREADS_X": 16, "THREADS_Y": 8}


@dataclass(frozen=True)
class Compiled:
    """A plan, or why there is none: one `Refused` for each node that is not carried."""

    plan: Plan | None
    refused: tuple[Refused, ...]


def compile_graph(graph: gs.Graph, size: tuple[int, int] | None = None, *, half: bool = False) -> Compiled:
    """Compile a graph of one picture in and one picture out, its values RGB 0..1 on both sides.

    `size` is the nominal (height, width); by default the declared one. The graph is not changed.
    """
    image = graph.inputs[0]
    declared = image.shape
    if size is not None:
        image.shape = [1, declared[1], *size]
    try:
        steps = read(graph)
        if steps.refused:
            return Compiled(None, tuple(steps.refused))
        if steps.picture not in steps.shapes:
            return Compiled(None, (Refused(image.name, "Input", "the size of the picture is not declared"),))
        return _Compiler(steps, half).compiled()
    finally:
        image.shape = declared


class _Compiler:
    def __init__(self, steps: Steps, half: bool) -> None:
        self.steps, self.half = steps, half
        self.dispatches: list[Dispatch] = []
        self.values: list[Value] = []
        self.weights: list[Weight] = []
        self.tables = 0
        self.makers: dict[int, Dispatch] = {}
        self.views: dict[str, View] = {}
        self.done: set[int] = set()
        self._known: dict[tuple[str, bytes, tuple[int, ...]], int] = {}
        self._weights_end = 0
        channels, height, width = steps.shapes[steps.picture]
        self.size = (height, width)
        self.values.append(Value(PICTURE, channels, -1, Extent(), Extent(), steps.picture))
        self.views[steps.picture] = View(Term(PICTURE))

    def compiled(self) -> Compiled:
        if self.values[PICTURE].channels not in (1, 3):
            return self._whole("the picture that goes in has neither 1 nor 3 channels")
        if self.steps.shapes[self.steps.result][0] not in (1, 3):
            return self._whole("the picture that comes out has neither 1 nor 3 channels")
        for number, step in enumerate(self.steps.steps):
            if number in self.done:
                continue
            try:
                self._HANDLERS[step.kind](self, number, step)
            except Unsupported as error:
                return Compiled(None, (Refused(step.node, step.operator, error.reason, error.fix),))
        result = self._paint()
        plan = Plan(
            self.dispatches,
            self.values,
            self.weights,
            self.tables,
            self.size,
            (self.values[PICTURE].channels, self.steps.shapes[self.steps.result][0]),
            result,
            self.half,
        )
        memory.assign(plan)
        for kept, shape in zip(plan.values, plan.sizes(*self.size), strict=True):
            known = self.steps.shapes.get(kept.name)
            if known is not None and known[1:] != shape:
                raise AssertionError(f"{kept.name}: the plan says {shape}, the graph {known[1:]}")
        return Compiled(plan, ())

    def _whole(self, reason: str) -> Compiled:
        return Compiled(None, (Refused(self.steps.result, "Network", reason, ELSEWHERE),))

    # --- looking around ---

    def only_reader(self, tensor: str) -> tuple[int, Step] | None:
        """The one step that reads a tensor which nobody else sees."""
        readers = [(i, s) for i, s in enumerate(self.steps.steps) if tensor in s.inputs]
        if len(readers) != 1 or tensor == self.steps.result or readers[0][1].inputs.count(tensor) > 1:
            return None
        return readers[0]

    def read_later(self, number: int, tensor: str) -> bool:
        """Whether a step behind this one, or the result, still needs a tensor."""
        later = self.steps.steps[number + 1 :]
        return tensor == self.steps.result or any(
            tensor in step.inputs for i, step in enumerate(later, number + 1) if i not in self.done
        )

    # --- making values and constants ---

    def value(self, name: str, channels: int, source: int, height: Extent, width: Extent) -> Value:
        made = Value(len(self.values), channels, source, height, width, name)
        self.values.append(made)
        return made

    def like(self, view: View, name: str, channels: int | None = None) -> Value:
        """A value of the size of what a view shows."""
        top, left, bottom, right = view.pads
        return self.value(
            name,
            self.channels(view) if channels is None else channels,
            view.a.value,
            Extent(view.up, top + bottom),
            Extent(view.up, left + right),
        )

    def channels(self, view: View) -> int:
        return self.values[view.a.value].channels

    def add_weight(self, weight: Weight) -> int:
        """The element at which a weight begins; equal ones are held once."""
        from pipeline.targets.compute.layout import length

        key = (
            weight.kind + repr(sorted(weight.form.items())) + repr(weight.data.shape),
            np.ascontiguousarray(weight.data, np.float32).tobytes(),
            (),
        )
        if key not in self._known:
            weight.at = self._weights_end
            weight.data = np.ascontiguousarray(weight.data, np.float32)
            self._weights_end += length(weight)
            self.weights.append(weight)
            self._known[key] = weight.at
        return self._known[key]

    def rows(self, *rows: np.ndarray, phases: int = 1, length: int = 0) -> int:
        """Rows of numbers for each channel (phase by phase), padded to `length` blocks of channels."""
        data = np.stack([np.asarray(row, np.float64) for row in rows])
        needed = blocks(data.shape[1] // phases) * phases
        return self.add_weight(Weight("rows", data, {"phases": phases, "length": max(length, needed)}))

    # --- reading through a view ---

    def reading(self, view: View, dispatch: Dispatch, nodes: bool = True) -> None:
        """Tell a dispatch what it reads and what is folded in."""
        m, fixed, real = dispatch.macros, dispatch.fixed, dispatch.real
        dispatch.first = view.a.value
        if view.a.value == PICTURE:
            m["PICTURE"] = self.values[PICTURE].channels
        self._term(view.a, "A", dispatch)
        if view.b is not None:
            dispatch.second = view.b.value
            m["COMBINE"] = _COMBINES[view.combine]
            if view.spread:
                m["SPREAD_B"] = view.spread
            if view.b.value == PICTURE:
                m["SECOND_PICTURE"] = self.values[PICTURE].channels
            fixed["SECOND_TOP"], fixed["SECOND_LEFT"] = view.corner
            self._term(view.b, "B", dispatch)
        if view.norm is not None:
            m["NORM_SUM"] = 2
            fixed["TABLE_SUM"] = self.rows(view.norm.scale, view.norm.shift)
        self._act(view.act, "ACT_SUM", "BOUNDS_SUM", "SLOPES_SUM", dispatch)
        if view.up > 1:
            m["UPSAMPLE"] = view.up
        if view.mode != "constant":
            m["PADDING"] = {"reflect": 1, "edge": 2}[view.mode]
        elif view.pad_value:
            real["PAD_VALUE"] = (view.pad_value,)

    def _term(self, term: Term, side: str, dispatch: Dispatch) -> None:
        m, fixed = dispatch.macros, dispatch.fixed
        if isinstance(term.norm, Table):
            m[f"NORM_{side}"], fixed[f"TABLE_{side}"] = 1, term.norm.at
        elif term.norm is not None:
            m[f"NORM_{side}"] = 2
            fixed[f"TABLE_{side}"] = self.rows(term.norm.scale, term.norm.shift)
        self._act(term.act, f"ACT_{side}", f"BOUNDS_{side}", f"SLOPES_{side}", dispatch)
        if term.later is not None:
            m[f"LATER_{side}"] = 1
            fixed[f"TABLE_{side}_LATER"] = self.rows(term.later.scale, term.later.shift)

    def _act(self, act: Act | None, macro: str, bounds: str, slopes: str, dispatch: Dispatch) -> None:
        if act is None:
            return
        dispatch.macros[macro] = KINDS[act.kind]
        if act.bounds:
            dispatch.real[bounds] = act.bounds
        if act.slopes is not None:
            dispatch.fixed[slopes] = self.rows(act.slopes)

    def emit(self, dispatch: Dispatch) -> Dispatch:
        self.dispatches.append(dispatch)
        if dispatch.output >= 0:
            self.makers[dispatch.output] = dispatch
        return dispatch

    # --- writing a view out ---

    def written(self, view: View, name: str, into: Value | None = None, *, statistics: bool = False) -> Value:
        """A stored value of what a view shows: a pointwise dispatch."""
        output = into or self.like(view, name)
        macros = {"SAMPLE": 0 if view.unmoved else 1, "STORE": 1, **(STATISTICS_PIXELS if statistics else PIXELS)}
        if statistics:
            macros["STATISTICS"] = 1
        dispatch = Dispatch("Pointwise", macros, "pixels", output=output.number, nodes=(name,), title="write out")
        dispatch.fixed |= {"PAD_TOP": view.pads[0], "PAD_LEFT": view.pads[1]}
        self.reading(view, dispatch)
        if view.b is not None:
            dispatch.title = f"write out a {_WORDS[_COMBINES[view.combine]]} b"
        self.emit(dispatch)
        return output

    def stored(self, tensor: str) -> Value:
        """The tensor as a value that lies in a buffer as it is."""
        view = self.views[tensor]
        if not view.plain or view.a.value == PICTURE:
            made = self.written(view, tensor)
            self.views[tensor] = View(Term(made.number))
        return self.values[self.views[tensor].a.value]

    def unmoved(self, tensor: str) -> View:
        """The tensor as a view without padding and upsampling."""
        view = self.views[tensor]
        if view.unmoved:
            return view
        self.stored(tensor)
        return self.views[tensor]

    def term(self, tensor: str) -> View:
        """The tensor as a view of one term, without padding and upsampling."""
        view = self.views[tensor]
        if view.single and view.unmoved:
            return view
        self.stored(tensor)
        return self.views[tensor]

    # --- steps on single pixels ---

    def _affine(self, number: int, step: Step) -> None:
        affine = Affine(step.held["scale"], step.held["shift"])
        self._apply(step, lambda view: view.scaled(affine))

    def _activation(self, number: int, step: Step) -> None:
        act = _act_of(step)
        self._apply(step, lambda view: view.activated(act))

    def _apply(self, step: Step, change: Callable[[View], View | None]) -> None:
        view = change(self.views[step.inputs[0]])
        if view is None:
            self.stored(step.inputs[0])
            view = change(self.views[step.inputs[0]])
        assert view is not None
        self.views[step.output] = view

    def _binary(self, number: int, step: Step) -> None:
        one, other = step.inputs
        shapes = [self.steps.shapes[name] for name in step.inputs]
        combine = step.held["combine"]
        whole = self.steps.shapes[step.output]
        if shapes[0] != whole:
            if combine not in ("Add", "Mul"):
                raise Unsupported(f"{combine} of a smaller first operand has no kernel here", ELSEWHERE)
            one, other, shapes = other, one, shapes[::-1]
        if shapes[0] != whole:
            raise Unsupported(f"operands of {shapes[0]} and {shapes[1]} have no kernel here", ELSEWHERE)
        spread = 0
        if shapes[1] != whole:
            if shapes[1] == (whole[0], 1, 1):
                spread = 1
            elif shapes[1] == (1, *whole[1:]):
                spread = 2
            else:
                raise Unsupported(f"an operand of {shapes[1]} has no kernel here", ELSEWHERE)
        first = self.term(one)
        second, corner = self._cropped(other) if not spread else (self.term(other), (0, 0))
        self.views[step.output] = View(first.a, combine, second.a, spread, corner)

    def _cropped(self, tensor: str) -> tuple[View, tuple[int, int]]:
        """A term that may be cropped, and the row and column from which on it is read."""
        view = self.views[tensor]
        crop = view.up == 1 and all(pad <= 0 for pad in view.pads)
        if crop and view.single:
            return view, (-view.pads[0], -view.pads[1])
        return self.term(tensor), (0, 0)

    def _pad(self, number: int, step: Step) -> None:
        view, pads = self.views[step.inputs[0]], step.held["pads"]
        mode, value = step.held["mode"], step.held["value"]
        crop = all(pad <= 0 for pad in pads)
        joins = crop and all(pad <= 0 for pad in view.pads)
        if not joins and (any(view.pads) or (any(pad < 0 for pad in pads) and not crop)):
            if any(pad < 0 for pad in pads) and not crop:
                raise Unsupported("padding and cropping at once has no kernel here", "Split it in two.")
            self.stored(step.inputs[0])
            view = self.views[step.inputs[0]]
        if crop and view.up > 1:
            self.stored(step.inputs[0])
            view = self.views[step.inputs[0]]
        joined = tuple(a + b for a, b in zip(view.pads, pads, strict=True))
        origin = view.origin or step.inputs[0]
        self.views[step.output] = replace(view, pads=joined, mode=mode, pad_value=value, origin=origin)

    def _resize(self, number: int, step: Step) -> None:
        view, held = self.views[step.inputs[0]], step.held
        sy, sx = held["scales"]
        whole = sy == sx and sy == int(sy) and sy >= 1
        same = (held["transform"], held["rounding"]) in (
            ("asymmetric", "floor"),
            ("half_pixel", "round_prefer_floor"),
            ("pytorch_half_pixel", "round_prefer_floor"),
        )
        if not held["linear"] and whole and same:
            if sy == 1:
                self.views[step.output] = view
                return
            if any(view.pads):
                self.stored(step.inputs[0])
                view = self.views[step.inputs[0]]
            self.views[step.output] = replace(view, up=view.up * int(sy), origin=view.origin or step.inputs[0])
            return
        view = self.unmoved(step.inputs[0])
        shapes = self.steps.shapes
        extents = [
            _ratio(before, after, scale)
            for before, after, scale in zip(
                shapes[step.inputs[0]][1:], shapes[step.output][1:], (sy, sx), strict=True
            )
        ]
        output = self.value(step.output, self.channels(view), view.a.value, *extents)
        dispatch = Dispatch(
            "Pointwise",
            {"SAMPLE": 3 if held["linear"] else 2, "STORE": 1, **PIXELS},
            "pixels",
            output=output.number,
            nodes=(step.node,),
            title="resize, bilinear" if held["linear"] else "resize, nearest",
        )
        halves = "half_pixel" in held["transform"]
        offsets = [0.5 / scale - 0.5 if halves else 0.0 for scale in (sx, sy)]
        dispatch.real["SAMPLING"] = (1 / sx, 1 / sy, *offsets)
        dispatch.align_corners = held["transform"] == "align_corners"
        dispatch.fixed["OPTION"] = _ROUNDINGS[held["rounding"]]
        self.reading(view, dispatch)
        self.emit(dispatch)
        self.views[step.output] = View(Term(output.number))

    # --- convolutions ---

    def _conv(self, number: int, step: Step) -> None:
        convolutions.convolve(self, number, step)

    # --- statistics ---

    def statistics(self, tensor: str) -> tuple[Dispatch, View]:
        """The dispatch that leaves the statistics of a tensor, and the tensor as what lies in a buffer."""
        view = self.views[tensor]
        if view.plain and view.a.value != PICTURE:
            maker = self.makers.get(view.a.value)
            if maker is not None and maker.kernel in ("Conv", "Depthwise", "Pointwise"):
                if maker.kernel == "Pointwise":
                    maker.macros |= STATISTICS_PIXELS
                maker.macros["STATISTICS"] = 1
                return maker, view
            output = self.like(view, f"{tensor} (statistics)")
            output.stored = False
            macros = {"SAMPLE": 0, "STORE": 0, "STATISTICS": 1, **STATISTICS_PIXELS}
            dispatch = Dispatch("Pointwise", macros, "pixels", output=output.number, title="statistics")
            self.reading(view, dispatch)
            return self.emit(dispatch), view
        made = self.written(view, tensor, statistics=True)
        self.views[tensor] = View(Term(made.number))
        return self.makers[made.number], self.views[tensor]

    def merge(self, of: Dispatch, channels: int, result: int) -> Dispatch:
        """A merge of what a dispatch leaves, put right behind it."""
        phases = of.macro("SHUFFLE", 1)
        macros = {"RESULT": result}
        if phases > 1:
            macros["SHUFFLE"] = phases
        dispatch = Dispatch("Merge", macros, "blocks", of=of, title="merge statistics")
        dispatch.fixed |= {"BLOCKS_A_PHASE": of.fixed.get("BLOCKS_A_PHASE", blocks(channels)), "OUTPUT_BLOCKS": blocks(channels)}
        self.dispatches.insert(self._behind(of), dispatch)
        return dispatch

    def _behind(self, of: Dispatch) -> int:
        return next(i for i, dispatch in enumerate(self.dispatches) if dispatch is of) + 1

    def table(self, channels: int) -> int:
        at = self.tables
        self.tables += 3 * blocks(channels)
        return at

    def _norm(self, number: int, step: Step) -> None:
        of, view = self.statistics(step.inputs[0])
        channels, held = self.channels(view), step.held
        at = self.table(channels)
        affine = self.rows(held["gamma"], held["beta"])
        if held["channels"] == 1:
            merge = self.merge(of, channels, 0)
            merge.fixed |= {"TABLE_OUTPUT": at, "WEIGHTS_AT": affine}
            merge.real["EPSILON"] = (held["epsilon"],)
            merge.nodes = (step.node,)
        else:
            merge = self.merge(of, channels, 1)
            raw = self.table(channels)
            merge.fixed["TABLE_OUTPUT"] = raw
            across = Dispatch("MergeChannels", {}, "threads", nodes=(step.node,), title="merge channels' statistics")
            across.fixed |= {
                "OUTPUT_BLOCKS": blocks(channels),
                "OUTPUT_CHANNELS": channels,
                "OPTION": held["channels"],
                "TABLE_A": raw,
                "TABLE_OUTPUT": at,
                "WEIGHTS_AT": affine,
            }
            across.real["EPSILON"] = (held["epsilon"],)
            self.dispatches.insert(self._behind(merge), across)
        self.views[step.output] = View(Term(view.a.value, norm=Table(at)))

    def _mean(self, number: int, step: Step) -> None:
        of, view = self._statistics_alone(number, step.inputs[0])
        channels = self.channels(view)
        output = self.value(step.output, channels, view.a.value, Extent(0, 1), Extent(0, 1))
        merge = self.merge(of, channels, 2)
        merge.output, merge.nodes, merge.title = output.number, (step.node,), "mean of each channel"
        self.makers[output.number] = merge
        self.views[step.output] = View(Term(output.number))

    def _statistics_alone(self, number: int, tensor: str) -> tuple[Dispatch, View]:
        """As `statistics`, but what nobody reads later is not written."""
        view = self.views[tensor]
        if view.plain and view.a.value != PICTURE:
            return self.statistics(tensor)
        if self.read_later(number, tensor):
            return self.statistics(tensor)
        of, view = self.statistics(tensor)
        of.macros["STORE"] = 0
        self.values[of.output].stored = False
        return of, view

    # --- the rest ---

    def _pool(self, number: int, step: Step) -> None:
        held, view = step.held, self.unmoved(step.inputs[0])
        if view.costly and max(held["kernel"]) > 1:
            self.stored(step.inputs[0])
            view = self.views[step.inputs[0]]
        more = [held["strides"][axis] - 1 if held["ceil"] else 0 for axis in (0, 1)]
        top, left, bottom, right = held["pads"]
        (kernel_y, kernel_x), (stride_y, stride_x) = held["kernel"], held["strides"]
        output = self.value(
            step.output,
            self.channels(view),
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
        self.reading(view, dispatch)
        self.emit(dispatch)
        self.views[step.output] = View(Term(output.number))

    def _softmax(self, number: int, step: Step) -> None:
        view = self.unmoved(step.inputs[0])
        output = self.like(view, step.output)
        dispatch = Dispatch(
            "AcrossChannels",
            {"ACROSS": 0, **PIXELS},
            "flat",
            output=output.number,
            nodes=(step.node,),
            title="softmax",
        )
        self.reading(view, dispatch)
        self.emit(dispatch)
        self.views[step.output] = View(Term(output.number))

    def _move(self, step: Step, macros: dict[str, int], channels: int, height: Extent, width: Extent, **fixed: int) -> None:
        view = self.unmoved(step.inputs[0])
        output = self.value(step.output, channels, view.a.value, height, width)
        dispatch = Dispatch(
            "Gather", {"FACTOR": 1, **macros, **PIXELS}, "pixels", output=output.number, nodes=(step.node,)
        )
        dispatch.title = step.operator
        dispatch.fixed |= fixed
        self.reading(view, dispatch)
        self.emit(dispatch)
        self.views[step.output] = View(Term(output.number))

    def _shuffle(self, number: int, step: Step) -> None:
        size, channels = step.held["size"], self.steps.shapes[step.output][0]
        move = 1 if step.held["mode"] == "DCR" else 2
        self._move(step, {"MOVE": move, "FACTOR": size}, channels, Extent(size), Extent(size))

    def _unshuffle(self, number: int, step: Step) -> None:
        size, channels = step.held["size"], self.steps.shapes[step.output][0]
        self._move(step, {"MOVE": 3, "FACTOR": size}, channels, Extent(1, 0, size), Extent(1, 0, size))

    def _channels(self, number: int, step: Step) -> None:
        first, count = step.held["first"], step.held["count"]
        if first % 4:
            self._move(step, {"MOVE": 0}, count, Extent(), Extent(), OPTION=first)
            return
        whole = self.stored(step.inputs[0])
        part = self.value(step.output, count, whole.number, Extent(), Extent())
        part.root, part.first_block = whole.root, whole.first_block + first // 4
        self.views[step.output] = View(Term(part.number))

    def _concat(self, number: int, step: Step) -> None:
        counts = [self.steps.shapes[name][0] for name in step.inputs]
        if any(count % 4 for count in counts[:-1]):
            self._concat_anywhere(step)
            return
        first = self.unmoved(step.inputs[0])
        whole = self.like(first, step.output, sum(counts))
        at = 0
        for place, (name, count) in enumerate(zip(step.inputs, counts, strict=True)):
            view = self.views[name]
            self._place_part(view, name, whole, at, name in step.inputs[:place])
            at += blocks(count)
        self.views[step.output] = View(Term(whole.number))

    def _place_part(self, view: View, name: str, whole: Value, at: int, again: bool) -> None:
        """Let a part be written where it belongs from the start, or copy it there."""
        held = self.values[view.a.value]
        maker = self.makers.get(held.number)
        own = view.plain and held.root == held.number and maker is not None and maker.output == held.number
        parts = any(value.root == held.number for value in self.values if value is not held)
        if own and not again and not parts and held.number != PICTURE:
            held.root, held.first_block = whole.number, at
            return
        part = self.like(view, f"{name} (part)")
        part.root, part.first_block = whole.number, at
        self.written(view, name, part)

    def _concat_anywhere(self, step: Step) -> None:
        """Parts that do not begin at a block: one after another, channel by channel."""
        view = self.term(step.inputs[0])
        count = self.steps.shapes[step.inputs[0]][0]
        for place, name in enumerate(step.inputs[1:], 1):
            other = self.term(name)
            count += self.steps.shapes[name][0]
            last = place == len(step.inputs) - 1
            output = self.like(view, step.output if last else f"{step.output} ({place})", count)
            macros = {"MOVE": 4, "FACTOR": 1, **PIXELS}
            dispatch = Dispatch("Gather", macros, "pixels", output=output.number, nodes=(step.node,), title="join")
            self.reading(View(view.a, "Add", other.a), dispatch)
            self.emit(dispatch)
            view = View(Term(output.number))
        self.views[step.output] = view

    def _paint(self) -> int:
        """The result goes to the picture that is painted: by the kernel that makes it, or by one more."""
        view = self.views[self.steps.result]
        channels = self.steps.shapes[self.steps.result][0]
        value = self.values[view.a.value]
        maker = self.makers.get(value.number)
        read = any(value.number in (d.first, d.second) for d in self.dispatches)
        alone = view.plain and not read and value.root == value.number and maker is not None
        if not alone or maker.kernel == "Merge" or maker.output != value.number or maker.macro("STATISTICS"):
            value = self.written(view, self.steps.result)
            maker = self.makers[value.number]
        maker.macros["PAINT"] = channels
        maker.title += ", paint"
        return value.number

    _HANDLERS = {
        "conv": _conv,
        "transposed": _conv,
        "affine": _affine,
        "act": _activation,
        "binary": _binary,
        "pad": _pad,
        "resize": _resize,
        "norm": _norm,
        "mean": _mean,
        "pool": _pool,
        "softmax": _softmax,
        "shuffle": _shuffle,
        "unshuffle": _unshuffle,
        "channels": _channels,
        "concat": _concat,
    }


KINDS = {
    "RELU": 1,
    "LEAKY": 2,
    "CLIP": 3,
    "TANH": 4,
    "SIGMOID": 5,
    "HARD_SWISH": 6,
    "SILU": 7,
    "GELU": 8,
    "ELU": 9,
    "PRELU": 10,
    "HARD_SIGMOID": 11,
    "GELU_TANH": 12,
    "SOFTPLUS": 13,
    "ABSOLUTE": 14,
    "MISH": 15,
    "SQUARE_ROOT": 16,
    "EXPONENTIAL": 17,
    "SQUARE": 18,
}
"""The number of each activation in the kernels (Common.hlsl)."""


def _act_of(step: Step) -> Act:
    return Act(step.held["act"], step.held["bounds"], step.held.get("slopes"))


def _ratio(before: int, after: int, scale: float) -> Extent:
    """How a resized length follows: the scale as a fraction where that gives the known length, else fixed."""
    from fractions import Fraction

    fraction = Fraction(scale).limit_denominator(64)
    made = Extent(fraction.numerator, 0, fraction.denominator)
    return made if made.of(before) == after else Extent(0, after, 1)
