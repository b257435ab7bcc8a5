"""The kinds of rule that look at one node's attributes, constants and ranks, and the register of all kinds.

A kind is a function of (view, node, rule) that yields a `Hit` for each place where the node breaks the row of
the target's data file. What needs to know a family's importer is in the family's folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import onnx

from pipeline.targets import Rule
from pipeline.validation.findings import Severity
from pipeline.validation.harmless import HARMLESS
from pipeline.validation.view import View, attribute, given, layer_output


@dataclass(frozen=True)
class Hit:
    """A node breaks a rule: why, where, and what differs from the row of the data file."""

    reason: str
    where: str = ""
    severity: Severity | None = None
    """None: the row's severity."""
    values: dict[str, Any] = field(default_factory=dict)
    """Fills the places in the row's console text."""
    silent: bool = False
    """Whether the console stays silent although the row has a text."""
    fix: str = ""
    """What to do here; empty: what the row or the code says."""


Kind = Callable[[View, onnx.NodeProto, Rule], Iterator[Hit]]
F = TypeVar("F", bound=Callable[..., Any])


class Register(dict[str, F]):
    """Functions by name. As a decorator it adds one: `@kind("square")`."""

    def __call__(self, name: str) -> Callable[[F], F]:
        def add(function: F) -> F:
            self[name] = function
            return function

        return add


kind: Register[Kind] = Register()
KINDS = kind
"""The kinds that every family's data files may name; a family adds its own (`Family.rule_kinds`)."""


def cosmetic(reason: str, where: str = "", **values: Any) -> Hit:
    """A warning that the console shows although the values are right."""
    return Hit(f"cosmetic: {reason}", where, Severity.WARNING, values)


def plain(value: Any) -> str:
    """A short form of an attribute's value."""
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(plain(item) for item in value) + "]"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def variable(view: View, name: str) -> bool:
    """Whether a tensor is data: not constant while nodes are imported."""
    return bool(name) and name not in view.constants


@kind("constant")
def _constant(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    name = given(node, rule.options["input"])
    if not name or name in view.constants or _empty(view, name):
        return
    maker = view.maker(name)
    how = f"is computed by {maker.op_type}" if maker is not None else "is an input of the graph"
    yield Hit(
        f"{rule.options['name']} must be constant while the node is imported, but {name} {how}",
        rule.options["name"],
        values={"input_name": rule.options["name"], "tensor": name},
    )


def _empty(view: View, name: str) -> bool:
    shape = view.shape(name)
    return name in view.initializers and shape is not None and 0 in shape


@kind("folds")
def _folds(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    for index in rule.options["inputs"]:
        name = given(node, index)
        if name and name not in view.folds:
            reason = f"{name} does not follow from constants and static shapes"
            yield Hit(reason, f"input {index}", values={"tensor": name})


@kind("optional-constant")
def _optional_constant(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    index, what, default = rule.options["input"], rule.options["name"], rule.options["default"]
    name = given(node, index)
    if not name or not _condition(view, node, rule):
        return
    if name in view.constants:
        rank = view.rank(name)
        limit = rule.options.get("max_rank")
        if limit is None or rank is None or rank <= limit or _is_default(view.value(name), default):
            return
        yield Hit(f"{what} must have rank {limit}, it has {rank}: {default} are used instead", what)
        return
    if _is_default(view.value(name), default):
        return
    maker = view.maker(name)
    how = f"is computed by {maker.op_type}" if maker is not None else "is an input of the graph"
    used = "no bound is used" if default == "unbounded" else f"{default} are used"
    yield Hit(f"{what} ({name}) {how}: without any message {used} instead", what)


def _condition(view: View, node: onnx.NodeProto, rule: Rule) -> bool:
    """Whether the input of the option `if_constant`, if there is one, is constant while the node is imported."""
    index = rule.options.get("if_constant")
    return index is None or given(node, index) in view.constants


def _is_default(value: np.ndarray | None, default: str) -> bool:
    if value is None or value.dtype.kind not in "fiub":
        return False
    expected = {"zeros": 0, "ones": 1}.get(default)
    return expected is not None and bool((value == expected).all())


@kind("input-required")
def _input_required(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    index = rule.options["input"]
    if not given(node, index) and _condition(view, node, rule):
        yield Hit(
            f"input {index} ({rule.options['name']}) is left out, and the importer demands it",
            rule.options["name"],
        )


@kind("input-not-empty")
def _input_not_empty(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    index = rule.options["input"]
    if index < len(node.input) and not node.input[index]:
        yield Hit(f"input {index} ({rule.options['name']}) is given with an empty name", rule.options["name"])


@kind("input-ignored")
def _input_ignored(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    index, name = rule.options["input"], rule.options["name"]
    if given(node, index):
        yield Hit(f"input {index} ({name}) is not read", name)


@kind("attribute-in")
def _attribute_in(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    name, allowed = rule.options["attribute"], rule.options["allowed"]
    value = attribute(node, name)
    if value is None:
        return
    items = value if isinstance(value, list) else [value]
    if allowed and all(_among(item, allowed) for item in items):
        return
    values = {"attribute": name, "value": plain(value), "default": rule.options.get("default", "")}
    default = rule.options.get("default")
    computed = f", {default} is computed" if default else ""
    if rule.options.get("cosmetic"):
        yield cosmetic(f"{name}={plain(value)} is ignored; {rule.options['cosmetic']}", name, **values)
        return
    harmless = HARMLESS.get(rule.options.get("harmless", ""))
    if harmless is not None:
        why = harmless(view, node)
        if why:
            if rule.console:
                yield cosmetic(f"{name}={plain(value)} is ignored; {why}", name, **values)
            return
    beside = rule.options.get("error_beside", ())
    fails = any(reader.op_type in beside for reader in view.consumers(layer_output(node)))
    runs = "wrong_without_input" in rule.options and not given(node, rule.options["wrong_without_input"])
    reason = f"{name}={plain(value)} is not read{computed}"
    yield Hit(reason, name, Severity.ERROR if fails else Severity.WRONG if runs else None, values=values)


@kind("attribute-length")
def _attribute_length(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    name, value = rule.options["attribute"], attribute(node, rule.options["attribute"])
    if isinstance(value, list) and len(value) != rule.options["length"] and all(item == 1 for item in value):
        reason = f"{name}={plain(value)} is ignored; it is what is computed"
        yield cosmetic(reason, name, attribute=name, default=rule.options["default"])


def _among(item: Any, allowed: list[Any]) -> bool:
    return any(
        item == other or (isinstance(item, float) and abs(item - other) < 1e-7)
        for other in allowed
        if isinstance(item, str) == isinstance(other, str)
    )


@kind("attribute-required")
def _attribute_required(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    name = rule.options["attribute"]
    if attribute(node, name) is not None:
        return
    if rule.options.get("when") == "rank-over-1":
        rank = view.rank(given(node, 0))
        if given(node, 0) in view.constants or (rank is not None and rank < 2):
            return
    yield Hit(f"the attribute {name} is missing, and the importer reads nothing else", name)


@kind("attribute-default")
def _attribute_default(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    name, expected = rule.options["attribute"], rule.options["target_default"]
    onnx_default = rule.options["onnx_default"] if view.opset >= rule.options["since"] else expected
    value = attribute(node, name, onnx_default)
    if value != expected:
        yield Hit(f"{name} is {value} for ONNX, {expected} is computed", name)


@kind("square")
def _square(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    name = rule.options["attribute"]
    value = attribute(node, name)
    if not isinstance(value, list) or len(value) != 2 or value[0] == value[1]:
        return
    yield Hit(f"{name}={plain(value)} is applied as [{value[1]},{value[0]}]: height and width are swapped", name)


@kind("rank")
def _rank(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    name = given(node, rule.options["input"])
    rank = view.rank(name)
    if rank is None or (rule.options.get("variable") and not variable(view, name)):
        return
    if rule.options.get("when") == "keepdims-0" and attribute(node, "keepdims", 1) != 0:
        return
    if rule.options.get("axis_by_axis"):
        rank += max(0, len(attribute(node, "axes", [])) - 1)
    allowed_at_rank_3 = rule.options.get("right_without", ())
    if allowed_at_rank_3 and rank == 3 and all(attribute(node, key) is None for key in allowed_at_rank_3):
        return
    low, high = rule.options.get("min", 0), rule.options.get("max", 99)
    if low <= rank <= high:
        return
    if low and high < 99:
        span = f"{low}" if low == high else f"{low} to {high}"
    else:
        span = f"at most {high}" if high < 99 else f"at least {low}"
    reached = "reaches" if rule.options.get("axis_by_axis") else "has"
    yield Hit(f"{name} {reached} rank {rank}, the target takes {span}", name, values={"rank": rank})


@kind("outputs")
def _outputs(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    for name in node.output[rule.options["max"] :]:
        if name and (name in view.readers or name in view.outputs):
            yield Hit(f"the output {name} ({rule.options['name']}) does not exist in the target's layer", name)


@kind("always")
def _always(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    yield Hit("")


@kind("permutation")
def _permutation(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    order = attribute(node, "perm")
    rank = view.rank(given(node, 0))
    if order is None and rank is not None:
        order = list(reversed(range(rank)))
    if not variable(view, given(node, 0)) or order is None:
        return
    if order not in rule.options["allowed"]:
        yield Hit(f"perm={plain(order)} on data is not among the permutations that the importer takes", "perm")


@kind("dropout-training")
def _dropout(view: View, node: onnx.NodeProto, rule: Rule) -> Iterator[Hit]:
    """Dropout that drops, where the importer always takes it for the identity."""
    name, ratio = given(node, 2), view.value(given(node, 1)) if given(node, 1) else None
    if not name or (ratio is not None and not ratio.any()):
        return
    training = view.value(name)
    if training is None or training.any():
        yield Hit("training_mode is not read: nothing is dropped", "training_mode")
