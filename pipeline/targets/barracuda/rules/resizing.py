"""Rules of Resize and Upsample: where the target samples, compared with ONNX.

Barracuda samples linear always with half-pixel coordinates clamped at the edge (Generic.compute:263@3.0.0) and
nearest always asymmetric and rounded down (BarracudaReferenceImpl.compute:1553@3.0.0). Whether that differs is
decided by comparing the coordinates for the sizes at hand, not by the names of the modes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from pipeline.targets.barracuda.rules.register import kind
from pipeline.validation.findings import Severity
from pipeline.validation.kinds import Hit, cosmetic, plain
from pipeline.validation.view import View, attribute, given

if TYPE_CHECKING:
    import onnx

    from pipeline.targets import Rule

_TRIAL = 12
"""Input size used in place of an unknown one when coordinates are compared."""
_LINEAR = ("linear", "bilinear")
_TORCH = ("pytorch", "unity-bridge-pipeline")
"""Producers whose Upsample and Resize-10 in linear mode mean half-pixel coordinates: torch's
align_corners=False, which those opsets cannot say (measured.md, key finding 6)."""


def scales_of(view: View, node: onnx.NodeProto) -> np.ndarray | None:
    """The scales per axis, from attribute or input; None when absent or not known."""
    listed = attribute(node, "scales")
    if listed is not None:
        return np.asarray(listed, dtype=np.float64)
    high, wide = attribute(node, "height_scale"), attribute(node, "width_scale")
    if high is not None and wide is not None:
        return np.asarray([1, 1, high, wide], dtype=np.float64)
    value = view.value(scales_name(node))
    return None if value is None or not value.size else value.astype(np.float64).reshape(-1)


def scales_name(node: onnx.NodeProto) -> str:
    """The name of the scales input: the second of Upsample and Resize-10, the third of Resize-11."""
    return given(node, 1 if node.op_type == "Upsample" or len(node.input) == 2 else 2)


def sizes_name(node: onnx.NodeProto) -> str:
    """The name of the sizes input, empty when there is none."""
    return given(node, 3) if node.op_type == "Resize" else ""


_ROUNDED = (
    "Only integer scale values are currently supported. Scale value will be rounded to closest integer value."
)
_ROUNDED_INVERSE = (
    "Only inverse of scale values which produce integer are currently supported. "
    "Inverse of scale value will be rounded to closest integer."
)
"""What the console says of scales (ONNXModelConverter.cs:2558@3.0.0 and :2567@3.0.0)."""


def _spatial(values: np.ndarray | None) -> list[float] | None:
    return None if values is None or len(values) < 3 else [float(v) for v in values[2:]]


@kind("resize-rank")
def _rank(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    rank = view.rank(given(node, 0))
    factors = view.value(sizes_name(node)) if sizes_name(node) else scales_of(view, node)
    if rank is not None and rank != 4 and not (rank == 5 and not sizes_name(node)):
        yield Hit(
            f"the input has rank {rank}; the target resizes only rank 4", given(node, 0), values={"rank": rank}
        )
    elif factors is not None and rank is not None and factors.size != rank:
        ignored = rule.options.get("two_scales_ignored") and factors.size == 2 and not sizes_name(node)
        yield Hit(
            f"{factors.size} scales or sizes are given for rank {rank}: every axis needs one",
            "scales",
            Severity.WRONG if ignored else None,
            {"text": rule.options["two_scales_ignored"]} if ignored else {},
        )


@kind("resize-scales")
def _scales(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    scales = _spatial(scales_of(view, node))
    if sizes_name(node) or scales is None or any(scale < 1 for scale in scales):
        return
    early = scales_name(node) in view.constants or attribute(node, "scales") is not None
    late = not early and rule.options["truncates"] and scales_name(node) != ""
    used = [math.floor(scale) if late else round(scale) for scale in scales]
    if used == scales:
        return
    size = [f"{scale:g}" for scale in scales]
    how = "truncated" if late else "rounded"
    yield Hit(f"the scales {', '.join(size)} are {how} to {plain(used)}", "scales", silent=late)


@kind("resize-shrinks")
def _shrinks(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    scales = _spatial(scales_of(view, node))
    if sizes_name(node) or scales is None or not any(scale < 1 for scale in scales):
        return
    both = all(scale < 1 for scale in scales)
    used = [round(scale) for scale in scales]
    early = scales_name(node) in view.constants or attribute(node, "scales") is not None
    rounded = {"text": _ROUNDED} if early else {}
    if not rule.options["averages"]:
        if not both and 0 not in used:
            message = f"scales below 1 are rounded to {plain(used)}"
            yield Hit(message, "scales", Severity.WRONG, rounded, silent=True)
        else:
            yield _fails(scales)
        return
    if both and attribute(node, "mode", "nearest") in _LINEAR:
        whole = all(abs(1 / scale - round(1 / scale)) < 1e-6 for scale in scales if scale > 0)
        mode = attribute(node, "coordinate_transformation_mode", "half_pixel")
        if not whole:
            message = "scales below 1 are rounded to the nearest 1/n"
            yield Hit(message, "scales", Severity.WRONG, {"text": _ROUNDED_INVERSE} if early else {}, silent=True)
        elif any(round(1 / scale) != 2 for scale in scales) or (
            mode not in ("half_pixel", "pytorch_half_pixel") and _strict(view, node)
        ):
            message = "each block is averaged, which equals linear sampling only at a scale of 0.5 with half_pixel"
            yield Hit(message, "scales", Severity.WRONG, silent=True)
    elif 0 not in used:
        yield Hit(f"scales below 1 are rounded to {plain(used)}", "scales", Severity.WRONG, rounded, silent=True)
    else:
        yield _fails(scales)


def _fails(scales: list[float]) -> Hit:
    return Hit(f"scales below 1 ({', '.join(f'{s:g}' for s in scales)}) throw when the layer runs", "scales")


@kind("resize-outer-scales")
def _outer(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    sizes, shape = view.value(sizes_name(node)) if sizes_name(node) else None, view.shape(given(node, 0))
    scales = scales_of(view, node)
    if sizes is not None and shape is not None and len(sizes) == len(shape) and len(shape) > 2:
        changed = any(a is not None and a != int(b) for a, b in zip(shape[:2], sizes[:2], strict=True))
    else:
        changed = not sizes_name(node) and scales is not None and len(scales) > 2 and any(scales[:2] != 1)
    if changed:
        yield Hit("the scales of batch or channels are ignored: only height and width are resized", "scales")


@kind("resize-mode")
def _mode(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    mode = attribute(node, "mode", "nearest")
    if mode not in ("nearest", *_LINEAR):
        yield Hit(f"mode={mode} is computed as nearest", "mode", values={"value": mode})


@kind("resize-silent")
def _silent(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    if attribute(node, "antialias", 0):
        yield Hit("antialias=1 is ignored: the result is sampled without a filter", "antialias")
    policy = attribute(node, "keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        yield Hit(f"keep_aspect_ratio_policy={policy} is ignored: the picture is stretched to the size", policy)


def _strict(view: View, node: onnx.NodeProto) -> bool:
    """Whether the coordinates are those of ONNX, not torch's half-pixel in an opset without that attribute."""
    old = node.op_type == "Upsample" or len(node.input) == 2
    return not (old and view.model.producer_name.startswith(_TORCH))


@kind("resize-coordinates")
def _coordinates(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    mode = attribute(node, "mode", "nearest")
    if mode not in ("nearest", *_LINEAR):
        return
    old = node.op_type == "Upsample" or len(node.input) == 2
    transform = "asymmetric" if old else attribute(node, "coordinate_transformation_mode", "half_pixel")
    rounding = "floor" if old else attribute(node, "nearest_mode", "round_prefer_floor")
    shape = view.shape(given(node, 0))
    sizes = view.value(sizes_name(node)) if sizes_name(node) else None
    scales = scales_of(view, node)
    factors = _spatial(sizes if sizes is not None else scales)
    if sizes is None and sizes_name(node):
        factors = [2 * _TRIAL - 3] * 2  # sizes that are computed: some others than those of the input
        sizes, shape = np.asarray([1, 1, *factors]), None
    if factors is None or (sizes is None and any(scale < 1 or scale != round(scale) for scale in factors)):
        return  # reported by other rules
    for axis, value in enumerate(factors):
        known = shape[axis + 2] if shape is not None and axis + 2 < len(shape) else None
        size = known or _TRIAL
        new_size = int(value) if sizes is not None else int(size * value)
        if new_size < 1 or size < 1 or max(size, new_size) > 1 << 16:
            continue
        if not _same(size, new_size, mode, transform, rounding):
            break
    else:
        return
    if not _strict(view, node):
        yield Hit(
            "the target computes torch's align_corners=False, as the exporter meant it; ONNX Runtime uses "
            "asymmetric coordinates in this opset",
            "mode",
            Severity.NOTE,
            silent=True,
        )
        return
    computed = "half_pixel" if mode != "nearest" else "asymmetric, floor"
    where = "coordinate_transformation_mode" if not old else "mode"
    coordinates = transform if mode != "nearest" else f"{transform}, {rounding}"
    yield Hit(
        f"{mode} sampling is computed with {computed} instead of {coordinates}",
        where,
        silent=old or transform == "half_pixel",
        values={"attribute": "coordinate_transformation_mode", "default": "half_pixel"},
    )


def _same(size: int, new_size: int, mode: str, transform: str, rounding: str) -> bool:
    """Whether ONNX and the target sample one axis at the same positions."""
    out = np.arange(new_size, dtype=np.float64)
    scale = new_size / size
    half = (out + 0.5) / scale - 0.5
    match transform:
        case "half_pixel" | "half_pixel_symmetric":
            source = half
        case "pytorch_half_pixel":
            source = half if new_size > 1 else np.zeros(1)
        case "align_corners":
            source = out * (size - 1) / (new_size - 1) if new_size > 1 else np.zeros(1)
        case "asymmetric":
            source = out / scale
        case _:
            return False
    if mode == "nearest":
        known: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "round_prefer_floor": lambda x: np.ceil(x - 0.5),
            "round_prefer_ceil": lambda x: np.floor(x + 0.5),
            "floor": np.floor,
            "ceil": np.ceil,
        }
        rounds = known.get(rounding)
        if rounds is None:
            return False
        computed = np.clip(np.floor(out * size / new_size + 1e-9), 0, size - 1)
        return bool((np.clip(rounds(np.round(source, 9)), 0, size - 1) == computed).all())
    return bool(np.allclose(np.clip(source, 0, size - 1), np.clip(half, 0, size - 1), atol=1e-6))


@kind("resize-warnings")
def _warnings(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    name, default = rule.options["attribute"], rule.options["default"]
    value = attribute(node, name)
    if value is None or plain(value) == default:
        return
    yield cosmetic(
        f"{name}={plain(value)} is ignored; if that changes values, another finding of this node says so",
        name,
        attribute=name,
        default=default,
    )


@kind("resize-sizes")
def _sizes(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    for name, what in ((sizes_name(node), "sizes"), (scales_name(node), "scales")):
        if not name or name in view.initializers or (what == "scales" and sizes_name(node)):
            continue
        known = view.constants if rule.options["import_time"] else view.folds
        if name not in known:
            yield Hit(
                f"the {what} depend on a size that is not known at import",
                what,
                severity=Severity.WRONG if _runs(view, node, name, rule) else None,
                values={"input_name": what, "tensor": name},
            )


def _runs(view: View, node: onnx.NodeProto, name: str, rule: Rule) -> bool:
    """Whether the layer runs: where the values are an input of the graph, one per axis, nothing is resized.

    3.0.0 reads computed sizes in the wrong order, which throws where the result meets other data.
    """
    if rule.options.get("runs") and name == sizes_name(node) and name not in view.inputs:
        return not view.joins_later(node)
    count, rank = view.shape(name), view.rank(given(node, 0))
    return name in view.inputs and not rule.options["import_time"] and (count is None or count == (rank,))


@kind("resize-sizes-warning")
def _sizes_warning(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    sizes = view.value(sizes_name(node)) if sizes_name(node) else None
    folded = sizes is None and sizes_name(node) != "" and sizes_name(node) in view.constants  # to -1
    if folded or (sizes is not None and any(size != 1 for size in sizes[:2])):
        yield cosmetic("the sizes of batch and channels are ignored", "sizes")


@kind("resize-pixelshader")
def _pixelshader(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    if sizes_name(node) and attribute(node, "mode", "nearest") in _LINEAR:
        yield Hit("linear mode with sizes copies the first of every four channels into the other three", "sizes")
