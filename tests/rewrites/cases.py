"""Small graphs, run before and after, for the tests of quantized, conv, pooling, layout and shuffle."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pipeline import targets
from pipeline.graph import from_model, to_model
from pipeline.rewrites import driver
from pipeline.rewrites.base import Edit, Refusal, always

OLD, NEW = targets.get("barracuda-1.0"), targets.get("barracuda-3.0")


def random(*shape: int, seed: int = 7, scale: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def model(
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    shape: tuple[object, ...] = (1, 3, "h", "w"),
    opset: int = 13,
    domains: tuple[str, ...] = (),
    output_shape: tuple[object, ...] | None = None,
) -> onnx.ModelProto:
    """A model from input x to output y of these nodes."""
    result = onnx.helper.make_graph(
        nodes,
        "case",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, output_shape)],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    opsets = [onnx.helper.make_opsetid("", opset)] + [onnx.helper.make_opsetid(domain, 1) for domain in domains]
    return onnx.helper.make_model(result, opset_imports=opsets, ir_version=8)


def compute(source: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """The first output in ONNX Runtime, with its graph optimisations off (they would hide our own fusions)."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(source.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def lowered(source: onnx.ModelProto, *rewrites: object, target: object = NEW) -> tuple[gs.Graph, list, list]:
    """(graph, edits, refusals) after the rewrites, asked for at every node, have run until nothing changes."""
    graph = from_model(source)
    edits: list = []
    for _ in range(20):
        refusals, before = [], len(edits)
        for rewrite in rewrites:
            outcome = rewrite.apply(graph, target, always)
            edits += [item for item in outcome if isinstance(item, Edit)]
            refusals += [item for item in outcome if isinstance(item, Refusal)]
            if any(isinstance(item, Edit) for item in outcome):
                driver.settle(graph)
        if len(edits) == before:
            return graph, edits, refusals
    raise AssertionError("the rewrites do not settle")


def operators(graph: gs.Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def assert_same(
    source: onnx.ModelProto, graph: gs.Graph, *inputs: np.ndarray, tolerance: float = 2e-6, transform=lambda a: a
) -> None:
    """ONNX Runtime gives the same before and after, to `tolerance` of the largest value, for every input."""
    after = to_model(graph)
    onnx.checker.check_model(after, full_check=True)
    for x in inputs:
        expected, got = compute(source, x), transform(compute(after, x))
        assert got.shape == expected.shape, f"{got.shape} instead of {expected.shape} from {x.shape}"
        worst = np.abs(got - expected).max() / max(1.0, np.abs(expected).max())
        assert worst <= tolerance, f"{worst:.3g} of the largest value off, from {x.shape}"


__all__ = ["NEW", "OLD", "Edit", "Refusal", "assert_same", "compute", "lowered", "model", "operators", "random"]
