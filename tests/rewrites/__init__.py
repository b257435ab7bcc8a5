"""What the tests of the rewrites share: targets, tiny models, and `assert_equivalent`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnxruntime as ort
from onnx import helper, numpy_helper

from pipeline import targets
from pipeline.graph import as_written, from_model, to_model
from pipeline.rewrites import base, driver
from pipeline.rewrites.base import Edit, Refusal
from pipeline.targets.barracuda.dialect import write

ort.set_default_logger_severity(4)

BARRACUDA_1, BARRACUDA_2, BARRACUDA_3 = map(targets.get, ("barracuda-1.0", "barracuda-2.0", "barracuda-3.0"))
TARGETS = (BARRACUDA_1, BARRACUDA_2, BARRACUDA_3)


def random(shape: Sequence[int], seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Reproducible float32 numbers."""
    return (np.random.default_rng(seed).standard_normal(tuple(shape)) * scale).astype(np.float32)


def node(operator: str, inputs: str, outputs: str, **attrs: Any) -> onnx.NodeProto:
    """A node, its inputs and outputs as words ("x w b"; "-" for an omitted one), named after its first output."""
    names = ["" if word == "-" else word for word in inputs.split()]
    domain = attrs.pop("domain", "")
    return helper.make_node(
        operator, names, outputs.split(), name=f"{outputs.split()[0]}_node", domain=domain, **attrs
    )


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Any] | None = None,
    *,
    opset: int = 9,
    input_shape: Sequence[int | str | None] = (1, 3, 12, 16),
    output: str = "y",
    dtype: int = onnx.TensorProto.FLOAT,
    extra_inputs: Mapping[str, Sequence[int | str]] | None = None,
) -> onnx.ModelProto:
    """A model with the input `x` and one output; constants by name (Python floats become float32)."""
    stored = {
        name: np.asarray(value, np.float32)
        if np.asarray(value).dtype == np.float64 and not isinstance(value, np.ndarray)
        else np.asarray(value)
        for name, value in (constants or {}).items()
    }
    inputs = [helper.make_tensor_value_info("x", dtype, input_shape)]
    inputs += [helper.make_tensor_value_info(name, dtype, shape) for name, shape in (extra_inputs or {}).items()]
    domains = {node.domain for node in nodes} - {""}
    graph = helper.make_graph(
        list(nodes),
        "test",
        inputs,
        [helper.make_tensor_value_info(output, dtype, None)],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in sorted(domains))]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def operators(graph: gs.Graph) -> list[str]:
    """The operators of a graph in order."""
    return [node.op for node in graph.nodes]


def apply(
    rewrite: Any, graph: gs.Graph, target: Any = BARRACUDA_3, found: bool = False
) -> tuple[list[Edit], list[Refusal]]:
    """Run one rewrite until it changes nothing; edits of all rounds, refusals of the last.

    It is asked for at every node; with `found` only where the target's rules find fault, as `lower` has it.
    """
    edits: list[Edit] = []
    for _ in range(20):
        needed = driver.FindingsByNode(graph, target, (rewrite,)).needed_by(rewrite) if found else base.always
        outcome = rewrite.apply(graph, target, needed)
        result = [entry for entry in outcome if isinstance(entry, Edit)]
        edits += result
        if not result:
            return edits, [entry for entry in outcome if isinstance(entry, Refusal)]
        driver.settle(graph)
    raise AssertionError(f"{rewrite.name} does not settle")


def run(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """All outputs in ONNX Runtime, unoptimised."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    expected = {value.name: value.type for value in session.get_inputs()}
    cast = {"tensor(float16)": np.float16, "tensor(double)": np.float64}
    return session.run(
        None, {name: feeds[name].astype(cast.get(kind, feeds[name].dtype)) for name, kind in expected.items()}
    )


def free_size(model: onnx.ModelProto, batch: int = 1) -> onnx.ModelProto:
    """A copy whose rank 4 inputs have free height, width and (above 1) batch, and without recorded shapes."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constants = {tensor.name for tensor in copy.graph.initializer}
    for value in copy.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in constants and len(dims) == 4:
            dims[2].dim_param, dims[3].dim_param = f"{value.name}_h", f"{value.name}_w"
            if batch > 1:
                dims[0].dim_value = batch
    del copy.graph.value_info[:]
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")
    return copy


def assert_equivalent(
    before: onnx.ModelProto,
    after: gs.Graph | onnx.ModelProto,
    *,
    sizes: Sequence[tuple[int, int]] = ((12, 16), (20, 28)),
    tolerance: float = 2e-5,
    low: float = -2.0,
    high: float = 2.0,
    batch: int = 1,
    expected: Any = None,
) -> None:
    """Both give the same numbers at every size: max |difference| <= tolerance * max(1, max |reference|).

    `before` is the source model, `after` the lowered graph; both run in ONNX Runtime with free height and width,
    so that a size that is baked into one of them fails. `expected`: a function of the feeds that gives the
    reference instead of `before` (where ONNX Runtime's meaning is not the intended one).
    """
    lowered = after if isinstance(after, onnx.ModelProto) else to_model(after)
    constants = {tensor.name for tensor in before.graph.initializer}
    for number, (height, width) in enumerate(sizes):
        generator = np.random.default_rng(number)
        feeds = {}
        for value in before.graph.input:
            if value.name in constants:
                continue
            shape = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
            vector = [dim.dim_value for dim in value.type.tensor_type.shape.dim][2:] == [1, 1]
            if len(shape) == 4 and not vector:
                shape = [batch, shape[1], height, width]
            feeds[value.name] = generator.uniform(low, high, shape).astype(np.float32)
        expected_value = expected(feeds) if expected else run(free_size(before, batch), feeds)
        got = run(free_size(lowered, batch), feeds)
        assert len(expected_value) == len(got)
        for reference, result in zip(expected_value, got, strict=True):
            assert reference.shape == result.shape, f"shape {result.shape} instead of {reference.shape}"
            bound = tolerance * max(1.0, float(np.abs(reference.astype(np.float64)).max(initial=0)))
            difference = float(np.abs(reference.astype(np.float64) - result).max(initial=0))
            assert difference <= bound, f"{difference:.3g} > {bound:.3g} at {height}x{width}"


def as_barracuda_reads(graph: gs.Graph) -> list[gs.Node]:
    """The nodes of the file that Barracuda reads, in its dialect."""
    return as_written(write(graph)).nodes


def lowered_source(source: onnx.ModelProto) -> gs.Graph:
    """The graph of a test model, as a rewrite gets it."""
    return from_model(source)
