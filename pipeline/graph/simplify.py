"""Simplifies a model with onnxsim if there is something to fold, with onnx-graphsurgeon if onnxsim fails."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator

import onnx

from pipeline.graph.apart import ApartError, Process
from pipeline.graph.estimate import MOST_FOLDED, estimate, light
from pipeline.graph.onnx_inference import inferred_by_onnx
from pipeline.support import limits
from pipeline.support.errors import LimitReached
from pipeline.support.quiet import quiet

_FOLDABLE = frozenset(
    [
        "Shape",
        "Size",
        "ConstantOfShape",
        "Range",
        "Expand",
        "If",
        "Loop",
        "Scan",
    ]
)
"""Operators that onnxsim mostly folds away in a graph of known sizes."""
_MOST_WORK = 10**10
"""Multiply-adds up to which constants are folded by computing them."""


def worth_simplifying(model: onnx.ModelProto) -> bool:
    """Whether onnxsim would fold what the rewrite `constants` does not.

    Other graphs are spared the import of onnxsim: 0.5 s, or 3 s where torch is installed (peers.md section C), and
    100 MiB. Identity, Constant and Dropout nodes are not worth that by themselves. A BatchNormalization in
    training mode is left alone too: onnxsim drops the outputs that say so below opset 14.
    """
    if any(node.op_type == "BatchNormalization" and any(node.output[1:]) for node in model.graph.node):
        return False
    constant = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in _FOLDABLE:
            return True
        given = [name for name in node.input if name]
        if node.op_type != "Identity" and given and all(name in constant for name in given):
            return True
    return False


def _without_twins(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with duplicate initializers merged, as onnxsim merges them; the model itself if there are none."""
    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    merged: dict[str, str] = {}
    declared = {value.name for value in (*model.graph.input, *model.graph.output)}
    for tensor in model.graph.initializer:
        # Small ones are cheap, and scale vectors are often alike.
        if len(tensor.raw_data) > 64 and tensor.name not in declared:
            original = first.setdefault((tensor.data_type, tuple(tensor.dims), tensor.raw_data), tensor.name)
            if original != tensor.name:
                merged[tensor.name] = original
    if not merged:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = merged.get(name, name)
    remaining = [tensor for tensor in copy.graph.initializer if tensor.name not in merged]
    del copy.graph.initializer[:]
    copy.graph.initializer.extend(remaining)
    return copy


def simplify(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """The model simplified by onnxsim, and a note: empty, or why something else was done instead.

    Silent and deterministic. The opset and the declared sizes stay. Where onnxsim fails, graphsurgeon folds the
    constants; where that fails too, the model is returned as it was: lowering folds what it needs by itself.
    """
    if not worth_simplifying(model):
        return _without_twins(model), ""
    folded = estimate(light(model)).folded
    if (
        folded.unknown
        or folded.largest > MOST_FOLDED
        or folded.total > 4 * MOST_FOLDED
        or folded.work > _MOST_WORK
    ):
        which = folded.unknown or folded.largest_of
        return model, f"not simplified: the size of {which} is not known, or too large for a constant"
    try:
        simplified, equivalent = _by_onnxsim(_with_output_shapes(model))
    except LimitReached as stop:
        return _without_onnxsim(model, f"onnxsim was stopped ({stop.error.message})")
    except Exception as error:  # onnxsim raises whatever its C++ parts throw
        return _without_onnxsim(model, f"onnxsim failed ({_first_line(error)})")
    if not equivalent:
        return _without_onnxsim(model, "onnxsim's result computes something else")
    return _stable(simplified), ""


_other: Process | None = None
"""The process that runs onnxsim; it is started once, and ends with this one."""


def _by_onnxsim(model: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
    """onnxsim's result, and whether it is equivalent; run in another process, since odd graphs crash its C++."""
    global _other
    content = model.SerializeToString()
    if _other is None:
        memory = max(limits.run_memory(), 8 * len(content))
        _other = Process("pipeline.graph.simplify_process", "simplifying the graph", memory, limits.time_limit())
    try:
        answer = _other.ask(content)
    except ApartError as error:
        if _other.ended:
            _other = None
        raise RuntimeError(str(error).removeprefix("RuntimeError: ")) from None
    except BaseException:
        _other = None
        raise
    return onnx.load_from_string(answer[1:]), answer[:1] == b"1"


def _with_output_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """onnxsim demands that each output has a shape, which not all exporters write."""
    if all(output.type.tensor_type.HasField("shape") for output in model.graph.output):
        return model
    return inferred_by_onnx(model)


def _without_onnxsim(model: onnx.ModelProto, reason: str) -> tuple[onnx.ModelProto, str]:
    from pipeline.graph.model import from_model, to_model

    try:
        with _silenced():
            graph = from_model(model).fold_constants().cleanup(remove_unused_graph_inputs=False).toposort()
            folded = to_model(graph)
            onnx.checker.check_model(folded)
    except Exception:  # the fallback's own failure leaves the model as it was
        return model, f"{reason}; the graph was converted without being simplified"
    return folded, f"{reason}; constants were folded by onnx-graphsurgeon"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__


def _stable(model: onnx.ModelProto) -> onnx.ModelProto:
    """Initializers in the order of their first reader: onnxsim's own order is that of a hash table."""
    order: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            order.setdefault(name, len(order))
    tensors = sorted(model.graph.initializer, key=lambda tensor: (order.get(tensor.name, len(order)), tensor.name))
    copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in tensors]
    del model.graph.initializer[:]
    model.graph.initializer.extend(copies)
    return model


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Nothing that a library prints, logs or warns gets through; its C++ parts write to the descriptors."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(descriptor) for descriptor in (1, 2)]
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        for descriptor in (1, 2):
            os.dup2(nothing, descriptor)
        with quiet(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        for descriptor, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(nothing)
