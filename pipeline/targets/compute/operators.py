"""Reads a valid graph into steps: what each node means for pictures, or why it is not carried.

Forms of every opset from 9 on are taken (attributes or inputs for pads, bounds, scales, axes), because a graph may
come from a file as well as from the rewrites. A step has one output; shapes are those at the declared size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.graph.shapes import infer
from pipeline.targets.compute import spatial, values
from pipeline.targets.compute.patterns import patterns, recognise
from pipeline.targets.compute.reading import picture_shape
from pipeline.targets.compute.steps import ELSEWHERE, Refused, Steps, Unsupported

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs


def read(graph: gs.Graph) -> Steps:
    """The steps of a graph with one picture in and out; nodes that are not carried are in `refused`."""
    shapes = infer(graph)
    result = graph.outputs[0].name
    found = Steps([], [], graph.inputs[0].name, result, {}, result)
    same: dict[str, str] = {}
    for tensor in graph.tensors().values():
        shape = shapes.static(tensor)
        if shape is not None and 0 < len(shape) <= 4 and not hasattr(tensor, "values"):
            sizes = picture_shape(shape)
            if sizes is not None:
                found.shapes[tensor.name] = sizes
    wholes, parts = patterns(graph, shapes)
    for node in graph.nodes:
        if not node.outputs or node.op == "Constant" or id(node) in parts:
            continue
        try:
            if id(node) in wholes:
                step = wholes[id(node)]
                step.inputs = tuple(same.get(name, name) for name in step.inputs)
                found.steps.append(step)
                continue
            reader = _READERS.get(node.op)
            if reader is None or node.domain not in (None, "", "ai.onnx"):
                raise Unsupported(f"{node.op} has no kernel here", ELSEWHERE)
            for made in node.outputs:
                if made.name not in found.shapes:
                    raise Unsupported(f"the shape of {made.name} is not known, or it is not a picture", ELSEWHERE)
            for step in reader(node, shapes):
                step.inputs = tuple(same.get(name, name) for name in step.inputs)
                if step.kind == "same":
                    same[step.output] = step.inputs[0]
                else:
                    found.steps.append(step)
        except Unsupported as error:
            found.refused.append(Refused(node.name, node.op, error.reason, error.fix))
    found.result = same.get(found.result, found.result)
    recognise(found)
    return found


_READERS = {
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
    "Max": values.extreme,
    "Min": values.extreme,
    "Pow": values.power,
    "Add": values.binary,
    "Sub": values.binary,
    "Mul": values.binary,
    "Div": values.binary,
    "Neg": values.negative,
    "Pad": spatial.pad,
    "Slice": spatial.cut,
    "Split": spatial.split,
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
    "Identity": spatial.unchanged,
    "Dropout": spatial.unchanged,
}
