"""Rules of operators that compute: products, layouts, broadcasting, activations, casts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import onnx

from pipeline.targets.barracuda.rules.register import kind
from pipeline.targets.barracuda.rules.shaping import stays, text, vector
from pipeline.validation.findings import Severity
from pipeline.validation.kinds import Hit, cosmetic, plain, variable
from pipeline.validation.view import View, attribute, given

if TYPE_CHECKING:
    from pipeline.graph.shape import Shape
    from pipeline.targets import Rule

_INTEGERS = frozenset(
    getattr(onnx.TensorProto, name)
    for name in ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
)
_FLOATS = frozenset(getattr(onnx.TensorProto, name) for name in ("FLOAT", "FLOAT16", "DOUBLE", "BFLOAT16"))


_NARROW = frozenset(
    value
    for name, value in onnx.TensorProto.DataType.items()
    if name == "STRING"
    or name.startswith(("BFLOAT", "FLOAT8", "FLOAT4", "FLOAT6", "INT4", "UINT4", "INT2", "UINT2"))
)
"""Types whose rounding is visible: a Cast to them that does nothing gives other values."""


@kind("gemm-bias-lost")
def _gemm_bias(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    matrix, bias = given(node, 1), given(node, 2)
    if not bias or (matrix in view.constants and bias in view.constants):
        return
    value = view.value(bias)
    if value is None or value.any():
        which = "B" if matrix not in view.constants else "C"
        yield Hit(f"{which} is not a constant at import: the product is computed without adding C", which)


@kind("gemm-bias-size")
def _gemm_bias_size(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    matrix, bias = view.shape(given(node, 1)), view.shape(given(node, 2))
    if matrix is None or bias is None or len(matrix) != 2 or len(bias) > 1 or not _both_constant(view, node):
        return
    outputs = matrix[0] if attribute(node, "transB", 0) else matrix[1]
    if math.prod(size or 0 for size in bias) == 1 and outputs not in (1, None):
        yield Hit(f"C is a single number for {outputs} outputs, which is not supported", "C")


def _both_constant(view: View, node: onnx.NodeProto) -> bool:
    return given(node, 1) in view.constants and given(node, 2) in view.constants


@kind("gemm-transposed")
def _gemm_transposed(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    data, matrix = view.shape(given(node, 0)), view.shape(given(node, 1))
    if not attribute(node, "transA", 0) or data is None or matrix is None or len(data) != 2 or len(matrix) != 2:
        return
    inner = matrix[1] if attribute(node, "transB", 0) else matrix[0]
    if None not in (data[1], inner) and data[1] != inner:
        yield Hit(
            f"transA is ignored, and data of {text(data)} cannot be multiplied by {text(matrix)} without it",
            "transA",
        )


@kind("lstm-weights")
def _lstm_weights(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """W, R and B must all be constants, or none; a missing B counts as computed."""
    is_constant = {what: given(node, index) in view.constants for index, what in ((1, "W"), (2, "R"), (3, "B"))}
    if len(set(is_constant.values())) > 1:
        odd = [what for what, constant in is_constant.items() if not constant]
        yield Hit(f"{' and '.join(odd)} must be constants, because the other weights are", odd[0])


# ------------------------------------------------------------------------------------------------ layouts
@kind("transpose-as-identity")
def _transpose_identity(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    order, shape = attribute(node, "perm"), view.shape(given(node, 0))
    known = ([0, 2, 3, 1], [0, 3, 1, 2], [0, 2, 1], [1, 0, 2])
    if not variable(view, given(node, 0)) or order not in known or not node.output:
        return
    silent = order != [0, 2, 1]
    if order == [0, 2, 3, 1] and _turned_inputs(view):
        return  # fed and read channels-last, as the file says
    if not vector(shape) and stays(view, node.output[0]):
        message = f"perm={plain(order)} at the output only changes the noted layout: the values keep their order"
        yield Hit(message, "perm", silent=silent)
    elif not vector(shape) and order == [0, 2, 3, 1] and not _flattened(view, node.output[0]):
        message = f"perm={plain(order)} only changes the noted layout: operators after it read the old order"
        yield Hit(message, "perm", silent=silent)
    elif not silent:
        yield cosmetic(f"perm={plain(order)} only changes the noted layout", "perm")


def _turned_inputs(view: View) -> bool:
    """Whether the graph transposes a channels-last input first."""
    return any(
        reader.op_type == "Transpose" and attribute(reader, "perm") == [0, 3, 1, 2]
        for name in view.inputs
        for reader in view.consumers(name)
    )


def _flattened(view: View, name: str) -> bool:
    """Whether all readers of a tensor flatten it, so that 1.0.4's memory order is correct."""
    return all(reader.op_type in ("Reshape", "Flatten") for reader in view.consumers(name))


@kind("flatten-before-gemm")
def _flatten_gemm(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    shape = view.shape(given(node, 0))
    if shape is None or len(shape) != 4 or not node.output or not variable(view, given(node, 0)):
        return
    if not any(reader.op_type in ("Gemm", "MatMul") for reader in view.consumers(node.output[0])):
        return
    if all(size == 1 for size in shape[2:]):
        message = "Flatten of a feature map is read as a change of layout; at 1x1 pixels the values are correct"
        yield Hit(message, severity=Severity.NOTE)
    else:
        yield Hit(
            f"Flatten of a feature map of {text(shape)} before a Gemm gives the values in channels-last order"
        )


@kind("matmul-of-transposed")
def _matmul_transposed(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """2.0.0: a flattened map times its own transpose, where a layer comes after it (measured).

    Where the product weighs the same map and the result becomes a map again (channel attention), it is right.
    """
    if len(node.input) < 2 or not node.output or not view.consumers(node.output[0]):
        return
    for here, there in (node.input[:2], list(node.input[:2])[::-1]):
        maker, flattened = view.maker(there), view.maker(here)
        if maker is None or maker.op_type != "Transpose" or given(maker, 0) != here or flattened is None:
            continue
        if flattened.op_type != "Reshape" or view.rank(given(flattened, 0)) != 4 or not variable(view, here):
            continue
        if not _weighs(view, node.output[0], here):
            yield Hit("the product of a flattened feature map and its own transpose throws when it runs")
            return


def _weighs(view: View, product: str, data: str) -> bool:
    """Whether a product is multiplied by its own data, and the result is reshaped to a feature map again."""
    todo, seen, weighed = [(product, False)], set(), False
    while todo:
        name, behind = todo.pop()
        for reader in view.consumers(name):
            for output in reader.output:
                if behind and reader.op_type == "Reshape" and view.rank(output) == 4:
                    weighed = True
                after = behind or (reader.op_type == "MatMul" and data in reader.input)
                if output and (output, after) not in seen and reader.op_type != "Reshape":
                    seen.add((output, after))
                    todo.append((output, after))
    return weighed


@kind("constant-rank-limit")
def _constant_rank(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    for name in node.input:
        rank = view.rank(name)
        if name in view.constants and rank is not None and rank > rule.options["max"]:
            yield Hit(
                f"the constant {name} has rank {rank}; the target supports at most {rule.options['max']}",
                name,
                values={"rank": rank},
            )


# ------------------------------------------------------------------------------------------------ values
@kind("integer-division")
def _integer_division(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    if not node.output or (view.target.constants is None and node.output[0] in view.constants):
        return  # 1.0.4 folds it: `shape-is-not-read` says whether it matters
    if view.dtype(given(node, 0)) in _INTEGERS and node.output[0] not in view.folds:
        yield Hit("dividing integers is computed in floats: the result keeps its fraction")


_GIVES_WHOLE = ("Floor", "Ceil", "Round", "Sign", "Shape", "Size", "ArgMax", "ArgMin", "NonZero")
_MOVES = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Identity")
"""Operators that give numbers of their first input as they are."""


def _is_whole(view: View, name: str) -> bool:
    """Whether a tensor has only whole numbers, followed through data movement and clamping to whole bounds."""
    for _ in range(len(view.nodes)):
        maker = view.maker(name)
        if maker is None:
            return False
        if maker.op_type in _GIVES_WHOLE:
            return True
        if maker.op_type == "Clip":
            bounds = [attribute(maker, key, 0.0) for key in ("min", "max")]
            bounds += [view.value(bound) for bound in maker.input[1:] if bound]
            if any(bound is None or np.any(np.asarray(bound) % 1) for bound in bounds):
                return False
        elif maker.op_type not in _MOVES:
            return False
        name = given(maker, 0)
    return False


@kind("cast-truncates")
def _cast(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    to_type, name = attribute(node, "to"), given(node, 0)
    from_type = view.dtype(name)
    readers = view.consumers(node.output[0]) if node.output and node.output[0] not in view.outputs else []
    if readers and all(reader.op_type == "Gather" and given(reader, 0) != node.output[0] for reader in readers):
        return  # indices are cut to whole numbers where they are used
    if to_type in _NARROW and from_type not in _NARROW:
        yield Hit(f"Cast to {onnx.TensorProto.DataType.Name(to_type)} does nothing: values are not rounded", "to")
        return
    if from_type not in _FLOATS or (to_type not in _INTEGERS and to_type != onnx.TensorProto.BOOL):
        return
    value = view.value(name)
    if value is not None and value.dtype.kind == "f":
        whole = (
            np.isin(value, (0, 1)).all() if to_type == onnx.TensorProto.BOOL else (value == np.trunc(value)).all()
        )
        if whole:
            return
    if to_type != onnx.TensorProto.BOOL and _is_whole(view, name):
        return
    if name in view.folds and value is None:
        return
    kind_name = onnx.TensorProto.DataType.Name(to_type)
    yield Hit(f"Cast to {kind_name} does nothing: fractions are not removed", "to")


@kind("prelu-slope")
def _prelu(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """The slope is repeated along channels-last memory, four values at a time."""
    shape, slope = view.shape(given(node, 0)), view.known_shape(given(node, 1))
    if slope is None or shape is None or len(shape) < 2:
        return
    count = math.prod(slope)
    each = None if None in shape[1:] else math.prod(size for size in shape[1:] if size is not None)
    if count == 1:
        return
    by_channel = rule.options["constants_by_channel"] and given(node, 1) in view.constants and len(slope) < 4
    wide = count if by_channel else math.prod(slope[1:])
    if wide not in (1, each):
        yield Hit(f"a slope of shape {text(slope)} on data of {text(shape)} is not supported", "slope")
    elif wide == 1 and not _slope_per_channel(view, shape, slope):
        yield Hit(f"a slope of shape {text(slope)} is applied per channel", "slope", Severity.WRONG)
    elif by_channel and sum(size != 1 for size in slope) > 1:
        yield Hit(f"a slope of shape {text(slope)} is read in the wrong order", "slope", Severity.WRONG)
    elif count % 4 and (each is None or (shape[0] or 2) * each != count):
        yield Hit(
            f"the {count} slopes are applied to the wrong channels: their number is not a multiple of four",
            "slope",
            Severity.WRONG,
        )


def _slope_per_channel(view: View, shape: Shape, slope: Shape) -> bool:
    """Whether ONNX defines one slope per channel: by the aligned axis, before opset 7 by a rank of 1."""
    if len(slope) == 1 and view.opset < 7:
        return slope[0] == shape[1]
    aligned = (1,) * (len(shape) - len(slope)) + tuple(slope)
    return len(aligned) == len(shape) and all(size == 1 or axis == 1 for axis, size in enumerate(aligned))


@kind("prelu-per-channel")
def _prelu_channels(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    shape, slope = view.shape(given(node, 0)), view.shape(given(node, 1))
    if shape is None or slope is None or len(shape) < 3 or math.prod(size or 2 for size in slope) == 1:
        return
    if _slope_per_channel(view, shape, slope) and math.prod(size or 2 for size in slope[1:]) == 1:
        yield Hit(
            "one slope per channel is correct only on the CSharp worker: CSharpBurst uses the first slope for all "
            "channels, and the GPU workers read the slopes in the wrong order",
            "slope",
        )


@kind("clip-order")
def _clip_order(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """min above max: ONNX gives max everywhere, the target gives min for values below it."""
    low, high = (
        attribute(node, name, view.value(given(node, index)) if given(node, index) else None)
        for index, name in ((1, "min"), (2, "max"))
    )
    if low is not None and high is not None and np.size(low) == np.size(high) == 1 and np.all(low > high):
        yield Hit(f"min={float(low):g} is above max={float(high):g}: values below min become min, not max", "min")


@kind("leaky-alpha")
def _leaky(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    alpha = attribute(node, "alpha", 0.01)
    if alpha > 1:
        yield Hit(
            f"alpha={alpha:g}: CSharp asserts that it is at most 1, and the GPU computes max(x, alpha*x)", "alpha"
        )


@kind("softmax-axis")
def _softmax(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """Which axes ONNX normalises over (opset 13: one; before: all from the axis on) against the target's."""
    shape = view.shape(given(node, 0))
    if shape is None:
        return
    rank, old = len(shape), view.opset < 13
    default = 1 if old else -1
    axis = attribute(node, "axis", default)
    axis = axis + rank if axis < 0 else axis
    required = set(range(axis, rank)) if old else {axis}
    written = attribute(node, "axis", 1)
    written = written + rank if written < 0 else written
    computed = set(range(1, rank)) if rule.options["normalises"] == "all" else {written}
    if list(required) in ([0], [2] if rank == 4 else [0]) and rule.options.get("channels_and_width"):
        yield Hit(
            f"axis {next(iter(required))} of data of rank {rank} is not supported: another axis is normalised",
            "axis",
        )
        return
    wide = {place for place, size in enumerate(shape) if size != 1}
    if required & wide != computed & wide:
        yield Hit(
            f"the target normalises over axis {' and '.join(map(str, sorted(computed)))} "
            f"instead of {' and '.join(map(str, sorted(required)))}",
            "axis",
        )
