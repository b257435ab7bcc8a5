"""Infers the shapes of a graph's tensors, at the declared picture size or at another.

ONNX's own inference does not say where a graph contradicts itself at a size, which is how a size that is baked in
shows, and it skips what other opsets and ONNX Runtime write differently. This one reads every opset's form of the
operators that image-to-image networks use, and evaluates the integer subgraphs that compute shapes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, reduce

import numpy as np
import onnx_graphsurgeon as gs

from pipeline.graph import nodes as n
from pipeline.graph import operator_shapes as ops
from pipeline.graph.elementwise import BROADCASTING, UNARY
from pipeline.graph.forms import slices
from pipeline.graph.shape import Contradiction, Shapes, broadcast, product
from pipeline.graph.surgeon import sorted_nodes

SMALL = 64
"""Integer tensors up to this many elements are evaluated: sizes, pads and axes, never data."""


def infer(graph: gs.Graph, inputs: Mapping[str, Sequence[int | None]] | None = None) -> Shapes:
    """The shapes in a graph, from its declared input shapes or from `inputs` (by input name).

    Operators it does not know keep the shape that the file recorded, if `inputs` is not given.
    """
    shapes = Shapes()
    for tensor in graph.inputs:
        declared = (inputs or {}).get(tensor.name, tensor.shape)
        if declared is not None:
            shapes.known[tensor.name] = tuple(
                int(size) if isinstance(size, (int, np.integer)) and size > 0 else None for size in declared
            )
    for node in sorted_nodes(graph):
        try:
            _infer_node(node, shapes, graph.opset)
        except Contradiction as problem:
            shapes.problems.append((node.name, str(problem)))
        except Exception:  # whatever a malformed node leads to: nothing is known about it
            pass
        if inputs is None:
            for tensor in node.outputs:
                recorded = tensor.shape
                if tensor.name not in shapes.known and recorded is not None:
                    shapes.known[tensor.name] = tuple(
                        int(s) if isinstance(s, (int, np.integer)) and s > 0 else None for s in recorded
                    )
    return shapes


def spatial_axes(shape: Sequence[object] | None) -> tuple[int, int] | None:
    """The axes of height and width of a rank 4 input: (1, 2) when only the last axis looks like channels."""
    if shape is None or len(shape) != 4:
        return None
    return (1, 2) if shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4) else (2, 3)


def infer_elsewhere(graph: gs.Graph) -> Shapes:
    """The shapes at another picture size: twice the declared height and three times the width.

    What differs from `infer(graph)` follows from the picture's size; `problems` show sizes that are baked in.
    """
    inputs: dict[str, Sequence[int | None]] = {}
    for tensor in graph.inputs:
        axes = spatial_axes(tensor.shape)
        sizes = [int(s) if isinstance(s, (int, np.integer)) and s > 0 else None for s in tensor.shape or ()]
        if axes is not None:
            for axis, factor in zip(axes, (2, 3), strict=True):
                size = sizes[axis]
                sizes[axis] = None if size is None else size * factor
        if tensor.shape is not None:
            inputs[tensor.name] = sizes
    return infer(graph, inputs)


_KEPT = "_shapes_kept"
"""Where a graph keeps shapes that were inferred of it, beside the number of its nodes."""


def keep_shapes(graph: gs.Graph) -> None:
    """Let every `LazyShapes` of a graph share what is inferred from now on, until this is called again.

    To be called after each change of the graph, as those who run rewrites do.
    """
    graph.__dict__[_KEPT] = (len(graph.nodes), {})


def forget_shapes(graph: gs.Graph) -> None:
    """Let every `LazyShapes` of a graph infer for itself again."""
    graph.__dict__.pop(_KEPT, None)


class LazyShapes:
    """A graph's shapes at its declared size (`here`) and at another (`elsewhere`), inferred when first asked."""

    def __init__(self, graph: gs.Graph) -> None:
        self._graph = graph

    @cached_property
    def here(self) -> Shapes:
        return self._shared("here", infer)

    @cached_property
    def elsewhere(self) -> Shapes:
        return self._shared("elsewhere", infer_elsewhere)

    def _shared(self, name: str, infer_: Callable[[gs.Graph], Shapes]) -> Shapes:
        nodes, kept = self._graph.__dict__.get(_KEPT, (-1, {}))
        if nodes != len(self._graph.nodes):  # nothing is kept, or nodes were added since
            return infer_(self._graph)
        if name not in kept:
            kept[name] = infer_(self._graph)
        return kept[name]  # type: ignore[no-any-return]

    def fixed_size(self, tensor: gs.Tensor, axis: int) -> int | None:
        """The size along an axis when it is known and the same at every picture size, else None."""
        first, second = self.here.of(tensor), self.elsewhere.of(tensor)
        if first is None or second is None or axis >= len(first) or first[axis] != second[axis]:
            return None
        return first[axis]


# fmt: off
_SAME = UNARY | frozenset([
    "BatchNormalization", "CastLike", "CumSum", "DequantizeLinear", "GroupNormalization", "Hardmax", "ImageScaler",
    "InstanceNormalization", "LRN", "LayerNormalization", "LogSoftmax", "LpNormalization",
    "MeanVarianceNormalization", "QuantizeLinear", "RMSNormalization", "Softmax",
])
# fmt: on
"""Operators whose result has the shape of their first input."""
_INTEGER_MATH: dict[str, Callable[..., np.ndarray]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Equal": np.equal,
    "Greater": np.greater,
    "Less": np.less,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Identity": np.asarray,
    "Neg": np.negative,
    "Abs": np.abs,
    "Where": np.where,
    "Not": np.logical_not,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Round": np.round,
    "Sqrt": np.sqrt,
}
_REDUCING: dict[str, Callable[..., np.ndarray]] = {
    "ReduceProd": np.prod,
    "ReduceSum": np.sum,
    "ReduceMax": np.max,
    "ReduceMin": np.min,
}


def _infer_node(node: gs.Node, shapes: Shapes, opset: int) -> None:
    inputs = [n.given(node, index) for index in range(len(node.inputs))]
    input_shapes = [shapes.of(tensor) for tensor in inputs]

    def put(shape: Sequence[int | None] | None, output: int = 0) -> None:
        if shape is not None and output < len(node.outputs):
            shapes.known[node.outputs[output].name] = tuple([None if s is None else int(s) for s in shape])

    if node.domain not in (None, "", "ai.onnx") and node.op not in _SAME:
        return
    first = input_shapes[0] if input_shapes else None
    match node.op:
        case "Constant":
            constant = n.constant_node_value(node)
            if constant is not None:
                put(constant.shape)
        case op if op in _SAME:
            put(first)
            if op == "Dropout":
                put(first, 1)
        case op if op in BROADCASTING:
            put(broadcast(*input_shapes))
        case "Conv" | "ConvInteger":
            put(ops.conv(node, first, input_shapes[1]))
        case "QLinearConv":
            put(ops.conv(node, first, input_shapes[3]))
        case "ConvTranspose":
            put(ops.conv_transpose(node, first, input_shapes[1]))
        case "MaxPool" | "AveragePool" | "LpPool":
            put(ops.pool(node, first))
            put(ops.pool(node, first), 1)
        case "GlobalAveragePool" | "GlobalMaxPool":
            put(None if first is None else (*first[:2], *(1 for _ in first[2:])))
        case "Pad":
            put(ops.pad(node, first, shapes))
        case "Upsample" | "Resize":
            put(ops.resize(node, first, shapes, inputs))
        case "Concat":
            put(ops.concat(node, input_shapes))
        case "Slice":
            put(ops.slice_(node, first, shapes))
        case "Split":
            for index, shape in enumerate(ops.split(node, first, shapes)):
                put(shape, index)
        case "Reshape":
            put(ops.reshape(node, first, shapes))
        case "Flatten":
            if first is not None:
                axis = int(node.attrs.get("axis", 1))
                axis = axis + len(first) if axis < 0 else axis
                put((product(first[:axis]), product(first[axis:])))
        case "Transpose":
            if first is not None:
                order = n.ints(node, "perm") or tuple(reversed(range(len(first))))
                put([first[axis] for axis in order])
        case "Squeeze" | "Unsqueeze":
            put(ops.squeeze(node, first, shapes))
        case "Gather":
            if first is not None and input_shapes[1] is not None:
                axis = int(node.attrs.get("axis", 0)) % len(first)
                put((*first[:axis], *input_shapes[1], *first[axis + 1 :]))
        case "DepthToSpace" | "SpaceToDepth":
            put(ops.blocks(node, first))
        case "Gemm":
            if first is not None and input_shapes[1] is not None:
                put(
                    (
                        first[-1 if node.attrs.get("transA") else 0],
                        input_shapes[1][0 if node.attrs.get("transB") else 1],
                    )
                )
        case "MatMul" | "MatMulInteger":
            put(ops.matmul(first, input_shapes[1]))
        case "QLinearMatMul":
            put(ops.matmul(first, input_shapes[3]))
        case "Expand":
            target = shapes.value(inputs[1])
            put(None if target is None else broadcast(first, tuple(int(s) for s in target)))
        case "ConstantOfShape":
            target = shapes.value(inputs[0])
            put(target if target is None else tuple(int(s) for s in target))
        case "Tile":
            times = shapes.value(inputs[1])
            if first is not None and times is not None:
                put([None if s is None else s * int(t) for s, t in zip(first, times, strict=True)])
        case "Shape":
            dimensions = None if first is None else first[int(node.attrs.get("start", 0)) : node.attrs.get("end")]
            put(None if dimensions is None else (len(dimensions),))
        case "Range":
            bounds = [value for tensor in inputs if (value := shapes.value(tensor)) is not None]
            if len(bounds) == 3:
                start, limit, delta = (float(value) for value in bounds)
                put((max(0, math.ceil((limit - start) / delta)),))
        case "DynamicQuantizeLinear":
            put(first)
            put((), 1)
            put((), 2)
        case op if op.startswith("Reduce") or op in ("ArgMax", "ArgMin"):
            put(ops.reduce(node, first, shapes))
    _evaluate(node, inputs, shapes)


def _evaluate(node: gs.Node, inputs: list[gs.Tensor | None], shapes: Shapes) -> None:
    """Compute the values of small integer tensors that stand for shapes."""
    if node.op == "Split":
        _evaluate_split(node, inputs, shapes)
    if len(node.outputs) != 1:
        return
    name = node.outputs[0].name
    if node.op == "Size":
        count = product(shapes.of(inputs[0]) or (None,))
        if count is not None:
            shapes.values[name] = np.array(count, dtype=np.int64)
            shapes.known[name] = ()
        return
    if node.op == "Shape":
        shape = shapes.of(inputs[0])
        if shape is not None:
            dimensions = shape[int(node.attrs.get("start", 0)) : node.attrs.get("end")]
            if None not in dimensions:
                shapes.values[name] = np.array(dimensions, dtype=np.int64)
        return
    values: list[np.ndarray] = []
    for tensor in inputs:
        value = shapes.value(tensor)
        if value is None or value.size > SMALL:
            return
        values.append(value)
    if not values:
        return
    # The size is known before anything is made: a file may ask for any size.
    known_shape = shapes.known.get(name)
    if known_shape is None and node.op in ("ConstantOfShape", "Range", "Expand", "Tile"):
        return
    if known_shape is not None and math.prod([size or 0 for size in known_shape]) > SMALL:
        return
    result: np.ndarray | None = None
    match node.op:
        case "Gather":
            result = np.take(values[0], np.asarray(values[1], dtype=np.intp), axis=int(node.attrs.get("axis", 0)))
        case "Concat":
            result = np.concatenate(values, axis=int(node.attrs["axis"]))
        case "Cast":
            kind = int(node.attrs["to"])
            result = values[0].astype(
                {6: np.int32, 7: np.int64, 9: np.bool_, 11: np.float64}.get(kind, np.float32)
            )
        case "Squeeze" | "Reshape" | "Unsqueeze":
            shape = shapes.known.get(name)
            known = [size for size in shape or () if size is not None]
            result = None if shape is None or len(known) < len(shape) else values[0].reshape(known)
        case "Slice":
            result = values[0][slices(node, values[0].shape, shapes)]
        case "Transpose":
            result = np.transpose(values[0], n.ints(node, "perm"))
        case "Div":
            result = _quotient(*values)
        case "Mod" if np.all(values[1]):
            result = np.asarray((np.fmod if node.attrs.get("fmod", 0) else np.mod)(*values))
        case op if op in _REDUCING and values[0].ndim <= 1 and not node.attrs.get("noop_with_empty_axes"):
            result = np.asarray(_REDUCING[op](values[0], keepdims=bool(node.attrs.get("keepdims", 1))))
        case "Expand":
            result = values[0] * np.ones(tuple(int(s) for s in values[1]), dtype=values[0].dtype)
        case "Tile":
            result = np.tile(values[0], tuple(int(s) for s in values[1]))
        case "ConstantOfShape":
            fill = node.attrs.get("value")
            filler = np.zeros(1, np.float32) if fill is None else np.asarray(fill.values)
            result = np.full(tuple(int(s) for s in values[0]), filler.reshape(-1)[0], dtype=filler.dtype)
        case "Range":
            result = np.arange(*(value.item() for value in values), dtype=values[0].dtype)
        case "Max" | "Min":
            result = np.asarray(reduce(np.maximum if node.op == "Max" else np.minimum, values))
        case op if op in _INTEGER_MATH:
            result = np.asarray(_INTEGER_MATH[op](*values))
    if result is not None and result.size <= SMALL:
        shapes.values[name] = result
        shapes.known[name] = result.shape


def _quotient(a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """What Div gives: rounded towards zero for integers, which may not be divided by zero."""
    if not all(value.dtype.kind in "iu" for value in (a, b)):
        return np.asarray(a / b)
    return np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))) if np.all(b) else None


def _evaluate_split(node: gs.Node, inputs: list[gs.Tensor | None], shapes: Shapes) -> None:
    value = shapes.value(inputs[0])
    sizes = [shapes.of(output) for output in node.outputs]
    if value is None or value.ndim != 1 or value.size > SMALL:
        return
    start = 0
    for output, size in zip(node.outputs, sizes, strict=True):
        if size is None or size[0] is None:
            return
        shapes.values[output.name] = value[start : start + size[0]]
        start += size[0]
