"""Bundles with packed networks: what lies in them, what the report says, and for which targets there are none."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from pipeline.build.job import build_unity
from pipeline.build.options import BuildOptions
from pipeline.compress.packed import unpack
from pipeline.support.errors import PipelineError
from tests.compress import independent
from tests.compress.packs import network

DECLARED = {"input_range": "0..1", "output_range": "0..1"}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "net.onnx"
    onnx.save(network(channels=4), path)
    return path


@pytest.fixture(scope="module")
def built(source, tmp_path_factory):
    options = BuildOptions(weights="int8", **DECLARED)
    return build_unity(source, output=tmp_path_factory.mktemp("out"), options=options, use_cache=False)


def test_the_bundle_holds_the_packed_file_and_no_imported_one(built):
    names = {path.name for path in built.bundle.iterdir()}
    assert {"Net.bytes", "Net.bytes.meta", "link.xml", "link.xml.meta"} <= names
    assert not {name for name in names if ".onnx" in name}
    asset = (built.bundle / "Net.asset").read_text()
    guid = (built.bundle / "Net.bytes.meta").read_text().splitlines()[1].removeprefix("guid: ")
    assert "\n  model: {fileID: 0}\n" in asset
    assert f"\n  packed: {{fileID: 4900000, guid: {guid}, type: 3}}\n" in asset
    assert f"\n  fileBytes: {(built.bundle / 'Net.bytes').stat().st_size}\n" in asset


def test_stripping_spares_what_a_packed_network_is_imported_with(built):
    text = (built.bundle / "link.xml").read_text()
    for assembly in ("StyleTransfer.Barracuda.Onnx", "Unity.Barracuda.ONNX", "Google.Protobuf"):
        assert f'<assembly fullname="{assembly}" preserve="all"' in text


def test_a_reader_written_from_the_document_gives_the_model_that_the_asset_names(built):
    import hashlib

    packed = (built.bundle / "Net.bytes").read_bytes()
    model = independent.read(packed)
    assert model == unpack(packed).model
    assert hashlib.sha256(model).hexdigest() == built.report["model"]["digest"]
    assert built.report["model"]["digest"] in (built.bundle / "Net.asset").read_text()
    assert {entry.key for entry in onnx.load_from_string(model).metadata_props} == {
        "image_contract",
        "source_digest",
    }


def test_the_golden_picture_is_what_the_packed_network_paints(built):
    from PIL import Image

    from pipeline import targets
    from pipeline.verify.proof import as_target_computes

    model = onnx.load_from_string(unpack((built.bundle / "Net.bytes").read_bytes()).model)
    paint = as_target_computes(model, targets.get("barracuda-3.0"))
    given = np.asarray(Image.open(built.bundle / "golden_input.png"), np.float32).transpose(2, 0, 1)[None] / 255
    expected = np.asarray(Image.open(built.bundle / "golden_output.png"), np.float32).transpose(2, 0, 1)[None]
    assert np.abs(np.clip(paint(given), 0, 1) * 255 - expected).max() <= 0.51


def test_the_report_says_what_it_buys_and_what_not(built, source):
    facts = json.loads((built.bundle / "report.json").read_text())["packed"]
    assert facts["bytes"] == (built.bundle / "Net.bytes").stat().st_size
    assert facts["source_bytes"] == source.stat().st_size
    assert [row["weights"] for row in facts["table"]] == ["half", "int7", "int6", "int5", "int4"]
    for name in ("report.md", "report.html"):
        text = (built.bundle / name).read_text()
        assert (
            "It does not make the network faster" in text
            and f"{facts['bytes']:,}" in text
            and f"{facts['psnr']} dB" in text
        )
        assert "loaded by Unity, instead of" in text
    assert "<svg" in (built.bundle / "report.html").read_text()


def test_a_float_bundle_is_as_before(source, tmp_path):
    built = build_unity(source, output=tmp_path, options=BuildOptions(**DECLARED), use_cache=False)
    names = {path.name for path in built.bundle.iterdir()}
    assert "Net.onnx" in names and not names & {"Net.bytes", "link.xml"}
    assert "packed" not in built.report
    assert "\n  packed: {fileID: 0}\n" in (built.bundle / "Net.asset").read_text()


def test_changing_the_weights_replaces_the_file(source, tmp_path):
    build_unity(source, output=tmp_path, options=BuildOptions(**DECLARED), use_cache=False)
    built = build_unity(source, output=tmp_path, options=BuildOptions(weights="half", **DECLARED), use_cache=False)
    names = {path.name for path in built.bundle.iterdir()}
    assert "Net.bytes" in names and not {name for name in names if ".onnx" in name}


def test_barracuda_1_is_refused_with_the_reason_and_nothing_is_written(source, tmp_path):
    with pytest.raises(PipelineError) as raised:
        build_unity(
            source, output=tmp_path / "o", options=BuildOptions("barracuda-1.0", weights="int8", **DECLARED)
        )
    assert raised.value.code == "target-cannot-unpack" and "--weights float" in raised.value.remedy
    assert not (tmp_path / "o").exists()


def test_options_that_mean_nothing_are_refused():
    for options, code in (({"weights": "int3"}, "bad-weights"), ({"min_psnr": 3.0}, "bad-psnr")):
        with pytest.raises(PipelineError) as raised:
            BuildOptions(**options)
        assert raised.value.code == code
