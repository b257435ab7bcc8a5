"""The C# side of a plan, run under mono: the same constants, thread groups and weights as Python's."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest

from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from pipeline.targets.compute import file, styles
from pipeline.targets.compute.compiler import compile_graph
from pipeline.targets.compute.constants import constants, groups, partial_elements
from pipeline.targets.compute.kernels import kernel_name
from pipeline.targets.compute.layout import buffer
from tests.csharp.toolchain import must_compile, run, sources_of
from tests.targets.compute.networks import NETWORKS, made, restyled, sizes

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """What knows nothing of Unity, and a program that prints it."""
    names = ("ComputePlan.cs", "ComputeConstants.cs", "ComputeWeights.cs", "StyledWeight.cs", "VectorWeight.cs")
    sources = [path for path in sources_of("Engines/Compute") if path.name in names]
    return must_compile(tmp_path_factory.mktemp("plans") / "plans.exe", [*sources, HERE / "PlanCases.cs"])


def told(program, folder, data: bytes, size: Size, flip: bool, *shares: float) -> list[list[str]]:
    path = folder / "plan.bytes"
    path.write_bytes(data)
    done = run("mono", program, path, size.height, size.width, int(flip), *shares)
    assert done.returncode == 0, done.stderr
    return [line.split(" ") for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_constants_groups_and_weights_are_those_of_python(program, tmp_path, name):
    plan = compile_graph(made(name)).plan
    plan.metadata = {"source_digest": "é"}
    for size, flip in zip(sizes(name, plan.size), (True, False), strict=True):
        lines = told(program, tmp_path, file.write(plan), size, flip)
        own = plan.sizes(size)
        expected = [["plan", "False", *plan.names, "1"]]
        expected += [["slot", str(max(1, count))] for count in plan.slot_elements(size)]
        expected.append(["partials", str(partial_elements(plan, own))])
        for dispatch in plan.dispatches:
            shape, real = constants(plan, dispatch, own, flip)
            expected.append(["dispatch", kernel_name(dispatch, False), *map(str, groups(plan, dispatch, own))])
            expected.append(["shape", *map(str, shape.reshape(-1))])
            expected.append(["real", *map(str, real.reshape(-1).view(np.int32))])
        assert lines[:-1] == expected
        weights = np.frombuffer(base64.b64decode(lines[-1][1]), np.float32)
        assert np.array_equal(weights, buffer(plan).reshape(-1))


@pytest.mark.parametrize("name", ["grey", "dense"])
def test_styles_are_mixed_as_python_does(program, tmp_path, name):
    plans = [compile_graph(restyled(made(name), seed)).plan for seed in (1, 2, 3)]
    joined = styles.joined(plans)
    assert joined.styles and joined.style_count == 3
    data = file.write(joined)
    again = file.parse(data)
    assert again.style_count == 3 and again.styles.keys() == joined.styles.keys()
    assert file.write(again) == data
    for shares in ([0, 1, 0], [0, 0, 1], [0.25, 0, 0.75]):
        lines = told(program, tmp_path, data, joined.size, False, *shares)
        weights = np.frombuffer(base64.b64decode(lines[-1][1]), np.float32)
        np.testing.assert_allclose(weights, buffer(styles.mixed(again, shares)).reshape(-1), atol=1e-6)
        if 1 in shares:
            np.testing.assert_allclose(weights, buffer(plans[shares.index(1)]).reshape(-1), atol=1e-7)
    for cut in (len(data) - 3, len(data) - 4 * 7):
        assert told(program, tmp_path, data[:cut], Size(32, 32), False)[0][0] == "refused"
        with pytest.raises(PipelineError, match="compiled network"):
            file.parse(data[:cut])


def test_plans_of_other_kernels_make_no_one_plan():
    names = sorted(NETWORKS)[:2]
    with pytest.raises(PipelineError, match="styles-differ"):
        styles.joined([compile_graph(made(name)).plan for name in names])


def test_a_damaged_plan_is_refused_by_both(program, tmp_path):
    data = bytearray(file.write(compile_graph(made("grey")).plan))
    random = np.random.default_rng(0)
    for _ in range(12):
        broken = bytearray(data)
        for _ in range(3):
            broken[int(random.integers(4, 600))] = int(random.integers(0, 256))
        cut = bytes(broken[: int(random.integers(20, len(broken)))])
        assert told(program, tmp_path, cut, Size(32, 32), False)[0][0] == "refused"
        with pytest.raises(Exception, match="compiled network"):
            file.parse(cut)
