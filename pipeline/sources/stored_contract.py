"""Read the image contract that this pipeline stored in an .onnx file's metadata (untrusted, like all of the
file)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.contract import COLOR, ImageContract, ImageSide, parse_guide
from pipeline.sources.onnx_file import image_input
from pipeline.support.errors import PipelineError
from pipeline.support.parsing import from_json
from pipeline.support.size import Size

if TYPE_CHECKING:
    import onnx

CONTRACT_KEY = "image_contract"
"""The metadata_props entry with the image contract (JSON of ImageContract.as_dict)."""


def stored_contract(model: onnx.ModelProto, path: Path) -> ImageContract | None:
    """The contract in the file's metadata, or None. Raises PipelineError `damaged-file` for a malformed entry."""
    text = next((entry.value for entry in model.metadata_props if entry.key == CONTRACT_KEY), None)
    if text is None:
        return None
    try:
        data = _table(from_json(text))
        fixed = data.get("fixed_size")
        size = None
        if fixed is not None:
            if not isinstance(fixed, list) or len(fixed) != 2:
                raise ValueError("fixed_size is not a pair of sizes")
            size = Size.of_hw((_whole(fixed[0], 1, 1 << 16), _whole(fixed[1], 1, 1 << 16)))
        facts = ("input_range", "output_range", "channel_order", "size_multiple")
        input_side, output_side = _side(_table(data.get("input"))), _side(_table(data.get("output")))
        for value, side in ((image_input(model), input_side), (next(iter(model.graph.output), None), output_side)):
            dims = [] if value is None else [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            if len(dims) == 4 and dims[1 if side.layout == "nchw" else 3] not in (0, side.channels):
                raise ValueError(f"{side.channels} channels in {side.layout}, but the graph has different ones")
        return ImageContract(
            input_side,
            output_side,
            _whole(data.get("size_multiple", 4), 1, 1 << 12),
            size,
            dict.fromkeys(facts, f"the file's metadata ({CONTRACT_KEY})"),
        )
    except (ValueError, PipelineError) as error:
        reason = error.message if isinstance(error, PipelineError) else str(error)
        raise PipelineError(
            "damaged-file",
            f"its metadata entry {CONTRACT_KEY} is not in the form that this tool writes ({reason[:200]})",
            subject=str(path),
            remedy="Convert the source again, or remove that entry from the model's metadata_props and declare "
            "--input-range and --output-range.",
        ) from None


def stored_channels(model: onnx.ModelProto) -> str | None:
    """The channels of a bundle's model with guides as `--input-channels` takes them; None for other models."""
    text = next((entry.value for entry in model.metadata_props if entry.key == CONTRACT_KEY), None)
    try:
        guides = _table(_table(from_json(text or "{}")).get("input", {})).get("guides") or ()
    except ValueError:
        return None
    words = [word for word in guides if isinstance(word, str)] if isinstance(guides, list) else []
    return ",".join([COLOR, *words]) if words else None


def _side(data: dict[str, Any]) -> ImageSide:
    order, layout, values = data.get("order", "rgb"), data.get("layout", "nchw"), data.get("range")
    if order not in ("rgb", "bgr") or layout not in ("nchw", "nhwc") or not isinstance(values, str):
        raise ValueError("an unknown range, order or layout")
    words = data.get("guides", [])
    guides = [parse_guide(word) for word in words if isinstance(word, str)] if isinstance(words, list) else [None]
    found = tuple(guide for guide in guides if guide is not None)
    channels = _whole(data.get("channels", 3), 1, 1 << 10)
    if len(found) != len(words) or channels <= sum(guide.channels for guide in found):
        raise ValueError("guides that are not known, or more of them than channels")
    before = _whole(data.get("guides_before_color", 0), 0, len(found))
    return ImageSide(values, channels, order, layout, found, before)


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("a missing table")
    return value


def _whole(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"a number that is not between {least} and {most:,}")
    return value
