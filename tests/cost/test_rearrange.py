"""`--optimize`: only what pays and is proven is kept, and what is left is told."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline import targets
from pipeline.cost.rearrange import optimize, workers
from pipeline.graph import from_model
from pipeline.rewrites.base import Edit
from pipeline.rewrites.cheaper import UpsampledConvolutions
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from tests.networks import style_onnx
from tests.rewrites import model, node, operators, random
from tests.rewrites.test_cheaper import upsampled

TARGET = targets.get("barracuda-3.0")


def wide(outputs: int = 8):
    """A network that is mostly nearest x2 and a convolution of 32 channels."""
    nodes = [
        node("Conv", "x v", "c", kernel_shape=[1, 1]),
        node("Upsample", "c s", "u", mode="nearest"),
        node("Conv", "u w", "y", kernel_shape=[3, 3], pads=[1] * 4),
    ]
    held = {"s": [1.0, 1.0, 2.0, 2.0], "v": random((32, 3, 1, 1)), "w": random((outputs, 32, 3, 3), 2)}
    return from_model(model(nodes, held))


@pytest.mark.parametrize("worker", list(workers()))
def test_what_pays_is_done_and_the_prediction_falls_by_what_was_told(worker) -> None:
    graph = wide()
    made = optimize(graph, TARGET, worker, Size(640, 480))
    assert "DepthToSpace" in operators(made.graph) and "DepthToSpace" not in operators(graph)
    gains = sum(entry["gain_ms"] for entry in made.done)
    assert made.before - made.after == pytest.approx(gains, abs=0.01) and gains > 0
    assert all(isinstance(edit, Edit) and "ms predicted" in edit.why for edit in made.edits)


def test_what_does_not_pay_is_left_and_told() -> None:
    graph = from_model(upsampled())
    made = optimize(graph, TARGET, "compute", Size(640, 480))
    assert operators(made.graph) == operators(graph) and made.edits == []
    assert made.left[0]["why"] == "it does not pay"


class Broken(UpsampledConvolutions):
    def apply(self, graph, place):
        edit = super().apply(graph, place)
        for made in graph.nodes:
            if made.op == "Conv" and tuple(made.attrs["kernel_shape"]) == (2, 2):
                made.inputs[1].values = np.array(made.inputs[1].values) * 1.01
        return edit


def test_what_changes_the_numbers_is_not_kept() -> None:
    graph = wide()
    made = optimize(graph, TARGET, "compute", Size(640, 480), (Broken(),))
    assert operators(made.graph) == operators(graph)
    assert "not proven" in made.left[0]["why"]


def test_what_a_version_does_not_import_is_not_made() -> None:
    made = optimize(wide(), targets.get("barracuda-1.0"), "compute", Size(640, 480))
    assert "DepthToSpace" not in operators(made.graph)
    assert "DepthToSpace" in operators(
        optimize(wide(), targets.get("barracuda-2.0"), "compute", Size(640, 480)).graph
    )


def test_an_unknown_worker_is_refused() -> None:
    with pytest.raises(PipelineError, match="unknown-worker"):
        optimize(wide(), TARGET, "magic", Size(64, 48))


def test_a_build_tells_what_it_gained_and_is_proven(tmp_path) -> None:
    from pipeline.build.job import convert
    from pipeline.build.options import BuildOptions

    source = style_onnx(tmp_path / "net.onnx")
    plain = convert(source, tmp_path / "a.onnx")
    made = convert(source, tmp_path / "b.onnx", options=BuildOptions(optimize="burst"))
    told = json.loads(json.dumps(made.report))["optimized"]
    assert "optimized" not in plain.report
    assert told["worker"] == "burst" and len(told["done"]) + len(told["left"]) == 1
    assert made.report["proof"]["passed"]
