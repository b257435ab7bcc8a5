"""A network with a picture and a style as inputs is cut into two where only the style goes in.

The predictor turns the style into one vector, once for each style; the transfer network takes the picture and that
vector, for each frame. What the predictor computes is all that depends on the style and not on the picture; the
vector holds the tensors that the rest of the network reads of it, one behind the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipeline.sources import ports
from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from pipeline.contract import ImageSide
    from pipeline.network import StyleInput
    from pipeline.sources import ReadOptions

VECTOR = "style_vector"
"""The predictor's output and the transfer network's second input, of the shape (1, K, 1, 1)."""
PREDICTOR_INPUT = "style_given"
"""The predictor's input: a picture (1, 3, H, W) of RGB 0..1, or a vector (1, N, 1, 1)."""
MOST_VALUES = 65_536
"""Numbers of a style: what a game keeps for each, and what is uploaded when a blend changes."""
_SLICE_INPUTS = 10
"""The opset from which Slice takes its bounds as inputs."""


@dataclass(frozen=True)
class Split:
    """Both parts; `predictor` takes the style as the source does, under its name, in its own range and layout."""

    predictor: onnx.ModelProto
    transfer: onnx.ModelProto
    length: int
    """K, numbers of a style."""


def style_value(model: onnx.ModelProto, name: str, path: object) -> onnx.ValueInfoProto:
    """The style's input. Raises PipelineError `no-style-input`."""
    inputs = ports.of_the_caller(model)
    found = next((value for value in inputs if value.name == name), None)
    if found is None or len(inputs) != 2:
        what = f"there is no input {name}" if found is None else f"there are {len(inputs)} inputs"
        raise PipelineError(
            "no-style-input",
            f"{what}; the network's inputs are {ports.described(inputs)}",
            subject=str(path),
            remedy="Name the style's input of a network that takes a picture and a style; --bind the others.",
        )
    return found


def part(
    model: onnx.ModelProto, name: str, options: ReadOptions, path: Path
) -> tuple[onnx.ModelProto, StyleInput]:
    """The transfer network of a model, and its style with the first value that `options.bind` has for it.

    Raises what `split` and `ports.value_of` raise.
    """
    from pipeline.network import StyleInput

    value = style_value(model, name, path)
    bound = next(held for held in options.bind if held.partition("=")[0] == name).partition("=")[2]
    example = ports.value_of(value, bound, options.input_range, options.channel_order)
    kind = kind_of(value)
    chance = np.random.default_rng(1)
    # A number has few values: 0 is one of them, and no more is known.
    other = np.zeros_like(example) if kind == "number" else chance.random(example.shape).astype(example.dtype)
    made = split(model, name, [example, other], path)
    vector = run_predictor(made.predictor, name, example)
    return made.transfer, StyleInput(name, kind, made.predictor, example, vector)


def kind_of(value: onnx.ValueInfoProto) -> Literal["picture", "vector", "number"]:
    """What a style input takes: a whole number, a picture, or a vector."""
    import onnx

    kind, dims = value.type.tensor_type.elem_type, value.type.tensor_type.shape.dim
    if kind not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE):
        return "number"
    return "picture" if len(dims) == 4 and [dim.dim_value for dim in dims[2:]] != [1, 1] else "vector"


def run_predictor(predictor: onnx.ModelProto, name: str, value: np.ndarray) -> np.ndarray:
    """The vector (1, K, 1, 1) of a style's value, as the source's input takes it."""
    from pipeline.graph.runtime import session

    return np.asarray(session(predictor, "the style predictor").run([VECTOR], {name: value})[0], np.float32)


def around(style: StyleInput, shape: tuple[int, ...], side: ImageSide | None) -> onnx.ModelProto:
    """The predictor as the bundle has it: its input is (1, C, H, W) of RGB 0..1, or a vector (1, N, 1, 1).

    `shape` is that of the input; `side` says the range and channel order of the pictures of the source.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from pipeline.sources.onnx_file import layout_of

    model = onnx.ModelProto()
    model.CopyFrom(style.predictor)
    (value,) = [held for held in ports.of_the_caller(model) if held.name == style.name]
    nodes: list[onnx.NodeProto] = []
    held = given = PREDICTOR_INPUT

    def then(op: str, inputs: dict[str, np.ndarray], **attributes: Any) -> None:
        nonlocal held
        for name, values in inputs.items():
            model.graph.initializer.append(numpy_helper.from_array(values, f"{given}/{name}"))
        made = f"{given}/{len(nodes)}"
        names = [held, *(f"{given}/{name}" for name in inputs)]
        nodes.append(helper.make_node(op, names, [made], name=made, **attributes))
        held = made

    if style.kind == "picture":
        if side is not None:
            scale, shift = (np.array(values, np.float32).reshape(1, -1, 1, 1) for values in side.affine())
            scale, shift = scale[:, : shape[1]], shift[:, : shape[1]]
            if np.any(scale != 1):
                then("Mul", {"scale": scale})
            if np.any(shift != 0):
                then("Add", {"shift": shift})
            if side.order == "bgr" and shape[1] == 3:
                swap = np.eye(3, dtype=np.float32)[::-1].reshape(3, 3, 1, 1).copy()
                then("Conv", {"order": swap}, kernel_shape=[1, 1])
        if layout_of(value)[0] == "nhwc":
            then("Transpose", {}, perm=[0, 2, 3, 1])
    else:
        then("Reshape", {"shape": np.array(style.example.shape, np.int64)})
    if value.type.tensor_type.elem_type != TensorProto.FLOAT:
        then("Cast", {}, to=value.type.tensor_type.elem_type)
    if nodes:
        nodes[-1].output[0] = style.name
    else:
        nodes.append(helper.make_node("Identity", [given], [style.name], name=given))
    rest = [type(node).FromString(node.SerializeToString()) for node in model.graph.node]
    del model.graph.node[:], model.graph.input[:], model.graph.value_info[:]
    model.graph.node.extend([*nodes, *rest])
    model.graph.input.append(helper.make_tensor_value_info(given, TensorProto.FLOAT, list(shape)))
    return model


def split(model: onnx.ModelProto, name: str, examples: list[np.ndarray], path: object) -> Split:
    """Cut `model` at what depends on its input `name` only; `model` is not changed.

    `examples` are two values of that input, as it takes them: what the cut tensors' shapes are is seen with the
    first, and that no size depends on the style with both. Raises PipelineError `no-style-input`,
    `style-not-separable` and `style-too-large`.
    """
    from onnx import numpy_helper

    style_value(model, name, path)
    constant = {tensor.name for tensor in model.graph.initializer}
    of_style = {name}
    before: list[onnx.NodeProto] = []
    rest: list[onnx.NodeProto] = []
    for node in model.graph.node:
        read = {held for held in (*node.input, *ports.captured(node)) if held}
        if read <= constant | of_style:
            before.append(node)
            made = {held for held in node.output if held}
            (of_style if read & of_style else constant).update(made)
        else:
            rest.append(node)
    read_by_rest = [held for node in rest for held in (*node.input, *ports.captured(node)) if held]
    cut = [held for held in dict.fromkeys(read_by_rest) if held in of_style]
    if not cut or not any(value.name in set(read_by_rest) for value in model.graph.input if value.name != name):
        raise PipelineError(
            "style-not-separable",
            f"nothing of {name} reaches the picture" if not cut else "the output depends on the style only",
            subject=str(path),
            remedy="Name the input that holds the style with --style-input.",
        )
    first, second = (_values(model, before, name, cut, example) for example in examples)
    fixed = {held: value for held, value in first.items() if value.dtype.kind != "f"}
    moving = [held for held in cut if held not in fixed]
    for held, value in first.items():
        if value.shape != second[held].shape or (held in fixed and not np.array_equal(value, second[held])):
            raise PipelineError(
                "style-not-separable",
                f"{ports.plain(held)}, which is read beside the picture, has another size or other whole numbers "
                "with another style",
                subject=str(path),
                remedy="Bind the styles when you build: --bind, once for each.",
            )
    length = sum(first[held].size for held in moving)
    if not moving or length > MOST_VALUES:
        raise PipelineError(
            "style-too-large",
            f"a style is {length:,} numbers for this network, {MOST_VALUES:,} at most are kept"
            if moving
            else f"the network takes only whole numbers from {ports.plain(name)}",
            subject=str(path),
            remedy="Bind the styles when you build: --bind, once for each.",
        )
    shapes = {held: first[held].shape for held in moving}
    predictor = _predictor(model, before, name, shapes)
    transfer = _transfer(model, [node for node in before if set(node.output) & constant], rest, name, shapes)
    transfer.graph.initializer.extend(numpy_helper.from_array(value, held) for held, value in fixed.items())
    for part in (predictor, transfer):
        ports.drop_unneeded(part)
    return Split(predictor, transfer, length)


def _values(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], name: str, cut: list[str], example: np.ndarray
) -> dict[str, np.ndarray]:
    """The cut tensors of one value of the style."""
    import onnx

    from pipeline.graph.runtime import session

    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:], part.graph.output[:], part.graph.value_info[:]
    part.graph.node.extend(nodes)
    inputs = [held for held in part.graph.input if held.name == name]
    copies = [type(held).FromString(held.SerializeToString()) for held in inputs]
    del part.graph.input[:]
    part.graph.input.extend(copies)
    found = {name: example} if name in cut else {}
    made = [held for held in cut if held != name]
    if made:
        part.graph.output.extend(onnx.ValueInfoProto(name=held) for held in made)
        ports.drop_unneeded(part)
        values = session(part, "what depends on the style").run(made, {name: example})
        found |= {held: np.asarray(value) for held, value in zip(made, values, strict=True)}
    return {held: found[held] for held in cut}


def _predictor(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], name: str, shapes: dict[str, tuple[int, ...]]
) -> onnx.ModelProto:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:], part.graph.output[:], part.graph.value_info[:]
    part.graph.node.extend(nodes)
    kept = [type(held).FromString(held.SerializeToString()) for held in part.graph.input if held.name == name]
    del part.graph.input[:]
    part.graph.input.extend(kept)
    pieces = []
    for number, (held, shape) in enumerate(shapes.items()):
        piece = VECTOR if len(shapes) == 1 else f"{VECTOR}/piece_{number}"
        target = f"{VECTOR}/shape_{number}"
        flat = np.array([1, math.prod(shape), 1, 1], np.int64)
        part.graph.initializer.append(numpy_helper.from_array(flat, target))
        part.graph.node.append(helper.make_node("Reshape", [held, target], [piece], name=piece))
        pieces.append(piece)
    if len(pieces) > 1:
        part.graph.node.append(helper.make_node("Concat", pieces, [VECTOR], name=VECTOR, axis=1))
    length = sum(map(math.prod, shapes.values()))
    part.graph.output.append(helper.make_tensor_value_info(VECTOR, TensorProto.FLOAT, [1, length, 1, 1]))
    return part


def _transfer(
    model: onnx.ModelProto,
    constants: list[onnx.NodeProto],
    rest: list[onnx.NodeProto],
    name: str,
    shapes: dict[str, tuple[int, ...]],
) -> onnx.ModelProto:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from pipeline.graph import declared_opset

    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:], part.graph.value_info[:]
    kept = [type(held).FromString(held.SerializeToString()) for held in part.graph.input if held.name != name]
    del part.graph.input[:]
    part.graph.input.extend(kept)
    length = sum(map(math.prod, shapes.values()))
    part.graph.input.append(helper.make_tensor_value_info(VECTOR, TensorProto.FLOAT, [1, length, 1, 1]))
    opset, start = declared_opset(model), 0
    nodes: list[onnx.NodeProto] = []

    def numbers(values: list[int], of: str) -> str:
        held = f"{VECTOR}/{of}"
        if all(tensor.name != held for tensor in part.graph.initializer):
            part.graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), held))
        return held

    for number, (held, shape) in enumerate(shapes.items()):
        end, piece = start + math.prod(shape), VECTOR
        if len(shapes) > 1:
            piece = f"{VECTOR}/slice_{number}"
            if opset >= _SLICE_INPUTS:
                bounds = [numbers([start], f"at_{start}"), numbers([end], f"at_{end}"), numbers([1], "channels")]
                nodes.append(helper.make_node("Slice", [VECTOR, *bounds], [piece], name=piece))
            else:
                nodes.append(
                    helper.make_node("Slice", [VECTOR], [piece], name=piece, starts=[start], ends=[end], axes=[1])
                )
        wanted = numbers(list(shape), f"shape_{number}")
        nodes.append(helper.make_node("Reshape", [piece, wanted], [held], name=f"{VECTOR}/{held}"))
        start = end
    part.graph.node.extend(nodes)
    part.graph.node.extend(constants)
    part.graph.node.extend(_apart(part, rest, shapes))
    return part


def _apart(
    part: onnx.ModelProto, nodes: list[onnx.NodeProto], shapes: dict[str, tuple[int, ...]]
) -> list[onnx.NodeProto]:
    """`nodes` with norms that take scale or shift from the style as a norm of 1 and 0, a product and a sum."""
    from onnx import helper, numpy_helper

    found: list[onnx.NodeProto] = []
    for node in nodes:
        moving = [held for held in node.input[1:3] if held in shapes]
        if node.op_type != "InstanceNormalization" or not moving:
            found.append(node)
            continue
        channels = math.prod(shapes[moving[0]])
        stem = f"{VECTOR}/{node.output[0]}"
        names = [f"{stem}/ones", f"{stem}/zeros", f"{stem}/shape"]
        for values, named in zip(
            (np.ones(channels, np.float32), np.zeros(channels, np.float32), np.array([1, channels, 1, 1])),
            names,
            strict=True,
        ):
            part.graph.initializer.append(numpy_helper.from_array(values, named))
        norm = type(node).FromString(node.SerializeToString())
        norm.input[1], norm.input[2] = names[:2]
        norm.output[0] = f"{stem}/plain"
        found.append(norm)
        for index, named in ((1, "scale"), (2, "shift")):
            found.append(
                helper.make_node(
                    "Reshape", [node.input[index], names[2]], [f"{stem}/{named}"], name=f"{stem}/{named}"
                )
            )
        found.append(
            helper.make_node("Mul", [norm.output[0], f"{stem}/scale"], [f"{stem}/scaled"], name=f"{stem}/scaled")
        )
        found.append(
            helper.make_node("Add", [f"{stem}/scaled", f"{stem}/shift"], [node.output[0]], name=f"{stem}/shifted")
        )
    return found
