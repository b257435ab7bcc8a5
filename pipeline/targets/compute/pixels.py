"""Compiles steps on single pixels, padding and resizing: parts of a view where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from pipeline.targets.compute.assembly import PIXELS, Assembly
from pipeline.targets.compute.plan import PICTURE, Dispatch, Extent
from pipeline.targets.compute.steps import ELSEWHERE, Step, Unsupported
from pipeline.targets.compute.views import Act, Affine, Term, View

_ROUNDINGS = {"floor": 0, "ceil": 1, "round_prefer_floor": 2, "round_prefer_ceil": 3}


def affine(assembly: Assembly, number: int, step: Step) -> None:
    affine = Affine(step.held["scale"], step.held["shift"])
    _apply(assembly, step, lambda view: view.scaled(affine))


def activation(assembly: Assembly, number: int, step: Step) -> None:
    act = Act(step.held["act"], step.held["bounds"], step.held.get("slopes"))
    _apply(assembly, step, lambda view: view.activated(act))


def _apply(assembly: Assembly, step: Step, change: Callable[[View], View | None]) -> None:
    view = change(assembly.views[step.inputs[0]])
    if view is None:
        assembly.stored(step.inputs[0])
        view = change(assembly.views[step.inputs[0]])
    assert view is not None
    assembly.views[step.output] = view


def binary(assembly: Assembly, number: int, step: Step) -> None:
    one, other = step.inputs
    shapes = [assembly.steps.shapes[name] for name in step.inputs]
    combine = step.held["combine"]
    whole = assembly.steps.shapes[step.output]
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
    first = assembly.term(one)
    second, corner = _cropped(assembly, other) if not spread else (assembly.term(other), (0, 0))
    assembly.views[step.output] = View(first.a, combine, second.a, spread, corner)


def _cropped(assembly: Assembly, tensor: str) -> tuple[View, tuple[int, int]]:
    """A term that may be cropped, and the row and column from which on it is read."""
    view = assembly.views[tensor]
    crop = view.up == 1 and all(pad <= 0 for pad in view.pads)
    if crop and view.single:
        return view, (-view.pads[0], -view.pads[1])
    return assembly.term(tensor), (0, 0)


def pad(assembly: Assembly, number: int, step: Step) -> None:
    view, pads = assembly.views[step.inputs[0]], step.held["pads"]
    mode, value = step.held["mode"], step.held["value"]
    crop = all(pad <= 0 for pad in pads)
    joins = crop and all(pad <= 0 for pad in view.pads)
    if not joins and (any(view.pads) or (any(pad < 0 for pad in pads) and not crop)):
        if any(pad < 0 for pad in pads) and not crop:
            raise Unsupported("padding and cropping at once has no kernel here", "Split it in two.")
        assembly.stored(step.inputs[0])
        view = assembly.views[step.inputs[0]]
    if crop and view.up > 1:
        assembly.stored(step.inputs[0])
        view = assembly.views[step.inputs[0]]
    joined = tuple(a + b for a, b in zip(view.pads, pads, strict=True))
    origin = view.origin or step.inputs[0]
    assembly.views[step.output] = replace(view, pads=joined, mode=mode, pad_value=value, origin=origin)


def resize(assembly: Assembly, number: int, step: Step) -> None:
    held, shapes = step.held, assembly.steps.shapes
    if shapes[step.inputs[0]][1:] == (1, 1):
        view = assembly.unmoved(step.inputs[0])
        _sampled(assembly, step, view, _spread(assembly, view.a.value, shapes[step.output][1:]))
        return
    view = assembly.views[step.inputs[0]]
    sy, sx = held["scales"]
    whole = sy == sx and sy == int(sy) and sy >= 1
    same = (held["transform"], held["rounding"]) in (
        ("asymmetric", "floor"),
        ("half_pixel", "round_prefer_floor"),
        ("pytorch_half_pixel", "round_prefer_floor"),
    )
    if not held["linear"] and whole and same:
        if sy == 1:
            assembly.views[step.output] = view
            return
        if any(view.pads):
            assembly.stored(step.inputs[0])
            view = assembly.views[step.inputs[0]]
        assembly.views[step.output] = replace(view, up=view.up * int(sy), origin=view.origin or step.inputs[0])
        return
    view = assembly.unmoved(step.inputs[0])
    height, width = (
        _ratio(before, after, scale)
        for before, after, scale in zip(shapes[step.inputs[0]][1:], shapes[step.output][1:], (sy, sx), strict=True)
    )
    _sampled(assembly, step, view, (view.a.value, height, width))


def _spread(assembly: Assembly, pixel: int, size: tuple[int, int]) -> tuple[int, Extent, Extent]:
    """What the size of one pixel follows that is enlarged to a picture of `size`: (value, height, width).

    A mean over a picture is mostly enlarged to that picture's size again; any other size is fixed.
    """
    above = assembly.values[pixel].source
    while above > PICTURE:
        known = assembly.steps.shapes.get(assembly.values[above].name)
        if known is not None and known[1:] == size:
            return above, Extent(), Extent()
        above = assembly.values[above].source
    return pixel, Extent(0, size[0], 1), Extent(0, size[1], 1)


def _sampled(assembly: Assembly, step: Step, view: View, follows: tuple[int, Extent, Extent]) -> None:
    """A dispatch that resizes; `follows` says which value the size of its output follows, and how."""
    held = step.held
    sy, sx = held["scales"]
    output = assembly.value(step.output, assembly.channels(view), *follows)
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
    assembly.reading(view, dispatch)
    assembly.emit(dispatch)
    assembly.views[step.output] = View(Term(output.number))


def _ratio(before: int, after: int, scale: float) -> Extent:
    """How a resized length follows: the scale as a fraction where that gives the known length, else fixed."""
    fraction = Fraction(scale).limit_denominator(64)
    made = Extent(fraction.numerator, 0, fraction.denominator)
    return made if made.of(before) == after else Extent(0, after, 1)
