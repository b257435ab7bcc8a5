"""How targets move and convert values: one function per difference from ONNX."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pipeline.graph import nodes as n
from pipeline.targets.barracuda import pieces
from pipeline.targets.barracuda.register import emulation
from pipeline.targets.barracuda.rules.inherited_rank import misread_axes
from pipeline.validation.view import attribute, layer
from pipeline.verify.scene import Scene, copy
from pipeline.verify.variance import in_one_pass

_TINY = 1e-38
"""Stands for Mathf.Epsilon, by which an epsilon of 0 is replaced (GenericWorker.cs:522@3.0.0)."""


# ------------------------------------------------------------------------------------------------ shapes
@emulation("reshape-in-memory-order")
def _memory(scene: Scene) -> None:
    """1.0.4 reshapes channels-last memory (ONNXModelImporter.cs:105@1.0.4)."""
    for node, _ in list(scene.hits("reshape-of-memory")):
        before, after = scene.shapes.rank(node.inputs[0]), scene.shapes.static(node.outputs[0])
        if before is None or after is None:
            continue
        make = n.Builder(scene.graph, node, pieces.STEM)
        transposed = make.op("Transpose", node.inputs[0], perm=_last(before))
        new_shape = make.const([after[axis] for axis in _last(len(after))], "shape", np.int64)
        reshaped = make.op("Reshape", transposed, new_shape)
        make.op("Transpose", reshaped, out=node.outputs[0], perm=_first(len(after)))


@emulation("flatten-channels-last")
def _flatten(scene: Scene) -> None:
    """2.0.0 feeds a flattened map to a Gemm in channels-last order (measured)."""
    for node, _ in list(scene.hits("flatten-of-a-map")):
        make = n.Builder(scene.graph, node, pieces.STEM)
        node.inputs[0] = make.op("Transpose", node.inputs[0], perm=_last(4))


def _last(rank: int) -> list[int]:
    return list(range(rank)) if rank < 3 else [0, *range(2, rank), 1]


def _first(rank: int) -> list[int]:
    return list(range(rank)) if rank < 3 else [0, rank - 1, *range(1, rank - 1)]


@emulation("flatten-axis-one")
def _flatten_axis(scene: Scene) -> None:
    for node in scene.of("Flatten"):
        node.attrs["axis"] = 1


@emulation("transpose-default-identity")
def _transpose(scene: Scene) -> None:
    """A Transpose without perm keeps the order of data (ONNXModelConverter.cs:866@3.0.0)."""
    for node in scene.of("Transpose"):
        if "perm" not in node.attrs and not scene.constant(node.inputs[0]):
            copy(node)


@emulation("transpose-as-identity")
def _transpose_noted(scene: Scene) -> None:
    """1.0.4 takes permutations for notes about the layout (ONNXModelImporter.cs:566@1.0.4)."""
    for node, _ in list(scene.hits("transpose-as-identity")):
        copy(node)


@emulation("broadcast-by-rank")
def _by_rank(scene: Scene) -> None:
    """1.0.4 takes a rank 1 constant per channel and swaps the last axes of rank 3 (ONNXLayout.cs:58@1.0.4)."""
    for node, _ in list(scene.hits("broadcast-by-rank")):
        make = n.Builder(scene.graph, node, pieces.STEM)
        for place, tensor in enumerate(node.inputs):
            value = n.value(tensor)
            if value is not None and value.ndim == 1 and value.size > 1:
                node.inputs[place] = make.const(value.reshape(1, -1, 1, 1), "per_channel")
            elif value is not None and value.ndim == 3:
                node.inputs[place] = make.const(value.swapaxes(1, 2), "swapped")


@emulation("rank-of-first-operand")
def _rank_of_first(scene: Scene) -> None:
    """1.0.4 looks the axes of a Slice, Concat, Gather or Reduce up in the rank of a first operand."""
    makers = {tensor.name: node for node in scene.graph.nodes for tensor in node.outputs}
    for found in misread_axes(scene.view):
        node = makers.get(layer(found.reader))
        if node is None or found.axes is None:
            continue
        make = n.Builder(scene.graph, node, pieces.STEM)
        if node.op == "Slice":
            for name in ("starts", "ends", "axes"):
                node.attrs.pop(name, None)
            starts, ends, steps = zip(*found.bounds, strict=True)
            make.set(node, starts=starts, ends=ends, axes=found.axes, steps=steps)
        elif node.op in ("Concat", "Gather"):
            node.attrs["axis"] = found.axes[0]
        elif "axes" in node.attrs:
            node.attrs["axes"] = found.axes
        else:
            make.set(node, axes=found.axes)


@emulation("reduce-axes-input-ignored")
def _reduce_input(scene: Scene) -> None:
    """2.0.0 does not read an axes input and reduces axis 0 (ONNXModelConverter.cs:2594@2.0.0)."""
    for node in list(scene.graph.nodes):
        if node.op.startswith("Reduce") and "axes" not in node.attrs and n.given(node, 1) is not None:
            node.inputs, node.attrs["axes"] = node.inputs[:1], [0]


@emulation("channels-last-reductions")
def _reduce_last(scene: Scene) -> None:
    """A negative axis between two layout transposes reduces the batch (measured)."""
    from pipeline.targets.barracuda.rules.patterns import negative_reduction

    protos = {layer(proto): proto for proto in scene.view.nodes}
    todo = [node for node, _ in scene.hits("channels-last-transpose")]
    seen = {id(node) for node in todo}
    while todo:
        for reader in n.consumers(todo.pop().outputs[0]):
            if id(reader) in seen or reader.op in ("Transpose", "Reshape", "Flatten"):
                continue
            seen.add(id(reader))
            todo.append(reader)
            proto = protos.get(reader.outputs[0].name)
            if proto is not None and negative_reduction(scene.view, proto):
                reader.inputs, reader.attrs["axes"] = reader.inputs[:1], [0]


@emulation("reduce-default-first-axis")
def _reduce_default(scene: Scene) -> None:
    for node in list(scene.graph.nodes):
        if node.op.startswith("Reduce") and "axes" not in node.attrs and n.given(node, 1) is None:
            node.attrs["axes"] = [0]
            node.attrs.pop("noop_with_empty_axes", None)


@emulation("slice-end-overflows")
def _overflows(scene: Scene) -> None:
    """INT64_MAX as an end in 1.0.4 (ONNXNodeWrapper.cs:281@1.0.4, measured)."""
    from pipeline.targets.barracuda.rules.consequences import overflow

    for node in scene.of("Slice"):
        overflow(node, scene.view)


@emulation("slice-steps-rounded")
def _steps(scene: Scene) -> None:
    """1.0.4 rounds the number of steps down, the steps of a flip give one element up to 2.0.0 (measured)."""
    for node, _ in [*scene.hits("slice-steps"), *scene.hits("slice-backwards")]:
        pieces.shorten(scene.graph, node, scene.shapes)


# ------------------------------------------------------------------------------------------------ values
@emulation("softmax-flattens")
def _softmax_flattens(scene: Scene) -> None:
    """1.0.4 gives what it normalised as one row of channels (BarracudaReferenceCPU.cs:1219@1.0.4)."""
    for node in scene.of("Softmax", "LogSoftmax"):
        rank = scene.shapes.rank(node.inputs[0])
        if rank is None or rank < 3:
            continue
        result, make = node.outputs[0], n.Builder(scene.graph, node, pieces.STEM)
        node.outputs = [gs.Variable(f"{result.name}/normalised")]
        transposed = make.op("Transpose", node.outputs[0], perm=_last(rank))
        make.op("Reshape", transposed, make.const([0, -1, *[1] * (rank - 2)], "row", np.int64), out=result)


@emulation("softmax-over-everything")
def _softmax_flat(scene: Scene) -> None:
    for node in scene.of("Softmax"):
        pieces.flat_softmax(scene.graph, node, 1)


@emulation("softmax-one-axis")
def _softmax_axis(scene: Scene) -> None:
    for node in scene.of("Softmax"):
        node.attrs["axis"] = int(node.attrs.get("axis", 1))


@emulation("log-softmax-over-everything")
def _log_softmax_flat(scene: Scene) -> None:
    for node in scene.of("LogSoftmax"):
        pieces.flat_softmax(scene.graph, node, 1)


@emulation("log-softmax-one-axis")
def _log_softmax_axis(scene: Scene) -> None:
    for node in scene.of("LogSoftmax"):
        node.attrs["axis"] = int(node.attrs.get("axis", 1))


@emulation("instance-norm-tiny-epsilon")
def _epsilon(scene: Scene) -> None:
    for node in scene.of("InstanceNormalization"):
        if float(node.attrs.get("epsilon", 1e-5)) == 0:
            node.attrs["epsilon"] = _TINY


@emulation("variance-in-one-pass")
def _variance(scene: Scene) -> None:
    """The compute workers take E[x^2] - E[x]^2 in float32 (Pool.cginc:516@3.0.0), those of the CPU two passes."""
    in_one_pass(scene.graph, scene.shapes, pieces.STEM)


@emulation("training-mode-ignored")
def _training(scene: Scene) -> None:
    for node in scene.of("BatchNormalization", "Dropout"):
        node.attrs.pop("training_mode", None)
        if node.op == "Dropout":
            copy(node)
        node.outputs = node.outputs[:1]


@emulation("round-does-nothing")
def _round(scene: Scene) -> None:
    for node in scene.of("Round"):
        copy(node)


@emulation("integers-are-floats")
def _floats(scene: Scene) -> None:
    """Cast converts nothing and the quotient of integers keeps its fraction (ONNXModelConverter.cs:1171@3.0.0)."""
    seeds = [node for node, _ in [*scene.hits("cast-does-nothing"), *scene.hits("integer-division")]]
    pieces.keep_floats(scene.graph, seeds, lambda name: _attribute_type(scene, name))


def _attribute_type(scene: Scene, name: str) -> int | None:
    """The element type that a tensor of the source has in ONNX."""
    maker = scene.view.maker(name)
    if maker is not None and maker.op_type == "Cast":
        return attribute(maker, "to")
    return scene.view.dtype(name)
