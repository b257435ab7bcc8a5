"""A plan as an ONNX model, for everything that reports on models: operators, weights, names, metadata.

Its nodes are the dispatches, in a domain of their own: nothing runs it.
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
    """The model. Sizes are the nominal ones of the input."""
    sizes = plan.sizes(plan.size)

    def tensor(number: int) -> str:
        if number == PICTURE:
            return plan.names[0]
        return plan.names[1] if number == plan.result else f"value{number}"

    made = {PICTURE, *(v for dispatch in plan.dispatches for v in (dispatch.output, dispatch.kept) if v >= 0)}

    def read_as(number: int) -> list[str]:
        """A value that no dispatch writes is a part of one, or parts joined."""
        root = plan.values[number].root
        whole = [held for held in (number, root) if held in made]
        return [tensor(held) for held in whole[:1] or sorted(v for v in made if plan.values[v].root == root)]

    place = {id(dispatch): number for number, dispatch in enumerate(plan.dispatches)}
    nodes = []
    for number, dispatch in enumerate(plan.dispatches):
        read = [name for held in (dispatch.first, dispatch.second) if held >= 0 for name in read_as(held)]
        read += [f"statistics{place[id(dispatch.of)]}"] if dispatch.of is not None else []
        written = [tensor(held) for held in (dispatch.output, dispatch.kept) if held >= 0]
        written += [f"statistics{number}"] if dispatch.macro("STATISTICS") else []
        nodes.append(
            onnx.helper.make_node(
                dispatch.kernel, read, written or [f"table{number}"], name=f"dispatch{number}", domain=DOMAIN
            )
        )
    ends = []
    for name, value, channels in zip(plan.names, (PICTURE, plan.result), plan.channels, strict=True):
        shape = [1, channels, *sizes[value].hw] if value == PICTURE else [1, channels, None, None]
        ends.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    weights = [onnx.numpy_helper.from_array(held.data, f"weight{at}") for at, held in enumerate(plan.weights)]
    graph = onnx.helper.make_graph(nodes, "plan", ends[:1], ends[1:], weights)
    opsets = [onnx.helper.make_opsetid(DOMAIN, 1)]
    whole = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.helper.set_model_props(whole, dict(sorted(plan.metadata.items())))
    return whole


def table(plan: Plan) -> list[dict[str, Any]]:
    """The plan for people: one row for each dispatch, at the nominal size."""
    sizes = plan.sizes(plan.size)
    rows = []
    for number, dispatch in enumerate(plan.dispatches):
        shown = sizes[dispatch.output] if dispatch.output >= 0 else Size(0, 0)
        rows.append(
            {
                "dispatch": number,
                "kernel": kernel_name(dispatch, plan.half),
                "does": dispatch.title,
                "reads": [_place(plan, v) for v in (dispatch.first, dispatch.second) if v >= 0],
                "writes": [_place(plan, v) for v in (dispatch.output, dispatch.kept) if v >= 0 and _kept(plan, v)],
                "channels": plan.values[dispatch.output].channels if dispatch.output >= 0 else 0,
                "width": shown.width,
                "height": shown.height,
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


def counts(plan: Plan, size: Size) -> dict[str, float]:
    """What a picture of this size costs, counted in the plan.

    `dispatches`; `giga_fma`: multiply-adds that threads of convolutions issue, with those at the edges of tiles
    and in channels that do not exist, in billions; `moved_megabytes`: activations read and written, each value
    once for each dispatch (what a cache can do at best); `alive_megabytes`: the buffers that the values share.
    """
    sizes = plan.sizes(size)
    each = 8 if plan.half else 16

    def elements(number: int) -> int:
        return 0 if number < 0 else plan.values[number].blocks * sizes[number].pixels

    issued, moved = 0, 0
    for dispatch in plan.dispatches:
        m = dispatch.macros
        stored = dispatch.macro("STORE", 1) and dispatch.of is None
        moved += elements(dispatch.first) + elements(dispatch.second) + elements(dispatch.kept)
        moved += elements(dispatch.output) if stored else 0
        x, y, _ = groups(plan, dispatch, sizes)
        if dispatch.kernel == "Conv":
            pixels = x * y * 4 * m["THREADS_X"] * m["THREADS_Y"]
            channels = 3 if m.get("PAINT") == 3 else 4 * m["BLOCKS"]
            inputs = dispatch.fixed["BLOCKS_A_GROUP"] * m["LANES"]
            issued += pixels * channels * inputs * m["KERNEL_X"] * m["KERNEL_Y"]
        elif dispatch.kernel == "Depthwise":
            issued += elements(dispatch.output) * 4 * m["KERNEL_X"] * m["KERNEL_Y"]
    return {
        "dispatches": len(plan.dispatches),
        "giga_fma": round(issued * 1e-9, 3),
        "moved_megabytes": round(moved * each * 1e-6, 1),
        "alive_megabytes": round(sum(plan.slot_elements(size)) * each * 1e-6, 1),
    }
