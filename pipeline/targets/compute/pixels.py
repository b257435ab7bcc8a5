"""Compiles elementwise steps, padding and resizing: into views where possible, else into dispatches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from pipeline.targets.compute.builder import PIXELS, PlanBuilder
from pipeline.targets.compute.plan import PICTURE, Dispatch, Extent
from pipeline.targets.compute.steps import ELSEWHERE, Step, Unsupported
from pipeline.targets.compute.views import Activation, Affine, Term, View

_ROUNDINGS = {"floor": 0, "ceil": 1, "round_prefer_floor": 2, "round_prefer_ceil": 3}


def affine(builder: PlanBuilder, number: int, step: Step) -> None:
    affine = Affine(step.attrs["scale"], step.attrs["shift"])
    _apply(builder, step, lambda view: view.scaled(affine))


def activation(builder: PlanBuilder, number: int, step: Step) -> None:
    act = Activation(step.attrs["act"], step.attrs["bounds"], step.attrs.get("slopes"))
    _apply(builder, step, lambda view: view.activated(act))


def _apply(builder: PlanBuilder, step: Step, change: Callable[[View], View | None]) -> None:
    view = change(builder.views[step.inputs[0]])
    if view is None:
        builder.stored(step.inputs[0])
        view = change(builder.views[step.inputs[0]])
    assert view is not None
    builder.views[step.output] = view


def binary(builder: PlanBuilder, number: int, step: Step) -> None:
    one, other = step.inputs
    shapes = [builder.steps.shapes[name] for name in step.inputs]
    combine = step.attrs["combine"]
    whole = builder.steps.shapes[step.output]
    if shapes[0] != whole:
        if combine not in ("Add", "Mul"):
            raise Unsupported(f"{combine} with a smaller first operand is not supported", ELSEWHERE)
        one, other, shapes = other, one, shapes[::-1]
    if shapes[0] != whole:
        raise Unsupported(f"operands of {shapes[0]} and {shapes[1]} are not supported", ELSEWHERE)
    spread = 0
    if shapes[1] != whole:
        if shapes[1] == (whole[0], 1, 1):
            spread = 1
        elif shapes[1] == (1, *whole[1:]):
            spread = 2
        else:
            raise Unsupported(f"an operand of {shapes[1]} is not supported", ELSEWHERE)
    first = builder.term(one)
    second, corner = _cropped(builder, other) if not spread else (builder.term(other), (0, 0))
    builder.views[step.output] = View(first.a, combine, second.a, spread, corner)


def _cropped(builder: PlanBuilder, tensor: str) -> tuple[View, tuple[int, int]]:
    """The tensor as one term that may be cropped, and the row and column at which its reading starts."""
    view = builder.views[tensor]
    crop = view.up == 1 and all(pad <= 0 for pad in view.pads)
    if crop and view.single:
        return view, (-view.pads[0], -view.pads[1])
    return builder.term(tensor), (0, 0)


def pad(builder: PlanBuilder, number: int, step: Step) -> None:
    view, pads = builder.views[step.inputs[0]], step.attrs["pads"]
    mode, value = step.attrs["mode"], step.attrs["value"]
    crop = all(pad <= 0 for pad in pads)
    joins = crop and all(pad <= 0 for pad in view.pads)
    if not joins and (any(view.pads) or (any(pad < 0 for pad in pads) and not crop)):
        if any(pad < 0 for pad in pads) and not crop:
            raise Unsupported("padding and cropping in one node is not supported", "Split it in two.")
        builder.stored(step.inputs[0])
        view = builder.views[step.inputs[0]]
    if crop and view.up > 1:
        builder.stored(step.inputs[0])
        view = builder.views[step.inputs[0]]
    joined = tuple(a + b for a, b in zip(view.pads, pads, strict=True))
    origin = view.origin or step.inputs[0]
    builder.views[step.output] = replace(view, pads=joined, mode=mode, pad_value=value, origin=origin)


def resize(builder: PlanBuilder, number: int, step: Step) -> None:
    attrs, shapes = step.attrs, builder.steps.shapes
    if shapes[step.inputs[0]][1:] == (1, 1):
        view = builder.pixel_aligned(step.inputs[0])
        _sampled(builder, step, view, _broadcast_size(builder, view.a.value, shapes[step.output][1:]))
        return
    view = builder.views[step.inputs[0]]
    sy, sx = attrs["scales"]
    integral = sy == sx and sy == int(sy) and sy >= 1
    same = (attrs["transform"], attrs["rounding"]) in (
        ("asymmetric", "floor"),
        ("half_pixel", "round_prefer_floor"),
        ("pytorch_half_pixel", "round_prefer_floor"),
    )
    if not attrs["linear"] and integral and same:
        if sy == 1:
            builder.views[step.output] = view
            return
        if any(view.pads):
            builder.stored(step.inputs[0])
            view = builder.views[step.inputs[0]]
        builder.views[step.output] = replace(view, up=view.up * int(sy), origin=view.origin or step.inputs[0])
        return
    view = builder.pixel_aligned(step.inputs[0])
    height, width = (
        _ratio(before, after, scale)
        for before, after, scale in zip(shapes[step.inputs[0]][1:], shapes[step.output][1:], (sy, sx), strict=True)
    )
    _sampled(builder, step, view, (view.a.value, height, width))


def _broadcast_size(builder: PlanBuilder, pixel: int, size: tuple[int, int]) -> tuple[int, Extent, Extent]:
    """How the size of a pixel that is enlarged to `size` is computed: (source value, height, width).

    A mean over a picture is usually enlarged to the size of that picture; any other size is constant.
    """
    above = builder.values[pixel].source
    while above > PICTURE:
        known = builder.steps.shapes.get(builder.values[above].name)
        if known is not None and known[1:] == size:
            return above, Extent(), Extent()
        above = builder.values[above].source
    return pixel, Extent(0, size[0], 1), Extent(0, size[1], 1)


def _sampled(builder: PlanBuilder, step: Step, view: View, extent: tuple[int, Extent, Extent]) -> None:
    """Emit a resize; `extent` is its output size: (source value, height, width)."""
    attrs = step.attrs
    sy, sx = attrs["scales"]
    output = builder.value(step.output, builder.channels(view), *extent)
    dispatch = Dispatch(
        "Pointwise",
        {"SAMPLE": 3 if attrs["linear"] else 2, "STORE": 1, **PIXELS},
        "pixels",
        output=output.number,
        nodes=(step.node,),
        title="resize, bilinear" if attrs["linear"] else "resize, nearest",
    )
    halves = "half_pixel" in attrs["transform"]
    offsets = [0.5 / scale - 0.5 if halves else 0.0 for scale in (sx, sy)]
    dispatch.float_constants["SAMPLING"] = (1 / sx, 1 / sy, *offsets)
    dispatch.align_corners = attrs["transform"] == "align_corners"
    dispatch.int_constants["OPTION"] = _ROUNDINGS[attrs["rounding"]]
    builder.bind_inputs(view, dispatch)
    builder.emit(dispatch)
    builder.views[step.output] = View(Term(output.number))


def _ratio(before: int, after: int, scale: float) -> Extent:
    """The extent of a resized side: the scale as a fraction if that gives the declared length, else a constant."""
    fraction = Fraction(scale).limit_denominator(64)
    extent = Extent(fraction.numerator, 0, fraction.denominator)
    return extent if extent.of(before) == after else Extent(0, after, 1)
