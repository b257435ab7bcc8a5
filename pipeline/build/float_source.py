"""Sources that are quantised or in half precision, as the float32 networks behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    import onnx_graphsurgeon as gs

    from pipeline.graph.integers import QuantizedTensor
    from pipeline.network import Network
    from pipeline.verify.proof import Picture2Picture


def is_half(model: onnx.ModelProto) -> bool:
    """Whether a model has half precision weights; ONNX Runtime then rounds where the target does not."""
    return any(tensor.data_type in (tensor.FLOAT16, tensor.BFLOAT16) for tensor in model.graph.initializer)


def float_model(model: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[QuantizedTensor, ...]]:
    """A quantised or half precision model in float32, and its integer weights; other models unchanged."""
    from pipeline.graph import from_model, to_model
    from pipeline.quantisation.names import is_quantised
    from pipeline.quantisation.rewrite import integers, undo
    from pipeline.rewrites.element_types import to_float32

    if not is_quantised(model) and not is_half(model):
        return model, ()
    graph: gs.Graph = from_model(model)
    undo(graph)
    to_float32(graph)
    return to_model(graph), tuple(integers(model)) if is_quantised(model) else ()


def float_reference(network: Network) -> Picture2Picture:
    """The source as a function, in its own ranges; in float32 where it is quantised or in half precision."""
    from pipeline import sources
    from pipeline.quantisation.names import is_quantised

    if network.model is not None and (is_quantised(network.model) or is_half(network.model)):
        return float_behind(network.model)
    return sources.reference(network)


def float_behind(model: onnx.ModelProto) -> Picture2Picture:
    """A quantised or half precision model in float32, run by ONNX Runtime: the reference of the proof."""
    from pipeline.graph.runtime import free_size, run, session

    opened = session(free_size(float_model(model)[0]))
    return lambda picture: run(opened, picture)
