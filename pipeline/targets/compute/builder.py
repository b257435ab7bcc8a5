"""Builds a plan: adds values, weights and dispatches, and reads and writes tensors through views."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from pipeline.targets.compute.layout import length as length_of
from pipeline.targets.compute.linear import Constant, Linear
from pipeline.targets.compute.plan import PICTURE, Dispatch, Extent, StyleTerm, Value, Weight, blocks
from pipeline.targets.compute.steps import Step, Steps
from pipeline.targets.compute.views import Activation, Table, Term, View

_COMBINES = {"Add": 1, "Sub": 2, "Mul": 3, "Div": 4}
_GUIDES = 4
"""Macro PICTURE of a kernel that reads a texture of guides, of 1 to 4 channels (Common.hlsl)."""
_WORDS = {1: "+", 2: "-", 3: "*", 4: "/"}
PIXELS = {"THREADS_X": 8, "THREADS_Y": 8}
"""Thread group of kernels that compute one pixel per thread."""
STATISTICS_PIXELS = {"THREADS_X": 16, "THREADS_Y": 8}
"""Thread group of the same kernels if they compute statistics: fewer, larger tiles."""
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


class PlanBuilder:
    """A plan under construction, with helpers for the handlers of steps.

    `views`: how each tensor is read, by its name; `producers`: the dispatch that writes a value, by its number;
    `done`: the numbers of steps that were fused into an earlier one; `input`: the value that is the network's
    input, which is in a buffer if `numbers_in`.
    """

    def __init__(self, steps: Steps, numbers_in: bool = False) -> None:
        self.steps = steps
        self.dispatches: list[Dispatch] = []
        self.values: list[Value] = []
        self.weights: list[Weight] = []
        self.tables = 0
        self.producers: dict[int, Dispatch] = {}
        self.views: dict[str, View] = {}
        self.done: set[int] = set()
        self._known: dict[tuple[str, bytes, bytes], int] = {}
        self._weights_end = 0
        self._readers: dict[str, list[tuple[int, Step]]] = {}
        for number, step in enumerate(steps.steps):
            for name in dict.fromkeys(step.inputs):
                self._readers.setdefault(name, []).append((number, step))
        channels = steps.shapes[steps.picture][0]
        self.values.append(Value(PICTURE, channels, -1, Extent(), Extent(), steps.picture))
        self._guides = [self._guide(name) for name in steps.guides]
        self.input = PICTURE
        if numbers_in:
            self.input = self.value(steps.picture, channels, PICTURE, Extent(), Extent()).number
        self.views[steps.picture] = View(Term(self.input))
        for texture in self._guides:
            copy = self.store_view(View(Term(texture.number)), texture.name)
            self.producers[copy.number].title = "store guides"
            self.views[texture.name] = View(Term(copy.number))

    def _guide(self, name: str) -> Value:
        texture = self.value(name, self.steps.shapes[name][0], PICTURE, Extent(), Extent())
        texture.stored = False
        return texture

    # --- readers of tensors ---

    def sole_reader(self, tensor: str) -> tuple[int, Step] | None:
        """The number and step of the only reader of a tensor; None if there are others or it is the result."""
        readers = self._readers.get(tensor, [])
        if len(readers) != 1 or tensor == self.steps.result or readers[0][1].inputs.count(tensor) > 1:
            return None
        return readers[0]

    def readers(self, tensor: str) -> list[Step]:
        """The steps that read a tensor."""
        return [step for _, step in self._readers.get(tensor, [])]

    def read_later(self, number: int, tensor: str) -> bool:
        """Whether a step after step `number` reads a tensor, or it is the result."""
        later = (i for i, _ in self._readers.get(tensor, []) if i > number and i not in self.done)
        return tensor == self.steps.result or any(True for _ in later)

    # --- values and constants ---

    def value(self, name: str, channels: int, source: int, height: Extent, width: Extent) -> Value:
        value = Value(len(self.values), channels, source, height, width, name)
        self.values.append(value)
        return value

    def like(self, view: View, name: str, channels: int | None = None) -> Value:
        """Add a value with the size (and by default the channels) of a view."""
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
        """The element offset of a weight in the weight buffer; equal weights are stored once."""
        of_style = [array.tobytes() for term in weight.style for array in term]
        key = (
            weight.kind + repr(sorted(weight.form.items())) + repr(weight.data.shape),
            np.ascontiguousarray(weight.data, np.float32).tobytes(),
            b"".join(of_style),
        )
        if key not in self._known:
            weight.offset = self._weights_end
            weight.data = np.ascontiguousarray(weight.data, np.float32)
            self._weights_end += length_of(weight)
            self.weights.append(weight)
            self._known[key] = weight.offset
        return self._known[key]

    def rows(self, *rows: Constant, phases: int = 1, length: int = 0) -> int:
        """Add rows of one number per channel (phase by phase), padded to `length` blocks; returns their offset."""
        stacked: Constant = np.stack(cast(Any, rows))
        needed = blocks(stacked.shape[1] // phases) * phases
        form = {"phases": phases, "length": max(length, needed)}
        if not isinstance(stacked, Linear):
            return self.add_weight(Weight("rows", stacked, form))
        terms = tuple(
            StyleTerm(coefficients.astype(np.float32), np.ascontiguousarray(indices, np.int64))
            for coefficients, indices in stacked.terms
        )
        return self.add_weight(Weight("rows", stacked.base, form, style=terms))

    # --- reading through a view ---

    def bind_inputs(self, view: View, dispatch: Dispatch) -> None:
        """Let a dispatch read a view: sets its inputs, and macros and uniforms for the fused operations."""
        m, fixed, real = dispatch.macros, dispatch.int_constants, dispatch.float_constants
        dispatch.first = view.a.value
        if view.a.value == PICTURE:
            m["PICTURE"] = self.values[PICTURE].channels
        elif view.a.value <= len(self._guides):
            m["PICTURE"] = _GUIDES
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
        self.bind_activation(view.act, "ACT_SUM", "BOUNDS_SUM", "SLOPES_SUM", dispatch)
        if view.up > 1:
            m["UPSAMPLE"] = view.up
        if view.mode != "constant":
            m["PADDING"] = {"reflect": 1, "edge": 2}[view.mode]
        elif view.pad_value:
            real["PAD_VALUE"] = (view.pad_value,)

    def _term(self, term: Term, side: str, dispatch: Dispatch) -> None:
        m, fixed = dispatch.macros, dispatch.int_constants
        if isinstance(term.norm, Table):
            m[f"NORM_{side}"], fixed[f"TABLE_{side}"] = 1, term.norm.offset
        elif term.norm is not None:
            m[f"NORM_{side}"] = 2
            fixed[f"TABLE_{side}"] = self.rows(term.norm.scale, term.norm.shift)
        self.bind_activation(term.act, f"ACT_{side}", f"BOUNDS_{side}", f"SLOPES_{side}", dispatch)
        if term.later is not None:
            m[f"LATER_{side}"] = 1
            fixed[f"TABLE_{side}_LATER"] = self.rows(term.later.scale, term.later.shift)

    def bind_activation(
        self, act: Activation | None, macro: str, bounds: str, slopes: str, dispatch: Dispatch
    ) -> None:
        if act is None:
            return
        dispatch.macros[macro] = KINDS[act.kind]
        if act.bounds:
            dispatch.float_constants[bounds] = act.bounds
        if act.slopes is not None:
            dispatch.int_constants[slopes] = self.rows(act.slopes)

    def emit(self, dispatch: Dispatch) -> Dispatch:
        self.dispatches.append(dispatch)
        if dispatch.output >= 0:
            self.producers[dispatch.output] = dispatch
        return dispatch

    # --- storing views ---

    def store_view(self, view: View, name: str, into: Value | None = None, *, statistics: bool = False) -> Value:
        """Emit a pointwise dispatch that stores a view; returns the value (`into`, if given)."""
        output = into or self.like(view, name)
        macros = {
            "SAMPLE": 0 if view.pixel_aligned else 1,
            "STORE": 1,
            **(STATISTICS_PIXELS if statistics else PIXELS),
        }
        if statistics:
            macros["STATISTICS"] = 1
        dispatch = Dispatch("Pointwise", macros, "pixels", output=output.number, nodes=(name,), title="store")
        dispatch.int_constants |= {"PAD_TOP": view.pads[0], "PAD_LEFT": view.pads[1]}
        self.bind_inputs(view, dispatch)
        if view.b is not None:
            dispatch.title = f"store a {_WORDS[_COMBINES[view.combine]]} b"
        self.emit(dispatch)
        return output

    def stored(self, tensor: str) -> Value:
        """The tensor as a value in a buffer; emits a dispatch that stores it if necessary."""
        view = self.views[tensor]
        if not view.plain or view.a.value == PICTURE:
            value = self.store_view(view, tensor)
            self.views[tensor] = View(Term(value.number))
        return self.values[self.views[tensor].a.value]

    def pixel_aligned(self, tensor: str) -> View:
        """The tensor as a view without padding and upsampling; stores it if necessary."""
        view = self.views[tensor]
        if view.pixel_aligned:
            return view
        self.stored(tensor)
        return self.views[tensor]

    def term(self, tensor: str) -> View:
        """The tensor as a view of one term without padding and upsampling; stores it if necessary."""
        view = self.views[tensor]
        if view.single and view.pixel_aligned:
            return view
        self.stored(tensor)
        return self.views[tensor]

    def finish_numbers(self) -> int:
        """Let the result be a value at the start of a buffer, for a network without an output picture."""
        value = self.stored(self.steps.result)
        if value.number not in self.producers or value.root != value.number:
            value = self.store_view(self.views[self.steps.result], self.steps.result)
        return value.number

    def finish(self) -> int:
        """Let the dispatch that computes the result write the output picture, or add one; returns the result."""
        view = self.views[self.steps.result]
        channels = self.steps.shapes[self.steps.result][0]
        value = self.values[view.a.value]
        producer = self.producers.get(value.number)
        read = any(value.number in (d.first, d.second) for d in self.dispatches)
        alone = view.plain and not read and value.root == value.number
        if (
            not alone
            or producer is None
            or producer.kernel == "Merge"
            or producer.output != value.number
            or producer.macro("STATISTICS")
        ):
            value = self.store_view(view, self.steps.result)
            producer = self.producers[value.number]
        producer.macros["PAINT"] = channels
        producer.title += ", to picture"
        return value.number
