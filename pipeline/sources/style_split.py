"""Split a network with a picture and a style as inputs into a style predictor and a transfer network.

The predictor turns the style into one vector, once per style; the transfer network takes the picture and that
vector, once per frame. The predictor computes everything that depends on the style but not on the picture; the
vector is the concatenation of the tensors that the rest of the network reads from it.
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
"""Name of the predictor's output and of the transfer network's second input, of shape (1, K, 1, 1)."""
PREDICTOR_INPUT = "style_given"
"""Name of the predictor's input: a picture (1, 3, H, W), RGB in 0..1, or a vector (1, N, 1, 1)."""
MOST_VALUES = 262_144
"""Most numbers per style: a game stores them for each style, and uploads them when the style or blend changes."""
_SLICE_INPUTS = 10
"""First opset in which Slice takes its bounds as inputs."""


@dataclass(frozen=True)
class Split:
    """The two networks; `predictor` takes the style as the source does: same input name, range and layout."""

    predictor: onnx.ModelProto
    transfer: onnx.ModelProto
    length: int
    """K, the numbers per style."""


def style_value(model: onnx.ModelProto, name: str, path: object) -> onnx.ValueInfoProto:
    """The style input named `name` of a network with two inputs. Raises PipelineError `no-style-input`."""
    inputs = ports.required_inputs(model)
    found = next((value for value in inputs if value.name == name), None)
    if found is None or len(inputs) != 2:
        what = f"there is no input {name}" if found is None else f"there are {len(inputs)} inputs"
        raise PipelineError(
            "no-style-input",
            f"{what}; the network's inputs are {ports.described(inputs)}",
            subject=str(path),
            remedy="Name the style input of a network that takes a picture and a style; --bind all other inputs.",
        )
    return found


def separate_style(
    model: onnx.ModelProto, name: str, options: ReadOptions, path: Path
) -> tuple[onnx.ModelProto, StyleInput]:
    """Split a model into the transfer network and the style input with its first value in `options.bind`.

    Raises what `split` and `ports.value_of` raise.
    """
    from pipeline.network import StyleInput

    value = style_value(model, name, path)
    bound = next(binding for binding in options.bind if binding.partition("=")[0] == name).partition("=")[2]
    example = ports.value_of(value, bound, options.input_range, options.channel_order)
    kind = kind_of(value)
    chance = np.random.default_rng(1)
    # Of a whole-number input only the value 0 is known to be valid.
    other = np.zeros_like(example) if kind == "number" else chance.random(example.shape).astype(example.dtype)
    parts = split(model, name, [example, other], path)
    vector = run_predictor(parts.predictor, name, example)
    return parts.transfer, StyleInput(name, kind, parts.predictor, example, vector)


def bound_or_split(
    model: onnx.ModelProto, path: Path, options: ReadOptions
) -> tuple[onnx.ModelProto, StyleInput | None, list[str]]:
    """A graph of a picture and a style with the style bound, or cut in two for `options.style_input`; and notes.

    Raises what `ports.bind` and `separate_style` raise.
    """
    name = options.style_input
    bind = tuple(binding for binding in options.bind if name is None or binding.partition("=")[0] != name)
    ports.bind(model, bind, options.input_range, path, options.channel_order)
    notes = ["the input {} is bound to {}".format(*binding.partition("=")[::2]) for binding in bind]
    if name is None:
        return model, None, notes
    model, style = separate_style(model, name, options, path)
    notes.append(f"the input {name} is left to the game: {style.vector.size:,} numbers for each style")
    return model, style, notes


def kind_of(value: onnx.ValueInfoProto) -> Literal["picture", "vector", "number"]:
    """The kind of a style input: a whole number, a picture, or a vector."""
    import onnx

    kind, dims = value.type.tensor_type.elem_type, value.type.tensor_type.shape.dim
    if kind not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE):
        return "number"
    return "picture" if len(dims) == 4 and [dim.dim_value for dim in dims[2:]] != [1, 1] else "vector"


def run_predictor(predictor: onnx.ModelProto, name: str, value: np.ndarray) -> np.ndarray:
    """The style vector (1, K, 1, 1), float32, for a value of the source's style input."""
    from onnx import helper

    from pipeline.graph.runtime import session

    (declared,) = [given for given in ports.required_inputs(predictor) if given.name == name]
    value = value.astype(helper.tensor_dtype_to_np_dtype(declared.type.tensor_type.elem_type))
    return np.asarray(session(predictor, "the style predictor").run([VECTOR], {name: value})[0], np.float32)


def bundle_predictor(style: StyleInput, shape: tuple[int, ...], side: ImageSide | None) -> onnx.ModelProto:
    """The predictor for the bundle: its input is a picture (1, C, H, W), RGB in 0..1, or a vector (1, N, 1, 1).

    `shape` is the shape of that input; `side` has the range and channel order that the source expects.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from pipeline.sources.onnx_file import layout_of

    model = onnx.ModelProto()
    model.CopyFrom(style.predictor)
    (value,) = [item for item in ports.required_inputs(model) if item.name == style.name]
    nodes: list[onnx.NodeProto] = []
    current = input_name = PREDICTOR_INPUT

    def then(op: str, inputs: dict[str, np.ndarray], **attributes: Any) -> None:
        nonlocal current
        for name, values in inputs.items():
            model.graph.initializer.append(numpy_helper.from_array(values, f"{input_name}/{name}"))
        output = f"{input_name}/{len(nodes)}"
        names = [current, *(f"{input_name}/{name}" for name in inputs)]
        nodes.append(helper.make_node(op, names, [output], name=output, **attributes))
        current = output

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
        nodes.append(helper.make_node("Identity", [input_name], [style.name], name=input_name))
    rest = [type(node).FromString(node.SerializeToString()) for node in model.graph.node]
    del model.graph.node[:], model.graph.input[:], model.graph.value_info[:]
    model.graph.node.extend([*nodes, *rest])
    model.graph.input.append(helper.make_tensor_value_info(input_name, TensorProto.FLOAT, list(shape)))
    return model


def split(model: onnx.ModelProto, name: str, examples: list[np.ndarray], path: object) -> Split:
    """Split `model` where tensors depend only on the input `name`; `model` is not changed.

    `examples` are two values of that input: the first determines the shapes of the tensors at the cut, both
    together show that no shape depends on the style. Raises PipelineError `no-style-input`, `style-not-separable`
    and `style-too-large`.
    """
    from onnx import numpy_helper

    style_value(model, name, path)
    constant = {tensor.name for tensor in model.graph.initializer}
    style_tensors = {name}
    style_nodes: list[onnx.NodeProto] = []
    rest: list[onnx.NodeProto] = []
    for node in model.graph.node:
        read = {tensor_name for tensor_name in (*node.input, *ports.captured(node)) if tensor_name}
        if read <= constant | style_tensors:
            style_nodes.append(node)
            outputs = {tensor_name for tensor_name in node.output if tensor_name}
            (style_tensors if read & style_tensors else constant).update(outputs)
        else:
            rest.append(node)
    read_by_rest = [
        tensor_name for node in rest for tensor_name in (*node.input, *ports.captured(node)) if tensor_name
    ]
    cut = [tensor_name for tensor_name in dict.fromkeys(read_by_rest) if tensor_name in style_tensors]
    if not cut or not any(value.name in set(read_by_rest) for value in model.graph.input if value.name != name):
        raise PipelineError(
            "style-not-separable",
            f"the output does not depend on {name}" if not cut else "the output depends only on the style",
            subject=str(path),
            remedy="Name the input that holds the style with --style-input.",
        )
    first, second = (_values(model, style_nodes, name, cut, example) for example in examples)
    fixed = {tensor_name: value for tensor_name, value in first.items() if value.dtype.kind != "f"}
    variable = [tensor_name for tensor_name in cut if tensor_name not in fixed]
    for tensor_name, value in first.items():
        if value.shape != second[tensor_name].shape or (
            tensor_name in fixed and not np.array_equal(value, second[tensor_name])
        ):
            raise PipelineError(
                "style-not-separable",
                f"{ports.plain(tensor_name)} has another shape, or other integer values, for another style",
                subject=str(path),
                remedy="Bind the styles at build time instead: --bind, once for each style.",
            )
    length = sum(first[tensor_name].size for tensor_name in variable)
    if not variable or length > MOST_VALUES:
        raise PipelineError(
            "style-too-large",
            f"a style of this network has {length:,} numbers, but at most {MOST_VALUES:,} are supported"
            if variable
            else f"the network uses {ports.plain(name)} only to compute integers",
            subject=str(path),
            remedy="Bind the styles at build time instead: --bind, once for each style.",
        )
    shapes = {tensor_name: first[tensor_name].shape for tensor_name in variable}
    predictor = _predictor(model, style_nodes, name, shapes)
    transfer = _transfer(model, [node for node in style_nodes if set(node.output) & constant], rest, name, shapes)
    transfer.graph.initializer.extend(
        numpy_helper.from_array(value, tensor_name) for tensor_name, value in fixed.items()
    )
    for part in (predictor, transfer):
        ports.drop_unneeded(part)
    return Split(predictor, transfer, length)


def _values(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], name: str, cut: list[str], example: np.ndarray
) -> dict[str, np.ndarray]:
    """The values of the tensors at the cut for one value of the style."""
    import onnx

    from pipeline.graph.runtime import session

    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:], part.graph.output[:], part.graph.value_info[:]
    part.graph.node.extend(nodes)
    inputs = [item for item in part.graph.input if item.name == name]
    copies = [type(item).FromString(item.SerializeToString()) for item in inputs]
    del part.graph.input[:]
    part.graph.input.extend(copies)
    values_of = {name: example} if name in cut else {}
    computed = [tensor_name for tensor_name in cut if tensor_name != name]
    if computed:
        part.graph.output.extend(onnx.ValueInfoProto(name=tensor_name) for tensor_name in computed)
        ports.drop_unneeded(part)
        values = session(part, "what depends on the style").run(computed, {name: example})
        values_of |= {tensor_name: np.asarray(value) for tensor_name, value in zip(computed, values, strict=True)}
    return {tensor_name: values_of[tensor_name] for tensor_name in cut}


def _predictor(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], name: str, shapes: dict[str, tuple[int, ...]]
) -> onnx.ModelProto:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:], part.graph.output[:], part.graph.value_info[:]
    part.graph.node.extend(nodes)
    kept = [type(item).FromString(item.SerializeToString()) for item in part.graph.input if item.name == name]
    del part.graph.input[:]
    part.graph.input.extend(kept)
    pieces = []
    for number, (tensor_name, shape) in enumerate(shapes.items()):
        piece = VECTOR if len(shapes) == 1 else f"{VECTOR}/piece_{number}"
        target = f"{VECTOR}/shape_{number}"
        flat = np.array([1, math.prod(shape), 1, 1], np.int64)
        part.graph.initializer.append(numpy_helper.from_array(flat, target))
        part.graph.node.append(helper.make_node("Reshape", [tensor_name, target], [piece], name=piece))
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
    kept = [type(item).FromString(item.SerializeToString()) for item in part.graph.input if item.name != name]
    del part.graph.input[:]
    part.graph.input.extend(kept)
    length = sum(map(math.prod, shapes.values()))
    part.graph.input.append(helper.make_tensor_value_info(VECTOR, TensorProto.FLOAT, [1, length, 1, 1]))
    opset, start = declared_opset(model), 0
    nodes: list[onnx.NodeProto] = []

    def numbers(values: list[int], of: str) -> str:
        constant = f"{VECTOR}/{of}"
        if all(tensor.name != constant for tensor in part.graph.initializer):
            part.graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), constant))
        return constant

    for number, (tensor_name, shape) in enumerate(shapes.items()):
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
        shape_name = numbers(list(shape), f"shape_{number}")
        nodes.append(
            helper.make_node("Reshape", [piece, shape_name], [tensor_name], name=f"{VECTOR}/{tensor_name}")
        )
        start = end
    part.graph.node.extend(nodes)
    part.graph.node.extend(constants)
    part.graph.node.extend(_separate_norms(part, rest, shapes))
    return part


def _separate_norms(
    part: onnx.ModelProto, nodes: list[onnx.NodeProto], shapes: dict[str, tuple[int, ...]]
) -> list[onnx.NodeProto]:
    """`nodes` with each norm whose scale or shift comes from the style replaced by a plain norm, a Mul and an
    Add."""
    from onnx import helper, numpy_helper

    result: list[onnx.NodeProto] = []
    for node in nodes:
        from_style = [input_name for input_name in node.input[1:3] if input_name in shapes]
        if node.op_type != "InstanceNormalization" or not from_style:
            result.append(node)
            continue
        channels = math.prod(shapes[from_style[0]])
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
        result.append(norm)
        for index, named in ((1, "scale"), (2, "shift")):
            result.append(
                helper.make_node(
                    "Reshape", [node.input[index], names[2]], [f"{stem}/{named}"], name=f"{stem}/{named}"
                )
            )
        result.append(
            helper.make_node("Mul", [norm.output[0], f"{stem}/scale"], [f"{stem}/scaled"], name=f"{stem}/scaled")
        )
        result.append(
            helper.make_node("Add", [f"{stem}/scaled", f"{stem}/shift"], [node.output[0]], name=f"{stem}/shifted")
        )
    return result
