"""The kernels themselves, executed on a software device, against ONNX Runtime."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pipeline.graph.runtime import run, session
from pipeline.targets.compute import emulation, execution, kernels
from pipeline.targets.compute.compiler import compile_graph
from tests.targets.compute.networks import NETWORKS, made, model, sizes

GUARD = 4096
"""Elements behind each buffer that must stay as they are."""


@pytest.fixture(scope="module", autouse=True)
def software():
    execution.use_software()


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_kernels_compute_the_network(name):
    graph = made(name)
    plan = compile_graph(graph).plan
    opened = session(model(graph))
    for height, width in sizes(name, plan.size):
        picture = np.random.default_rng(2).random((1, plan.channels[0], height, width), dtype=np.float32)
        executor = execution.Executor(plan, height, width, guard=GUARD)
        for _ in range(2):
            painted = executor.run(picture)
        assert executor.guards_hold()
        assert 255 * np.abs(painted - run(opened, picture)).max() < 0.05
        assert 255 * np.abs(painted - emulation.runner(plan)(picture)).max() < 0.05


# --- what Unity's other compilers refuse, found with the real ones (docs/compute.md) --------------------------


def _lines():
    for path in sorted(kernels.folder().glob("*.hlsl")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            yield f"{path.name}:{number}", line.partition("//")[0]


def test_the_size_of_an_array_is_no_conditional_expression():
    """FXC, which compiles for Direct3D 11: X3058."""
    declared = [(place, line) for place, line in _lines() if "groupshared" in line]
    assert len(declared) >= 6
    assert [place for place, line in declared if "?" in line] == []


def test_a_condition_is_a_scalar():
    """DXC's HLSL 2021 takes no vector in front of a question mark; glslang and FXC do."""
    scalars = (
        r"left > \d|FLIP_ROWS != 0|SPREAD_B == \d|POOL == 0|all > 0\.0|at (<|>=) \w+|i[01]{2}|inside|lane == \du"
    )
    asked = [(place, line[: line.index("?")]) for place, line in _lines() if "?" in line]
    assert len(asked) > 12
    assert [place for place, before in asked if not re.search(rf"\b({scalars}) $", before)] == []


def test_a_loop_turns_more_than_once():
    """FXC warns of a [loop] with one turn (X3557), and Unity's console shows that."""
    text = (kernels.folder() / "Conv.hlsl").read_text()
    for size in ("KERNEL_X", "KERNEL_Y"):
        assert re.search(rf"#if {size} > 1\n *\[loop\]\n", text)
