"""What linear resizing means in ONNX files of opset 10 and older.

Upsample and Resize-10 in mode linear sample at asymmetric coordinates (ONNX Upsample-9, Resize-10). torch's
exporter writes them for bilinear interpolation with align_corners=False, which is half-pixel: such a file computes
something else than the network that it was exported from (0.4 off in a range of 1, peers.md section C). Here each
such node says what is meant, in the form of opset 11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

TORCH = "pytorch"
"""Producer name that torch.onnx.export writes."""


def settle(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """The model with explicit coordinates in old linear resizes, and a note; the model itself if it has none."""
    if not any(_is_old_linear(node) for node in model.graph.node):
        return model, ""
    import onnx_graphsurgeon as gs

    from pipeline.graph import from_model, to_model
    from pipeline.graph.runnable import runnable

    mode = "half_pixel" if model.producer_name == TORCH else "asymmetric"
    graph = from_model(model)
    count = 0
    for node in graph.nodes:
        if not _is_old_linear(node):
            continue
        if len(node.inputs) > 1:
            scales = node.inputs[1]
        elif "scales" in node.attrs:
            scales = gs.Constant(f"{node.outputs[0].name}/scales", np.array(node.attrs["scales"], np.float32))
        else:
            continue
        roi = gs.Constant(f"{node.outputs[0].name}/roi", np.zeros(0, np.float32))
        node.op = "Resize"
        node.inputs = [node.inputs[0], roi, scales]
        node.attrs = {"mode": "linear", "coordinate_transformation_mode": mode}
        count += 1
    if mode == "half_pixel":
        note = (
            f"{count} linear resizes are taken as half-pixel: torch's exporter wrote them, and that is what the "
            "network does (ONNX before opset 11 can only say asymmetric)"
        )
    else:
        note = f"{count} linear resizes are asymmetric, as ONNX before opset 11 has it"
    return runnable(to_model(graph)), note


def _is_old_linear(node: object) -> bool:
    op = getattr(node, "op", None) or getattr(node, "op_type", "")
    inputs = len(getattr(node, "inputs", None) or getattr(node, "input", ()))
    if not (op == "Upsample" or (op == "Resize" and inputs == 2)):
        return False
    attrs = getattr(node, "attrs", None)
    if attrs is None:
        held = node.attribute  # type: ignore[attr-defined]
        attrs = {a.name: a.s.decode("utf-8", "replace") for a in held if a.name == "mode"}
    return attrs.get("mode", "nearest") in ("linear", "bilinear")
