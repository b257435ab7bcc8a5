"""Rules of operators that compute: products, layouts, broadcasting, activations, casts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import onnx

from pipeline.findings import Severity
from pipeline.validate.kinds import Hit, kind, plain, variable
from pipeline.validate.shaping import text, vector
from pipeline.validate.view import Shape, View, attribute, given

if TYPE_CHECKING:
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
        yield Hit(f"{which} is not constant while the node is imported: the product is computed without C", which)


# ------------------------------------------------------------------------------------------------ layouts
@kind("transpose-as-identity")
def _transpose_identity(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    order, shape = attribute(node, "perm"), view.shape(given(node, 0))
    if not variable(view, given(node, 0)) or order not in ([0, 2, 3, 1], [0, 2, 1], [1, 0, 2]) or vector(shape):
        return
    if node.output and node.output[0] in view.outputs:
        yield Hit(
            f"perm={plain(order)} at the output is only a note about the layout: the values stay as they are",
            "perm",
        )
    elif order == [0, 2, 3, 1] and not _flattened(view, node.output[0]):
        yield Hit(
            f"perm={plain(order)} is only a note about the layout: operators after it see the old order", "perm"
        )


def _flattened(view: View, name: str) -> bool:
    """Whether all that read a tensor make it flat: then 1.0.4's memory order is the one that is meant."""
    return all(reader.op_type in ("Reshape", "Flatten") for reader in view.consumers(name))


@kind("flatten-before-gemm")
def _flatten_gemm(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    shape = view.shape(given(node, 0))
    if shape is None or len(shape) != 4 or not node.output or not variable(view, given(node, 0)):
        return
    if not any(reader.op_type in ("Gemm", "MatMul") for reader in view.consumers(node.output[0])):
        return
    if all(size == 1 for size in shape[2:]):
        told = "Flatten after a map is taken for a change of layout; at 1x1 the values are right"
        yield Hit(told, severity=Severity.NOTE)
    else:
        yield Hit(f"Flatten of a map of {text(shape)} before a Gemm gives the values in channels-last order")


@kind("matmul-of-transposed")
def _matmul_transposed(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    makers = [view.maker(name) for name in node.input if variable(view, name)]
    if len(makers) == 2 and any(maker is not None and maker.op_type == "Transpose" for maker in makers):
        yield Hit("a product of two activations, one of them transposed: some run right here, others throw")


@kind("constant-rank-limit")
def _constant_rank(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    for name in node.input:
        rank = view.rank(name)
        if name in view.constants and rank is not None and rank > rule.options["max"]:
            yield Hit(
                f"the constant {name} has rank {rank}, at most {rule.options['max']} runs",
                name,
                values={"rank": rank},
            )


@kind("broadcast-constant")
def _broadcast_constant(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """1.0.4 maps a constant by its rank: 1 to channels, 3 with height and width swapped."""
    for name in node.input:
        shape = view.shape(name)
        if name not in view.constants or shape is None or all(size == 1 for size in shape):
            continue
        others = [view.shape(other) for other in node.input if other and other not in view.constants]
        other = next((held for held in others if held is not None), None)
        if other is None or len(shape) >= 4:
            continue
        if len(shape) == 1 and len(other) > 2:
            if other[1] is not None and other[1] != shape[0]:
                yield Hit(
                    f"the constant {name} of {shape[0]} values is taken per channel, there are {other[1]}",
                    name,
                    Severity.ERROR,
                )
            else:
                yield Hit(
                    f"the constant {name} of {shape[0]} values is taken per channel, not along the width", name
                )
        elif len(shape) == 3 and len(other) == 4 and shape[1:] != (1, 1):
            severity = Severity.ERROR if shape[1] != shape[2] and min(shape) > 1 else None
            yield Hit(f"height and width of the constant {name} ({text(shape)}) are swapped", name, severity)


@kind("broadcast-variable")
def _broadcast_variable(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """1.0.4 does not align data of different rank."""
    shapes = [view.shape(name) for name in node.input if variable(view, name)]
    if len(shapes) < 2 or None in shapes:
        return
    rank = max(len(shape) for shape in shapes)
    for shape in shapes:
        if len(shape) < rank and rank > 2 and not all(size == 1 for size in shape):
            yield Hit(f"data of shape {text(shape)} beside data of rank {rank} is not aligned to its last axes")
            return


@kind("constant-rank")
def _rank_alignment(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    ranks = [view.rank(name) for name in node.input if variable(view, name)]
    if not ranks or None in ranks:
        return
    for name in node.input:
        rank = view.rank(name)
        if name in view.constants and rank is not None and rank > max(ranks):
            shape = view.shape(name)
            if shape is not None and not all(size == 1 for size in shape):
                yield Hit(f"the constant {name} has rank {rank}, more than the data ({max(ranks)})", name)


@kind("where-rank")
def _where_rank(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    ranks = [view.rank(name) for name in node.input]
    if len(ranks) == 3 and None not in ranks and ranks[0] < max(ranks):
        yield Hit(
            f"the condition has rank {ranks[0]}, the values {max(ranks)}: the rank is taken from the condition",
            "condition",
        )


# ------------------------------------------------------------------------------------------------ values
@kind("integer-division")
def _integer_division(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    if view.dtype(given(node, 0)) in _INTEGERS and node.output and node.output[0] not in view.folds:
        yield Hit("the quotient of integers keeps its fraction")


@kind("cast-truncates")
def _cast(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    wanted, name = attribute(node, "to"), given(node, 0)
    have = view.dtype(name)
    if wanted in _NARROW and have not in _NARROW:
        yield Hit(f"Cast to {onnx.TensorProto.DataType.Name(wanted)} is a copy: nothing is rounded", "to")
        return
    if have not in _FLOATS or (wanted not in _INTEGERS and wanted != onnx.TensorProto.BOOL):
        return
    maker, value = view.maker(name), view.value(name)
    if value is not None and value.dtype.kind == "f":
        whole = (
            np.isin(value, (0, 1)).all() if wanted == onnx.TensorProto.BOOL else (value == np.trunc(value)).all()
        )
        if whole:
            return
    whole_makers = ("Floor", "Ceil", "Round", "Sign", "Shape", "Size", "ArgMax", "ArgMin", "NonZero")
    if maker is not None and maker.op_type in whole_makers and wanted != onnx.TensorProto.BOOL:
        return
    if name in view.folds and value is None:
        return
    kind_name = onnx.TensorProto.DataType.Name(wanted)
    yield Hit(f"Cast to {kind_name} is a copy: the fraction stays", "to")


@kind("dropout-training")
def _dropout(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    name, ratio = given(node, 2), view.value(given(node, 1)) if given(node, 1) else None
    if not name or (ratio is not None and not ratio.any()):
        return
    training = view.value(name)
    if training is None or training.any():
        yield Hit("training_mode is not read: nothing is dropped", "training_mode")


@kind("prelu-slope")
def _prelu(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    shape, slope = view.shape(given(node, 0)), view.shape(given(node, 1))
    if slope is None or shape is None or None in slope:
        return
    count = math.prod(slope)
    if count == 1 or all(size == 1 for size in shape[2:]) or slope == shape:
        return
    if rule.options["per_channel"] and _slope_per_channel(view, slope):
        return
    if None not in shape and count == math.prod(shape[1:]):
        return
    yield Hit(f"a slope of shape {text(slope)} does not run on {text(shape)}", "slope")


def _slope_per_channel(view: View, slope: Shape) -> bool:
    """[C,1,1], or [C] before opset 7, where it meant the channels: both are loaded as C batches of one value."""
    return (len(slope) == 3 and slope[1:] == (1, 1)) or (len(slope) == 1 and view.opset < 7)


@kind("prelu-per-channel")
def _prelu_channels(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    slope = view.shape(given(node, 1))
    if slope is not None and _slope_per_channel(view, slope) and slope[0] != 1:
        yield Hit(
            "one slope per channel is right on CSharp alone: CSharpBurst takes the first for all channels, "
            "the GPU another order",
            "slope",
        )


@kind("leaky-alpha")
def _leaky(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    alpha = attribute(node, "alpha", 0.01)
    if alpha > 1:
        yield Hit(f"alpha={alpha:g}: the GPU computes max(x, alpha*x), which is another function above 1", "alpha")


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
    asked = set(range(axis, rank)) if old else {axis}
    written = attribute(node, "axis", 1)
    written = written + rank if written < 0 else written
    here = set(range(1, rank)) if rule.options["normalises"] == "all" else {written}
    wide = {place for place, size in enumerate(shape) if size != 1}
    if asked & wide != here & wide:
        yield Hit(
            f"over axis {' and '.join(map(str, sorted(asked)))} is asked for, "
            f"over {' and '.join(map(str, sorted(here)))} is computed",
            "axis",
        )
