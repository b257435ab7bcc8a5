"""A quantised source and what is built from it, beside the float network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.build.job import convert
from pipeline.build.options import BuildOptions
from pipeline.report.markdown import render_markdown
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from pipeline.verify.original import against_original
from tests.networks import style_onnx

PICTURE = np.full((1, 3, 4, 4), 0.5, np.float32)


def test_both_distances_are_told():
    found = against_original(
        Path("a/b.onnx"), lambda x: x, lambda x: x, lambda x: x + np.float32(1 / 255), PICTURE
    )
    assert found["file"] == "b.onnx"
    assert found["built"]["max_levels"] == 0
    assert found["source"]["max_levels"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("original", [lambda x: x[:, :, :2], lambda x: x @ np.ones((3, 3), np.float32)])
def test_an_original_that_does_not_fit_is_named(original):
    with pytest.raises(PipelineError, match=r"b\.onnx") as caught:
        against_original(Path("b.onnx"), original, lambda x: x, lambda x: x, PICTURE)
    assert caught.value.code == "original-does-not-fit"


def test_the_report_has_the_distance_from_the_float_original(tmp_path):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    exact, small = style_onnx(tmp_path / "float.onnx"), tmp_path / "small.onnx"
    quantize_dynamic(exact, small, weight_type=QuantType.QUInt8)
    options = BuildOptions(input_range="0..1", output_range="0..1", size=Size(96, 64), original=exact)
    report = convert(small, tmp_path / "made.onnx", options=options).report
    found = report["against_original"]
    assert found["file"] == "float.onnx"
    assert 0 < found["built"]["mean_levels"] < found["source"]["mean_levels"]
    text = render_markdown(report).decode()
    assert "computes in float" in text
    assert "Compared with the original float.onnx: the source " in text
    json.dumps(report)


def test_without_an_original_there_is_no_such_fact(tmp_path):
    options = BuildOptions(input_range="0..1", output_range="0..1", size=Size(96, 64))
    report = convert(style_onnx(tmp_path / "float.onnx"), tmp_path / "made.onnx", options=options).report
    assert "against_original" not in report
    assert "Against the" not in render_markdown(report).decode()
