"""The graph changed so that ONNX Runtime computes what Sentis and Inference Engine compute.

One function per difference; a target's data file lists by name which of them it has. What only throws in Unity is
not emulated: validation reports it. Values are float32 there whatever the file says (importer.md, section 2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import onnx

from pipeline.graph import from_model, infer, to_model
from pipeline.graph import nodes as n
from pipeline.support.errors import PipelineError
from pipeline.targets.inference.resizing import taken
from pipeline.verify.variance import in_one_pass

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.graph import Shapes
    from pipeline.targets import Target

_EXACT = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
_STEM = "emulated"
_MOST = 16384


def emulate(model: onnx.ModelProto, target: Target) -> onnx.ModelProto:
    """A model that computes in ONNX Runtime what `model` computes on `target`; names of inputs and outputs stay.

    `model` is not changed. Raises PipelineError `not-valid-onnx` where the file is not valid for its opset: such a
    node is read differently by every version.
    """
    _refuse_other_forms(model)
    graph = from_model(model)
    shapes = infer(graph)
    for name, change in EMULATIONS.items():
        if name in target.semantics:
            change(graph, shapes)
    graph.cleanup(remove_unused_graph_inputs=False).toposort()
    return to_model(graph)


def _refuse_other_forms(model: onnx.ModelProto) -> None:
    """Raise PipelineError for the first node that is not valid in the declared opset."""
    context = onnx.checker.C.CheckerContext()
    context.ir_version = model.ir_version or 8
    context.opset_imports = {entry.domain: entry.version for entry in model.opset_import} or {"": 15}
    for node in model.graph.node:
        try:
            onnx.checker.check_node(node, context)
        except (onnx.checker.ValidationError, ValueError) as error:
            first = str(error).strip().splitlines()[0][:200]
            raise PipelineError(
                "not-valid-onnx",
                f"{node.op_type} {node.name} is not valid in the opset that the file declares ({first})",
                remedy="`pipeline convert` writes it in the form that the importer reads.",
            ) from error


# --- pools and convolutions ----------------------------------------------------------------------------------
def _inside(graph: gs.Graph, shapes: Shapes) -> None:
    for node in n.nodes_of(graph, "AveragePool"):
        node.attrs.pop("count_include_pad", None)


def _floor_pools(graph: gs.Graph, shapes: Shapes) -> None:
    for node in n.nodes_of(graph, "AveragePool", "MaxPool"):
        node.attrs.pop("ceil_mode", None)


def _plain_pools(graph: gs.Graph, shapes: Shapes) -> None:
    for node in n.nodes_of(graph, "AveragePool", "MaxPool"):
        node.attrs.pop("dilations", None)


def _output_shape(graph: gs.Graph, shapes: Shapes) -> None:
    for node in n.nodes_of(graph, "ConvTranspose"):
        node.attrs.pop("output_shape", None)


def _plain_transposed(graph: gs.Graph, shapes: Shapes) -> None:
    """Before 2.3, dilations are ignored, and a group is read only if the shapes still match."""
    for node in n.nodes_of(graph, "ConvTranspose"):
        node.attrs.pop("dilations", None)
        node.attrs.pop("group", None)


# --- resizing ------------------------------------------------------------------------------------------------
def _modes(graph: gs.Graph, shapes: Shapes) -> None:
    for node in n.nodes_of(graph, "Resize"):
        node.attrs.pop("antialias", None)
        node.attrs.pop("exclude_outside", None)
        node.attrs.pop("keep_aspect_ratio_policy", None)
        if n.text(node, "mode", "nearest") not in ("nearest", "linear"):
            node.attrs["mode"] = "nearest"
            node.attrs.pop("cubic_coeff_a", None)
        if n.text(node, "coordinate_transformation_mode", "half_pixel") not in _EXACT:
            node.attrs["coordinate_transformation_mode"] = "half_pixel"
            node.attrs.pop("extrapolation_value", None)


def _float_scales(graph: gs.Graph, shapes: Shapes) -> None:
    """Sizes become float32 scales, and the output size is the product, rounded down."""
    for node in n.nodes_of(graph, "Resize"):
        sizes, shape = shapes.value(n.given(node, 3)), shapes.of(node.inputs[0])
        if sizes is None or shape is None:
            continue
        axes = [axis % len(shape) for axis in n.ints(node, "axes", tuple(range(len(shape)))) or ()]
        known = [shape[axis] for axis in axes]
        if None in known or len(known) != sizes.size:
            continue
        scales = sizes.reshape(-1).astype(np.float32) / np.asarray(known, np.float32)
        make = n.Builder(graph, node, _STEM)
        node.inputs = [node.inputs[0], n.empty(), make.const(scales, "scales")]


def _nearest_places(graph: gs.Graph, shapes: Shapes) -> None:
    """Gather the pixels that the kernels select, if they differ from those of ONNX Runtime."""
    for node in n.nodes_of(graph, "Resize"):
        scales, shape = shapes.value(n.given(node, 2)), shapes.of(node.inputs[0])
        if scales is None or shape is None or len(scales.reshape(-1)) != len(shape):
            continue
        if n.text(node, "mode", "nearest") != "nearest" or "axes" in node.attrs:
            continue
        factors = scales.reshape(-1).astype(np.float32)
        transform = n.text(node, "coordinate_transformation_mode", "half_pixel")
        rounding = n.text(node, "nearest_mode", "round_prefer_floor")
        changed = [axis for axis, factor in enumerate(factors) if factor != 1]
        if all(factors[axis] == round(factors[axis]) for axis in changed):
            continue
        sizes = {axis: size for axis in changed if (size := shape[axis]) is not None}
        if len(sizes) < len(changed) or any(size * factors[axis] > _MOST for axis, size in sizes.items()):
            continue
        make, gathered = n.Builder(graph, node, _STEM), node.inputs[0]
        for axis, size in sizes.items():
            count = int(np.floor(np.float32(size) * factors[axis]))
            rows = taken(size, count, factors[axis], transform, rounding).astype(np.int64)
            last = axis == changed[-1]
            indices = make.const(rows, "rows", np.int64)
            gathered = make.op(
                "Gather", gathered, indices, axis=axis, **({"out": node.outputs[0]} if last else {})
            )
        make.drop() if changed else None


# --- others --------------------------------------------------------------------------------------------------
def _one_pass_variance(graph: gs.Graph, shapes: Shapes) -> None:
    """InstanceNormalization with the variance as E[x^2] - E[x]^2 in float32 (Pool.compute:169@2.4.0)."""
    in_one_pass(graph, shapes, _STEM)


def _cut_to_bool(graph: gs.Graph, shapes: Shapes) -> None:
    for node in n.nodes_of(graph, "Cast"):
        kind = node.inputs[0].dtype
        if node.attrs.get("to") == onnx.TensorProto.BOOL and kind is not None and np.dtype(kind).kind == "f":
            node.inputs[0] = n.Builder(graph, node, _STEM).op("Cast", node.inputs[0], to=onnx.TensorProto.INT32)


def _inference(graph: gs.Graph, shapes: Shapes) -> None:
    for node in n.nodes_of(graph, "Dropout"):
        node.inputs = node.inputs[:1]
    for node in n.nodes_of(graph, "BatchNormalization"):
        node.attrs.pop("training_mode", None)


def _doubled(graph: gs.Graph, shapes: Shapes) -> None:
    for node in n.nodes_of(graph, "Sum"):
        if len(node.inputs) == 1:
            node.inputs = [node.inputs[0], node.inputs[0]]


def _linear_grid(graph: gs.Graph, shapes: Shapes) -> None:
    for node in n.nodes_of(graph, "GridSample"):
        if n.text(node, "mode") in ("cubic", "bicubic"):
            node.attrs["mode"] = "linear" if graph.opset >= 20 else "bilinear"


EMULATIONS: dict[str, Callable[[gs.Graph, Shapes], None]] = {
    "average-divides-by-inside": _inside,
    "pool-ceil-ignored": _floor_pools,
    "pool-dilations-ignored": _plain_pools,
    "transposed-output-shape-ignored": _output_shape,
    "transposed-group-ignored": _plain_transposed,
    "resize-modes-missing": _modes,
    "resize-sizes-as-scales": _float_scales,
    "resize-nearest-in-float32": _nearest_places,
    "bool-truncates": _cut_to_bool,
    "training-mode-ignored": _inference,
    "sum-of-one-doubled": _doubled,
    "grid-cubic-as-linear": _linear_grid,
    "variance-in-one-pass": _one_pass_variance,
}
"""By name, in the order in which they are applied."""
