"""Masks: convert the output of a segmentation network to one channel, 1 at the subject, 0 in the background."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.sources.onnx_file import layout_of
from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    import onnx

MARKS = ("subject", "background")
"""What the values of a mask can mark."""
LOGITS = "logits"
"""Value of --output-range: the mask before its sigmoid or softmax."""
_PROBABILITIES = ("Sigmoid", "HardSigmoid", "Softmax", "ArgMax")
_CLASSES = (6, 7)
"""Element types of class numbers, as ArgMax gives them: int32 and int64. Of two classes they are a mask."""
_PASSED = ("Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Resize", "Upsample", "Slice")
"""Operators whose output is within 0..1 where their input is."""


def as_mask(model: onnx.ModelProto, meaning: str, output_range: str | None, path: Path) -> str:
    """Append the nodes that turn the only output into a mask in 0..1, in place; returns a sentence for the notes.

    `meaning` (subject or background) says what high values mark: those of the one channel, or those of the second
    of two channels (background, subject, as training code orders classes). The result marks the subject:
    (N, 1, H, W), or (N, H, W, 1) for one channel of a channels-last network. An output (N, H, W) has one channel,
    and the class numbers of two classes are a mask. `output_range` is 0..1, 0..255 or
    logits; None means 0..1 where the graph ends in a sigmoid or softmax. Raises PipelineError `bad-mask` and
    `contract-missing`.
    """
    if meaning not in MARKS:
        raise PipelineError(
            "bad-mask",
            f"{meaning!r} is not something that a mask can mark",
            subject="--mask",
            remedy="Use subject or background.",
        )
    output = model.graph.output[0]
    given = layout_of(model.graph.input[0])[0]
    if len(output.type.tensor_type.shape.dim) not in (3, 4):
        output.CopyFrom(_inferred(model))
    if len(output.type.tensor_type.shape.dim) == 3:
        _add_channel_axis(model, 3 if given == "nhwc" else 1)
    if output.type.tensor_type.elem_type in _CLASSES:
        _append(model, "Cast", to=1)
        output.type.tensor_type.elem_type = 1
    layout, channels = layout_of(output, given)
    if channels not in (1, 2):
        output.CopyFrom(_inferred(model))
        layout, channels = layout_of(output, layout)
    if channels not in (1, 2):
        raise PipelineError(
            "bad-mask",
            f"the output {output.name} has {channels or 'an unknown number of'} channels, but a mask has 1 or 2",
            subject=str(path),
            remedy="Keep another output with --take, or omit --mask.",
        )
    value_range = output_range or ("0..1" if _gives_probabilities(model, output.name) else None)
    if value_range not in ("0..1", "0..255", LOGITS):
        raise PipelineError(
            "contract-missing",
            "the graph does not end in a sigmoid or softmax, so the range of its mask must be declared"
            if value_range is None
            else f"{value_range} is not a value range of a mask",
            subject=str(path),
            remedy=f"Use --output-range {LOGITS} (before the sigmoid or softmax), 0..1 or 0..255.",
        )
    if channels == 1:
        _one_channel(model, meaning, value_range)
    else:
        _two_channels(model, meaning, value_range, layout)
    scale = "" if value_range == "0..1" else f", from {value_range}"
    return f"the values of {output.name} mark the {meaning}{scale}; the built mask is 1 at the subject"


def _inferred(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """The only output with its inferred shape: exporters leave sizes out that a Resize computes."""
    import onnx

    from pipeline.graph import from_model
    from pipeline.graph.shapes import infer

    graph = from_model(model)
    shape = infer(graph).of(graph.outputs[0])
    name, kind = model.graph.output[0].name, model.graph.output[0].type.tensor_type.elem_type
    return onnx.helper.make_tensor_value_info(name, kind, shape)


def _add_channel_axis(model: onnx.ModelProto, axis: int) -> None:
    """(N, H, W), as networks squeeze their one channel away or take the maximum, with a channel at `axis`."""
    from pipeline.graph import declared_opset

    if declared_opset(model) < 13:
        _append(model, "Unsqueeze", axes=[axis])
    else:
        _append(model, "Unsqueeze", constant=np.array([axis]), dtype=np.dtype(np.int64))
    shape = model.graph.output[0].type.tensor_type.shape
    sizes = [type(dim).FromString(dim.SerializeToString()) for dim in shape.dim]
    del shape.dim[:]
    shape.dim.extend(sizes[:axis])
    shape.dim.add().dim_value = 1
    shape.dim.extend(sizes[axis:])


def _one_channel(model: onnx.ModelProto, meaning: str, value_range: str) -> None:
    reversed_ = meaning == "background"
    if value_range == LOGITS:
        if reversed_:
            _append(model, "Neg")
        _append(model, "Sigmoid")
        return
    if value_range == "0..255":
        _append(model, "Div", constant=np.array(255))
    if reversed_:
        _append(model, "Sub", constant=np.array(1), constant_first=True)


def _two_channels(model: onnx.ModelProto, meaning: str, value_range: str, layout: str) -> None:
    if layout == "nhwc":
        _append(model, "Transpose", perm=[0, 3, 1, 2])
    subject = {"subject": 1, "background": 0}[meaning]
    weight = np.zeros((1, 2, 1, 1))
    weight[0, subject] = 1 / 255 if value_range == "0..255" else 1
    if value_range == LOGITS:
        # The softmax of two values is the sigmoid of their difference.
        weight[0, 1 - subject] = -1
    _append(model, "Conv", constant=weight, kernel_shape=[1, 1])
    if value_range == LOGITS:
        _append(model, "Sigmoid")
    dims = model.graph.output[0].type.tensor_type.shape.dim
    height, width = (dims[1], dims[2]) if layout == "nhwc" else (dims[2], dims[3])
    sizes = [type(dim).FromString(dim.SerializeToString()) for dim in (height, width)]
    dims[1].CopyFrom(type(dims[1])(dim_value=1))
    dims[2].CopyFrom(sizes[0])
    dims[3].CopyFrom(sizes[1])


def _append(
    model: onnx.ModelProto,
    op: str,
    constant: np.ndarray | None = None,
    constant_first: bool = False,
    dtype: np.dtype[Any] | None = None,
    **attributes: Any,
) -> None:
    """Append one node after the output; the new output keeps its name."""
    from onnx import helper, numpy_helper

    name = model.graph.output[0].name
    number = sum(1 for node in model.graph.node if node.name.startswith("mask/"))
    before = f"mask/{number}/before"
    for node in model.graph.node:
        node.input[:] = [before if tensor_name == name else tensor_name for tensor_name in node.input]
        node.output[:] = [before if tensor_name == name else tensor_name for tensor_name in node.output]
    inputs = [before]
    if constant is not None:
        dtype = dtype or helper.tensor_dtype_to_np_dtype(model.graph.output[0].type.tensor_type.elem_type or 1)
        tensor = numpy_helper.from_array(constant.astype(dtype), f"mask/{number}/constant")
        model.graph.initializer.append(tensor)
        inputs.insert(0 if constant_first else 1, tensor.name)
    model.graph.node.append(helper.make_node(op, inputs, [name], name=f"mask/{number}/{op}", **attributes))


def _gives_probabilities(model: onnx.ModelProto, name: str) -> bool:
    producers = {output: node for node in model.graph.node for output in node.output}
    for _ in range(len(model.graph.node)):
        node = producers.get(name)
        if node is None:
            return False
        if node.op_type in _PROBABILITIES:
            return True
        if node.op_type not in _PASSED:
            return False
        name = node.input[0]
    return False
