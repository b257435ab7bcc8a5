"""Reads a graph in the valid form into steps, or reports why a node is not supported.

The forms of all opsets from 9 on are read (attributes or inputs for pads, bounds, scales, axes), because a graph
may come from a file as well as from the rewrites. A step has one output; shapes are those at the declared size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.graph.shape import Shapes
from pipeline.graph.shapes import infer
from pipeline.targets.compute import spatial, values
from pipeline.targets.compute.flattened import flattened
from pipeline.targets.compute.flattened import reader as flattened_reader
from pipeline.targets.compute.patterns import patterns, recognise
from pipeline.targets.compute.reading import picture_shape
from pipeline.targets.compute.steps import ELSEWHERE, Refused, Step, Steps, Unsupported
from pipeline.targets.compute.styled import Styled, style_constants

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    Reader = Callable[[gs.Node, Shapes], list[Step]]


def read(graph: gs.Graph, guides: tuple[str, ...] = ()) -> Steps:
    """The steps of a graph with one output; nodes that are not supported are in `refused`.

    The first input is the picture. Others are `guides`, the names of textures, or one is the style vector, of
    shape (1, K, 1, 1).
    """
    shapes = infer(graph)
    result = graph.outputs[0].name
    steps = Steps([], [], graph.inputs[0].name, result, {}, result, guides)
    aliases: dict[str, str] = {}
    for tensor in graph.tensors().values():
        shape = shapes.static(tensor)
        if shape is not None and 0 < len(shape) <= 4 and not hasattr(tensor, "values"):
            sizes = picture_shape(shape)
            if sizes is not None:
                steps.shapes[tensor.name] = sizes
    flat = flattened(graph, shapes)
    steps.shapes |= flat
    wholes, parts = patterns(graph, shapes)
    styled: Styled = {}
    if len(graph.inputs) > 1 and not guides:
        styled, refused = style_constants(graph, graph.inputs[1], shapes)
        steps.refused += refused
    for node in graph.nodes:
        if not node.outputs or node.op == "Constant" or id(node) in parts or node.outputs[0].name in styled:
            continue
        try:
            if id(node) in wholes:
                step = wholes[id(node)]
                step.inputs = tuple(aliases.get(name, name) for name in step.inputs)
                steps.steps.append(step)
                continue
            reader = _READERS.get(node.op)
            if reader is None or node.domain not in (None, "", "ai.onnx"):
                raise Unsupported(f"{node.op} is not supported", ELSEWHERE)
            for output in node.outputs:
                if output.name not in steps.shapes:
                    raise Unsupported(
                        f"the shape of {output.name} is not known, or it is not a picture", ELSEWHERE
                    )
            for step in flattened_reader(node, shapes, flat) or _read(reader, node, shapes, styled):
                step.inputs = tuple(aliases.get(name, name) for name in step.inputs)
                if step.kind == "same":
                    aliases[step.output] = step.inputs[0]
                else:
                    steps.steps.append(step)
        except Unsupported as error:
            steps.refused.append(Refused(node.name, node.op, error.reason, error.fix))
    steps.result = aliases.get(steps.result, steps.result)
    recognise(steps)
    return steps


def _read(reader: Reader, node: gs.Node, shapes: Shapes, styled: Styled) -> list[Step]:
    """The steps of a node, which may read constants that depend on the style."""
    of_style = [tensor.name in styled for tensor in node.inputs]
    if not any(of_style):
        return reader(node, shapes)
    if node.op in ("Add", "Sub", "Mul", "Div"):
        return values.binary(node, shapes, styled)
    if node.op in ("Conv", "MatMul") and not of_style[0]:
        raise Unsupported("convolutions whose weights depend on the style are not supported", ELSEWHERE)
    raise Unsupported(f"{node.op} of a picture and values that depend on the style is not supported", ELSEWHERE)


_READERS: dict[str, Reader] = {
    "Conv": spatial.convolution,
    "ConvTranspose": spatial.convolution,
    "Gemm": spatial.dense,
    "MatMul": spatial.dense,
    "BatchNormalization": values.batch_norm,
    "InstanceNormalization": values.instance_norm,
    "GroupNormalization": values.group_norm,
    "LayerNormalization": values.layer_norm,
    "MeanVarianceNormalization": values.mean_variance,
    "Relu": values.activation("RELU"),
    "LeakyRelu": values.activation("LEAKY", ("alpha", 0.01)),
    "PRelu": values.prelu,
    "Elu": values.activation("ELU", ("alpha", 1.0)),
    "Tanh": values.activation("TANH"),
    "Sigmoid": values.activation("SIGMOID"),
    "HardSigmoid": values.activation("HARD_SIGMOID", ("alpha", 0.2), ("beta", 0.5)),
    "HardSwish": values.activation("HARD_SWISH"),
    "Softplus": values.activation("SOFTPLUS"),
    "Mish": values.activation("MISH"),
    "Erf": values.activation("ERF"),
    "Gelu": values.gelu,
    "Abs": values.activation("ABSOLUTE"),
    "Sqrt": values.activation("SQUARE_ROOT"),
    "Exp": values.activation("EXPONENTIAL"),
    "Clip": values.clip,
    "Max": values.min_max,
    "Min": values.min_max,
    "Pow": values.power,
    "Add": values.binary,
    "Sub": values.binary,
    "Mul": values.binary,
    "Div": values.binary,
    "Neg": values.negative,
    "Pad": spatial.pad,
    "Slice": spatial.slice_,
    "Split": spatial.split,
    "Gather": spatial.gather,
    "Concat": spatial.concat,
    "Resize": spatial.resize,
    "Upsample": spatial.resize,
    "DepthToSpace": spatial.shuffle,
    "SpaceToDepth": spatial.shuffle,
    "MaxPool": spatial.pool,
    "AveragePool": spatial.pool,
    "GlobalAveragePool": spatial.mean,
    "ReduceMean": spatial.mean,
    "Softmax": values.softmax,
    "Reshape": spatial.reshape,
    "Flatten": spatial.reshape,
    "Squeeze": spatial.reshape,
    "Unsqueeze": spatial.reshape,
    "Transpose": spatial.transpose,
    "Identity": spatial.identity,
    "Dropout": spatial.identity,
}
