"""What ONNX Runtime takes: a strictly valid model with the meaning that ONNX gives to a lowered graph's forms.

A lowered graph is written for Barracuda, which checks no opset: attribute forms (Pad-2, Clip-6, Slice-1,
Upsample-9) may stand beside a Resize-11. Such a model is valid in no opset. Here every attribute form is raised
to its opset 13 equivalent. This is the graph as written, not as Barracuda computes it: that is the emulation's.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pipeline.graph import nodes as n
from pipeline.graph.model import from_model, to_model

_RAISED = 13
_LAST_OPSET = {
    "Upsample": 9,
    "Pad": 10,
    "Clip": 10,
    "Slice": 9,
    "Squeeze": 12,
    "Unsqueeze": 12,
    "ReduceSum": 12,
}
"""The last opset that has the operator's attribute form."""


def runnable(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model if its forms agree with the opset it declares, else one of opset 13 with the same meaning.

    Softmax and LogSoftmax keep theirs: below 13 they are on the last axis wherever this project writes them.
    """
    declared = next(held.version for held in model.opset_import if held.domain in ("", "ai.onnx"))
    if all(
        declared <= _LAST_OPSET.get(node.op_type, declared) for node in model.graph.node if _has_old_form(node)
    ):
        return model
    graph = from_model(model)
    for node in n.nodes_of(graph, "Pad", "Clip", "Slice", "Squeeze", "Unsqueeze", "ReduceSum", "Split"):
        _attributes_to_inputs(graph, node)
    for node in n.nodes_of(graph, "Upsample", "Resize"):
        _raise_resize(graph, node)
    for node in n.nodes_of(graph, "Softmax", "LogSoftmax"):
        node.attrs.setdefault("axis", 1 if declared < 13 else -1)
    raised = to_model(graph, opset=max(_RAISED, declared))
    raised.ir_version = 8
    return raised


def _has_old_form(node: onnx.NodeProto) -> bool:
    if node.op_type == "Upsample":
        return True
    names = {attribute.name for attribute in node.attribute}
    return node.op_type in _LAST_OPSET and bool(names & {"pads", "min", "max", "starts", "axes"})


def _attributes_to_inputs(graph: gs.Graph, node: gs.Node) -> None:
    make = n.Builder(graph, node, "runnable")
    empty = gs.Variable.empty()
    match node.op:
        case "Pad" if "pads" in node.attrs:
            pads = make.const(node.attrs.pop("pads"), "pads", np.int64)
            node.inputs = [node.inputs[0], pads, make.const(node.attrs.pop("value", 0.0), "value")]
        case "Clip" if len(node.inputs) == 1:
            low, high = node.attrs.pop("min", None), node.attrs.pop("max", None)
            bounds = [empty if bound is None else make.const(bound, "bound") for bound in (low, high)]
            node.inputs = [node.inputs[0], *bounds]
        case "Slice" if "starts" in node.attrs:
            starts = node.attrs.pop("starts")
            held = (starts, node.attrs.pop("ends"), node.attrs.pop("axes", list(range(len(starts)))))
            node.inputs = [node.inputs[0], *(make.const(values, "bound", np.int64) for values in held)]
        case "Squeeze" | "Unsqueeze" | "ReduceSum" if "axes" in node.attrs:
            node.inputs = [node.inputs[0], make.const(node.attrs.pop("axes"), "axes", np.int64)]
        case "Split" if "split" in node.attrs:
            node.inputs = [node.inputs[0], make.const(node.attrs.pop("split"), "split", np.int64)]


def _raise_resize(graph: gs.Graph, node: gs.Node) -> None:
    """Upsample and Resize-10 are asymmetric and floor; from Resize-11 on the node says so itself."""
    if node.op == "Resize" and len(node.inputs) > 2:
        return
    make = n.Builder(graph, node, "runnable")
    scales = make.const(node.attrs.pop("scales"), "scales") if "scales" in node.attrs else node.inputs[1]
    node.op = "Resize"
    node.inputs = [node.inputs[0], gs.Variable.empty(), scales]
    node.attrs["coordinate_transformation_mode"] = "asymmetric"
    if n.text(node, "mode", "nearest") == "nearest":
        node.attrs["nearest_mode"] = "floor"
