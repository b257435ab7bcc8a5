"""A plan under construction: values, weights and dispatches, and reading and writing through views."""

from __future__ import annotations

import numpy as np

from pipeline.targets.compute.layout import length as length_of
from pipeline.targets.compute.plan import PICTURE, Dispatch, Extent, Value, Weight, blocks
from pipeline.targets.compute.steps import Step, Steps
from pipeline.targets.compute.views import Act, Table, Term, View

_COMBINES = {"Add": 1, "Sub": 2, "Mul": 3, "Div": 4}
_WORDS = {1: "+", 2: "-", 3: "*", 4: "/"}
PIXELS = {"THREADS_X": 8, "THREADS_Y": 8}
"""Threads of kernels that compute one pixel in each."""
STATISTICS_PIXELS = {"THREADS_X": 16, "THREADS_Y": 8}
"""The same where they leave statistics: fewer, larger tiles."""
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
    "ERF": 19,
}
"""The number of each activation in the kernels (Common.hlsl)."""


class Assembly:
    """A plan under construction, and the helpers that steps are compiled with.

    `views` says for each tensor how it is read; `makers` which dispatch writes a value; `done` are the numbers of
    steps that were folded into an earlier one.
    """

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.dispatches: list[Dispatch] = []
        self.values: list[Value] = []
        self.weights: list[Weight] = []
        self.tables = 0
        self.makers: dict[int, Dispatch] = {}
        self.views: dict[str, View] = {}
        self.done: set[int] = set()
        self._known: dict[tuple[str, bytes, tuple[int, ...]], int] = {}
        self._weights_end = 0
        self._readers: dict[str, list[tuple[int, Step]]] = {}
        for number, step in enumerate(steps.steps):
            for name in dict.fromkeys(step.inputs):
                self._readers.setdefault(name, []).append((number, step))
        channels = steps.shapes[steps.picture][0]
        self.values.append(Value(PICTURE, channels, -1, Extent(), Extent(), steps.picture))
        self.views[steps.picture] = View(Term(PICTURE))

    # --- looking around ---

    def only_reader(self, tensor: str) -> tuple[int, Step] | None:
        """The one step that reads a tensor which nobody else sees."""
        readers = self._readers.get(tensor, [])
        if len(readers) != 1 or tensor == self.steps.result or readers[0][1].inputs.count(tensor) > 1:
            return None
        return readers[0]

    def readers(self, tensor: str) -> list[Step]:
        """The steps that read a tensor."""
        return [step for _, step in self._readers.get(tensor, [])]

    def read_later(self, number: int, tensor: str) -> bool:
        """Whether a step behind this one, or the result, still needs a tensor."""
        later = (i for i, _ in self._readers.get(tensor, []) if i > number and i not in self.done)
        return tensor == self.steps.result or any(True for _ in later)

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
        key = (
            weight.kind + repr(sorted(weight.form.items())) + repr(weight.data.shape),
            np.ascontiguousarray(weight.data, np.float32).tobytes(),
            (),
        )
        if key not in self._known:
            weight.at = self._weights_end
            weight.data = np.ascontiguousarray(weight.data, np.float32)
            self._weights_end += length_of(weight)
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
        self.act(view.act, "ACT_SUM", "BOUNDS_SUM", "SLOPES_SUM", dispatch)
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
        self.act(term.act, f"ACT_{side}", f"BOUNDS_{side}", f"SLOPES_{side}", dispatch)
        if term.later is not None:
            m[f"LATER_{side}"] = 1
            fixed[f"TABLE_{side}_LATER"] = self.rows(term.later.scale, term.later.shift)

    def act(self, act: Act | None, macro: str, bounds: str, slopes: str, dispatch: Dispatch) -> None:
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

    def paint(self) -> int:
        """The result goes to the picture that is painted: by the kernel that makes it, or by one more."""
        view = self.views[self.steps.result]
        channels = self.steps.shapes[self.steps.result][0]
        value = self.values[view.a.value]
        maker = self.makers.get(value.number)
        read = any(value.number in (d.first, d.second) for d in self.dispatches)
        alone = view.plain and not read and value.root == value.number
        if (
            not alone
            or maker is None
            or maker.kernel == "Merge"
            or maker.output != value.number
            or maker.macro("STATISTICS")
        ):
            value = self.written(view, self.steps.result)
            maker = self.makers[value.number]
        maker.macros["PAINT"] = channels
        maker.title += ", paint"
        return value.number
