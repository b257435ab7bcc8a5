"""The float32 network behind a source that is quantised or in half precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    import onnx_graphsurgeon as gs

    from pipeline.verify.proof import Picture2Picture


def is_half(model: onnx.ModelProto) -> bool:
    """Whether a model has half precision weights; ONNX Runtime then rounds where the target does not."""
    return any(tensor.data_type in (tensor.FLOAT16, tensor.BFLOAT16) for tensor in model.graph.initializer)


def float_behind(model: onnx.ModelProto) -> Picture2Picture:
    """A quantised or half precision model in float32, run by ONNX Runtime: the reference of the proof."""
    from pipeline.graph import from_model, to_model
    from pipeline.graph.runtime import free_size, run, session
    from pipeline.quantisation.rewrite import undo
    from pipeline.rewrites.constants import to_float32

    graph: gs.Graph = from_model(model)
    undo(graph)
    to_float32(graph)
    opened = session(free_size(to_model(graph)))
    return lambda picture: run(opened, picture)
