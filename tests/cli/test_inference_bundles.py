"""Bundles for Sentis and Inference Engine, from the outside."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from pipeline import targets
from pipeline.graph.runtime import session
from pipeline.targets.inference.sentis.format import decode
from tests.networks import style_checkpoint, style_onnx

NAMES = ("sentis-2.1", "inference-2")
DECLARED = ("--input-range", "0..1", "--output-range", "0..1", "--size", "64x48")


def built(pipeline, source: Path, out: Path, *more: str):
    done = pipeline("build-unity", source, "--output", out, *DECLARED, *more)
    assert done.code == 0, done.err
    return out / "StyleTransfer"


@pytest.mark.parametrize("target", NAMES)
def test_a_bundle_holds_a_valid_model_that_runs_at_every_size(pipeline, tmp_path, target):
    source = style_checkpoint(tmp_path / "mosaic.pth")
    done = pipeline("build-unity", source, "--output", tmp_path / "out", "--size", "64x48", "--target", target)
    assert done.code == 0, done.err
    folder = tmp_path / "out" / "StyleTransfer"
    model = onnx.load(folder / "Models/Mosaic/Mosaic.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 15)]
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in dims] == [1, 3, "height", "width"]
    operators = [node.op_type for node in model.graph.node]
    # One of them takes the picture's mean off.
    assert operators.count("InstanceNormalization") == 7 + 1
    assert "Resize" in operators and "Upsample" not in operators
    opened = session(model)
    for height, width in ((48, 64), (32, 100)):
        output = opened.run(None, {"input": np.full((1, 3, height, width), 0.5, np.float32)})[0]
        assert output.shape == (1, 3, height, width)
    report = json.loads((folder / "Models/Mosaic/report.json").read_text())
    assert report["target"]["name"] == target and report["proof"]["passed"]
    assert not [found for found in report["findings"] if found["severity"] in ("error", "wrong", "warning")]
    asset = (folder / "Models/Mosaic/Mosaic.asset").read_text()
    assert f"target: {target}\n" in asset and "fixedSize: 0" in asset
    guid = (folder / "Models/Mosaic/Mosaic.onnx.meta").read_text().split("guid: ")[1].split()[0]
    assert f"model: {{fileID: 5022602860645237092, guid: {guid}, type: 3}}" in asset


@pytest.mark.parametrize("target", NAMES)
def test_packed_weights_are_a_serialised_model(pipeline, tmp_path, target):
    source = style_onnx(tmp_path / "mosaic.onnx", channels=16)
    folder = built(pipeline, source, tmp_path / "out", "--target", target, "--weights", "int8")
    model = folder / "Models/Mosaic/Mosaic.sentis"
    kernels = [layer.kernel for layer in decode(model.read_bytes()).layers]
    assert kernels.count("DequantizeUint8") == kernels.count("Conv") + kernels.count("ConvTranspose") == 2
    importer = targets.get(target).own["importers"][".sentis"]["script"]
    assert f"guid: {importer}" in model.with_suffix(".sentis.meta").read_text()
    report = json.loads((folder / "Models/Mosaic/report.json").read_text())
    assert report["packed"]["bytes"] == model.stat().st_size < report["packed"]["float_bytes"]
    assert "GPUPixel" in (folder / "Models/Mosaic/report.md").read_text()
    assert not (folder / "Models/Mosaic/Mosaic.onnx").exists()
    assert not (folder / "Models/Mosaic/link.xml").exists(), "nothing is imported when the game runs"


def test_a_preview_of_packed_weights_is_painted_from_the_file(pipeline, tmp_path):
    source = style_onnx(tmp_path / "wave.onnx")
    arguments = ("--target", "inference-2", "--weights", "half")
    built(pipeline, source, tmp_path / "out", *arguments, "--preview", str(tmp_path / "both.png"))
    assert (tmp_path / "both.png").stat().st_size > 1000


def test_weights_that_the_files_cannot_hold_are_refused_before_the_work(pipeline, tmp_path):
    source = style_onnx(tmp_path / "mosaic.onnx")
    done = pipeline("build-unity", source, "-o", tmp_path / "out", "--target", "inference-2", "--weights", "int4")
    assert done.code == 2 and "bad-weights" in done.err and "int8" in done.err
    assert "read" not in done.err.split("error")[0]


def test_two_styles_of_one_package_share_a_folder(pipeline, tmp_path):
    out = tmp_path / "out"
    built(pipeline, style_onnx(tmp_path / "mosaic.onnx"), out, "--target", "inference-2")
    built(pipeline, style_onnx(tmp_path / "candy.onnx", seed=4), out, "--target", "inference-2")
    models = sorted(path.name for path in (out / "StyleTransfer/Models").iterdir() if path.is_dir())
    assert models == ["Candy", "Mosaic"]


@pytest.mark.parametrize(("first", "second"), [("barracuda-3.0", "inference-2"), ("inference-2", "sentis-2.1")])
def test_styles_of_two_packages_are_not_mixed(pipeline, tmp_path, first, second):
    out = tmp_path / "out"
    built(pipeline, style_onnx(tmp_path / "mosaic.onnx"), out, "--target", first)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    source = style_onnx(tmp_path / "candy.onnx", seed=4)
    done = pipeline("build-unity", source, "--output", out, *DECLARED, "--target", second)
    assert done.code == 2 and "packages-mixed" in done.err
    assert f"--target {first}" in done.err and "pipeline port" in done.err
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_style_is_rebuilt_for_another_package(pipeline, tmp_path):
    out, source = tmp_path / "out", style_onnx(tmp_path / "mosaic.onnx")
    built(pipeline, source, out, "--target", "inference-2", "--weights", "int8")
    folder = built(pipeline, source, out, "--target", "inference-2")
    stored = {path.name for path in (folder / "Models/Mosaic").iterdir()}
    assert "Mosaic.onnx" in stored and "Mosaic.sentis" not in stored
