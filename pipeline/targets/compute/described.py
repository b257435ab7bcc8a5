"""Describes a plan: as an ONNX model for the reports, as a table for people, and by its costs.

The nodes of the model are dispatches, in a domain of their own; it cannot be run.
"""

from __future__ import annotations

from typing import Any

import onnx

from pipeline.support.size import Size
from pipeline.targets.compute.constants import groups
from pipeline.targets.compute.kernels import kernel_name
from pipeline.targets.compute.plan import PICTURE, Plan

DOMAIN = "unity-bridge.compute"


def model(plan: Plan) -> onnx.ModelProto:
    """The plan as a model of one node per dispatch, with the nominal size of the input."""
    sizes = plan.sizes(plan.size)

    def tensor(number: int) -> str:
        if number in (PICTURE, plan.numbers_in):
            return plan.names[0]
        if plan.is_texture(number):
            return plan.guides[number - 1]
        return plan.names[1] if number == plan.result else f"value{number}"

    written_values = {
        PICTURE,
        max(PICTURE, plan.numbers_in),
        *range(1, len(plan.guides) + 1),
        *(v for dispatch in plan.dispatches for v in (dispatch.output, dispatch.kept) if v >= 0),
    }

    def read_as(number: int) -> list[str]:
        """Names of a value that is read; one that no dispatch writes is a part of another, or a concatenation."""
        root = plan.values[number].root
        whole = [n for n in (number, root) if n in written_values]
        return [tensor(n) for n in whole[:1] or sorted(v for v in written_values if plan.values[v].root == root)]

    place = {id(dispatch): number for number, dispatch in enumerate(plan.dispatches)}
    nodes = []
    for number, dispatch in enumerate(plan.dispatches):
        read = [name for n in (dispatch.first, dispatch.second) if n >= 0 for name in read_as(n)]
        read += [f"statistics{place[id(dispatch.statistics_of)]}"] if dispatch.statistics_of is not None else []
        written = [tensor(n) for n in (dispatch.output, dispatch.kept) if n >= 0]
        written += [f"statistics{number}"] if dispatch.macro("STATISTICS") else []
        nodes.append(
            onnx.helper.make_node(
                dispatch.kernel, read, written or [f"table{number}"], name=f"dispatch{number}", domain=DOMAIN
            )
        )
    ends = []
    for name, value, channels in zip(plan.names, (PICTURE, plan.result), plan.channels, strict=True):
        fixed = value == PICTURE or plan.numbers_out
        shape = [1, channels, *sizes[value].hw] if fixed else [1, channels, None, None]
        ends.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    if plan.style_length:
        shape = [1, plan.style_length, 1, 1]
        ends.insert(1, onnx.helper.make_tensor_value_info(plan.style_input, onnx.TensorProto.FLOAT, shape))
    for name, channels in zip(plan.guides, plan.input_widths[1:], strict=True):
        shape = [1, channels, *plan.size.hw]
        ends.insert(-1, onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    weights = [
        onnx.numpy_helper.from_array(weight.data, f"weight{number}") for number, weight in enumerate(plan.weights)
    ]
    graph = onnx.helper.make_graph(nodes, "plan", ends[:-1], ends[-1:], weights)
    opsets = [onnx.helper.make_opsetid(DOMAIN, 1)]
    whole = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.helper.set_model_props(whole, dict(sorted(plan.metadata.items())))
    return whole


def table(plan: Plan) -> list[dict[str, Any]]:
    """The plan as a table, one row per dispatch, with sizes at the nominal size of the input."""
    sizes = plan.sizes(plan.size)
    rows = []
    for number, dispatch in enumerate(plan.dispatches):
        output_size = sizes[dispatch.output] if dispatch.output >= 0 else Size(0, 0)
        rows.append(
            {
                "dispatch": number,
                "kernel": kernel_name(dispatch, plan.half),
                "does": dispatch.title,
                "reads": [_place(plan, v) for v in (dispatch.first, dispatch.second) if v >= 0],
                "writes": [
                    _place(plan, v) for v in (dispatch.output, dispatch.kept) if v >= 0 and _stored(plan, v)
                ],
                "channels": plan.values[dispatch.output].channels if dispatch.output >= 0 else 0,
                "width": output_size.width,
                "height": output_size.height,
                "nodes": list(dispatch.nodes),
            }
        )
    return rows


def _stored(plan: Plan, number: int) -> bool:
    return plan.values[number].stored


def _place(plan: Plan, number: int) -> str:
    """Where a value is stored: "picture", "result", the name of guides, or the number of its buffer."""
    value = plan.values[number]
    if number == PICTURE:
        return "picture"
    if plan.is_texture(number):
        return plan.guides[number - 1]
    if number == plan.result:
        return "result"
    root = plan.values[value.root]
    part = f"+{value.first_block}" if value.first_block else ""
    return f"buffer {root.slot}{part}"


def counts(plan: Plan, size: Size) -> dict[str, float]:
    """Count the work of a picture of this size.

    `dispatches`; `giga_fma`: billions of multiply-adds that the threads of convolutions issue, including those
    outside the picture and in padding channels; `moved_megabytes`: activations read and written, each value once
    per dispatch (a perfect cache); `alive_megabytes`: the buffers that values share.
    """
    sizes = plan.sizes(size)
    each = 8 if plan.half else 16

    def elements(number: int) -> int:
        return 0 if number < 0 else plan.values[number].blocks * sizes[number].pixels

    issued, moved = 0, 0
    for dispatch in plan.dispatches:
        m = dispatch.macros
        stored = dispatch.macro("STORE", 1) and dispatch.statistics_of is None
        moved += elements(dispatch.first) + elements(dispatch.second) + elements(dispatch.kept)
        moved += elements(dispatch.output) if stored else 0
        x, y, _ = groups(plan, dispatch, sizes)
        if dispatch.kernel == "Conv":
            pixels = x * y * 4 * m["THREADS_X"] * m["THREADS_Y"]
            channels = 3 if m.get("PAINT") == 3 else 4 * m["BLOCKS"]
            inputs = dispatch.int_constants["BLOCKS_A_GROUP"] * m["LANES"]
            issued += pixels * channels * inputs * m["KERNEL_X"] * m["KERNEL_Y"]
        elif dispatch.kernel == "Depthwise":
            issued += elements(dispatch.output) * 4 * m["KERNEL_X"] * m["KERNEL_Y"]
    return {
        "dispatches": len(plan.dispatches),
        "giga_fma": round(issued * 1e-9, 3),
        "moved_megabytes": round(moved * each * 1e-6, 1),
        "alive_megabytes": round(sum(plan.slot_elements(size)) * each * 1e-6, 1),
    }
