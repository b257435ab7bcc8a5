"""Keep one output of an ONNX model (--take), and bind its other inputs to values (--bind).

A network with a second input (a style picture, a style number, a blend of styles) becomes an image-to-image
network when that input is bound: its value is stored in the graph, and everything that depends only on bound
inputs is computed once and stored as constants. One of several outputs is kept; what only the others need is
removed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.sources.pickled import shown
from pipeline.support.errors import PipelineError
from pipeline.support.plain_text import plural

if TYPE_CHECKING:
    import numpy as np
    import onnx

STYLE_SIDE = 256
"""Height and width in pixels of a bound picture, for an input without a declared size."""
_HARMLESS = re.compile(r"[\w./:-]{1,60}")
LARGEST = 64 * 2**20
"""Most bytes of the constants that bound inputs may become."""


def plain(name: str) -> str:
    """A name from a file or an option for a message: unchanged if short and harmless, else quoted and
    shortened."""
    return name if _HARMLESS.fullmatch(name) else shown(name)


def required_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The graph inputs that are not initializers: those that a caller must give."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def described(values: Sequence[onnx.ValueInfoProto]) -> str:
    """Names and shapes for a message: `content (1x3x256x256), style (1x3x?x?)`."""
    return ", ".join(f"{plain(value.name)} ({_shape(value)})" for value in values) or "none"


def _shape(value: onnx.ValueInfoProto) -> str:
    dims = value.type.tensor_type.shape.dim
    return "x".join(str(dim.dim_value or "?") for dim in dims) or "one number"


def require_one(model: onnx.ModelProto, path: Path) -> None:
    """Require one input and one output. Raises PipelineError `several-inputs` and `several-outputs`."""
    inputs, outputs = required_inputs(model), list(model.graph.output)
    if len(inputs) > 1:
        others = [value for value in inputs if len(value.type.tensor_type.shape.dim) != 4] or inputs[1:]
        raise PipelineError(
            "several-inputs",
            f"the network has {len(inputs)} inputs: {described(inputs)}",
            subject=str(path),
            remedy=f"Bind all inputs except the picture: --bind {plain(others[0].name)}=VALUE, where VALUE is a "
            "picture file, a number, or numbers separated by commas.",
        )
    if len(outputs) > 1:
        raise PipelineError(
            "several-outputs",
            f"the network has {len(outputs)} outputs: {described(outputs)}",
            subject=str(path),
            remedy=f"Keep one of them, such as --take {plain(outputs[0].name)}.",
        )


def take(model: onnx.ModelProto, name: str, path: Path) -> None:
    """Keep only the output `name`, in place, and remove what only the other outputs need.

    Raises PipelineError `no-such-output`.
    """
    kept = [value for value in model.graph.output if value.name == name]
    if not kept:
        raise PipelineError(
            "no-such-output",
            f"there is no output {plain(name)}; the outputs are {described(list(model.graph.output))}",
            subject=str(path),
            remedy="Name one of them with --take.",
        )
    del model.graph.output[:]
    model.graph.output.extend(kept)
    drop_unneeded(model)


def drop_unneeded(model: onnx.ModelProto) -> None:
    """Remove nodes, initializers and inputs that no output depends on, in place."""
    producers = {name: node for node in model.graph.node for name in node.output if name}
    needed: set[str] = set()
    pending = [value.name for value in model.graph.output]
    while pending:
        name = pending.pop()
        if name in needed:
            continue
        needed.add(name)
        node = producers.get(name)
        if node is not None:
            needed.update(node.output)
            pending += [*node.input, *captured(node)]
    nodes = [node for node in model.graph.node if any(name in needed for name in node.output)]
    tensors = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    inputs = [value for value in model.graph.input if value.name in needed or value.name not in _names(model)]
    for field, kept in (
        (model.graph.node, nodes),
        (model.graph.initializer, tensors),
        (model.graph.input, inputs),
    ):
        copies = [type(message).FromString(message.SerializeToString()) for message in kept]
        del field[:]
        field.extend(copies)


def _names(model: onnx.ModelProto) -> set[str]:
    return {tensor.name for tensor in model.graph.initializer}


def captured(node: onnx.NodeProto) -> list[str]:
    """Names that the subgraphs of a node may read from the enclosing graph."""
    found: list[str] = []
    pending = [subgraph for attribute in node.attribute for subgraph in (attribute.g, *attribute.graphs)]
    while pending:
        graph = pending.pop()
        found += [value.name for value in graph.output]
        for inner in graph.node:
            found += inner.input
            pending += [subgraph for attribute in inner.attribute for subgraph in (attribute.g, *attribute.graphs)]
    return found


# --- binding --------------------------------------------------------------------------------------------------


def bind(
    model: onnx.ModelProto, bindings: Sequence[str], value_range: str | None, path: Path, order: str | None = None
) -> list[Path]:
    """Bind inputs to values, in place; returns the picture files that were read.

    Each binding is `NAME=VALUE`. VALUE is a picture file, which is converted to the input's size, value range
    (`value_range`, default 0..1) and channel order (`order`, default RGB), or as many numbers as the input has,
    separated by commas. What depends only on bound inputs becomes constants. Raises PipelineError `bad-binding`,
    `bad-picture`, and what running the graph raises.
    """
    from onnx import numpy_helper

    if not bindings:
        return []
    files: list[Path] = []
    inputs = {value.name: value for value in required_inputs(model)}
    for binding in bindings:
        name, equals, text = binding.partition("=")
        if not equals or name not in inputs:
            raise _bad(
                f"there is no input {plain(name)}" if equals else f"{plain(binding)} is not NAME=VALUE",
                f"The inputs are {described(list(inputs.values()))}.",
            )
        value = inputs.pop(name)
        if is_picture(value, text):
            files.append(Path(text))
        tensor = numpy_helper.from_array(value_of(value, text, value_range, order), name)
        kept = [other for other in model.graph.input if other.name != name]
        copies = [type(other).FromString(other.SerializeToString()) for other in kept]
        del model.graph.input[:]
        model.graph.input.extend(copies)
        model.graph.initializer.append(tensor)
    _fold(model)
    return files


def styles(bindings: Sequence[str]) -> list[tuple[str, ...]]:
    """Group the bindings by style: an input that is bound several times has one value per style.

    Inputs that are bound once have the same value in every style. Raises PipelineError `bad-binding` where two
    inputs are bound several times, but not equally often.
    """
    by_name: dict[str, list[str]] = {}
    for binding in bindings:
        by_name.setdefault(binding.partition("=")[0], []).append(binding)
    counts = {name: len(values) for name, values in by_name.items() if len(values) > 1}
    if len(set(counts.values())) > 1:
        uneven = ", ".join(f"{plain(name)} {count} times" for name, count in counts.items())
        raise _bad(f"{uneven}: it is not clear which values belong together", "Bind each of them once per style.")
    count = next(iter(counts.values()), 1)
    return [
        tuple(values[number] if len(values) > 1 else values[0] for values in by_name.values())
        for number in range(count)
    ]


def is_picture(value: onnx.ValueInfoProto, text: str) -> bool:
    """Whether `text`, the value of a binding, names a picture file (and is not a list of numbers)."""
    return len(value.type.tensor_type.shape.dim) == 4 and not numbers_in(text)


def value_of(value: onnx.ValueInfoProto, text: str, value_range: str | None, order: str | None) -> np.ndarray:
    """The array for an input from the text of a binding, in the input's shape, type and range.

    Raises PipelineError `bad-binding` and `bad-picture`.
    """
    if not is_picture(value, text):
        return number_value(value, text)
    return as_input(value, picture_pixels(value, Path(text)), value_range, order)


def names_file(text: str) -> bool:
    """Whether the value of a binding is the path of a file; long lists of numbers are no path at all."""
    return not numbers_in(text) and Path(text).is_file()


def numbers_in(text: str) -> list[float]:
    """The comma-separated numbers in `text`; [] where it is something else."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return []


def number_value(value: onnx.ValueInfoProto, text: str) -> np.ndarray:
    """The numbers in `text` in the shape and type of an input. Raises PipelineError `bad-binding`."""
    import numpy as np
    import onnx

    numbers = numbers_in(text)
    dims = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
    count = math.prod(dims)
    if not numbers or not all(map(math.isfinite, numbers)):
        raise _bad(
            f"{plain(text)} is neither a number nor numbers separated by commas",
            f"{plain(value.name)} takes {count}.",
        )
    if len(numbers) != count:
        raise _bad(
            f"{plain(value.name)} ({_shape(value)}) needs {plural(count, 'number')}, and this is {len(numbers)}",
            "Separate them by commas.",
        )
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    return np.array(numbers).astype(dtype).reshape(dims)


def picture_size(value: onnx.ValueInfoProto) -> tuple[int, int, int]:
    """(channels, height, width) of the picture that an input takes; `STYLE_SIDE` for a side that is not
    declared."""
    from pipeline.sources.onnx_file import layout_of

    layout, channels = layout_of(value)
    dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    height, width = (dims[1], dims[2]) if layout == "nhwc" else (dims[2], dims[3])
    return channels or 3, height or STYLE_SIDE, width or STYLE_SIDE


def picture_pixels(value: onnx.ValueInfoProto, file: Path) -> np.ndarray:
    """A picture file cropped and resized to an input's size: (1, C, H, W), RGB in 0..1, float64.

    Raises PipelineError `bad-picture` and what `existing_file` raises.
    """
    import numpy as np
    from PIL import Image, ImageOps

    from pipeline.support.files import existing_file
    from pipeline.support.picture_files import open_picture

    channels, height, width = picture_size(value)
    fitted = ImageOps.fit(open_picture(existing_file(file)), (width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(fitted, np.float64).transpose(2, 0, 1)[None] / 255
    return pixels.mean(axis=1, keepdims=True) if channels == 1 else pixels


def as_input(
    value: onnx.ValueInfoProto, pixels: np.ndarray, value_range: str | None, order: str | None
) -> np.ndarray:
    """Convert (1, C, H, W) RGB in 0..1 to the range, channel order and layout of an input; of its element type."""
    import numpy as np
    import onnx

    from pipeline.contract import ImageSide
    from pipeline.sources.onnx_file import layout_of

    layout, channels = layout_of(value)
    side = ImageSide(value_range or "0..1", channels or 3)
    scale, shift = (np.reshape(values, (1, -1, 1, 1)) for values in side.affine())
    array = (pixels * scale + shift).astype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
    if order == "bgr" and array.shape[1] == 3:
        array = array[:, ::-1]
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1) if layout == "nhwc" else array)


def _bad(what: str, remedy: str) -> PipelineError:
    return PipelineError("bad-binding", what, subject="--bind", remedy=remedy)


def _fold(model: onnx.ModelProto) -> None:
    """Compute what depends on none of the remaining inputs, and store it as constants, in place."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    from pipeline.graph.runtime import session

    known = _names(model)
    fixed: list[onnx.NodeProto] = []
    rest: list[onnx.NodeProto] = []
    for node in model.graph.node:
        depends = any(name and name not in known for name in (*node.input, *captured(node)))
        (rest if depends else fixed).append(node)
        if not depends:
            known.update(name for name in node.output if name)
    computed = {name for node in fixed for name in node.output if name}
    read = {name for node in rest for name in (*node.input, *captured(node))}
    folded = sorted(computed & (read | {value.name for value in model.graph.output}))
    if not folded:
        return
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:], part.graph.output[:], part.graph.input[:], part.graph.value_info[:]
    part.graph.node.extend(fixed)
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in folded)
    values: list[Any] = session(part, "the result of the bound inputs").run(folded, {})
    size = sum(value.nbytes for value in values)
    if size > LARGEST:
        raise _bad(
            f"the constants computed from the bound inputs need {size >> 20} MiB; at most {LARGEST >> 20} MiB are "
            "supported",
            "Bind a smaller picture, or export the network with the style inside.",
        )
    copies = [type(node).FromString(node.SerializeToString()) for node in rest]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in zip(folded, values, strict=True)
    )
    drop_unneeded(model)
