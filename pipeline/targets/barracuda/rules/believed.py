"""The values that 1.0.4 assumes for numbers that a graph computes from sizes, and where they are wrong.

Its importer folds all that follows from a Shape, and takes -1 for every size but the channels; integers are floats
(ONNXModelImporter.cs:151@1.0.4). `(H * 2) / H` comes out right that way, `H * 2` does not. The same sub-graphs are
also computed as ONNX defines them, at trial sizes where the file leaves sizes open, and compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import onnx

from pipeline.targets.barracuda.rules.register import kind
from pipeline.targets.barracuda.rules.slicing import onnx_range, truncated_range
from pipeline.validation.findings import Severity
from pipeline.validation.kinds import Hit, variable
from pipeline.validation.view import View, attribute, given

if TYPE_CHECKING:
    from pipeline.graph.shape import Shape
    from pipeline.targets import Rule

Values = dict[str, np.ndarray]
_ARITHMETIC: dict[str, Callable[..., np.ndarray]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Floor": np.floor,
    "Ceil": np.ceil,
}
_SAME = ("Identity", "Unsqueeze", "Squeeze", "Reshape")


def computed(view: View, sizes: Callable[[str], Shape | None], exact: bool) -> Values:
    """The small tensors that follow from sizes, flat; `exact` computes whole numbers as ONNX does."""
    values: Values = {}
    for index in view.order:
        node = view.nodes[index]
        if not node.output or node.op_type == "Constant":
            continue
        inputs = [values.get(name, _stored(view, name)) for name in node.input if name]
        try:
            result = _compute(node, inputs, sizes, exact)
        except (ArithmeticError, IndexError, TypeError, ValueError):
            continue
        if result is not None:
            values[node.output[0]] = result.reshape(-1)
    return values


def _stored(view: View, name: str) -> np.ndarray | None:
    maker = view.maker(name)
    if name not in view.initializers and (maker is None or maker.op_type != "Constant"):
        return None
    value = view.value(name)
    return None if value is None or value.dtype.kind not in "fiu" or value.size > 64 else value.reshape(-1)


def _compute(
    node: onnx.NodeProto, inputs: list[np.ndarray | None], sizes: Callable[[str], Shape | None], exact: bool
) -> np.ndarray | None:
    if node.op_type == "Shape":
        shape = sizes(node.input[0])
        if shape is None or None in shape:
            return None
        return np.asarray(shape, dtype=np.int64 if exact else np.float64)
    if not inputs or inputs[0] is None or any(value is None for value in inputs):
        return None
    first = inputs[0]
    with np.errstate(all="ignore"):
        match node.op_type:
            case name if name in _SAME:
                return first
            case name if name in _ARITHMETIC:
                return _ARITHMETIC[name](*inputs)
            case "Div":
                whole = exact and all(value.dtype.kind in "iu" for value in inputs)  # type: ignore[union-attr]
                return np.fix(first / inputs[1]).astype(np.int64) if whole else first / inputs[1]
            case "Cast":
                kind_of = onnx.helper.tensor_dtype_to_np_dtype(attribute(node, "to"))
                return first.astype(kind_of) if exact else first.astype(np.float64)
            case "Concat":
                return np.concatenate(inputs)  # type: ignore[arg-type]
            case "Gather":
                return first[inputs[1].astype(np.int64)]  # type: ignore[union-attr]
            case "Slice":
                if len(inputs) > 2:
                    start, end = int(inputs[1][0]), int(inputs[2][0])  # type: ignore[index]
                else:
                    start, end = attribute(node, "starts")[0], attribute(node, "ends")[0]
                return first[start:end]
    return None


def _pair(view: View) -> tuple[Values, Values]:
    """The values that 1.0.4 computes and those that ONNX defines; cached in the view."""
    pair = view.__dict__.get("believed")
    if pair is None and not any(node.op_type == "Shape" for node in view.nodes):
        pair = view.__dict__["believed"] = ({}, {})
    if pair is None:
        from pipeline.graph import infer
        from pipeline.targets.barracuda.rules.consequences import trial_inputs

        def fake(name: str) -> Shape | None:
            shape = view.shape(name)
            return None if shape is None else tuple(
                (size if size is not None else -1) if axis == (len(shape) > 1) else -1
                for axis, size in enumerate(shape)
            )  # fmt: skip

        graph = view.surgeon
        known = infer(graph, trial_inputs(graph)).known if graph is not None else {}
        pair = view.__dict__["believed"] = (computed(view, fake, False), computed(view, known.get, True))
    return pair


@kind("shape-believed")
def _believed(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    believed, meant = _pair(view)
    if not variable(view, given(node, 0)):
        return
    last = {"Reshape": (1,), "Upsample": (1,), "Slice": (1, 2), "Resize": (len(node.input) - 1,)}[node.op_type]
    names = [given(node, index) for index in last]
    if not all(name in believed for name in names):
        return
    numbers = [believed[name] for name in names]
    message = f"1.0.4 uses -1 for every size except the channels, and {node.op_type} computes with that"
    if node.op_type == "Reshape":
        if (numbers[0] < 0).sum() > 1 and not _like_its_source(view, node, numbers[0]):
            unknown = "ArgumentException: Can only specify one unknown dimension"
            yield Hit(message, "shape", Severity.ERROR, {"text": unknown})
        return
    correct = [meant.get(name) for name in names]
    if node.op_type == "Slice":
        verdict = _slice(view, node, numbers, correct)
    else:
        used = numbers[0][2:]
        same = correct[0] is not None and np.allclose(used, correct[0][2:])
        verdict = None if same else Severity.WRONG
        if node.op_type == "Upsample" and (used < 1).all():
            verdict = Severity.ERROR  # taken for a pool, whose pads are missing (ONNXModelImporter.cs:945@1.0.4)
    if verdict == Severity.WRONG and view.joins_later(node):
        verdict = Severity.ERROR
    if verdict is not None:
        yield Hit(message, severity=verdict)


def _like_its_source(view: View, node: onnx.NodeProto, shape: np.ndarray) -> bool:
    """Whether a Reshape takes the shape of another tensor with as many channels: that is a layer of its own."""
    data = view.shape(given(node, 0))
    channels = data[1] if data is not None and len(data) > 1 else None
    return len(shape) > 1 and shape[1] == channels and bool((np.delete(shape, 1) == -1).all())


def _slice(
    view: View, node: onnx.NodeProto, numbers: list[np.ndarray], correct: list[np.ndarray | None]
) -> Severity | None:
    shape, axes = view.shape(given(node, 0)), view.value(given(node, 3)) if given(node, 3) else None
    if shape is None or correct[0] is None or correct[1] is None:
        return None
    places = range(len(numbers[0])) if axes is None else [int(axis) for axis in axes.reshape(-1)]
    for at, axis in enumerate(places):
        size = shape[axis]
        start, end = (int(np.fix(value[at])) for value in numbers)
        if size is None:
            if (start, end) != (int(correct[0][at]), int(correct[1][at])):
                return Severity.WRONG
            continue
        selected = truncated_range(size, start, end, 1, False)
        if selected is None:
            return Severity.ERROR
        if selected != onnx_range(size, int(correct[0][at]), int(correct[1][at]), 1):
            return Severity.WRONG
    return None
