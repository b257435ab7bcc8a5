"""Conflicts of sizes that follow where the target ignores an attribute.

An ignored pad or a rounded scale is `wrong` where it happens, and an `error` where tensors of different size meet
later (1.0.4 imports a network with Pad-11 and throws at the first residual addition, measured.md section 3).
"""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.targets.barracuda.rules.shaping import slice_of
from pipeline.targets.barracuda.rules.slicing import INT32_MAX, onnx_range, rounded_range, truncated_range

if TYPE_CHECKING:
    import onnx
    import onnx_graphsurgeon as gs

    from pipeline.graph.shape import Shape, Shapes
    from pipeline.validation.view import View


def disagreements(view: View) -> list[tuple[str, str]]:
    """(node name, conflict) for nodes whose sizes conflict only as the target computes them."""
    has = view.target.semantics
    if not any(has.intersection(needed) or not needed for needed in map(_changes_with, view.nodes)):
        return []
    graph = view.surgeon
    if graph is None or len(view.order) < len(view.nodes):
        return []
    from pipeline.graph import Shapes, infer

    try:
        inputs = trial_inputs(graph)
        known = any(node.op == "Slice" for node in graph.nodes)
        meant = infer(graph, inputs) if known else Shapes()
        if not any([_change(_stand_in(node), view, meant) for node in graph.nodes]):
            return []
        meant = meant if known else infer(graph, inputs)
        before = {name for name, _ in meant.problems}
        copy = graph.copy()
        for node in copy.nodes:
            _change(node, view, meant)
        inferred = infer(copy, inputs)
        problems = inferred.problems + [
            (node.name, f"data of rank {inferred.rank(node.inputs[0])} meets a matrix")
            for node in copy.nodes
            if node.op == "Gemm" and inferred.rank(node.inputs[0]) not in (2, meant.rank(node.inputs[0]), None)
        ]
        return [(name, what) for name, what in problems if name not in before and "kernel" not in what]
    except Exception:  # a graph too odd to be read here has its own finding
        return []


TRIAL = (1, 3, 64, 96)
"""Sizes along the axes of a picture, used where sizes are unknown."""


def trial_inputs(graph: gs.Graph) -> dict[str, list[int | None]]:
    """Declared sizes, and trial sizes for open ones: given explicitly, so that recorded sizes are not trusted."""
    return {
        tensor.name: [
            size if isinstance(size, int) and size > 0 else TRIAL[axis] if len(tensor.shape) == 4 else None
            for axis, size in enumerate(tensor.shape)
        ]
        for tensor in graph.inputs
        if tensor.shape is not None
    }


def _changes_with(node: onnx.NodeProto) -> tuple[str, ...]:
    """The semantics of which a target must have one for `_change` to change a node; () if it may in any case."""
    return next((needed for operator, needed in _CHANGED.items() if node.op_type.startswith(operator)), ("never",))


_POOL = ("height-width-swapped", "pool-ceil-ignored", "pool-dilations-ignored")
_CHANGED: dict[str, tuple[str, ...]] = {
    "ConvTranspose": ("height-width-swapped", "transposed-attributes-ignored"),
    "Conv": ("height-width-swapped",),
    "MaxPool": _POOL,
    "AveragePool": _POOL,
    "LpPool": _POOL,
    "Global": _POOL,
    "Pad": ("pad-input-ignored",),
    "Reduce": ("reduce-axes-input-ignored",),
    "Slice": (),
    "Upsample": ("resize-scales-rounded",),
    "Resize": ("resize-scales-rounded",),
}


def _stand_in(node: gs.Node) -> Any:
    """A copy of the parts of a node that `_change` reads and writes, detached from the graph."""
    return SimpleNamespace(
        op=node.op,
        name=node.name,
        attrs=dict(node.attrs),
        inputs=list(node.inputs),
        outputs=list(node.outputs),
    )


def _change(node: gs.Node, view: View, meant: Shapes) -> bool:
    """Set the attributes that the target computes with; return whether anything changed."""
    has = view.target.semantics.__contains__
    old = {key: value for key, value in node.attrs.items() if isinstance(value, (int, float, str, list, tuple))}
    if node.op in ("Conv", "ConvTranspose", "MaxPool", "AveragePool") and has("height-width-swapped"):
        names = ["strides"]
        if node.op == "ConvTranspose":
            names.append("output_padding")
        if node.op.endswith("Pool"):
            names.append("kernel_shape")
        for name in names:
            if len(node.attrs.get(name, ())) == 2:
                node.attrs[name] = list(node.attrs[name])[::-1]
    if node.op.endswith("Pool") and has("pool-ceil-ignored"):
        node.attrs.pop("ceil_mode", None)
    if node.op.endswith("Pool") and has("pool-dilations-ignored"):
        node.attrs.pop("dilations", None)
    if node.op == "ConvTranspose" and has("transposed-attributes-ignored"):
        for name in ("dilations", "output_shape", "group"):
            node.attrs.pop(name, None)
    if node.op == "Pad" and has("pad-input-ignored") and "pads" not in node.attrs and len(node.inputs) > 1:
        node.op, node.inputs = "Identity", node.inputs[:1]
        return True
    if node.op.startswith("Reduce") and has("reduce-axes-input-ignored") and "axes" not in node.attrs:
        if len(node.inputs) < 2:
            return False
        node.inputs, node.attrs["axes"] = node.inputs[:1], [0]
        return True
    if node.op == "Slice":
        shape = meant.of(node.inputs[0])
        return backwards(node, view, shape) or (has("slice-end-overflows") and overflow(node, view, shape))
    if node.op in ("Upsample", "Resize") and has("resize-scales-rounded"):
        return _round_scales(node)
    return any(node.attrs.get(key) != value for key, value in old.items())


def _round_scales(node: gs.Node) -> bool:
    import onnx_graphsurgeon as gs

    index = 1 if node.op == "Upsample" or len(node.inputs) == 2 else 2
    scales = node.inputs[index] if index < len(node.inputs) else None
    if not isinstance(scales, gs.Constant) or len(node.inputs) > 3 or scales.values.size < 3:
        return False
    values = np.array(scales.values, dtype=np.float32)
    with contextlib.suppress(ValueError):
        if (values[2:] >= 1).all() and (values != np.round(values)).any():
            node.inputs[index] = gs.Constant(f"{scales.name}/rounded/{node.name}", np.round(values))
            return True
    return False


def backwards(node: gs.Node, view: View, shape: Shape | None) -> bool:
    """A step below 0: one element up to 2.0.0, a rounded number of them in 3.0.0."""
    proto = view.maker(node.outputs[0].name) if node.outputs else None
    bounds = slice_of(view, proto) if proto is not None else None
    if bounds is None or shape is None or all(step > 0 for *_, step in bounds):
        return False
    starts, ends, changed = [], [], False
    for axis, start, end, step in bounds:
        size = shape[axis]
        if size is None:
            return False
        count, first = onnx_range(size, start, end, step)
        if step < 0:
            one = "slice-steps-rounded" in view.target.semantics
            selected = 1 if one else rounded_range(size, start, end, step)[0]
            changed |= selected != count
            count, first = selected, 0
        starts.append(first)
        ends.append(first + count)
    if changed:
        node.attrs.update(starts=starts, ends=ends, axes=[axis for axis, *_ in bounds])
        node.inputs = node.inputs[:1]
    return changed


def overflow(node: gs.Node, view: View, known: Shape | None = None) -> bool:
    """INT64_MAX as an end in 1.0.4: -1 as an attribute; as an input the lowest int, modulo the size (measured)."""
    import onnx_graphsurgeon as gs

    ends = node.attrs.get("ends")
    if ends is not None:
        node.attrs["ends"] = [-1 if end > INT32_MAX else end for end in ends]
        return node.attrs["ends"] != list(ends)
    shape = known if known is not None else view.shape(node.inputs[0].name)
    proto = view.maker(node.outputs[0].name) if node.outputs else None
    bounds = slice_of(view, proto) if proto is not None else None
    if shape is None or bounds is None or len(node.inputs) < 3:
        return False
    new_ends, changed = [], False
    for axis, start, end, step in bounds:
        size = shape[axis] if -len(shape) <= axis < len(shape) else None
        selected = (
            truncated_range(size, start, end, step, False) if end > INT32_MAX and step > 0 and size else None
        )
        if size and selected is not None and selected[1] + (selected[0] - 1) * step < size:
            end, changed = selected[1] + (selected[0] - 1) * step + 1, True
        new_ends.append(end)
    if changed:
        node.inputs[2] = gs.Constant(f"{node.name}/ends", np.asarray(new_ends, dtype=np.int64))
    return changed
