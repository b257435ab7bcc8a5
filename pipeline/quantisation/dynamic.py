"""Dynamic quantisation: DynamicQuantizeLinear, an integer Conv or MatMul, and the Muls that scale it back.

ONNX Runtime's quantize_dynamic writes y = Cast(ConvInteger(q, w)) * (x_scale * w_scale) + bias, where q and
x_scale are measured of each picture; com.microsoft has a MatMul that is all of it in one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from pipeline.graph import nodes as n
from pipeline.quantisation.encodings import constant, encoding_of, root
from pipeline.quantisation.names import INTEGER, NAME
from pipeline.rewrites.base import Edit

if TYPE_CHECKING:
    from pipeline.quantisation.work import Work


def scale_back(work: Work, node: gs.Node) -> None:
    """A Mul that scales Cast(ConvInteger or MatMulInteger) back: a float Conv or MatMul in its place."""
    outer = n.only_consumer(work.graph, node.outputs[0])
    if outer is not None and outer.op == "Mul" and any(constant(tensor) is not None for tensor in outer.inputs):
        return
    factors = list(_factors(node.outputs[0]))
    casts = [(f, maker) for f in factors if (maker := n.producer(f)) is not None and maker.op == "Cast"]
    if len(casts) != 1:
        return
    product, cast = casts[0]
    integer = n.producer(cast.inputs[0])
    if integer is None or integer.op not in INTEGER:
        return
    makers = [n.producer(tensor) for tensor in factors if tensor is not product and constant(tensor) is None]
    source = n.producer(integer.inputs[0])
    if len(makers) != 1 or makers[0] is not source or source is None or source.op != "DynamicQuantizeLinear":
        return
    scales = [factor for tensor in factors if (factor := constant(tensor)) is not None]
    scale = np.asarray(np.prod([np.float32(1)], dtype=np.float32))
    for factor in scales:
        scale = scale * factor.astype(np.float32)
    zero_point = constant(n.given(integer, 3))
    ints = constant(integer.inputs[1])
    if ints is None or (n.given(integer, 3) is not None and zero_point is None):
        return
    channel = 0 if integer.op == "ConvInteger" else ints.ndim - 1
    if scale.size not in (1, ints.shape[channel]):
        return
    encoding = encoding_of(scale.reshape(-1) if scale.size > 1 else scale.reshape(()), zero_point, ints.dtype)
    axis = channel if scale.size > 1 or encoding.zero_point.size > 1 else None
    weight = work.weight(integer, integer.inputs[1], encoding, axis)
    inputs = [source.inputs[0], weight]
    output = node.outputs[0]
    nodes = [integer.name, cast.name, node.name]
    bias = _bias_add(work, output, ints.shape[0]) if integer.op == "ConvInteger" else None
    if bias is not None:
        adder, values = bias
        inputs.append(values)
        nodes.append(adder.name)
        output = adder.outputs[0]
        adder.outputs.clear()
    node.outputs.clear()
    output.inputs.clear()
    operator = INTEGER[integer.op]
    name = f"{integer.name}/{NAME}/{operator}"
    work.graph.nodes.append(gs.Node(operator, name, attrs=dict(integer.attrs), inputs=inputs, outputs=[output]))
    work.other_edits.append(
        Edit(
            NAME,
            tuple(nodes),
            f"{integer.op}, Cast and Mul became {operator}{' with its bias' if bias else ''}",
            "the target has no quantised operator; the input is no longer rounded to 256 steps",
        )
    )


def _bias_add(work: Work, tensor: gs.Tensor, channels: int) -> tuple[gs.Node, gs.Constant] | None:
    """The one Add, of a constant per channel, that reads a tensor."""
    adder = n.only_consumer(work.graph, tensor)
    if adder is None or adder.op != "Add":
        return None
    other = adder.inputs[1] if adder.inputs[0] is tensor else adder.inputs[0]
    values = constant(other)
    if values is None or values.size != channels or values.shape[-3:] != (channels, 1, 1) or values.ndim > 4:
        return None
    source = root(other)
    if isinstance(source, gs.Constant) and source.values.shape == (channels,):
        return adder, source
    return adder, gs.Constant(f"{adder.name}/{NAME}/bias", values.reshape(-1).astype(np.float32))


def matmul_to_float(work: Work, node: gs.Node) -> None:
    """com.microsoft DynamicQuantizeMatMul and MatMulIntegerToFloat, which hold scales and bias themselves."""
    fixed = node.op == "MatMulIntegerToFloat"
    ints = constant(node.inputs[1])
    scale = work.values(node, 3 if fixed else 2)
    if ints is None or scale is None:
        work.refuse(node, "its weights or scales are computed in the graph")
        return
    zero_point = constant(n.given(node, 5 if fixed else 3))
    encoding = encoding_of(scale if scale.size > 1 else scale.reshape(()), zero_point, ints.dtype)
    weight = work.weight(node, node.inputs[1], encoding, ints.ndim - 1 if scale.size > 1 else None)
    source = node.inputs[0]
    if fixed:
        maker = n.producer(source)
        if maker is None or maker.op != "DynamicQuantizeLinear":
            work.refuse(node, "its input is not quantised by DynamicQuantizeLinear")
            return
        source = maker.inputs[0]
    bias = n.given(node, 6 if fixed else 4)
    output = node.outputs[0]
    stem = f"{node.name}/{NAME}"
    if bias is not None:
        product = gs.Variable(f"{stem}/MatMul_output", dtype=np.float32)
        node.outputs = [product]
        work.graph.nodes.append(gs.Node("Add", f"{stem}/Add", inputs=[product, bias], outputs=[output]))
    work.other_edits.append(
        Edit(NAME, (node.name,), f"{node.op} became MatMul", "the target has no quantised operator")
    )
    node.op, node.domain, node.inputs, node.attrs = "MatMul", None, [source, weight], {}


def _factors(tensor: gs.Tensor) -> Iterable[gs.Tensor]:
    """The factors of a tree of Muls."""
    node = n.producer(tensor)
    if node is not None and node.op == "Mul":
        for part in node.inputs:
            yield from _factors(part)
    else:
        yield tensor
