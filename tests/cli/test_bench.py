"""`pipeline bench`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.networks import style_onnx
from tests.unity.test_measurements import HEAD, line


def test_tables_on_stdout_and_a_page_beside(pipeline, tmp_path):
    source = style_onnx(tmp_path / "net.onnx")
    done = pipeline("bench", source, "--size", "64x48", "--runs", "2", "--no-memory", "--html", "out/bench.html")
    assert done.code == 0 and "64x48" in done.out and "net " in done.out
    assert "<svg" in Path("out/bench.html").read_text()


def test_json_is_the_whole_report_with_memory(pipeline, tmp_path):
    source = style_onnx(tmp_path / "net.onnx")
    report = json.loads(pipeline("bench", source, source, "--size", "64x48", "--runs", "2", "--json").out)
    assert [model["label"] for model in report["models"]] == ["net.onnx (1)", "net.onnx (2)"]
    assert report["models"][0]["sizes"]["64x48"]["grown_megabytes"] >= 0


def test_what_unity_measured_stands_beside_the_predictions(pipeline, tmp_path):
    source = style_onnx(tmp_path / "net.onnx")
    table = tmp_path / "StyleTransferBenchmark.csv"
    table.write_text(HEAD + line(style="Net") + line(style="Other"))
    again = ("--size", "64x48", "--runs", "2", "--no-memory", "--import", table)
    done = pipeline("bench", source, *again)
    assert done.code == 0 and "10.5" in done.out and "Compute" in done.out
    assert "the imported table contains Other, which is not one of these models" in done.err
    (model,) = json.loads(pipeline("bench", source, *again, "--json").out)["models"]
    assert model["unity"]["1280x720"]["Compute"]["median"] == 10.5
    table.write_text("no table")
    assert "[bad-measurements]" in pipeline("bench", source, *again).err


def test_a_file_that_is_not_there(pipeline):
    done = pipeline("bench", "nowhere.pth")
    assert done.code == 2 and "[file-not-found]" in done.err
