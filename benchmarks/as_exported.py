"""Graphs in the forms of exporters that cannot be run here, made from torch's own export of the same network.

PyTorch 0.4 (2018) and tf2onnx need interpreters and frameworks of their time; what they wrote is known from files:
the conventions below are those of shared fast_neural_style exports of 2018 and of tf2onnx's and keras2onnx's
unoptimised graphs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import TensorProto, helper, numpy_helper

_NEWER_THAN_8 = frozenset(
    ["Erf", "Where", "Shrink", "ConstantOfShape", "NonZero", "Scatter", "EyeLike", "Sign", "OneHot", "HardSwish"]
)
_TO_LAST, _TO_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
_SPATIAL = frozenset(
    [
        *("Conv", "ConvTranspose", "InstanceNormalization", "BatchNormalization", "GlobalAveragePool"),
        *("AveragePool", "MaxPool", "Resize", "DepthToSpace", "Upsample"),
    ]
)
"""Operators that ONNX has in channels-first only: tf2onnx puts a Transpose on either side."""
_PLAIN = frozenset(
    [
        *("Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "Add", "Sub", "Mul", "Div", "Erf", "Identity", "PRelu"),
        *("HardSigmoid", "HardSwish", "Dropout", "Sqrt", "Exp"),
    ]
)


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


def pytorch_0_4(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """An opset 9 export as PyTorch 0.4 wrote it; None if it needs an operator that is newer.

    Opset 8: Upsample's scales are an attribute; every tensor is named by a number; initializers are inputs too;
    there is no recorded shape.
    """
    graph = gs.import_onnx(_copy(model))
    if any(node.op in _NEWER_THAN_8 for node in graph.nodes):
        return None
    for node in graph.nodes:
        if node.op == "Upsample":
            scales = _value(node.inputs[1])
            node.attrs["scales"] = [float(item) for item in scales]
            node.inputs = node.inputs[:1]
    graph.cleanup()
    tensors = graph.tensors()
    for number, tensor in enumerate(tensors.values()):
        tensor.name = str(number)
    for node in graph.nodes:
        node.name = ""
    result = gs.export_onnx(graph)
    del result.graph.value_info[:]
    for tensor in result.graph.initializer:
        result.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    del result.opset_import[:]
    result.opset_import.append(helper.make_opsetid("", 8))
    result.ir_version, result.producer_name, result.producer_version = 3, "pytorch", "0.4"
    return result


def _value(tensor: gs.Tensor) -> np.ndarray:
    """A constant's values, whether initializer or Constant node."""
    if isinstance(tensor, gs.Constant):
        return tensor.values
    (maker,) = tensor.inputs
    assert maker.op == "Constant", maker.op
    return maker.attrs["value"].values


def channels_last(model: onnx.ModelProto, producer: str = "tf2onnx") -> onnx.ModelProto | None:
    """A torch export as tf2onnx writes it before it optimises; None if it has operators that are not known here.

    The picture is NHWC. Convolutions, norms and resizes stand between two Transposes, their weights are HWIO with
    a Transpose behind, their biases an Add of their own; everything else works on NHWC.
    """
    graph = gs.import_onnx(_copy(model))
    graph.fold_constants().cleanup().toposort()
    ranks = _ranks(model)
    last: dict[str, gs.Variable] = {}
    built: list[gs.Node] = []
    constants: dict[int, gs.Constant] = {}

    def new(node: gs.Node, output: gs.Variable | None = None) -> gs.Variable:
        given = output or gs.Variable(f"{node.name}:0", dtype=np.float32)
        node.outputs = [given]
        built.append(node)
        return given

    def moved(tensor: gs.Tensor, perm: list[int], name: str, output: gs.Variable | None = None) -> gs.Variable:
        return new(gs.Node("Transpose", name, {"perm": perm}, [tensor]), output)

    def plain(tensor: gs.Tensor) -> gs.Tensor:
        """A tensor as NHWC."""
        if not isinstance(tensor, gs.Constant):
            return last[tensor.name]
        if id(tensor) not in constants:
            values = tensor.values
            if values.ndim == 4:
                values = values.transpose(_TO_LAST)
            elif values.ndim == 3:
                values = values.transpose(1, 2, 0)
            constants[id(tensor)] = gs.Constant(f"{tensor.name}/last", np.ascontiguousarray(values))
        return constants[id(tensor)]

    picture = gs.Variable("image:0", np.float32, [1, *(graph.inputs[0].shape[axis] for axis in (2, 3, 1))])
    last[graph.inputs[0].name] = picture
    for number, node in enumerate(graph.nodes):
        name = f"model/layer_{number}/{node.op}"
        if node.op in _SPATIAL and ranks.get(node.outputs[0].name) == 4:
            inputs: list[gs.Tensor] = [moved(last[node.inputs[0].name], _TO_FIRST, f"{name}/to_first")]
            bias = None
            if node.op in ("Conv", "ConvTranspose"):
                weight = node.inputs[1].values
                if node.attrs.get("group", 1) == 1 and node.op == "Conv":
                    stored = gs.Constant(f"{name}/kernel", np.ascontiguousarray(weight.transpose(2, 3, 1, 0)))
                    inputs.append(moved(stored, [3, 2, 0, 1], f"{name}/kernel_to_first"))
                else:
                    inputs.append(gs.Constant(f"{name}/kernel", weight))
                bias = node.inputs[2].values if len(node.inputs) > 2 else None
            else:
                inputs += node.inputs[1:]
            middle = new(gs.Node(node.op, name, dict(node.attrs), inputs))
            back = moved(middle, _TO_LAST, f"{name}/to_last")
            if bias is not None:
                back = new(gs.Node("Add", f"{name}/BiasAdd", {}, [back, gs.Constant(f"{name}/bias", bias)]))
            last[node.outputs[0].name] = back
            continue
        attrs = dict(node.attrs)
        if node.op in _PLAIN:
            scalars = node.op == "Clip"
            inputs = [plain(node.inputs[0])]
            inputs += [tensor if scalars else plain(tensor) for tensor in node.inputs[1:]]
        elif node.op == "Concat" and attrs.get("axis") == 1:
            attrs["axis"] = 3
            inputs = [plain(tensor) for tensor in node.inputs]
        elif node.op == "Pad" and len(node.inputs) > 1 and isinstance(node.inputs[1], gs.Constant):
            pads = node.inputs[1].values.reshape(2, 4)[:, _TO_LAST].reshape(-1)
            inputs = [plain(node.inputs[0]), gs.Constant(f"{name}/paddings", pads), *node.inputs[2:3]]
        elif node.op == "ReduceMean" and list(attrs.get("axes", [])) in ([2, 3], [-1, -2]) and attrs["keepdims"]:
            attrs["axes"] = [1, 2]
            inputs = [plain(node.inputs[0])]
        else:
            return None
        last[node.outputs[0].name] = new(gs.Node(node.op, name, attrs, inputs))
    result = last[graph.outputs[0].name]
    result.shape = None
    graph = gs.Graph(nodes=built, inputs=[picture], outputs=[result], opset=graph.opset, name="tf2onnx")
    exported = gs.export_onnx(graph)
    exported.producer_name = producer
    exported.ir_version = 8
    shape = exported.graph.output[0].type.tensor_type
    shape.elem_type = TensorProto.FLOAT
    for size in ("n", "h_out", "w_out", 3):
        dim = shape.shape.dim.add()
        dim.dim_value, dim.dim_param = (size, "") if isinstance(size, int) else (0, size)
        if isinstance(size, str):
            dim.dim_param = size
    return exported


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model)
    values = (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input)
    return {value.name: len(value.type.tensor_type.shape.dim) for value in values}


def functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every node of rank in a function of the file's own, as torch.onnx.dynamo_export wrote it.

    Saved with external data by whoever writes it to a file.
    """
    domain = "pkg.onnxscript.torch_lib"
    opsets = [helper.make_opsetid("", opset.version) for opset in model.opset_import if opset.domain == ""]
    result = _copy(model)
    del result.graph.node[:]
    for number, node in enumerate(model.graph.node):
        if node.op_type == "Constant" or any(attribute.HasField("g") for attribute in node.attribute):
            result.graph.node.append(node)
            continue
        inner = onnx.NodeProto()
        inner.CopyFrom(node)
        inputs = [f"in_{index}" if name else "" for index, name in enumerate(node.input)]
        outputs = [f"out_{index}" for index in range(len(node.output))]
        del inner.input[:], inner.output[:]
        inner.input.extend(inputs)
        inner.output.extend(outputs)
        kind = f"aten_{node.op_type.lower()}_{number}"
        result.functions.append(
            helper.make_function(domain, kind, [name for name in inputs if name], outputs, [inner], opsets)
        )
        result.graph.node.append(
            helper.make_node(
                kind, [name for name in node.input if name], list(node.output), name=node.name, domain=domain
            )
        )
    result.opset_import.append(helper.make_opsetid(domain, 1))
    result.ir_version = max(result.ir_version, 8)
    return result


def float16(model: onnx.ModelProto, keep_io_types: bool = False) -> onnx.ModelProto:
    """The model as ONNX Runtime's converter writes it in half precision."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(_copy(model), keep_io_types=keep_io_types)


def half_expected(model: onnx.ModelProto) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pictures at both sizes, and what a half precision model makes of them when it is computed in float32."""
    import onnxruntime

    from benchmarks.exporters import SIZES

    wide = _copy(model)
    for tensor in (*wide.graph.initializer, *(a.t for node in wide.graph.node for a in node.attribute)):
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for node in wide.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
    for value in (*wide.graph.input, *wide.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    del wide.graph.value_info[:]
    for axis, dim in enumerate(wide.graph.input[0].type.tensor_type.shape.dim):
        if axis > 1:
            dim.dim_param = f"free_{axis}"
    wide.graph.output[0].type.tensor_type.ClearField("shape")
    session = onnxruntime.InferenceSession(wide.SerializeToString(), providers=["CPUExecutionProvider"])
    for number, size in enumerate(SIZES):
        picture = np.random.default_rng(number).random((1, 3, *size), np.float32)
        yield picture, session.run(None, {wide.graph.input[0].name: picture})[0]
