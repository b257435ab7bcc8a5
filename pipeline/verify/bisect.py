"""The first node where two graphs diverge.

`by_name` is for two forms of one graph, such as a file and its emulation: tensors of one name must be equal.
`by_value` is for two graphs that ought to compute the same, such as a source and what was lowered from it: nodes
may be fused, split, reordered or renamed, so that tensors are found again by what they hold.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.graph.runtime import session

if TYPE_CHECKING:
    import onnx

TOLERANCE = 1e-3
"""Largest difference that counts as agreement, relative to the range of the tensor's values: two roundings of one
computation stay below, and it is half of the half level of 255 that the proof allows."""
_AT_ONCE = 64
"""Tensors that `by_name` fetches in one run: bounds its memory."""
_DISTINCTIVE = 16
"""Elements that a tensor must have to be found only by its values; fewer agree by chance."""

_OF_NORMS = frozenset(["GlobalAveragePool", "Mul", "ReduceMean", "Sub"])
"""What reads the input of an instance normalisation that is written out."""
_TYPES = {10: np.float16, 11: np.float64}
"""Inputs that are not float32, by the number of their ONNX type."""

Shape = tuple[int, ...]


class ModelWithInput:
    """A model that ONNX Runtime runs, and the value of its one input, of the shape that the model declares.

    Local functions are inlined, so that all tensors are seen; tensors inside subgraphs (If, Loop) are not.
    """

    def __init__(self, model: onnx.ModelProto, value: np.ndarray) -> None:
        if model.functions:
            from onnx import inliner

            model = inliner.inline_local_functions(model)
        self.model = model
        self.nodes = list(model.graph.node)
        self.makers = {name: place for place, node in enumerate(self.nodes) for name in node.output if name}
        constants = {tensor.name for tensor in model.graph.initializer}
        image = next(entry for entry in model.graph.input if entry.name not in constants)
        self.input = image.name
        self.value = np.ascontiguousarray(value, _TYPES.get(image.type.tensor_type.elem_type, np.float32))
        self.output = model.graph.output[0].name

    @cached_property
    def from_input(self) -> set[str]:
        """The tensors that depend on the input, and the input."""
        reached = {self.input}
        for node in self.nodes:
            if reached.intersection(_read(node)):
                reached.update(name for name in node.output if name)
        return reached

    @cached_property
    def to_output(self) -> set[str]:
        """The tensors that the output depends on, and the output."""
        return self.behind([self.output])

    def behind(self, names: Iterable[str], *, by_value: bool = False) -> set[str]:
        """The tensors that these depend on, and they themselves; `by_value` leaves out those that give a size."""
        needed = set(names)
        for node in reversed(self.nodes):
            if needed.intersection(node.output) and not (by_value and node.op_type in ("Shape", "Size")):
                needed.update(_read(node))
        return needed

    def readers(self, name: str) -> list[str]:
        """The nodes that read a tensor, as `operator name`."""
        return [f"{node.op_type} {label(node)}" for node in self.nodes if name in _read(node)]

    def only_normalised(self, name: str) -> bool:
        """Whether only one instance normalisation reads a tensor, be it one node or written out."""
        reading = [node.op_type for node in self.nodes if name in _read(node)]
        means = sum(operator in ("GlobalAveragePool", "ReduceMean") for operator in reading)
        return reading == ["InstanceNormalization"] or (means == 1 and set(reading) <= _OF_NORMS)

    def values(self, names: Sequence[str]) -> dict[str, np.ndarray | str]:
        """These tensors' values, or in a line why ONNX Runtime cannot compute them; only what they need is run."""
        try:
            return dict(zip(names, self.run(names), strict=True)) if names else {}
        except Exception as error:  # whatever ONNX Runtime raises; the first to fail is found by halving
            if len(names) == 1:
                return {names[0]: " ".join(str(error).split())[:200] or type(error).__name__}
        half = len(names) // 2
        return self.values(names[:half]) | self.values(names[half:])

    def run(self, names: Sequence[str]) -> list[Any]:
        """These tensors' values. Raises whatever ONNX Runtime raises."""
        import onnx

        needed = self.behind(names)
        subgraph = onnx.ModelProto()
        subgraph.CopyFrom(self.model)
        del subgraph.graph.node[:], subgraph.graph.output[:], subgraph.graph.value_info[:]
        subgraph.graph.node.extend(node for node in self.nodes if needed.intersection(node.output))
        subgraph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        return session(subgraph).run(list(names), {self.input: self.value})


@dataclass(frozen=True)
class Divergence:
    """The first node of A whose output is not B's, and what was still the same before it.

    `difference` is the largest absolute difference from the tensor of B that stands for it (`counterpart`), in
    the tensor's own unit, at `place`; `relative` is the same over the range of A's values. They are None where
    there is none of that shape; `shape_b` then is that of B's tensor of the same name, or None. `last` names, in
    A and in B, the last tensor before it that is the same in both; `continues` are the nodes of B that read it.
    """

    node: str
    operator: str
    tensor: str
    agreed: int
    """Tensors before it that were found to be the same."""
    last: tuple[str, str] | None
    continues: tuple[str, ...] = ()
    counterpart: str | None = None
    difference: float | None = None
    relative: float | None = None
    place: tuple[int, ...] | None = None
    shape_a: Shape | None = None
    shape_b: Shape | None = None
    hint: str = ""
    """What is known of the kind of difference."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "node": self.node,
            "operator": self.operator,
            "tensor": self.tensor,
            "tensors_agreed_before": self.agreed,
            "last_agreement": None if self.last is None else {"a": self.last[0], "b": self.last[1]},
            "b_continues_with": list(self.continues),
            "counterpart": self.counterpart,
            "largest_difference": None if self.difference is None else float(f"{self.difference:.4g}"),
            "of_range": None if self.relative is None else float(f"{self.relative:.3g}"),
            "worst": None if self.place is None else list(self.place),
            "shape_a": None if self.shape_a is None else list(self.shape_a),
            "shape_b": None if self.shape_b is None else list(self.shape_b),
            "hint": self.hint,
        }

    @property
    def sentence(self) -> str:
        """The divergence in a line or two."""
        words = [f"{self.operator} {self.node}"]
        if self.difference is not None and self.relative is not None:
            words.append(f"differs by up to {self.difference:.4g} ({self.relative:.2%} of its range)")
            words.append(f"at {'/'.join(map(str, self.place or ()))} of {_sizes(self.shape_a)}")
        elif self.shape_b is not None:
            words.append(f"has the shape {_sizes(self.shape_a)} in A and {_sizes(self.shape_b)} in B")
        elif self.shape_a is not None:
            words.append(f"has the shape {_sizes(self.shape_a)} in A, and no counterpart in B")
        text = " ".join(words) + (f"; {self.hint}" if self.hint else "")
        if self.last is not None:
            name = f"tensor {self.last[0]}" + (f" (in B {self.last[1]})" if self.last[0] != self.last[1] else "")
            text += f"; {name} is still identical"
            text += f", B continues with {', '.join(self.continues)}" if self.continues else ""
        return text


def label(node: onnx.NodeProto) -> str:
    """A node's name, or its first output's where it has none: what names it in the file."""
    return node.name or next((name for name in node.output if name), node.op_type)


# --- one graph in two forms -----------------------------------------------------------------------------------


def by_name(a: ModelWithInput, b: ModelWithInput, tolerance: float = TOLERANCE) -> Divergence | None:
    """The first node, in the order of A's file, whose output in B differs or cannot be computed.

    All its inputs are then the same in both. Tensors that one of the two does not have are passed over: the node
    that reads them is the first whose output shows what became of them. None when every tensor is the same.
    """
    agreed: dict[str, str] = {}
    for names in _batches([name for name in a.makers if name in b.makers and name in a.from_input]):
        left, right = a.values(names), b.values(names)
        for name in names:
            if isinstance(left[name], str) or not _numbers(left[name]):
                continue
            found = _diverged(left[name], right[name], tolerance)
            if found is not None:
                return _divergence(a, b, name, agreed, counterpart=name, **found)
            agreed[name] = name
    return None


def _batches(names: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), _AT_ONCE):
        yield names[start : start + _AT_ONCE]


def _diverged(left: Any, right: Any, tolerance: float) -> dict[str, Any] | None:
    """How B's tensor differs, as fields of Divergence; None where it does not."""
    if isinstance(right, str):
        return {"shape_a": left.shape, "hint": f"B cannot compute it ({right})"}
    if not _numbers(right) or left.shape != right.shape:
        return {"shape_a": left.shape, "shape_b": getattr(right, "shape", None)}
    gap = _gap(left, right)
    relative = float(gap.max(initial=0)) / _range(left)
    if relative <= tolerance:
        return None
    place = np.unravel_index(int(gap.argmax()), gap.shape)
    return {
        "difference": float(gap.max()),
        "relative": relative,
        "place": tuple(int(index) for index in place),
        "shape_a": left.shape,
        "shape_b": right.shape,
        "hint": _affine_hint(left, right, tolerance),
    }


def _divergence(
    a: ModelWithInput, b: ModelWithInput, name: str, same: dict[str, str], **fields: Any
) -> Divergence:
    node = a.nodes[a.makers[name]]
    last = _before(a, name, same | {a.input: b.input})
    continues = tuple(b.readers(last[1])) if last is not None and fields.get("counterpart") != name else ()
    agreed = sum(a.makers[tensor] < a.makers[name] for tensor in same)
    return Divergence(label(node), node.op_type, name, agreed, last, continues, **fields)


def _before(a: ModelWithInput, name: str, same: dict[str, str]) -> tuple[str, str] | None:
    """The last tensor that `name` depends on and that is in `same`, there and in B."""
    behind = a.behind([name])
    known = [a.input, *a.makers]
    return next(
        ((tensor, same[tensor]) for tensor in reversed(known) if tensor in behind and tensor in same), None
    )


# --- two graphs -----------------------------------------------------------------------------------------------


def by_value(
    a: ModelWithInput, b: ModelWithInput, *, outputs_agree: bool, tolerance: float = TOLERANCE
) -> Divergence | None:
    """The first node of A from which on B holds nothing that A computes.

    A tensor of A is found in B under its name, or else by its values among those with the same sizes in any order
    of axes, and one that only a normalisation reads also without its mean. A tensor that is not found says nothing
    where something computed from it is found again: B then only gets there another way. So the answer is the first
    tensor that is not found, and nothing made of it either.
    `outputs_agree` says whether the two outputs are the same picture, be it in different value ranges; then
    tensors that B lacks do not matter, and the answer is None. All tensors are in memory at the same time.
    """
    left, right = _float_tensors(a), _float_tensors(b)
    index: dict[tuple[int, ...], list[str]] = {}
    for name, value in right.items():
        index.setdefault(_sorted_sizes(value), []).append(name)
    summaries = {name: _summary(value) for name, value in right.items()}
    same: dict[str, str] = {}
    missing: list[str] = []
    for name, value in left.items():
        found = _find(name, value, right, index, summaries, tolerance)
        if found is None and value.ndim == 4 and a.only_normalised(name):
            found = _find_centred(value, right, b, tolerance)
        if found is not None:
            same[name] = found
        elif _is_distinctive(value) or (name in right and right[name].shape == value.shape):
            missing.append(name)
    if outputs_agree:
        same[a.output] = b.output
    recomputed = a.behind(same, by_value=True)
    first_missing = next((name for name in missing if name not in recomputed), None)
    if first_missing is None:
        return None
    return _divergence(
        a, b, first_missing, same, **_nearest(first_missing, left[first_missing], right, index, tolerance)
    )


def _float_tensors(model: ModelWithInput) -> dict[str, np.ndarray]:
    """The tensors of floating point numbers on the way from input to output, in the order of the nodes."""
    names = [name for name in model.makers if name in model.from_input and name in model.to_output]
    values = model.values(names)
    return {n: v for n, v in values.items() if not isinstance(v, str) and _numbers(v) and v.dtype.kind == "f"}


def _find(
    name: str,
    value: np.ndarray,
    right: dict[str, np.ndarray],
    index: dict[tuple[int, ...], list[str]],
    summaries: dict[str, np.ndarray],
    tolerance: float,
) -> str | None:
    """The tensor of B that holds the same, in whatever order of axes; the one of the same name first."""
    if name in right and right[name].shape == value.shape and _same(value, right[name], tolerance):
        return name
    if not _is_distinctive(value):
        return None
    summary, slack = _summary(value), tolerance * _range(value)
    for other in index.get(_sorted_sizes(value), ()):
        if np.abs(summaries[other] - summary).max() <= slack and _turned_same(value, right[other], tolerance):
            return other
    return None


def _find_centred(
    value: np.ndarray, right: dict[str, np.ndarray], b: ModelWithInput, tolerance: float
) -> str | None:
    """The tensor of B that only a normalisation reads and that differs by no more than a constant per channel."""
    centred = _centred(value)
    for name, other in right.items():
        if other.shape == value.shape and b.only_normalised(name) and _same(centred, _centred(other), tolerance):
            return name
    return None


def _centred(value: np.ndarray) -> np.ndarray:
    floats = value.astype(np.float64)
    return floats - floats.mean(axis=(2, 3), keepdims=True)


def _turned_same(value: np.ndarray, other: np.ndarray, tolerance: float) -> bool:
    """Whether some order of axes makes `other` the same; axes of size 1 do not count."""
    value, other = value.squeeze(), other.squeeze()
    if value.ndim > 5:
        return value.shape == other.shape and _same(value, other, tolerance)
    return any(
        tuple(other.shape[axis] for axis in order) == value.shape
        and _same(value, other.transpose(order), tolerance)
        for order in itertools.permutations(range(other.ndim))
    )


def _nearest(
    name: str,
    value: np.ndarray,
    right: dict[str, np.ndarray],
    index: dict[tuple[int, ...], list[str]],
    tolerance: float,
) -> dict[str, Any]:
    """B's tensor that most likely stands for this one: of the same name, or the nearest of the same shape."""
    if name in right:
        return {"counterpart": name, **(_diverged(value, right[name], tolerance) or {})}
    alike = [other for other in index.get(_sorted_sizes(value), ()) if right[other].shape == value.shape]
    scaled = next((other for other in alike if _affine_hint(value, right[other], tolerance)), None)
    best = scaled or min(alike, key=lambda other: float(_gap(value, right[other]).max()), default=None)
    if best is None:
        return {"shape_a": value.shape}
    return {"counterpart": best, **(_diverged(value, right[best], tolerance) or {})}


# --- numbers --------------------------------------------------------------------------------------------------


def _read(node: onnx.NodeProto) -> set[str]:
    """The tensors that a node reads, also from inside its subgraphs."""
    names = {name for name in node.input if name}
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            names.update(name for inner in graph.node for name in _read(inner))
    return names


def _numbers(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiub"


def _is_distinctive(value: np.ndarray) -> bool:
    """Whether a tensor can be known by its values: enough of them, and not all the same."""
    return value.size >= _DISTINCTIVE and bool(np.ptp(value) > 0)


def _range(value: np.ndarray) -> float:
    """The width of the range of the finite values; of a constant tensor its magnitude, of zeros 1."""
    finite = value[np.isfinite(value)].astype(np.float64)
    return float(np.ptp(finite) or np.abs(finite).max() or 1.0) if finite.size else 1.0


def _gap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Absolute differences; what is not finite in only one, or differently, is infinitely far."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        gap = np.abs(x - y)
    gap = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, gap)
    return np.where(np.isnan(gap), np.inf, gap)


def _same(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    return bool(_gap(a, b).max(initial=0) <= tolerance * _range(a))


def _sorted_sizes(value: np.ndarray) -> tuple[int, ...]:
    return tuple(sorted(size for size in value.shape if size != 1))


def _summary(value: np.ndarray) -> np.ndarray:
    """Mean, smallest and largest value: the same in any order of elements."""
    finite = np.nan_to_num(value.astype(np.float64), posinf=0.0, neginf=0.0)
    return np.array([finite.mean(), finite.min(), finite.max()]) if finite.size else np.zeros(3)


def _affine_hint(a: np.ndarray, b: np.ndarray, tolerance: float) -> str:
    """`B has scale * it + shift` where that is so within the tolerance, else nothing."""
    x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    if (
        x.size < _DISTINCTIVE
        or not (np.isfinite(x).all() and np.isfinite(y).all())
        or not (np.ptp(x) and np.ptp(y))
    ):
        return ""
    centred = x - x.mean()
    scale = float(centred @ y / (centred @ centred))
    shift = float(y.mean() - scale * x.mean())
    if np.abs(scale * x + shift - y).max() > tolerance * np.ptp(y):
        return ""
    return f"B has {scale:.6g} times that value {'+' if shift >= 0 else '-'} {abs(shift):.6g}"


def _sizes(shape: Shape | None) -> str:
    return "x".join(map(str, shape or ())) or "one number"
