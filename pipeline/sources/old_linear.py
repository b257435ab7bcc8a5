"""Make the coordinates of linear resizes explicit in ONNX files of opset 10 and older.

Upsample and Resize-10 in mode linear sample at asymmetric coordinates (ONNX Upsample-9, Resize-10). torch's
exporter writes them for bilinear interpolation with align_corners=False, which is half-pixel: such a file computes
something other than the network that it was exported from (measured: up to 0.4 in a range of 0..1). Here each such
node gets its intended coordinate_transformation_mode, in the form of opset 11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

TORCH = "pytorch"
"""The producer name that torch.onnx.export writes."""


def make_explicit(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """The model with explicit coordinates in old linear resizes, and a note; the model itself and "" without
    any."""
    if not any(_is_old_linear(node) for node in model.graph.node):
        return model, ""
    from pipeline.graph import from_model, to_model

    mode = "half_pixel" if model.producer_name == TORCH else "asymmetric"
    outputs = {node.output[0] for node in model.graph.node if _is_old_linear(node)}
    graph, count = from_model(model), len(outputs)
    for node in graph.nodes:
        if node.op == "Resize" and node.outputs[0].name in outputs:
            node.attrs["coordinate_transformation_mode"] = mode
    if mode == "half_pixel":
        note = (
            f"{count} linear resizes are treated as half-pixel, because torch's exporter wrote them and the "
            "network does that (ONNX before opset 11 can only express asymmetric)"
        )
    else:
        note = f"{count} linear resizes are asymmetric, as defined by ONNX before opset 11"
    return to_model(graph), note


def _is_old_linear(node: onnx.NodeProto) -> bool:
    if node.op_type != "Upsample" and not (node.op_type == "Resize" and len(node.input) == 2):
        return False
    return any(
        attribute.name == "mode" and attribute.s in (b"linear", b"bilinear") for attribute in node.attribute
    )
