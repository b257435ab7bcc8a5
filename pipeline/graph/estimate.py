"""Estimates how large what a graph computes is before anything runs, so that nothing floods memory.

    result = estimate(light(model), {"x": (1, 3, 64, 80)})
    result.peak, result.all.work, result.all.unknown

`folded` is for what folds constants (`rewrites.constants`, onnxsim, ONNX Runtime as it loads a model), the rest
for what runs a network. Weights are not read, so that an estimate takes about a millisecond per hundred nodes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import onnx

from pipeline.graph.elementwise import BROADCASTING, UNARY
from pipeline.graph.onnx_inference import declared_sizes
from pipeline.graph.standard import infer_shapes
from pipeline.graph.structure import check_structure, label

MOST_FOLDED = 256 << 20
"""Bytes that one folded constant may have; all of a graph's together may have four times as many."""
_VALUES = 1024
"""Elements up to which a constant is shown to shape inference with its values: sizes, axes, pads."""
_DATA_DEPENDENT = frozenset(
    [
        *("Loop", "Scan", "RNN", "LSTM", "GRU", "Einsum", "DFT", "STFT", "RoiAlign", "MaxRoiPool"),
        *("ImageDecoder", "RegexFullMatch", "StringNormalizer", "StringSplit", "StringConcat", "TfIdfVectorizer"),
        *("SequenceMap", "NonMaxSuppression", "Unique", "Multinomial"),
    ]
)
"""Operators whose work or memory does not follow from the shapes of their inputs and outputs."""
_CONVOLUTIONS = {"Conv": 1, "ConvTranspose": 1, "ConvInteger": 1, "QLinearConv": 3, "DeformConv": 1}
_PRODUCTS = frozenset(["MatMul", "Gemm", "MatMulInteger", "QLinearMatMul", "FusedMatMul"])
_VIEWS = frozenset(["Constant", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Shape", "Size"])

# fmt: off
_GROWING = frozenset([
    "AveragePool", "BatchNormalization", "Concat", "Constant", "Conv", "ConvTranspose", "DepthToSpace",
    "DequantizeLinear", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "GroupNormalization", "LRN",
    "InstanceNormalization",
    "LayerNormalization", "LogSoftmax", "LpNormalization", "MatMul", "MaxPool", "MeanVarianceNormalization",
    "Pad", "QuantizeLinear", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Softmax", "SpaceToDepth", "Transpose", "Unsqueeze",
    "Upsample",
])
# fmt: on
"""Operators whose results have, along each axis, no fewer elements for inputs that have no fewer: not Slice, whose
bounds may count from both ends, nor Squeeze, which may go by the sizes, nor what computes with shapes."""

Known = dict[str, tuple[tuple[int, ...], int]]
"""Tensor name -> its shape, all sizes known, and the bytes of an element."""


@dataclass
class Size:
    """Memory and work of a set of nodes."""

    largest: int = 0
    """Bytes of the largest result."""
    largest_of: str = ""
    total: int = 0
    """Bytes of all results together."""
    work: int = 0
    """Multiply-adds, and 8 for each element that is read or written otherwise."""
    unknown: str = ""
    """The first node whose size is not known; "" if there is none."""

    def add(self, node: onnx.NodeProto, result_bytes: int | None, work: int) -> None:
        if result_bytes is None:
            self.unknown = self.unknown or f"{node.op_type} {label(node)}"
            return
        self.total += result_bytes
        self.work += work
        if result_bytes > self.largest:
            self.largest, self.largest_of = result_bytes, f"{node.op_type} {label(node)}"


@dataclass
class Estimate:
    """Memory and work of a model at one size of its inputs."""

    all: Size = field(default_factory=Size)
    folded: Size = field(default_factory=Size)
    """Of the nodes whose results do not depend on the inputs' values."""
    peak: int = 0
    """Most bytes of results that are alive at one time, nodes in order, and the largest working buffer."""


def light(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without the values of weights, with local functions written out, and without inferred shapes.

    Raises PipelineError `invalid-onnx`, `graph-too-large` (pipeline.graph.structure).
    """
    check_structure(model)
    if model.functions:
        from onnx import inliner

        model = inliner.inline_local_functions(model)
    copy = onnx.ModelProto(ir_version=max(model.ir_version, 4))
    copy.opset_import.extend(model.opset_import)
    copy.graph.name = "light"
    constant = {tensor.name for tensor in model.graph.initializer}
    copy.graph.input.extend(value for value in model.graph.input if value.name not in constant)
    for value in model.graph.output:
        copy.graph.output.add(name=value.name).type.tensor_type.elem_type = value.type.tensor_type.elem_type
    for tensor in model.graph.initializer:
        count = math.prod(tensor.dims)
        if count <= _VALUES and tensor.data_location != onnx.TensorProto.EXTERNAL:
            copy.graph.initializer.append(tensor)
        else:
            copy.graph.value_info.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
    copy.graph.node.extend(model.graph.node)
    return copy


def estimate(model: onnx.ModelProto, inputs: Mapping[str, Sequence[int]] | None = None) -> Estimate:
    """The memory and work of a `light` model, with input shapes as declared or as given by name. Raises nothing.

    `Size.unknown` names the first node whose shapes are not known in advance (loops, results whose size depends
    on values, foreign operators).
    """
    stored = {value.name for value in (*model.graph.value_info, *model.graph.initializer)}
    known = _known(model, inputs or {})
    result = Estimate()
    alive = 0
    nodes = list(model.graph.node)
    last: dict[str, int] = {}
    for index, node in enumerate(nodes):
        last.update(dict.fromkeys(node.input, index))
        for attribute in node.attribute:
            for graph in _graphs(attribute):
                last.update(dict.fromkeys(_within(graph), index))
    for value in model.graph.output:
        last[value.name] = len(nodes)
    ends: dict[int, int] = {}
    for index, node in enumerate(nodes):
        size, buffer = _node(node, known, stored, result)
        alive += size
        result.peak = max(result.peak, alive + buffer)
        for name in node.output:
            if name in known:
                end = last.get(name, index)
                ends[end] = ends.get(end, 0) + _bytes(known, name)
        alive -= ends.pop(index, 0)
    return result


def grows_with_inputs(model: onnx.ModelProto) -> bool:
    """Whether no tensor of a `light` model is larger for smaller inputs; False where that is not certain.

    Then a run takes no more than one with inputs that are larger, or as large, along every axis.
    """
    return all(node.domain in ("", "ai.onnx") and _grows(node) for node in model.graph.node)


def _grows(node: onnx.NodeProto) -> bool:
    if node.op_type == "Resize":  # a policy divides by the sizes of the input
        return not any(attribute.name == "keep_aspect_ratio_policy" for attribute in node.attribute)
    return node.op_type in _GROWING or node.op_type in UNARY or node.op_type in BROADCASTING


def _node(node: onnx.NodeProto, known: Known, constant: set[str], totals: Estimate) -> tuple[int, int]:
    """Add a node and its subgraphs to `totals`; returns the bytes of its results and of its working buffer."""
    operator = node.op_type
    inner = [graph for attribute in node.attribute for graph in _graphs(attribute)]
    names = [name for name in node.output if name]
    reads = [name for name in node.input if name]
    fixed = operator == "Constant" or (bool(reads) and not inner and constant.issuperset(reads))
    fixed = fixed or (operator in ("Shape", "Size") and bool(reads) and reads[0] in known)
    if fixed:
        constant.update(names)
    for graph in inner:
        within = set(constant) | {tensor.name for tensor in graph.initializer}
        for inner_node in graph.node:
            _node(inner_node, known, within, totals)
    known_sizes = operator not in _DATA_DEPENDENT and all([name in known for name in names])
    result_bytes = sum([_bytes(known, name) for name in names]) if known_sizes else None
    work, buffer = _work(node, operator, known, names, reads)
    if operator in _VIEWS:
        work = 0
    totals.all.add(node, result_bytes, work)
    if fixed and operator != "Constant":
        totals.folded.add(node, result_bytes, work)
    return result_bytes or 0, buffer


def _work(
    node: onnx.NodeProto, operator: str, known: Known, names: list[str], reads: list[str]
) -> tuple[int, int]:
    elements = {name: math.prod(known[name][0]) for name in (*names, *reads) if name in known}
    moved = 8 * sum(elements.values())
    out = elements.get(names[0], 0) if names else 0
    place = _CONVOLUTIONS.get(operator)
    if place is not None and len(node.input) > place and node.input[place] in known:
        shape = known[node.input[place]][0]
        if operator == "ConvTranspose":
            source_shape = known.get(node.input[0], ((), 0))[0]
            columns = math.prod(shape[1:]) * math.prod(source_shape[2:]) * max(_integer(node, "group", 1), 1)
            return moved + columns * (source_shape[1] if len(source_shape) > 1 else 1), 4 * columns
        return moved + out * math.prod(shape[1:]), 0
    if operator in _PRODUCTS and reads and reads[0] in known:
        shape = known[reads[0]][0]
        return moved + out * max(shape[-2:], default=1), 0
    if operator.endswith("Pool"):
        kernel = next((attribute.ints for attribute in node.attribute if attribute.name == "kernel_shape"), ())
        return moved + out * math.prod(max(size, 1) for size in kernel), 0
    if operator == "LRN":
        return moved + out * max(_integer(node, "size", 1), 1), 0
    return moved, 0


def _integer(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), default)


def _within(graph: onnx.GraphProto) -> Iterator[str]:
    """The tensors that a graph inside a node reads, those from outside it included."""
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            for inner in _graphs(attribute):
                yield from _within(inner)
    yield from (output.name for output in graph.output)


def _graphs(attribute: onnx.AttributeProto) -> Sequence[onnx.GraphProto]:
    if not attribute.HasField("g"):
        return attribute.graphs
    return (attribute.g, *attribute.graphs)


def _bytes(known: Known, name: str) -> int:
    shape, item = known[name]
    return math.prod(shape) * item


def _known(model: onnx.ModelProto, inputs: Mapping[str, Sequence[int]]) -> Known:
    """The shapes that are known: by ONNX's own inference and, where it ends, by ours."""
    sized = model
    if inputs:
        sized = onnx.ModelProto()
        sized.CopyFrom(model)
        for value in sized.graph.input:
            if value.name in inputs:
                shape = value.type.tensor_type.shape
                del shape.dim[:]
                for size in inputs[value.name]:
                    shape.dim.add(dim_value=int(size))
    known: Known = {}
    try:
        inferred = infer_shapes(sized)
    except Exception:  # not a model that it can read: nothing is known of it
        inferred = sized
    _note(inferred.graph, known)
    missing = any(name and name not in known for node in model.graph.node for name in node.output)
    return _with_our_own(sized, known) if missing else known


def _note(graph: onnx.GraphProto, known: Known) -> None:
    for value in (*graph.input, *graph.value_info, *graph.output):
        declared = declared_sizes(value) or ()
        shape = tuple([size for size in declared if size is not None])
        if len(shape) == len(declared) and min(shape, default=0) >= 0 and value.type.tensor_type.HasField("shape"):
            known[value.name] = shape, _item(value.type.tensor_type.elem_type)
    for tensor in graph.initializer:
        known[tensor.name] = tuple(tensor.dims), _item(tensor.data_type)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name == "value" and node.op_type == "Constant" and node.output:
                known[node.output[0]] = tuple(attribute.t.dims), _item(attribute.t.data_type)
            for inner in _graphs(attribute):
                _note(inner, known)


def _with_our_own(model: onnx.ModelProto, known: Known) -> Known:
    """What our own inference knows besides: forms of several opsets, and sizes that are computed from shapes."""
    from pipeline.graph.model import from_model
    from pipeline.graph.shapes import infer

    try:
        shapes = infer(from_model(model)).known
    except Exception:  # a graph that is too odd for graphsurgeon: what ONNX knows is all
        return known
    own = {name: (shape, 8) for name, shape in shapes.items() if None not in shape}
    return {**own, **known}  # type: ignore[dict-item]


@lru_cache(256)
def _item(kind: int) -> int:
    try:
        return max(onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize, 1)
    except (KeyError, ValueError, TypeError):
        return 8


def folded_elements(node: onnx.NodeProto, inputs: Mapping[str, onnx.TensorProto], opset: int) -> list[int] | None:
    """The number of elements of each output of one node with constant inputs; None if it is not known.

    `inputs` are by name; only those of few elements need values.
    """
    graph = onnx.GraphProto(name="one")
    graph.node.append(node)
    for name, tensor in inputs.items():
        if tensor.raw_data or not math.prod(tensor.dims):
            graph.initializer.append(tensor)
        else:
            value = onnx.helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))
            graph.input.append(value)
    for name in node.output:
        graph.output.add(name=name)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    if node.op_type in _DATA_DEPENDENT:
        return None
    known = _known(model, {})
    if any(name and name not in known for name in node.output):
        return None
    return [math.prod(known[name][0]) for name in node.output if name]
