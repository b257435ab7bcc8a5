"""Input channels beside the colour: reads `--input-channels`, and joins inputs that hold guides.

`rgb,depth` names the channels of the one input in the network's order. An ONNX model with a second input for a
guide gets one input with all channels, which a Slice cuts apart again: the rest of the pipeline sees one form.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.contract import COLOR, GUIDES, MOST_CHANNELS, Guide, ImageSide, parse_guide
from pipeline.support.errors import PipelineError
from pipeline.support.plain_text import plural

if TYPE_CHECKING:
    import onnx

FLAG = "--input-channels"
_COLOR_CHANNELS = 3
JOINED = "input_with_guides"
"""The name of the one input of a model whose inputs were joined."""


def parse(text: str) -> tuple[tuple[Guide, ...], int, tuple[str, ...]]:
    """The guides in the network's order, how many come before the colour, and the names that have a range.

    Raises PipelineError `bad-input-channels` for a name that is not known or is given twice, a list without `rgb`,
    and more than 8 channels.
    """
    words = [word.strip() for word in text.split(",")]
    guides: list[Guide] = []
    before = None
    for word in words:
        name = word.partition(":")[0]
        if word == COLOR and before is None:
            before = len(guides)
            continue
        guide = parse_guide(word)
        if guide is None and name in GUIDES:
            raise _bad(f"{word[:40]!r} is not a guide with a range", f"Write {name}, or {name}:LOW..HIGH.")
        if guide is None and word != COLOR:
            known = ", ".join([COLOR, *GUIDES])
            raise _bad(f"{word[:40]!r} is not a kind of channel", f"Use {known}, separated by commas.")
        if guide is None or guide.name in [other.name for other in guides]:
            raise _bad(f"{name} is given twice", f"Name each kind of channel once: {FLAG} rgb,depth.")
        guides.append(guide)
    if before is None:
        raise _bad("the colour is missing", f"Include {COLOR}, such as {FLAG} rgb,depth.")
    total = _COLOR_CHANNELS + sum(guide.channels for guide in guides)
    if total > MOST_CHANNELS:
        raise _bad(f"these are {total} channels", f"At most {MOST_CHANNELS} can be given: leave one out.")
    return tuple(guides), before, tuple(word.partition(":")[0] for word in words if ":" in word)


def _bad(what: str, remedy: str) -> PipelineError:
    return PipelineError("bad-input-channels", what, subject=FLAG, remedy=remedy)


def declared(text: str, side: ImageSide, path: Path, *, known: bool) -> ImageSide:
    """`side` with the channels that the user declares.

    Guides without a range are 0..1 in the network; if the network's architecture is `known`, they have the value
    range of its pictures, as in the training code of few-shot networks. Raises PipelineError
    `input-channels-differ`.
    """
    guides, before, with_range = parse(text)
    total = _COLOR_CHANNELS + sum(guide.channels for guide in guides)
    if total != side.channels:
        raise differ(text, total, f"the network has {plural(side.channels, 'input channel')}", path)
    if known and side.value_range in ("-1..1", "0..255"):
        low, high = (-1.0, 1.0) if side.value_range == "-1..1" else (0.0, 255.0)
        guides = tuple(
            guide if guide.name in with_range else replace(guide, low=low, high=high) for guide in guides
        )
    return replace(side, guides=guides, guides_before_color=before)


def differ(text: str, total: int, what: str, path: Path) -> PipelineError:
    sizes = ", ".join(f"{name} {channels}" for name, channels in GUIDES.items())
    return PipelineError(
        "input-channels-differ",
        f"{FLAG} {text} declares {plural(total, 'channel')}, but {what}",
        subject=str(path),
        remedy=f"Name what the network was trained with, in its order; {COLOR} has 3 channels, {sizes}.",
    )


def undeclared(channels: int) -> str:
    """The remedy for a network with more channels than a picture: which declarations have so many channels."""
    choices = {
        4: "rgb,depth or rgb,mask",
        5: "rgb,depth,mask",
        6: "rgb,normals or rgb,texture",
        7: "rgb,depth,normals",
        8: "rgb,depth,normals,mask",
    }
    if channels not in choices:
        return ""
    return f"Declare them in the order of the training code: {FLAG} {choices[channels]} (docs/guides.md)."


# --- several inputs -------------------------------------------------------------------------------------------


def join_inputs(model: onnx.ModelProto, text: str, path: Path) -> bool:
    """Replace the inputs of an ONNX model, one for the colour and others for guides, by one with all channels.

    Returns whether there were several. In place. The inputs are taken in the order of the declaration and must be
    (N, C, H, W) with the declared channels. Raises PipelineError `input-channels-differ`.
    """
    from onnx import TensorProto, helper

    from pipeline.sources.ports import described, required_inputs

    inputs = required_inputs(model)
    if len(inputs) < 2:
        return False
    guides, before, _ = parse(text)
    widths = [guide.channels for guide in guides]
    widths.insert(before, _COLOR_CHANNELS)
    shapes = [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in inputs]
    wide = [shape[1] if len(shape) == 4 else 0 for shape in shapes]
    floats = all(value.type.tensor_type.elem_type == TensorProto.FLOAT for value in inputs)
    if not _matches(widths, wide) or not floats:
        raise differ(text, sum(widths), f"the inputs are {described(inputs)}", path)
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
    nodes, first = [], 0
    for value, width in zip(inputs, wide, strict=True):
        nodes += _slice(model, value.name, first, first + width, opset)
        first += width
    joined = helper.make_tensor_value_info(JOINED, TensorProto.FLOAT, [])
    joined.CopyFrom(inputs[0])
    joined.name = JOINED
    joined.type.tensor_type.shape.dim[1].dim_value = first
    names = {value.name for value in inputs}
    others = [value for value in model.graph.input if value.name not in names]
    rest = [type(node).FromString(node.SerializeToString()) for node in model.graph.node]
    del model.graph.input[:]
    del model.graph.node[:]
    model.graph.input.extend([joined, *others])
    model.graph.node.extend([*nodes, *rest])
    return True


def _matches(declared: list[int], inputs: list[int]) -> bool:
    """Whether each input consists of one declared part, or of several in a row."""
    rest = list(declared)
    for width in inputs:
        joined = 0
        while rest and joined < width:
            joined += rest.pop(0)
        if joined != width or not width:
            return False
    return not rest


def _slice(model: onnx.ModelProto, name: str, start: int, end: int, opset: int) -> list[onnx.NodeProto]:
    import numpy as np
    from onnx import helper, numpy_helper

    if opset < 10:
        return [helper.make_node("Slice", [JOINED], [name], f"{name}/cut", axes=[1], starts=[start], ends=[end])]
    names = []
    for what, number in (("starts", start), ("ends", end), ("axes", 1)):
        names.append(f"{name}/cut/{what}")
        model.graph.initializer.append(numpy_helper.from_array(np.array([number], np.int64), names[-1]))
    return [helper.make_node("Slice", [JOINED, *names], [name], f"{name}/cut")]
