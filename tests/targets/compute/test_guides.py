"""Networks with guides beside the picture: compiled, executed, and in C#."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from pipeline import targets
from pipeline.build.guide_inputs import cut_input
from pipeline.contract import Guide, input_widths
from pipeline.graph import to_model
from pipeline.graph.runtime import run, session
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from pipeline.targets.compute import described, emulation, execution, file
from pipeline.targets.compute.compiler import compile_graph
from pipeline.targets.compute.constants import constants, groups
from pipeline.targets.compute.kernels import kernel_name
from pipeline.targets.compute.layout import buffer
from pipeline.validation import validate
from tests.csharp.toolchain import must_compile, sources_of
from tests.targets.compute.networks import Net, model
from tests.targets.compute.test_csharp import HERE, told

SIZES = (Size(37, 29), Size(51, 45))
GUARD = 4096
GUIDES = {
    "one": ["depth"],
    "two in a texture": ["mask", "depth"],
    "normals": ["normals"],
    "a whole texture": ["depth", "normals"],
    "two textures": ["normals", "depth", "mask"],
    "five channels": ["depth", "mask", "texture"],
}


@pytest.fixture(scope="module", autouse=True)
def software():
    execution.use_software()


def networks(names: list[str]):
    """A network as the source has it, with one input, and as a bundle has it, with one for each texture.

    A skip connection to the end reads all channels again, so that their buffer must still hold them.
    """
    guides = [Guide(name) for name in names]
    channels = sum(input_widths(guides))
    n = Net(7, channels)
    x = n.op("Relu", n.norm(n.conv(n.pad(n.image, 1), channels, 8, 3), 8))
    x = n.op("Relu", n.norm(n.conv(x, 8, channels, 3, pads=[1, 1, 1, 1]), channels))
    graph = n.graph(n.painted(n.conv(n.op("Add", x, n.image), channels, 3, 3, pads=[1, 1, 1, 1])))
    return graph, cut_input(graph, guides), input_widths(guides)


def plan_of(names: list[str], half: bool = False):
    compiled = compile_graph(networks(names)[1], half=half)
    assert not compiled.refused, compiled.refused
    return file.parse(file.write(compiled.plan))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("name", sorted(GUIDES))
def test_kernels_and_emulation_compute_the_network(name, flip):
    source, _, widths = networks(GUIDES[name])
    plan = plan_of(GUIDES[name])
    assert plan.input_widths == widths
    opened, emulated = session(model(source)), emulation.runner(plan)
    for size in SIZES:
        picture = np.random.default_rng(4).random((1, sum(widths), *size.hw), dtype=np.float32)
        expected = run(opened, picture)
        assert expected.std() > 0.02, "the picture says something"
        executor = execution.Executor(plan, size, guard=GUARD, flip=flip)
        for _ in range(2):
            output = executor.run(picture)
        assert executor.guards_intact()
        assert 255 * np.abs(output - expected).max() < 0.05
        assert 255 * np.abs(emulated(picture) - expected).max() < 0.05


def test_every_channel_of_the_guides_is_read():
    plan = plan_of(GUIDES["two textures"])
    emulated = emulation.runner(plan)
    picture = np.random.default_rng(4).random((1, 8, *SIZES[0].hw), dtype=np.float32)
    before = emulated(picture)
    for channel in range(8):
        changed = picture.copy()
        changed[:, channel] = changed[:, channel, ::-1]
        assert 255 * np.abs(emulated(changed) - before).max() > 1, channel
    with pytest.raises(ValueError, match="8, H, W"):
        emulated(picture[:, :3])


def test_half_precision_is_what_the_emulation_computes():
    source, _, _ = networks(GUIDES["a whole texture"])
    plan = plan_of(GUIDES["a whole texture"], half=True)
    picture = np.random.default_rng(4).random((1, 7, *SIZES[0].hw), dtype=np.float32)
    executor = execution.Executor(plan, SIZES[0], guard=GUARD)
    output = executor.run(picture)
    assert executor.guards_intact()
    apart = np.sqrt(((output - emulation.runner(plan)(picture)) ** 2).mean())
    rounded = np.sqrt(((output - run(session(model(source)), picture)) ** 2).mean())
    assert 1.5 * apart < rounded < 10 ** (-55 / 20)


def test_a_plan_names_its_guides():
    plan = plan_of(GUIDES["two textures"])
    reads = [row["reads"] for row in described.table(plan)]
    assert reads[:2] == [["guides"], ["guides_2"]] and reads[2][0] == "picture"
    read = described.model(plan)
    assert [item.name for item in read.graph.input] == ["image", "guides", "guides_2"]
    assert [item.type.tensor_type.shape.dim[1].dim_value for item in read.graph.input] == [3, 4, 1]
    assert validate(read, targets.get("compute")) == []


def test_a_graph_with_guides_has_no_finding_and_one_with_two_pictures_has():
    _, cut, _ = networks(GUIDES["one"])
    assert validate(to_model(cut), targets.get("compute")) == []
    cut.inputs[1].name = "other"
    assert {finding.code for finding in validate(to_model(cut), targets.get("compute"))} == {"not-one-picture"}
    cut.inputs[1].name = "guides"
    cut.inputs[1].shape = [1, 1, 7, 7]
    (refused,) = compile_graph(cut).refused
    assert "size" in refused.reason


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    names = ("ComputePlan.cs", "ComputeConstants.cs", "ComputeWeights.cs", "StyledWeight.cs", "VectorWeight.cs")
    sources = [path for path in sources_of("Engines/Compute") if path.name in names]
    return must_compile(tmp_path_factory.mktemp("plans") / "plans.exe", [*sources, HERE / "PlanCases.cs"])


def test_constants_groups_and_weights_are_those_of_python(program, tmp_path):
    plan = plan_of(GUIDES["two textures"])
    lines = told(program, tmp_path, file.write(plan), SIZES[1], True)
    assert lines[0] == ["plan", "False", "image", plan.names[1], "0", "guides", "guides_2"]
    sizes = plan.sizes(SIZES[1])
    expected = []
    for dispatch in plan.dispatches:
        shape, real = constants(plan, dispatch, sizes, True)
        expected.append(["dispatch", kernel_name(dispatch, False), *map(str, groups(plan, dispatch, sizes))])
        expected.append(["shape", *map(str, shape.reshape(-1))])
        expected.append(["real", *map(str, real.reshape(-1).view(np.int32))])
    assert [line for line in lines if line[0] in ("dispatch", "shape", "real")] == expected
    weights = np.frombuffer(base64.b64decode(lines[-1][1]), np.float32)
    assert np.array_equal(weights, buffer(plan).reshape(-1))


def test_guides_that_are_no_textures_are_refused_by_both(program, tmp_path):
    """A file with a texture of five channels, one in a buffer, more guides than values, or cut short."""
    damaged = [file.write(plan_of(GUIDES["one"]))[:-2]]
    for change in (
        lambda plan: setattr(plan.values[1], "channels", 5),
        lambda plan: setattr(plan.values[1], "slot", 0),
        lambda plan: setattr(plan, "guides", ("guides",) * 100),
    ):
        plan = plan_of(GUIDES["one"])
        written = file.write(plan)
        change(plan)
        assert file.write(plan) != written
        damaged.append(file.write(plan))
    for data in damaged:
        assert told(program, tmp_path, data, SIZES[0], False)[0][0] == "refused"
        with pytest.raises(PipelineError, match="compiled network"):
            file.parse(data)
