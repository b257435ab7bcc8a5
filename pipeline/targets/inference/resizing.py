"""Kinds of rule about Resize: what this family's importer computes differently, decided for the actual sizes.

half_pixel, pytorch_half_pixel, align_corners and asymmetric are exact, for nearest and linear, whatever the scale
(importer.md, section 4). What differs: cubic, antialias, sizes that come out one short, ties, and the rest below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pipeline.targets.inference.operators import importer_opset
from pipeline.validation.kinds import Hit, cosmetic, plain
from pipeline.validation.view import View, attribute, given

if TYPE_CHECKING:
    import onnx

    from pipeline.targets import Rule
    from pipeline.validation.kinds import Kind

_EXACT = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
_TRIAL = 45
"""Stands for a size that the file leaves open; 45 to 125 is a pair that comes out one short (measured.md)."""
_MOST = 16384
"""Largest size for which every place is compared."""


def short_size(size: int, output_size: int) -> bool:
    """Whether the target gives another size than `sizes` requests.

    Sizes become float32 scales, and the output is floor(size * scale) (ShapeInferenceHelper.cs:368@2.4.0).
    """
    scale = np.float32(np.float32(output_size) / np.float32(size))
    return math.floor(np.float32(np.float32(size) * scale)) != output_size


def axes_of(view: View, node: onnx.NodeProto, rank: int) -> list[int]:
    """The axes that scales and sizes refer to."""
    named = attribute(node, "axes")
    return [axis % rank for axis in named] if named else list(range(rank))


def pairs(view: View, node: onnx.NodeProto) -> list[tuple[int, int | None, int | None, float | None]]:
    """(axis, size, wanted size from `sizes`, scale from `scales`) of every axis that is resized.

    Unknown sizes are None. An aspect ratio policy is not applied. Empty when nothing is known.
    """
    shape = view.shape(given(node, 0))
    if shape is None:
        return []
    old = len(node.input) == 2
    sizes = None if old else view.value(given(node, 3)) if given(node, 3) else None
    scales = view.value(given(node, 1 if old else 2)) if given(node, 1 if old else 2) else None
    axes = axes_of(view, node, len(shape))
    found: list[tuple[int, int | None, int | None, float | None]] = []
    if sizes is not None and sizes.size == len(axes):
        found = [(axis, shape[axis], int(size), None) for axis, size in zip(axes, sizes.reshape(-1), strict=True)]
    elif scales is not None and scales.size == len(axes):
        found = [
            (axis, shape[axis], None, float(scale)) for axis, scale in zip(axes, scales.reshape(-1), strict=True)
        ]
    return [
        (axis, size, output_size, scale)
        for axis, size, output_size, scale in found
        if not (scale == 1 or (output_size is not None and output_size == size))
    ]


def _known(view: View, node: onnx.NodeProto) -> bool:
    """Whether sizes or scales are known, so that an empty list of pairs means that nothing is resized."""
    shape = view.shape(given(node, 0))
    name = given(node, 3) or given(node, 2) if len(node.input) > 2 else given(node, 1)
    return shape is not None and view.value(name) is not None


def _same(view: View, node: onnx.NodeProto) -> bool:
    return _known(view, node) and not pairs(view, node)


def _shrinks(view: View, node: onnx.NodeProto) -> bool:
    """Whether an axis gets smaller, as far as is known."""
    if not _known(view, node):
        return True
    return any(
        (scale is not None and scale < 1) or (output_size is not None and (size is None or output_size < size))
        for _, size, output_size, scale in pairs(view, node)
    )


def form(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    opset = importer_opset(view)
    if opset < 11 and len(node.input) > 2:
        yield Hit(
            f"three inputs are the form of opset 11, but the file is read as opset {opset}: roi is read as scales",
            "scales",
        )
    elif opset >= 11 and len(node.input) == 2:
        yield Hit(
            f"two inputs are the form of opset 10, but the file is read as opset {opset}: no scales are found",
            "scales",
        )


def mode(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    value = attribute(node, "mode", "nearest")
    if value not in ("nearest", *rule.options["linear"]) and not _same(view, node):
        yield Hit(f"mode={value} is computed as nearest", "mode")


def coordinates(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    value = attribute(node, "coordinate_transformation_mode", "half_pixel")
    if importer_opset(view) >= 11 and value not in _EXACT and not _same(view, node):
        yield Hit(
            f"coordinate_transformation_mode={value} is computed as half_pixel", "coordinate_transformation_mode"
        )


def antialias(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    if attribute(node, "antialias", 0) and _shrinks(view, node):
        yield Hit("antialias=1 is ignored: pixels between the sampling positions are skipped", "antialias")


def aspect(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    policy = attribute(node, "keep_aspect_ratio_policy", "stretch")
    if policy != "stretch" and given(node, 3):
        yield Hit(
            f"keep_aspect_ratio_policy={policy} is ignored: the picture is stretched", "keep_aspect_ratio_policy"
        )


def axes(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    shape, named = view.shape(given(node, 0)), attribute(node, "axes")
    if named and given(node, 2) and not given(node, 3):
        if shape is not None and axes_of(view, node, len(shape)) == list(range(len(shape))):
            return
        yield Hit(f"axes={plain(named)} is ignored: the scales are applied to the first axes", "axes")


def sizes(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    for axis, size, output_size, _ in pairs(view, node):
        if output_size is None:
            continue
        if size is not None and short_size(size, output_size):
            yield Hit(f"axis {axis} is resized from {size} to {output_size - 1} instead of {output_size}", "sizes")
        elif size is None and short_size(_TRIAL, output_size) and output_size % _TRIAL:
            continue


def ties(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """Nearest sampling positions that float32 rounds to the neighbouring pixel (measured: 2 to 7 rows).

    And align_corners with whole scales, which the CPU worker takes for the repetition of pixels that other
    transformations are (BurstCPU.Backend.cs:394@2.4.0; measured, scales of 3 and more, all versions).
    """
    if attribute(node, "mode", "nearest") != "nearest" or importer_opset(view) < 11:
        return
    rounding = attribute(node, "nearest_mode", "round_prefer_floor")
    transform = attribute(node, "coordinate_transformation_mode", "half_pixel")
    if transform not in _EXACT or attribute(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
        return
    ratios = [
        output_size / size if output_size and size else scale or 0.5
        for _, size, output_size, scale in pairs(view, node)
    ]
    repeats = transform == "align_corners" and rounding.startswith("round") and view.rank(given(node, 0)) == 4
    repeats = repeats and all(float(ratio).is_integer() for ratio in ratios)
    for (axis, size, output_size, scale), ratio in zip(pairs(view, node), ratios, strict=True):
        if axis < 2:
            continue
        place = "sizes" if output_size is not None else "scales"
        if repeats and ratio > 2:
            yield Hit(
                f"axis {axis}: the CPU worker ignores align_corners and repeats each pixel {ratio:g} times", place
            )
            continue
        if size is None:
            continue
        factor = np.float32(scale) if output_size is None else np.float32(output_size) / np.float32(size)
        count = math.floor(np.float32(size) * factor)
        if not 0 < count <= _MOST:
            continue
        off = np.flatnonzero(
            _as_onnx_selects(size, count, factor, transform, rounding)
            != taken(size, count, factor, transform, rounding)
        )
        if off.size:
            reason = (
                f"{off.size} of {count} sampling positions are so close to the middle between two pixels that "
                "float32 selects the wrong one"
            )
            yield Hit(f"axis {axis}, from {size}: {reason}", place)


def _as_onnx_selects(size: int, count: int, factor: np.float32, transform: str, rounding: str) -> np.ndarray:
    """The index of the pixel that ONNX selects for every position, in float64 with exact ties."""
    at, scale = np.arange(count, dtype=np.float64), _simple(float(factor))
    if transform == "align_corners":
        place = at * ((size - 1) / (count - 1)) if count > 1 else at * 0
    elif transform == "asymmetric":
        place = at / scale
    elif transform == "pytorch_half_pixel" and count <= 1:
        place = at * 0
    else:
        place = (at + 0.5) / scale - 0.5
    place = np.round(place, 9)
    rounded: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_ceil": lambda position: np.floor(position + 0.5),
    }
    index = rounded.get(rounding, lambda position: np.ceil(position - 0.5))(place)
    return np.clip(index, 0, size - 1)


def _simple(scale: float) -> float:
    """The fraction of small numbers that a float32 scale stands for."""
    near = Fraction(scale).limit_denominator(8192)
    return float(near) if abs(float(near) - scale) <= 1e-7 * scale else scale


def taken(size: int, count: int, factor: np.float32, transform: str, rounding: str) -> np.ndarray:
    """The index of the pixel that the kernels select: floor or ceil of position * scale + bias in float32.

    OpsUtils.cs:80@2.4.0, BurstCPU.Jobs.Other.cs:916@2.4.0; Resize.compute has the same formula.
    """
    one, half = np.float32(1), np.float32(0.5)
    step, bias = one / factor, np.float32(0)
    if transform in ("half_pixel", "pytorch_half_pixel"):
        bias = half / factor - half
    if transform == "align_corners" and count > 1:
        step = np.float32(size - 1) / np.float32(count - 1)
    if transform in ("align_corners", "pytorch_half_pixel") and count <= 1:
        step, bias = np.float32(0), np.float32(0)
    bias += {"round_prefer_ceil": half, "round_prefer_floor": -half}.get(rounding, np.float32(0))
    place = np.maximum(np.float32(0), np.arange(count, dtype=np.float32) * step + bias)
    index = np.ceil(place) if rounding in ("ceil", "round_prefer_floor") else np.floor(place)
    return np.clip(index.astype(np.float64), 0, size - 1)


def corners(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """align_corners with a fractional output size: ONNX's reference keeps the fraction, the target does not."""
    if attribute(node, "coordinate_transformation_mode", "half_pixel") != "align_corners":
        return
    for axis, size, _, scale in pairs(view, node):
        if scale is None or size is None:
            continue
        exact = size * float(np.float32(scale))
        if abs(exact - round(exact)) > 1e-4 * max(exact, 1):
            reason = (
                f"axis {axis}: {size} times {scale:g} is not a whole number, and align_corners takes {int(exact)}"
            )
            yield Hit(reason, "scales")


def outer(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    rank = view.rank(given(node, 0))
    if rank is not None and (rank > 5 or any(axis < 2 for axis, *_ in pairs(view, node))):
        yield Hit("resizing batch or channels, or more than three axes, is computed one axis after the other")


def reported(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """Attributes that cause a warning although they have no effect."""
    for name in ("cubic_coeff_a", "exclude_outside", "extrapolation_value"):
        value = attribute(node, name)
        default = {"cubic_coeff_a": -0.75, "exclude_outside": 0, "extrapolation_value": 0.0}[name]
        if value is None or (not rule.options["defaults_too"] and value == default):
            continue
        yield cosmetic(
            f"the console warns that {name}={plain(value)} is ignored; it has no effect here", name, attribute=name
        )


KINDS: dict[str, Kind] = {
    "resize-form": form,
    "resize-mode-unknown": mode,
    "resize-places-unknown": coordinates,
    "resize-antialias": antialias,
    "resize-aspect": aspect,
    "resize-axes": axes,
    "resize-short": sizes,
    "resize-ties": ties,
    "resize-corners": corners,
    "resize-outer": outer,
    "resize-reported": reported,
}
