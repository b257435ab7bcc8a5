"""Rules of operators that move values: reductions, shapes, slices and gathers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import onnx

from pipeline.targets.barracuda.rules.register import kind
from pipeline.validation.findings import Severity
from pipeline.validation.kinds import Hit, cosmetic, plain, variable
from pipeline.validation.view import View, attribute, given, layer_output

if TYPE_CHECKING:
    from pipeline.graph.shape import Shape
    from pipeline.targets import Rule


# fmt: off
_ONE_BY_ONE = frozenset([
    "Abs", "Cast", "Ceil", "Clip", "Elu", "Exp", "Floor", "Identity", "LeakyRelu", "Log", "Neg", "Reciprocal",
    "Relu", "Round", "Selu", "Sigmoid", "Sqrt", "Tanh",
])
# fmt: on
"""Operators that treat each value by itself."""


def stays(view: View, name: str, *through: str) -> bool:
    """Whether a tensor goes only to outputs of the graph, through operators that treat each value by itself."""
    todo, seen = [name], set()
    while todo:
        current = todo.pop()
        readers = view.consumers(current)
        if not readers and current not in view.outputs:
            return False
        for reader in readers:
            if reader.op_type not in _ONE_BY_ONE and reader.op_type not in through:
                return False
            todo.extend(output for output in reader.output if output and output not in seen)
            seen.update(reader.output)
    return True


def vector(shape: Shape | None) -> bool:
    """Whether at most one axis after the batch is longer than 1: then memory order is the same in any layout."""
    return shape is not None and sum(size != 1 for size in shape[1:]) <= 1


def axes_of(view: View, node: onnx.NodeProto) -> list[int] | None:
    """The axes as given, from attribute or input; None when absent or not known."""
    listed = attribute(node, "axes")
    if listed is None and given(node, 1):
        value = view.value(given(node, 1))
        return None if value is None else [int(v) for v in value.reshape(-1)]
    return listed


# ------------------------------------------------------------------------------------------------ reductions
@kind("reduce-axes-input")
def _axes_input(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    if attribute(node, "axes") is not None or not given(node, 1):
        return
    axes, rank = axes_of(view, node), view.rank(given(node, 0))
    if given(node, 1) in view.inputs and view.shape(given(node, 1)) == (0,):
        yield Hit("the axes are an input of size 0, which cannot be given to the target", "axes", Severity.ERROR)
        return
    if axes is None or [axis % rank if rank else axis for axis in axes] != [0]:
        yield Hit("the axes are an input, which is ignored: axis 0 is reduced", "axes")


@kind("reduce-axes-constant")
def _axes_constant(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    name = given(node, 1)
    if attribute(node, "axes") is None and name and name not in view.constants:
        yield Hit(
            f"the axes must be a constant at import, which {name} is not",
            "axes",
            values={"input_name": "axes", "tensor": name},
        )


@kind("reduce-all")
def _reduce_all(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    axes, rank = axes_of(view, node), view.rank(given(node, 0))
    shape = view.shape(given(node, 0))
    if axes or (given(node, 1) and axes is None) or attribute(node, "axes"):
        return
    if attribute(node, "noop_with_empty_axes", 0):
        if shape is None or shape[:1] != (1,):
            yield Hit("noop_with_empty_axes is ignored: axis 0 is reduced", "axes")
        return
    if rank == 1 or (shape is not None and all(size == 1 for size in shape[1:])):
        return
    yield Hit("no axes are given, which means all of them: only axis 0 is reduced", "axes")


@kind("reduce-dropping")
def _reduce_dropping(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    axes = axes_of(view, node)
    if attribute(node, "keepdims", 1) != 0 or not axes or len(axes) < 2:
        return
    if min(axes) < 0 or axes != sorted(axes) or len(axes) > 2:
        yield Hit(f"axes={plain(axes)} with keepdims=0: each axis that is dropped shifts the later ones", "axes")


@kind("reduce-channels-only")
def _channels_only(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    axes, rank = attribute(node, "axes"), view.rank(given(node, 0))
    if axes is None:
        return
    places = [axis + rank if axis < 0 and rank else axis for axis in axes]
    if places == [1]:
        return
    yield Hit(f"axes={plain(axes)}: only axis 1, the channels, can be reduced", "axes")


# ------------------------------------------------------------------------------------------------ shapes
@kind("reshape-rank")
def _reshape_rank(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    rank = view.rank(node.output[0]) if node.output else None
    if rank is not None and rank > rule.options["max"]:
        yield Hit(
            f"the result has rank {rank}; the target supports at most {rule.options['max']}",
            "shape",
            values={"rank": rank},
        )


@kind("reshape-shape-constant")
def _reshape_shape(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    name = given(node, 1)
    if name and name not in view.constants:
        yield Hit(
            f"the shape must be a constant at import, which {name} is not",
            "shape",
            values={"input_name": "shape", "tensor": name},
        )


@kind("reshape-memory")
def _reshape_memory(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """1.0.4 applies the new shape to channels-last memory: right where the channels stay or one side is flat."""
    if not node.output or not variable(view, given(node, 0)):
        return
    before, after = view.shape(given(node, 0)), view.shape(node.output[0])
    if before is None or after is None or len(after) > 4 or len(before) > 4:
        return
    if _channels(before) is not None and _channels(before) == _channels(after):
        return
    if _flat(before) and _flat(after):
        return
    if given(node, 0) in view.inputs and len(before) == 4 and before[3] in (1, 3, 4) and (before[1] or 9) > 4:
        return  # a channels-last input, fed as it is
    maker = view.maker(given(node, 0))
    if maker is not None and maker.op_type == "Transpose" and len(after) == 2:
        return
    readers = view.consumers(node.output[0])
    if (
        len(after) == 2
        and readers
        and node.output[0] not in view.outputs
        and all(reader.op_type in ("Gemm", "MatMul") and given(reader, 1) in view.constants for reader in readers)
    ):
        return
    if _channels(before) is None or _channels(after) is None:
        return
    yield Hit(f"{text(before)} is reshaped to {text(after)} in channels-last memory: the values are reordered")


def _channels(shape: Shape) -> int | None:
    return shape[1] if len(shape) > 1 else 1


def _flat(shape: Shape) -> bool:
    return _channels(shape) == 1 or all(size == 1 for size in shape[2:])


def text(shape: Shape) -> str:
    """1x?x3: a shape in a sentence."""
    return "x".join("?" if size is None else str(size) for size in shape)


@kind("axes-constant")
def _axes_known(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    if attribute(node, "axes") is not None:
        return
    name = given(node, 1)
    if not name or (name not in view.constants and name not in view.initializers):
        yield Hit("the axes are neither an attribute nor a constant", "axes")


@kind("several-axes")
def _several_axes(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """Several axes in one node: right for the lists in the row's `right`, by the rank of the input (measured)."""
    axes, rank = axes_of(view, node), view.rank(given(node, 0))
    if not axes or len(axes) < 2 or min(axes) < 0 or rank is None or not variable(view, given(node, 0)):
        return
    smaller = given(node, 0) if node.op_type == "Unsqueeze" else layer_output(node)
    shape = view.shape(smaller)
    flat = shape is not None and sum(size != 1 for size in shape) <= 1
    reached = rank + len(axes) - 1 if node.op_type == "Unsqueeze" else rank
    if reached > rule.options.get("most", 9):
        yield Hit(f"axes={plain(axes)} in one node throw for data of rank {rank}", "axes", Severity.ERROR)
    elif axes not in rule.options["right"].get(str(rank), ()) and not flat:
        yield Hit(f"axes={plain(axes)} in one node: all but the first are counted wrongly", "axes")


@kind("negative-axes")
def _negative_axes(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    axes = axes_of(view, node)
    if not axes or not variable(view, given(node, 0)) or not node.output:
        return
    if vector(view.shape(given(node, 0))) and not any(
        reader.op_type == "Concat" for reader in view.consumers(node.output[0])
    ):
        return
    if any(axis < -1 for axis in axes):
        yield Hit(f"axes={plain(axes)}: every negative axis is read as -1, the last", "axes")


@kind("unsqueeze-constant")
def _unsqueeze_constant(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    axes = axes_of(view, node)
    if axes and given(node, 0) in view.constants and min(axes) < 0:
        yield Hit(f"axes={plain(axes)}: a negative axis throws when the data is a constant", "axes")


@kind("squeeze-constant")
def _squeeze_constant(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    if not node.output or given(node, 0) not in view.constants:
        return
    shape = view.shape(node.output[0])
    if shape is None or len(shape) >= 4 or all(size == 1 for size in shape):
        return
    mixed = [
        reader
        for reader in view.consumers(node.output[0])
        if reader.op_type in ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Where")
        and any(variable(view, name) for name in reader.input)
    ]
    if mixed:
        yield Hit(
            f"the squeezed constant ({text(shape)}) gets trailing axes of 1 and broadcasts along the wrong axes"
        )


_NEXT_TO_BATCH = {
    operator: f"{words} for non-constant tensors might lead to unexpected results."
    for operator, words in (
        ("Squeeze", "Sqeeze on any axis next to batch dimension"),
        ("Unsqueeze", "Unsqeeze on axis next to batch dimension"),
    )
}
"""1.0.4's words for any axis below 2, negative ones too (ONNXModelImporter.cs:204@1.0.4 and :220@1.0.4)."""


@kind("squeeze-as-identity")
def _as_identity(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    axes = attribute(node, "axes")
    if not axes or not variable(view, given(node, 0)):
        return
    warned = {"text": _NEXT_TO_BATCH[node.op_type]} if any(axis <= 1 for axis in axes) else {}
    stacked = node.op_type == "Unsqueeze" and any(
        reader.op_type == "Concat" for reader in view.consumers(layer_output(node))
    )
    if stacked and not (view.rank(given(node, 0)) == 3 and axes in ([2], [-2])):
        message = (
            f"Unsqueeze of axes {plain(axes)} does nothing: a Concat along the new axis concatenates along an old "
            "one"
        )
        yield Hit(message, "axes", Severity.WRONG, warned)
    elif warned:
        message = (
            f"{node.op_type} of axes {plain(axes)} does nothing, which is correct if the tensor is effectively 4-D"
        )
        yield cosmetic(message, "axes", **warned)


@kind("unsqueeze-of-input")
def _unsqueeze_input(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    shape, axes = view.shape(given(node, 0)), attribute(node, "axes")
    if given(node, 0) not in view.inputs or shape is None or len(shape) != 3 or vector(shape):
        return
    if axes in ([2], [-2]):
        return
    ends = bool(node.output) and stays(view, node.output[0], "Concat")
    yield Hit(
        "the input of rank 3 is read as (N, C, W), so it cannot become (1, C, H, W)",
        severity=Severity.WRONG if ends else None,
    )


@kind("shape-unknown")
def _shape_unknown(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    shape = view.shape(given(node, 0))
    if not node.output or given(node, 0) in view.constants:
        return
    if node.output[0] not in view.outputs and (node.output[0] in view.folds or view.static):
        return
    if node.output[0] in view.outputs:
        yield Hit("the output has eight sizes, in Barracuda's own order", severity=Severity.WRONG)
        return
    sinks = _sinks(view, node.output[0], 1)
    if sinks:
        yield Hit(
            f"the size of {given(node, 0)} ({text(shape) if shape else 'unknown'}) is not known at import, "
            f"and {sinks[0].op_type} needs it: the layer gives eight sizes in Barracuda's order",
            severity=Severity.WRONG if all(_runs(view, sink, rule) for sink in sinks) else None,
        )


def _runs(view: View, sink: onnx.NodeProto, rule: Rule) -> bool:
    """Whether a node that computes with a wrong size gives something all the same (measured)."""
    if sink.op_type in ("Add", "Div", "Mul", "Pow", "Sub"):
        return True
    return sink.op_type in rule.options["running"] and not view.joins_later(sink)


def _sinks(view: View, name: str, known: int) -> list[onnx.NodeProto]:
    """The nodes that use a computed shape on data, and need more of it than its first `known` sizes."""
    found, seen, todo = [], {name}, [name]
    while todo:
        current = todo.pop()
        for reader in view.consumers(current):
            others = [item for item in reader.input if item and item != current]
            if given(reader, 0) == current and _only_first(view, reader, known):
                continue
            if reader.op_type == "ConstantOfShape" and current == name:
                continue  # the eight sizes in Barracuda's order are what that layer takes
            data = any(
                item in view.inputs or ((view.rank(item) or 0) > 1 and item not in view.folds) for item in others
            )
            if data or reader.op_type in ("ConstantOfShape", "Expand", "Range"):
                found.append(reader)
                continue
            for output in reader.output:
                if output and output not in seen:
                    seen.add(output)
                    todo.append(output)
    return found


def _only_first(view: View, node: onnx.NodeProto, known: int) -> bool:
    """Whether a Gather or Slice of a shape takes none but its first `known` sizes."""
    if node.op_type == "Gather":
        index = view.value(given(node, 1))
        return index is not None and index.size > 0 and index.min() >= 0 and index.max() < known
    bounds = slice_of(view, node) if node.op_type == "Slice" else None
    return bounds is not None and all(start >= 0 and 0 < end <= known for _, start, end, _ in bounds)


@kind("shape-of-constant")
def _shape_of_constant(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    if given(node, 0) in view.constants:
        yield Hit(f"{given(node, 0)} is constant: the importer creates no layer for its shape")


@kind("shape-fake")
def _shape_fake(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    if not node.output or given(node, 0) in view.constants:
        return
    if node.output[0] in view.outputs:
        yield Hit("the output is -1 for every size except the channels")
        return
    if any(sink.op_type == "Expand" for sink in _sinks(view, node.output[0], 2)):
        yield Hit("every size except the channels is -1, and Expand computes with that")


# ------------------------------------------------------------------------------------------------ slices, gathers
def slice_of(view: View, node: onnx.NodeProto) -> list[tuple[int, int, int, int]] | None:
    """A Slice's (axis, start, end, step) as written, from attributes or inputs; None when not known."""
    if attribute(node, "starts") is not None:
        starts, ends = attribute(node, "starts"), attribute(node, "ends", [])
        axes, steps = attribute(node, "axes"), None
    else:
        bounds = [view.value(given(node, index)) if given(node, index) else None for index in (1, 2, 3, 4)]
        if (
            bounds[0] is None
            or bounds[1] is None
            or any(bounds[index - 1] is None and given(node, index) for index in (3, 4))
        ):
            return None
        starts, ends, axes, steps = (None if h is None else [int(v) for v in h.reshape(-1)] for h in bounds)
    axes = axes or list(range(len(starts)))
    steps = steps or [1] * len(starts)
    return list(zip(axes, starts, ends, steps, strict=False))


@kind("split-outputs")
def _split_outputs(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    for name in node.output[1:]:
        for reader in view.consumers(name) if name else ():
            operands = 2 if reader.op_type in ("Gather", "MatMul") else 1
            if reader.op_type in rule.options["readers"] and name in reader.input[:operands]:
                message = f"{reader.op_type} reads {name}, whose rank and channels the importer does not know"
                yield Hit(message, name, values={"tensor": name})
                return


@kind("gather-negative")
def _gather_negative(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    index, maker = view.value(given(node, 1)), view.maker(given(node, 0))
    of_shape = maker is not None and maker.op_type == "Shape" and given(node, 0) not in view.constants
    if index is None or not index.size or index.min() >= 0 or (given(node, 0) in view.folds and not of_shape):
        return
    yield Hit(
        "negative indices are not counted from the end",
        "indices",
        Severity.ERROR if not of_shape and rule.options.get("fails") else None,
    )


@kind("gather-scalar")
def _gather_scalar(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    if view.rank(given(node, 1)) != 0 or given(node, 1) not in view.constants or not node.output:
        return
    if variable(view, given(node, 0)) and not stays(view, node.output[0], "Add", "Div", "Mul", "Sub"):
        yield Hit("a scalar index must remove the axis, but the target keeps it", "indices")


@kind("gather-constant")
def _gather_constant(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    index = view.value(given(node, 1))
    if given(node, 0) not in view.constants or given(node, 1) not in view.constants or index is None:
        return
    most = rule.options.get("at_most", index.size)
    if index.size > most:
        yield Hit(
            f"{index.size} indices into a constant: the importer folds at most {most} and throws for more",
            "indices",
        )
    elif index.size and index.min() < 0:
        yield Hit("negative indices into a constant cannot be folded at import", "indices")


@kind("gather-flattens")
def _gather_flattens(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    name, index = given(node, 1), view.shape(given(node, 1))
    if index is None or len(index) < 2 or (given(node, 0) in view.folds and name in view.folds):
        return
    if rule.options["constant_only"] and name not in view.constants:
        return
    if any(size != 1 for size in index):
        yield Hit(f"indices of shape {text(index)} are read as a flat list", "indices")


@kind("gather-variable")
def _gather_variable(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """1.0.4: indices that are data lie along the batch; those of a constant must be constant."""
    name = given(node, 1)
    if name in view.constants:
        return
    if given(node, 0) in view.constants:
        message = f"indices into a constant must be a constant at import, which {name} is not"
        yield Hit(message, "indices", Severity.ERROR)
    else:
        yield Hit(f"the indices {name} are not constant: only one of them is used", "indices")


@kind("expand-rank")
def _expand_rank(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    data, result = view.shape(given(node, 0)), view.shape(node.output[0]) if node.output else None
    shape = view.value(given(node, 1)) if given(node, 1) else None
    if data is None or result is None or not variable(view, given(node, 0)) or given(node, 0) in view.folds:
        return
    rank = len(result) if shape is None else shape.size
    added = result[: len(result) - len(data)]
    if rule.options["only_rank_four"]:
        if rank != 4 or len(data) != 4:
            yield Hit(
                f"{text(data)} to rank {rank}: only Expand from rank 4 to rank 4 works", "shape", Severity.ERROR
            )
        elif data[0] == 1 and result[0] not in (1, None):
            yield Hit(f"the batch stays 1 instead of {result[0]}", "shape")
    elif rank < len(data) or (len(added) > 1 and shape is not None):
        yield Hit(f"expanding data of rank {len(data)} to a shape of rank {rank} throws", "shape", Severity.ERROR)
    elif any(size != 1 for size in added):
        yield Hit(f"{text(data)} to {text(result)}: the added axes keep size 1", "shape")
