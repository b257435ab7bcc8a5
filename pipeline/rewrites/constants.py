"""Everything that is known before the picture is: constants, their types, and nodes that do nothing.

Barracuda from 1.3 on takes initializers and Constant nodes as compile-time constants and little else: a bias
that is read through Identity, Cast or Mul becomes 0 without a word, a weight becomes an import error
(importer.md section 4; measured, recipes_measured.md "constants").
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pipeline.graph import nodes as n
from pipeline.graph.estimate import MOST_FOLDED, folded_elements
from pipeline.graph.shape import Shapes
from pipeline.graph.shapes import SMALL, LazyShapes
from pipeline.rewrites.base import Edit, Needed, Outcome, Refusal, Rewrite
from pipeline.rewrites.element_types import QUANTISING, kind_of, remove_casts, to_float32

if TYPE_CHECKING:
    from pipeline.targets import Target

_RANDOM = frozenset(
    [
        "RandomNormal",
        "RandomUniform",
        "RandomNormalLike",
        "RandomUniformLike",
        "Bernoulli",
        "Multinomial",
        "Dropout",
    ]
)
_LARGEST = MOST_FOLDED // 4
"""Elements above which a constant is not unfolded."""
_SLOW_LARGEST = 1 << 18
"""The same for operators that the reference implementation computes one number at a time."""
_FOLDED = frozenset(
    [
        *("Abs", "Add", "And", "Cast", "CastLike", "Ceil", "Clip", "Concat", "ConstantOfShape", "Div", "Equal"),
        *("Erf", "Exp", "Expand", "EyeLike", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Gemm"),
        *("Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu"),
        *("Less", "LessOrEqual", "Log", "MatMul", "Max", "Mean", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pad"),
        *("Pow", "PRelu", "Range", "Reciprocal", "Relu", "Reshape", "Round", "Shape", "Sigmoid", "Sign", "Sin"),
        *("Cos", "Tan", "Size", "Slice", "Softmax", "Softplus", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh"),
        *("Tile", "Transpose", "Unsqueeze", "Where", "Xor", "DepthToSpace", "SpaceToDepth", "Trilu", "CumSum"),
        *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin"),
        *("ReduceProd", "ReduceSum", "ReduceSumSquare", "ArgMax", "ArgMin", "BitwiseAnd", "BitwiseOr", "Celu"),
        *("Elu", "Gelu", "Selu", "ThresholdedRelu", "BatchNormalization", "InstanceNormalization"),
    ]
)
"""Operators that the reference implementation computes in whole arrays: their time follows from their size."""


class Constants(Rewrite):
    """Folds what is constant into float32 initializers, and removes nodes that pass their input on."""

    name = "constants"
    summary = "folds constants into float32 initializers and removes Identity, Dropout and other no-ops"
    reason = "everything that does not depend on the picture is stored in initializers, regardless of the exporter"

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        outcome += _passing_nodes(graph)
        outcome += _constant_nodes(graph)
        outcome += _fold(graph)
        outcome += to_float32(graph, self.name)
        outcome += remove_casts(graph, self.name)
        outcome += _neutral_arithmetic(graph)
        outcome += _batch_norm_outputs(graph)
        outcome += _unused_inputs(graph)
        for node in n.nodes_of(graph, *sorted(_RANDOM - {"Dropout"})):
            outcome += self.refuse(
                node,
                "random-values",
                "it gives different random numbers each time",
                "export the network without noise",
            )
        return outcome


class BakedSizes(Rewrite):
    """Replaces what follows from the declared picture size (Shape sub-graphs) by constants, as the last resort.

    The graph then runs only at that size: Barracuda's own Shape layer gives its 8-D dimensions, so sizes
    computed at run time cannot be kept (importer.md section 3). Without a declared size: `size-not-declared`.
    """

    name = "baked-sizes"
    summary = "replaces sizes that are computed from Shape by constants for the declared picture size"
    removes = (
        "attribute-ignored",
        "rank-not-supported",
        "shape-is-not-read",
        "input-does-not-fold",
        "shape-not-static",
        "sizes-do-not-fold",
        "unknown-operator",
    )
    last = True

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        if not any(True for _ in n.nodes_of(graph, "Shape", "Size")) or not needed(*graph.nodes):
            return []
        shapes = LazyShapes(graph).here
        names = _replace_known(graph, shapes, shapes.values)
        if names:
            size = "x".join(str(s) for s in graph.inputs[0].shape or ())
            return [
                Edit(
                    self.name,
                    names,
                    f"computed sizes became constants: the graph now runs only at the input shape {size}",
                )
            ]
        return [
            Refusal(
                self.name,
                "size-not-declared",
                node.name,
                node.op,
                "sizes are computed from the picture's size, which is not declared",
                "declare the picture's height and width",
            )
            for node in n.nodes_of(graph, "Shape", "Size")
            if shapes.value(node.outputs[0]) is None
        ]


_EVAL = "export the network in eval mode"


def _passing_nodes(graph: gs.Graph) -> Outcome:
    outcome: Outcome = []
    removed: list[str] = []
    for node in n.nodes_of(graph, "Identity", "Dropout"):
        if node.op == "Dropout":
            training = n.value(n.given(node, 2))
            if training is not None and bool(training.any()):
                fix = "put the dropout layers into eval mode before the export"
                outcome += Constants.refuse(node, "dropout-in-training-mode", "it drops values at random", fix)
                continue
            if any(output.outputs or n.is_output(graph, output) for output in node.outputs[1:]):
                outcome.append(
                    Refusal(
                        Constants.name, "dropout-mask-used", node.name, node.op, "its mask is read by other nodes"
                    )
                )
                continue
        source = node.inputs[0]
        if isinstance(source, gs.Constant) and n.is_output(graph, node.outputs[0]):
            continue
        if n.bypass(graph, node):
            removed.append(node.name)
    if removed:
        outcome.append(
            Edit(
                Constants.name,
                tuple(removed),
                "removed: its input is read directly",
                "it returns its input unchanged",
            )
        )
    return outcome


def _constant_nodes(graph: gs.Graph) -> list[Edit]:
    replaced: list[str] = []
    for node in n.nodes_of(graph, "Constant"):
        values = n.constant_node_value(node)
        output = node.outputs[0]
        if values is None or n.is_output(graph, output):
            continue
        _become_constant(graph, output, values)
        replaced.append(node.name)
    if not replaced:
        return []
    return [
        Edit(
            Constants.name,
            tuple(replaced),
            "Constant nodes became initializers",
            "all constants are stored in the same form",
        )
    ]


def _become_constant(graph: gs.Graph, tensor: gs.Tensor, values: np.ndarray) -> None:
    """An initializer of the same name takes the tensor's place; its producer lets go of it."""
    constant = gs.Constant(tensor.name, np.ascontiguousarray(values).reshape(values.shape))
    readers = n.consumers(tensor)
    for maker in list(tensor.inputs):
        maker.outputs = [output for output in maker.outputs if output is not tensor]
    for reader in readers:
        for index, read in enumerate(reader.inputs):
            if read is tensor:
                reader.inputs[index] = constant


def _fold(graph: gs.Graph) -> list[Edit]:
    """Fold nodes with constant inputs, and integer sub-graphs that come out the same at every picture size."""
    folded: list[str] = []
    constants = {
        id(tensor): tensor for node in graph.nodes for tensor in node.inputs if isinstance(tensor, gs.Constant)
    }
    room = 4 * MOST_FOLDED + sum(tensor.values.nbytes for tensor in constants.values())
    if any(True for _ in n.nodes_of(graph, "Shape", "ConstantOfShape", "Size", "Range")):
        lazy = LazyShapes(graph)
        shapes, elsewhere = lazy.here, lazy.elsewhere.values
        same = {
            name: values
            for name, values in shapes.values.items()
            if name in elsewhere and np.array_equal(values, elsewhere[name])
        }
        folded += _replace_known(graph, shapes, same)
    graph.toposort()
    for node in list(graph.nodes):
        if (
            node.domain not in (None, "", "ai.onnx")
            or node.op in _RANDOM | QUANTISING | {"Dropout"}
            or not node.outputs
        ):
            continue
        tensors = [n.given(node, index) for index in range(len(node.inputs))]
        if not any(tensor is not None for tensor in tensors):
            continue
        if any(tensor is not None and not isinstance(tensor, gs.Constant) for tensor in tensors):
            continue
        if any(n.is_output(graph, output) for output in node.outputs):
            continue
        if any(isinstance(attribute, gs.Graph) for attribute in node.attrs.values()):
            continue
        results = _evaluate(graph, node, tensors) if room > 0 else None
        if results is None:
            continue
        room -= sum(values.nbytes for values in results)
        folded.append(node.name)
        for output, values in zip(list(node.outputs), results, strict=True):
            _become_constant(graph, output, values)
    if not folded:
        return []
    return [
        Edit(
            Constants.name,
            tuple(folded),
            "computed and stored as initializers",
            "they do not depend on the picture",
        )
    ]


def _replace_known(graph: gs.Graph, shapes: Shapes, values: dict[str, np.ndarray]) -> tuple[str, ...]:
    """Let known integer values that data nodes read become initializers; the names of the nodes replaced."""
    names: list[str] = []
    for node in list(graph.nodes):
        if len(node.outputs) != 1 or node.op == "Constant":
            continue
        output = node.outputs[0]
        if output.name not in values or n.is_output(graph, output) or not output.outputs:
            continue
        if all(len(reader.outputs) == 1 and reader.outputs[0].name in values for reader in n.consumers(output)):
            continue
        _become_constant(graph, output, values[output.name])
        names.append(node.name)
    return tuple(names)


def _evaluate(graph: gs.Graph, node: gs.Node, tensors: list[gs.Tensor | None]) -> list[np.ndarray] | None:
    """The outputs of a node with constant inputs, by the reference implementation of the onnx package."""
    from onnx.reference import ReferenceEvaluator

    constants = {tensor.name: tensor for tensor in tensors if tensor is not None}
    if not _is_small(node, constants, graph.opset):
        return None
    exported = gs.exporters.onnx_exporter.OnnxExporter.export_node(node)
    inputs = {name: np.asarray(tensor.values) for name, tensor in constants.items()}
    proto = onnx.helper.make_graph(
        [exported],
        "fold",
        [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(values.dtype), values.shape
            )
            for name, values in inputs.items()
        ],
        [onnx.helper.make_empty_tensor_value_info(output.name) for output in node.outputs],
    )
    opset = onnx.helper.make_opsetid("", graph.opset)
    try:
        model = onnx.helper.make_model(proto, opset_imports=[opset])
        results = ReferenceEvaluator(model).run(None, inputs)
    except Exception:  # an operator or type the reference implementation lacks: the node stays
        return None
    if any(not isinstance(result, np.ndarray | np.generic) or np.size(result) > _LARGEST for result in results):
        return None
    return [np.asarray(result) for result in results]


def _is_small(node: gs.Node, constants: dict[str, gs.Constant], opset: int) -> bool:
    """Whether computing the node's result takes little memory and time, as far as its inputs' shapes tell."""
    limit = _LARGEST if node.op in _FOLDED else _SLOW_LARGEST
    sizes = [math.prod(tensor.shape) for tensor in constants.values()]
    if sum(sizes) > limit or int(node.attrs.get("group", 1)) > max(sizes):
        return False
    inputs = {}
    for name, tensor in constants.items():
        if math.prod(tensor.shape) <= SMALL:
            inputs[name] = onnx.numpy_helper.from_array(np.asarray(tensor.values), name)
        else:
            inputs[name] = onnx.TensorProto(name=name, dims=tensor.shape, data_type=n.type_number(tensor.dtype))
    try:
        elements = folded_elements(gs.exporters.onnx_exporter.OnnxExporter.export_node(node), inputs, opset)
    except Exception:  # a type or an attribute that has no form in ONNX: the node stays
        return False
    return elements is not None and sum(elements) <= limit


def _neutral_arithmetic(graph: gs.Graph) -> list[Edit]:
    """x + 0, x - 0, x * 1, x / 1 and x ** 1; `Mul(1, x)` stays: it resets Barracuda's stale channel count."""
    removed: list[str] = []
    shapes: Shapes | None = None
    for node in n.nodes_of(graph, "Add", "Sub", "Mul", "Div", "Pow"):
        if len(node.inputs) != 2:
            continue
        order = ((0, 1), (1, 0)) if node.op == "Add" else ((0, 1),)
        for kept, dropped in order:
            operand = node.inputs[dropped]
            if not isinstance(operand, gs.Constant) or (
                operand.shape and any(size != 1 for size in operand.shape)
            ):
                continue
            neutral = 0.0 if node.op in ("Add", "Sub") else 1.0
            if n.scalar(operand) != neutral:
                continue
            shapes = shapes or LazyShapes(graph).here
            rank = shapes.rank(node.inputs[kept])
            if rank is None or rank < len(operand.shape) or kind_of(node.inputs[kept]) != "f":
                continue
            if n.bypass(graph, node, node.inputs[kept]):
                removed.append(node.name)
            break
    if not removed:
        return []
    return [Edit(Constants.name, tuple(removed), "removed", "adding 0 or multiplying by 1 changes nothing")]


def _batch_norm_outputs(graph: gs.Graph) -> Outcome:
    outcome: Outcome = []
    for node in n.nodes_of(graph, "BatchNormalization"):
        if node.attrs.get("training_mode"):
            reason = (
                "it normalises by the statistics of a batch of several pictures, or other nodes read these "
                "statistics"
            )
            fix = "export it for a batch of one picture"
            outcome += Constants.refuse(node, "batch-norm-in-training-mode", reason, fix)
        elif len(node.outputs) > 1:
            if any(output.outputs or n.is_output(graph, output) for output in node.outputs[1:]):
                reason = "its running statistics are read by other nodes"
                outcome += Constants.refuse(node, "batch-norm-in-training-mode", reason, _EVAL)
                continue
            node.outputs = [node.outputs[0]]
            outcome.append(
                Edit(
                    Constants.name,
                    (node.name,),
                    "training outputs removed",
                    "nothing reads them",
                )
            )
    return outcome


def _unused_inputs(graph: gs.Graph) -> list[Edit]:
    unused = [tensor for tensor in graph.inputs if not tensor.outputs and not n.is_output(graph, tensor)]
    if not unused or len(unused) == len(graph.inputs):
        return []
    graph.inputs = [tensor for tensor in graph.inputs if all(tensor is not other for other in unused)]
    return [
        Edit(
            Constants.name,
            tuple(tensor.name for tensor in unused),
            "unused inputs removed",
            "no node reads them",
        )
    ]
