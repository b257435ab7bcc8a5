"""Small graphs whose rewrites would make giant constants: refused before they are made."""

from __future__ import annotations

import resource

import numpy as np
import pytest

from pipeline import targets
from pipeline.graph import from_model
from pipeline.graph import nodes as n
from pipeline.rewrites import lower
from pipeline.support.errors import PipelineError
from tests.rewrites import model, node, random

ONE = {"w": random((3, 3, 3, 3))}
GRAPHS = {
    "dilations": ([node("Conv", "x w", "y", dilations=[5000, 7001], pads=[5000, 7001] * 2)], ONE),
    "strides": ([node("Conv", "x w", "y", strides=[1, 16], dilations=[900, 900])], ONE),
    "groups": (
        [node("Conv", "x a", "b"), node("Conv", "b w", "c", group=8192), node("Conv", "c z", "y")],
        {"a": random((16384, 3, 1, 1)), "w": random((16384, 2, 1, 1)), "z": random((3, 16384, 1, 1))},
    ),
    "transposed": ([node("ConvTranspose", "x w", "y", strides=[4000, 4000], dilations=[9000, 9000])], ONE),
    "channels of a pad": (
        [node("Pad", "x p", "b"), node("ReduceMax", "b", "c", axes=[1]), node("Concat", "c c c", "y", axis=1)],
        {"p": np.array([0, 50_000_000, 0, 0, 0, 50_000_000, 0, 0])},
    ),
}


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
@pytest.mark.parametrize("target", ["barracuda-1.0", "barracuda-3.0"])
def test_no_rewrite_makes_a_giant_constant(graph, target) -> None:
    """Whether it is refused, or needs none: what this process takes hardly grows."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = from_model(model(*graph))
    try:
        lower(result, targets.get(target))
    except PipelineError as error:
        assert error.code in ("memory-limit", "graph-too-large")
    else:
        assert all(t.values.nbytes <= n.MOST_MADE for t in result.tensors().values() if hasattr(t, "values"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 700_000


def test_dilations_that_would_make_a_giant_kernel_are_named() -> None:
    with pytest.raises(PipelineError, match=r"MiB|GiB") as raised:
        lower(from_model(model(*GRAPHS["dilations"])), targets.get("barracuda-1.0"))
    assert raised.value.code == "memory-limit"


def test_a_convolution_is_not_split_into_thousands_of_nodes() -> None:
    with pytest.raises(PipelineError, match="4,096 nodes of Conv") as raised:
        lower(from_model(model(*GRAPHS["groups"])), targets.get("barracuda-3.0"))
    assert raised.value.code == "graph-too-large"


def test_the_total_size_of_new_constants_is_limited(monkeypatch) -> None:
    monkeypatch.setattr(n, "MOST_MADE", 4096)
    graph = from_model(model([node("Conv", "x w", "y")], {"w": random((3, 3, 1, 1))}))
    make = n.Builder(graph, graph.nodes[0], "test")
    with pytest.raises(PipelineError, match="together"):
        for _ in range(20):
            make.const(np.zeros(1000))
    with pytest.raises(PipelineError, match="a rewrite would make"):
        make.const(np.zeros(2000))
