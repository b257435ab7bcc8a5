"""Where a quantised network takes or gives integers themselves: the scaling becomes arithmetic on floats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.quantisation.names import NAME
from pipeline.rewrites.base import Edit

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.quantisation.encodings import Encoding
    from pipeline.quantisation.work import Work

_WHY = "the target computes only in float32"


def integers_in(work: Work, node: gs.Node, tensor: gs.Tensor, encoding: Encoding) -> gs.Tensor | None:
    """(tensor - zero_point) * scale, for a tensor that `node` reads and that holds raw integers, fed as floats."""
    numbers = _numbers(work, node, tensor, encoding)
    if numbers is None:
        return None
    scale, zero = numbers
    _become_floats(tensor)
    build = n.Builder(work.graph, node, NAME)
    real = build.op("Mul", build.op("Sub", tensor, build.const(zero, "zero_point")), build.const(scale, "scale"))
    what = f"the integers of {tensor.name} are passed as floats; their scale and zero point became Sub and Mul"
    work.other_edits.append(Edit(NAME, (node.name,), what, _WHY))
    return real


def _become_floats(tensor: gs.Tensor) -> None:
    """Let a tensor, and what it was moved or picked from, be of floats that hold the integers."""
    behind = [tensor]
    while behind:
        tensor = behind.pop()
        tensor.dtype = np.dtype(np.float32)
        maker = n.producer(tensor)
        behind += maker.inputs[:1] if maker is not None else []


def integers_out(work: Work, node: gs.Node, encoding: Encoding) -> None:
    """Make `node`'s output, which the network gives as integers: Round(x / scale) + zero_point, clamped."""
    output = node.outputs[0]
    numbers = _numbers(work, node, node.inputs[0], encoding)
    if numbers is None:
        return
    scale, zero = numbers
    build = n.Builder(work.graph, node, NAME)
    rounded = build.op("Round", build.op("Div", node.inputs[0], build.const(scale, "scale")))
    moved = build.op("Add", rounded, build.const(zero, "zero_point"))
    build.op("Clip", moved, out=output, min=float(encoding.lowest), max=float(encoding.highest))
    output.dtype = np.dtype(np.float32)
    build.drop()
    what = (
        f"the integer output {output.name} became a float output with integer values, "
        f"{encoding.lowest}..{encoding.highest}"
    )
    work.other_edits.append(Edit(NAME, (node.name,), what, _WHY))


def _numbers(
    work: Work, node: gs.Node, tensor: gs.Tensor, encoding: Encoding
) -> tuple[np.ndarray, np.ndarray] | None:
    """Scale and zero point, shaped to broadcast with `tensor`; None, with a refusal, if that is not known."""
    scale, zero = encoding.scale.astype(np.float32), encoding.zero_point.astype(np.float32)
    if encoding.is_float:
        work.refuse(node, "its values are float8 or float4, which are not supported")
        return None
    if scale.size == 1 and zero.size == 1:
        return scale.reshape(1), zero.reshape(1)
    if node.attrs.get("block_size") or tensor.shape is None:
        work.refuse(node, "an activation is quantised in blocks, or along an axis of a tensor of unknown rank")
        return None
    axis = int(node.attrs.get("axis", 1)) % len(tensor.shape)
    shape = [-1 if index == axis else 1 for index in range(len(tensor.shape))]
    return scale.reshape(shape), zero.reshape(shape if zero.size > 1 else [1])
