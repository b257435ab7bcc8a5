"""Measuring: what is told is told in order, and about the model that was given."""

from __future__ import annotations

import onnx
import pytest

from pipeline.bench.timing import measure, peak_megabytes
from pipeline.support.errors import PipelineError
from tests.networks import style_onnx
from tests.rewrites import model, node


def test_models_take_turns_and_the_spread_is_in_order(tmp_path) -> None:
    small = onnx.load(style_onnx(tmp_path / "a.onnx", (32, 48)))
    large = onnx.load(style_onnx(tmp_path / "b.onnx", (256, 384)))
    reported: list[str] = []
    times = measure({"small": small, "large": large}, runs=3, progress=reported.append)
    assert reported == ["round 1 of 3", "round 2 of 3", "round 3 of 3"]
    for item in times.values():
        assert item.runs == 3
        assert 0 < item.minimum <= item.median <= item.p95
    assert times["small"].cpu < times["large"].cpu


def test_time_is_bounded_but_two_rounds_are_run(tmp_path) -> None:
    stored = onnx.load(style_onnx(tmp_path / "a.onnx"))
    assert measure({"a": stored}, runs=50, seconds=0)["a"].runs == 2


def test_memory_grows_with_the_picture(tmp_path) -> None:
    grown = [peak_megabytes(onnx.load(style_onnx(tmp_path / "a.onnx", size))) for size in ((64, 64), (1024, 1024))]
    assert grown[0] is not None and grown[1] is not None
    assert grown[1] > grown[0] + 10


def test_a_model_that_does_not_run_is_named() -> None:
    broken = model([node("Reshape", "x s", "y")], {"s": [7, 11]}, input_shape=(1, 3, 8, 8))
    with pytest.raises(PipelineError, match=r"\[graph-does-not-run\] odd"):
        measure({"odd": broken})
