"""What linear resizing means in ONNX files of opset 10 and older.

Upsample and Resize-10 in mode linear sample at asymmetric coordinates (ONNX Upsample-9, Resize-10). torch's
exporter writes them for bilinear interpolation with align_corners=False, which is half-pixel: such a file computes
something else than the network that it was exported from (0.4 off in a range of 1, peers.md section C). Here each
such node says what is meant, in the form of opset 11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

TORCH = "pytorch"
"""Producer name that torch.onnx.export writes."""


def settle(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """The model with explicit coordinates in old linear resizes, and a note; the model itself if it has none."""
    if not any(_is_old_linear(node) for node in model.graph.node):
        return model, ""
    from pipeline.graph import from_model, to_model

    mode = "half_pixel" if model.producer_name == TORCH else "asymmetric"
    meant = {node.output[0] for node in model.graph.node if _is_old_linear(node)}
    graph, count = from_model(model), len(meant)
    for node in graph.nodes:
        if node.op == "Resize" and node.outputs[0].name in meant:
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
    return any(held.name == "mode" and held.s in (b"linear", b"bilinear") for held in node.attribute)
