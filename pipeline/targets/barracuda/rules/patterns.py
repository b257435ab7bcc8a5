"""Rules of Barracuda that look at more than one node: what its importer believes, fuses and swaps."""

from __future__ import annotations

import math

import onnx

from pipeline.targets import Rule
from pipeline.targets.barracuda.rules.inherited_rank import noted_ranks
from pipeline.targets.barracuda.rules.register import graph_kind
from pipeline.targets.barracuda.rules.shaping import axes_of
from pipeline.validation.findings import Severity
from pipeline.validation.graphs import Found
from pipeline.validation.kinds import Hit, variable
from pipeline.validation.view import View, attribute, given, label


# ------------------------------------------------------------------------------------------------ features
@graph_kind("stale-features")
def _stale(view: View, rule: Rule) -> Found:
    """The number of channels that the importer believes a tensor has, against the length of scale."""
    concat_adds = rule.options["concat_adds"]
    ranks = noted_ranks(view) if concat_adds else {}
    count: dict[str, int] = {}
    for name in view.inputs:
        shape = view.shape(name)
        count[name] = shape[1] if shape is not None and len(shape) > 1 and shape[1] else -1
    for index in view.order:
        node = view.nodes[index]
        weight = view.shape(given(node, 1))
        source = count.get(given(node, 0), -1)
        match node.op_type:
            case "Conv" if weight:
                tracked = weight[0] or -1
            case "ConvTranspose" if weight and len(weight) > 1:
                tracked = weight[1] or -1
            case "Gemm" | "MatMul" | "OneHot" | "Unsqueeze" | "Squeeze" | "Constant":
                tracked = -1
            case name if not view.target.accepts(name):
                tracked = -1
            case "Concat" if (
                concat_adds and attribute(node, "axis") in (1, -3) and ranks.get(given(node, 0), 4) == 4
            ):
                parts = [count.get(name, -1) for name in node.input]
                tracked = -1 if -1 in parts else sum(parts)
            case _:
                tracked = source
        if node.op_type == "InstanceNormalization":
            scale = view.shape(given(node, 1))
            if scale and len(scale) == 1 and scale[0] and source not in (-1, scale[0]):
                yield (
                    node,
                    Hit(
                        f"the importer assumes that {given(node, 0)} has {source} channels, but scale has "
                        f"{scale[0]}: its count is not updated by Concat, Reshape, Slice and similar operators",
                        given(node, 0),
                        values={"expected": source, "got": scale[0]},
                    ),
                )
        for output in node.output[:1]:
            count[output] = tracked


# ------------------------------------------------------------------------------------------------ fusing
def _constant_operand(view: View, node: onnx.NodeProto) -> tuple[str, str] | None:
    """(constant, data) of an Add or Mul with one constant operand."""
    if len(node.input) != 2:
        return None
    first, second = node.input
    if first in view.folds and second not in view.folds:
        return first, second
    if second in view.folds and first not in view.folds:
        return second, first
    return None


def _fuses_backwards(view: View, node: onnx.NodeProto) -> bool:
    """Whether a scalar Add is merged into a convolution before it, through Mul and Add with constants."""
    current = node
    for _ in range(64):
        operands = _constant_operand(view, current)
        name = operands[1] if operands is not None else given(current, 0)
        maker = view.maker(name)
        if maker is None or view.only_consumer(name) is None:
            return False
        if maker.op_type in ("Conv", "BatchNormalization"):
            return maker.op_type == "Conv" or _fuses_backwards(view, maker)
        if maker.op_type not in ("Add", "Mul") or _constant_operand(view, maker) is None:
            return False
        current = maker
    return False


@graph_kind("shift-before-padding")
def _shift(view: View, rule: Rule) -> Found:
    for node in view.nodes:
        if node.op_type not in ("Add", "Sum") or not node.output:
            continue
        operands = _constant_operand(view, node)
        conv = _convolution_ahead(view, node) if operands is not None else None
        if operands is None or conv is None:
            continue
        shape, value = view.shape(operands[0]), view.value(operands[0])
        if shape is None or math.prod(size or 2 for size in shape) != 1 or attribute(conv, "group", 1) != 1:
            continue
        if value is not None and not value.any():
            continue
        padded = any(attribute(conv, "pads", [])) or str(attribute(conv, "auto_pad", "NOTSET")).startswith("SAME")
        if padded and not _fuses_backwards(view, node):
            yield (
                node,
                Hit(
                    f"adding one number before {label(conv)}, which pads with zeros, is folded into its bias, so "
                    "the border is computed as if the padding had been shifted too",
                    operands[0],
                ),
            )


def _convolution_ahead(view: View, node: onnx.NodeProto) -> onnx.NodeProto | None:
    """The one Conv that reads a node, also through sums and products with constants, which are fused first."""
    for _ in range(64):
        reader = view.only_consumer(node.output[0])
        if reader is None or not reader.output:
            return None
        if reader.op_type == "Conv":
            return reader if given(reader, 0) == node.output[0] else None
        if reader.op_type not in ("Add", "Mul") or _constant_operand(view, reader) is None:
            return None
        node = reader
    return None


@graph_kind("width-constant")
def _width(view: View, rule: Rule) -> Found:
    """A constant along the width beside a Conv with as many outputs (LayerFusingHelper.cs:331@3.0.0)."""
    for node in view.nodes:
        operands = _constant_operand(view, node) if node.op_type in ("Add", "Mul", "Sum") else None
        if operands is None or not node.output or node.output[0] in view.outputs:
            continue
        shape, data = view.shape(operands[0]), view.shape(operands[1])
        if not shape or len(shape) not in rule.options["ranks"] or shape[-1] in (1, None):
            continue
        if any(size != 1 for size in shape[:-1]) or data is None or len(data) != 4:
            continue
        before, after = view.maker(operands[1]), view.only_consumer(node.output[0])
        for conv in (before if view.only_consumer(operands[1]) is not None else None, after):
            weight = view.shape(given(conv, 1)) if conv is not None and conv.op_type == "Conv" else None
            if conv is not None and weight and weight[0] == shape[-1]:
                yield (
                    node,
                    Hit(
                        f"the constant {operands[0]} along the width has {shape[-1]} values, as many as "
                        f"{label(conv)} has output channels: it is fused as if it were per channel",
                        operands[0],
                    ),
                )
                break


# ------------------------------------------------------------------------------------------------ layout
_TO_LAST, _TO_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


@graph_kind("channels-last")
def _channels_last(view: View, rule: Rule) -> Found:
    transposes = [
        node
        for node in view.nodes
        if node.op_type == "Transpose"
        and attribute(node, "perm") in (_TO_LAST, _TO_FIRST)
        and node.output
        and variable(view, given(node, 0))
    ]
    if not transposes or not any(node.op_type in ("Conv", "ConvTranspose") for node in view.nodes):
        return
    behind = _behind(view)
    for node in transposes:
        if attribute(node, "perm") == _TO_FIRST:
            if given(node, 0) in view.inputs:
                yield (
                    node,
                    Hit("the input is channels-last: its sizes must be given in the order that the file declares"),
                )
            continue
        operators = behind.get(node.output[0], frozenset())
        if not operators:
            continue
        if "product" in operators:
            message = "a matrix product on channels-last data between two transposes throws when it runs"
            yield node, Hit(message, severity=Severity.ERROR)
        elif "reduction" in operators:
            message = (
                "a negative axis of a reduction between two transposes to and from channels-last reduces the batch"
            )
            yield node, Hit(message, severity=Severity.WRONG)
        else:
            yield (
                node,
                Hit(
                    "data is transposed to channels-last inside the graph: the importer guesses the layout of the "
                    "nodes that follow"
                ),
            )


def _behind(view: View) -> dict[str, frozenset[str]]:
    """What lies behind a tensor, up to the next transpose or to where it is not an image any more."""
    behind: dict[str, frozenset[str]] = {}
    for index in reversed(view.order):
        node = view.nodes[index]
        for output in node.output:
            kinds: set[str] = set()
            for reader in view.consumers(output):
                if reader.op_type in ("Transpose", "Reshape", "Flatten"):
                    continue
                kinds.add(_role(view, reader))
                for later in reader.output:
                    kinds |= behind.get(later, frozenset())
            if output and kinds:
                behind[output] = frozenset(kinds)
    return behind


def _role(view: View, node: onnx.NodeProto) -> str:
    if view.rank(given(node, 0)) not in (4, None):
        return "other"
    if node.op_type in ("MatMul", "Gemm"):
        return "product"
    return "reduction" if negative_reduction(view, node) else "other"


def negative_reduction(view: View, node: onnx.NodeProto) -> bool:
    """Whether a node reduces axes counted from the end."""
    return node.op_type.startswith("Reduce") and min(axes_of(view, node) or [0]) < 0


@graph_kind("shapes-disagree")
def _disagree(view: View, rule: Rule) -> Found:
    """Nodes whose inputs fit together in ONNX's reading, and no longer in the target's."""
    from pipeline.targets.barracuda.rules.consequences import disagreements

    names = {label(node): node for node in view.nodes}
    for name, problem in disagreements(view):
        yield (
            names.get(name),
            Hit(f"with the sizes that the target computes in earlier nodes, {problem}: it throws when it runs"),
        )
