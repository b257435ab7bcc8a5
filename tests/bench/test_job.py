"""Benching: counts are right, and every model is told at every size."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from pipeline.bench.job import BenchOptions, bench, labels, merge_unity
from pipeline.report.bench import render_html, render_text
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from tests.networks import style_checkpoint, style_onnx

SIZES = (Size(64, 48), Size(96, 64))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    place = tmp_path_factory.mktemp("bench")
    paths = [style_checkpoint(place / "net.pth"), style_onnx(place / "other.onnx", (48, 64))]
    return bench(paths, BenchOptions(sizes=SIZES, runs=2, memory=False))


def test_every_model_is_reported_at_every_size(report) -> None:
    assert [model["label"] for model in report["models"]] == ["net", "other"]
    for model in report["models"]:
        assert list(model["sizes"]) == report["sizes"] == ["64x48", "96x64"]
        for facts in model["sizes"].values():
            assert facts["measured"]["runs"] == 2
            assert set(facts["predicted"]) == {device["name"] for device in report["devices"]}
            assert facts["peak_megabytes"] < facts["written_megabytes"] + model["bytes"]


def test_multiply_adds_are_those_of_the_layers(report) -> None:
    first = 4 * 3 * 9 * 24 * 32
    last = 3 * 4 * 9 * 48 * 64
    assert report["models"][1]["sizes"]["64x48"]["giga_macs"] == round((first + last) * 1e-9, 3)


def test_unity_s_measurements_stand_beside_the_rest_and_strangers_are_named(report) -> None:
    report = copy.deepcopy(report)
    measured = {"net": {"64x48": {"compute": {"median": 3.5}}}, "stranger": {}}
    assert merge_unity(report, measured) == ["stranger"]
    assert "3.50 ms" in render_html(report).decode()
    assert [line.split() for line in render_text(report)][-2] == ["net", "64x48", "compute", "3.50", "3.50"]


def test_a_style_is_known_by_the_name_that_its_file_gives_it() -> None:
    report = {"models": [{"label": "mosaic_nc8.pth", "file": "mosaic_nc8.pth"}]}
    sizes = {"1280x720": {"Compute": {"median": 3.5}}}
    assert merge_unity(report, {"MosaicNc8": sizes}) == []
    assert report["models"][0]["unity"] == sizes


def test_the_page_is_whole_and_escapes_names(report) -> None:
    page = render_html({**report, "target": "<b>"}).decode()
    assert "&lt;b&gt;" in page and page.rstrip().endswith("</html>")
    assert "src=" not in page and "http" not in page.replace("http://www.w3.org", "")


def test_the_table_has_a_row_for_each_model_and_size(report) -> None:
    lines = [line for line in render_text(report) if line]
    assert len(lines) == len(SIZES) * 3
    assert "108" not in lines[0] and "desktop" in lines[0]


def test_labels_tell_files_apart() -> None:
    assert labels([Path("a/x.pth"), Path("a/y.pth")]) == ["x", "y"]
    assert labels([Path("a/x.pth"), Path("a/x.onnx")]) == ["x.pth", "x.onnx"]
    assert labels([Path("a/x.pth"), Path("b/x.pth")]) == ["a/x.pth", "b/x.pth"]
    assert labels([Path("x.pth"), Path("x.pth")]) == ["x.pth (1)", "x.pth (2)"]


def test_sizes_are_held_to_reason() -> None:
    with pytest.raises(PipelineError, match="bad-size"):
        BenchOptions(sizes=(Size(8, 8),))


def test_a_renamed_style_is_known_by_the_digest_of_its_source() -> None:
    report = {
        "models": [
            {"label": "a", "file": "a.pth", "digest": "d1"},
            {"label": "b", "file": "b.pth", "digest": "d2"},
        ]
    }
    sizes = {"1280x720": {"Compute": {"median": 3.5, "source_digest": "d2"}}}
    assert merge_unity(report, {"Renamed": sizes}) == []
    assert "unity" not in report["models"][0] and report["models"][1]["unity"] == sizes
