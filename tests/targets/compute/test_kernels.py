"""The kernels themselves, executed on a software device, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.graph.runtime import run, session
from pipeline.targets.compute import emulation, execution
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
