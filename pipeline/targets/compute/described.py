"""A plan as an ONNX model, for everything that reports on models: operators, weights, names, metadata.

Its nodes are the dispatches, in a domain of their own: nothing runs it.
"""

from __future__ import annotations

from typing import Any

import onnx

from pipeline.targets.compute.kernels import kernel_name
from pipeline.targets.compute.plan import PICTURE, Plan

DOMAIN = "unity-bridge.compute"


def model(plan: Plan) -> onnx.ModelProto:
    """The model. Sizes are the nominal ones of the input."""
    sizes = plan.sizes(*plan.size)

    def tensor(number: int) -> str:
        if number == PICTURE:
            return plan.names[0]
        return plan.names[1] if number == plan.result else f"value{number}"

    nodes = []
    for number, dispatch in enumerate(plan.dispatches):
        read = [tensor(held) for held in (dispatch.first, dispatch.second) if held >= 0]
        read += [f"statistics{plan.dispatches.index(dispatch.of)}"] if dispatch.of is not None else []
        written = [tensor(held) for held in (dispatch.output, dispatch.kept) if held >= 0]
        written += [f"statistics{number}"] if dispatch.macro("STATISTICS") else []
        nodes.append(
            onnx.helper.make_node(
                dispatch.kernel, read, written or [f"table{number}"], name=f"dispatch{number}", domain=DOMAIN
            )
        )
    ends = []
    for name, value, channels in zip(plan.names, (PICTURE, plan.result), plan.channels, strict=True):
        shape = [1, channels, *sizes[value]] if value == PICTURE else [1, channels, None, None]
        ends.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    weights = [onnx.numpy_helper.from_array(held.data, f"weight{at}") for at, held in enumerate(plan.weights)]
    graph = onnx.helper.make_graph(nodes, "plan", ends[:1], ends[1:], weights)
    opsets = [onnx.helper.make_opsetid(DOMAIN, 1)]
    made = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.helper.set_model_props(made, dict(sorted(plan.metadata.items())))
    return made


def table(plan: Plan) -> list[dict[str, Any]]:
    """The plan for people: one row for each dispatch, at the nominal size."""
    sizes = plan.sizes(*plan.size)
    rows = []
    for number, dispatch in enumerate(plan.dispatches):
        shown = sizes[dispatch.output] if dispatch.output >= 0 else (0, 0)
        rows.append(
            {
                "dispatch": number,
                "kernel": kernel_name(dispatch, plan.half),
                "does": dispatch.title,
                "reads": [_place(plan, v) for v in (dispatch.first, dispatch.second) if v >= 0],
                "writes": [_place(plan, v) for v in (dispatch.output, dispatch.kept) if v >= 0 and _kept(plan, v)],
                "channels": plan.values[dispatch.output].channels if dispatch.output >= 0 else 0,
                "width": shown[1],
                "height": shown[0],
                "nodes": list(dispatch.nodes),
            }
        )
    return rows


def _kept(plan: Plan, number: int) -> bool:
    value = plan.values[number]
    return value.stored


def _place(plan: Plan, number: int) -> str:
    """The picture, the result, or the buffer that a value lies in."""
    value = plan.values[number]
    if number == PICTURE:
        return "picture"
    if number == plan.result:
        return "result"
    root = plan.values[value.root]
    part = f"+{value.first_block}" if value.first_block else ""
    return f"buffer {root.slot}{part}"
