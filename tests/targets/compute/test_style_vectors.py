"""Networks with a style vector beside the picture, and style predictors: compiled, executed, and in C#."""

from __future__ import annotations

import base64

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from pipeline.graph import from_model
from pipeline.graph.runtime import session
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from pipeline.targets.compute import described, emulation, execution, file, styles
from pipeline.targets.compute.compiler import compile_graph
from pipeline.targets.compute.layout import buffer
from tests.csharp.toolchain import must_compile, run, sources_of
from tests.targets.compute.networks import OPSET, Net
from tests.targets.compute.test_csharp import HERE

LENGTH = 60
SIZE = (21, 27)
GUARD = 4096
RNG = np.random.default_rng(5)
VECTORS = [RNG.normal(0.3, 1, LENGTH).astype(np.float32) for _ in range(2)]


@pytest.fixture(scope="module", autouse=True)
def software():
    execution.use_software()


def graph(net: Net, result: str, inputs: list[tuple[str, list[int]]], output: list[int | None]) -> gs.Graph:
    declared = [onnx.helper.make_tensor_value_info(name, 1, shape) for name, shape in inputs]
    out = onnx.helper.make_tensor_value_info(result, 1, output)
    proto = onnx.helper.make_graph(net.nodes, "net", declared, [out], net.constants)
    return from_model(
        onnx.helper.make_model(proto, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=8)
    )


def transfer() -> gs.Graph:
    """Scales and shifts of norms, activations and convolutions; sums, differences, two scales in a row."""
    n = Net(3)
    starts = iter(range(0, LENGTH, 8))

    def style(channels: int = 8) -> str:
        start = next(starts)
        bounds = [n.constant([at], np.int64) for at in (start, start + channels, 1)]
        flat = n.op("Reshape", n.op("Slice", "style", *bounds), n.constant([channels], np.int64))
        return n.op("Reshape", flat, n.constant([1, channels, 1, 1], np.int64))

    x = n.norm(n.conv(n.pad(n.image, 1), 3, 8, 3), 8)
    x = n.op("Relu", n.op("Add", n.op("Mul", x, n.op("Add", style(), n.constant(1.0))), style()))
    x = n.conv(x, 8, 8, 3, pads=[1, 1, 1, 1])
    x = n.op("Tanh", n.op("Mul", n.op("Mul", x, style()), style()))
    x = n.op("Sub", n.conv(x, 8, 8, 3, pads=[1, 1, 1, 1]), style())
    x = n.op("Sub", style(), n.op("Relu", x))
    x = n.op("Div", n.conv(x, 8, 8, 3, strides=[2, 2], pads=[1, 1, 1, 1]), n.constant(2.0))
    x = n.op("Add", n.op("Sigmoid", x), n.op("Mul", style(), n.constant(0.5)))
    x = n.painted(n.conv(n.nearest(x), 8, 3, 3, pads=[1, 1, 1, 1]))
    return graph(n, x, [("image", [1, 3, *SIZE]), ("style", [1, LENGTH, 1, 1])], [1, 3, None, None])


def predictor(flat: bool) -> gs.Graph:
    """Means and deviations of features, as AdaIN and a learned predictor compute them, then a dense layer."""
    n = Net(4)
    x = n.op("Relu", n.conv(n.image, 3, 10, 3, pads=[1, 1, 1, 1]))
    if flat:
        rows = n.op("Reshape", x, n.constant([1, 10, -1], np.int64))
        mean = n.op("ReduceMean", rows, n.constant([2], np.int64), keepdims=1)
        apart = n.op("Sub", rows, mean)
        variance = n.op("ReduceMean", n.op("Mul", apart, apart), n.constant([-1], np.int64), keepdims=0)
        mean = n.op("Reshape", mean, n.constant([1, 10], np.int64))
    else:
        mean = n.op("GlobalAveragePool", x)
        apart = n.op("Sub", x, mean)
        variance = n.op("Flatten", n.op("GlobalAveragePool", n.op("Mul", apart, apart)))
        mean = n.op("Flatten", mean)
    deviation = n.op("Sqrt", n.op("Add", variance, n.constant(1e-5)))
    both = n.op("Concat", mean, deviation, axis=1)
    weight = n.constant(n.random.normal(0, 0.3, (LENGTH, 20)))
    dense = n.op("Gemm", both, weight, n.constant(n.random.normal(0, 0.3, LENGTH)), transB=1)
    out = n.op("Reshape", dense, n.constant([1, LENGTH, 1, 1], np.int64))
    return graph(n, out, [("image", [1, 3, *SIZE])], [1, LENGTH, 1, 1])


def of_vector(identity: bool = False) -> gs.Graph:
    """A vector of six numbers to a style vector."""
    n = Net(5)
    x = n.op("Reshape", "vector", n.constant([1, 6], np.int64))
    if not identity:
        x = n.op("Relu", n.op("MatMul", x, n.constant(n.random.normal(0, 1, (6, 9)))))
    out = n.op("Reshape", x, n.constant([1, 6 if identity else 9, 1, 1], np.int64))
    return graph(n, out, [("vector", [1, 6, 1, 1])], [1, 6 if identity else 9, 1, 1])


def expected(source: gs.Graph, **inputs: np.ndarray) -> np.ndarray:
    exported = gs.export_onnx(source, do_type_check=False)
    exported.ir_version = 8
    del exported.graph.value_info[:]
    for dim in exported.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.Clear()
    return np.asarray(session(exported).run(None, inputs)[0])


def compiled(source: gs.Graph):
    found = compile_graph(source)
    assert not found.refused, found.refused
    return file.parse(file.write(found.plan))


@pytest.mark.parametrize("half", [False, True])
def test_a_style_vector_changes_weights_only(half: bool) -> None:
    source = transfer()
    plan = compile_graph(source, half=half).plan
    assert (plan.style_input, plan.style_length) == ("style", LENGTH)
    assert 0 < sum(bool(weight.style) for weight in plan.weights) < len(plan.weights)
    assert [value.name for value in described.model(plan).graph.input] == ["image", "style"]
    assert {dispatch.kernel for dispatch in plan.dispatches} == {"Conv", "Merge"}, (
        "all scales and shifts are fused"
    )
    plan = file.parse(file.write(plan))
    for vector, size in zip(VECTORS, (Size(27, 21), Size(34, 42)), strict=True):
        picture = RNG.random((1, 3, *size.hw), dtype=np.float32)
        truth = expected(source, image=picture, style=vector.reshape(1, -1, 1, 1))
        assert truth.std() > 0.02
        of_style = styles.applied(plan, vector)
        executor = execution.Executor(of_style, size, guard=GUARD)
        result = executor.run(picture)
        assert executor.guards_intact()
        limit = 4.0 if half else 0.05
        assert 255 * np.abs(result - truth).max() < limit
        assert 255 * np.abs(emulation.runner(of_style)(picture) - truth).max() < limit


@pytest.mark.parametrize("flat", [False, True])
def test_a_predictor_of_pictures_gives_its_vector(flat: bool) -> None:
    source = predictor(flat)
    plan = compiled(source)
    assert plan.numbers_out and plan.numbers_in < 0
    assert not compile_graph(source, half=True).plan.half, "style vectors are float32 with every precision"
    executor = execution.Executor(plan, plan.size, guard=GUARD)
    for _ in range(2):
        picture = RNG.random((1, 3, *SIZE), dtype=np.float32)
        truth = expected(source, image=picture)
        assert truth.shape == (1, LENGTH, 1, 1)
        np.testing.assert_allclose(executor.run(picture), truth, atol=2e-5)
        np.testing.assert_allclose(emulation.runner(plan)(picture), truth, atol=2e-5)
    assert executor.guards_intact()


@pytest.mark.parametrize("identity", [False, True])
def test_a_predictor_of_vectors_reads_a_buffer(identity: bool) -> None:
    source = of_vector(identity)
    plan = compiled(source)
    assert plan.numbers_out and plan.numbers_in > 0
    executor = execution.Executor(plan, plan.size, guard=GUARD)
    for _ in range(2):
        vector = RNG.normal(0, 1, (1, 6, 1, 1)).astype(np.float32)
        truth = expected(source, vector=vector)
        np.testing.assert_allclose(executor.run(vector), truth, atol=1e-5)
        np.testing.assert_allclose(emulation.runner(plan)(vector), truth, atol=1e-5)
    assert executor.guards_intact()


def test_the_engine_computes_the_same_weights(tmp_path) -> None:
    names = ("ComputePlan.cs", "ComputeConstants.cs", "ComputeWeights.cs", "StyledWeight.cs", "VectorWeight.cs")
    sources = [path for path in sources_of("Engines/Compute") if path.name in names]
    program = must_compile(tmp_path / "plans.exe", [*sources, HERE / "PlanCases.cs"])
    plan = compile_graph(transfer()).plan
    data = file.write(plan)
    assert file.write(file.parse(data)) == data

    def told(content: bytes, *vector: float) -> list[list[str]]:
        (tmp_path / "plan.bytes").write_bytes(content)
        done = run("mono", program, tmp_path / "plan.bytes", *SIZE, 0, *vector)
        assert done.returncode == 0, done.stderr
        return [line.split(" ") for line in done.stdout.splitlines()]

    for vector in VECTORS:
        lines = told(data, *vector.tolist())
        weights = np.frombuffer(base64.b64decode(lines[-1][1]), np.float32)
        np.testing.assert_allclose(weights, buffer(styles.applied(plan, vector)).reshape(-1), atol=1e-6)
    for broken, why in ((data[:-3], "compiled network"), (file.write(shortened(plan)), "shorter")):
        assert told(broken)[0][0] == "refused"
        with pytest.raises(PipelineError, match=why):
            file.parse(broken)


def shortened(plan):
    plan = file.parse(file.write(plan))
    plan.style_length = LENGTH // 2
    return plan


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda n: n.op("Conv", n.image, n.op("Reshape", "style", n.constant([3, 3, 1, 1], np.int64))), "weights"),
        (lambda n: n.op("Div", n.image, three(n)), "division"),
        (lambda n: n.op("PRelu", n.image, three(n)), "PRelu"),
        (lambda n: n.op("Mul", n.image, n.op("Mul", three(n), three(n))), "product of two"),
        (lambda n: n.op("Mul", n.image, n.op("Sqrt", three(n))), "Sqrt"),
    ],
)
def test_what_is_no_scale_or_shift_is_refused(build, told: str) -> None:
    n = Net(6)
    net = graph(n, build(n), [("image", [1, 3, *SIZE]), ("style", [1, 9, 1, 1])], [1, 3, None, None])
    (refused, *_) = compile_graph(net).refused
    assert told in refused.reason, refused


def three(n: Net) -> str:
    return n.op("Slice", "style", *(n.constant([at], np.int64) for at in (0, 3, 1)))
