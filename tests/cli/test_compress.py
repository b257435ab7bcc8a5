"""pipeline compress, from the outside."""

from __future__ import annotations

import json

import onnx
import pytest

from pipeline.compress.packed import unpack
from tests.compress.conftest import small_pictures  # noqa: F401
from tests.compress.packs import network

RANGES = ("--input-range", "0..1", "--output-range", "0..1")


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(network(channels=4), path)
    return path


def test_a_model_becomes_a_packed_file_beside_it(pipeline, model):
    done = pipeline("compress", model, "--weights", "int8", *RANGES, "--json")
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    packed = model.with_suffix(".bytes")
    assert facts["packed"] == str(packed) and facts["bytes"] == packed.stat().st_size < model.stat().st_size / 3
    assert facts["psnr"] > 40 and facts["source_bytes"] == model.stat().st_size
    assert facts["notes"] == []
    onnx.load_from_string(unpack(packed.read_bytes()).model)


def test_people_are_told_sizes_and_what_was_assumed(pipeline, model, tmp_path):
    done = pipeline("compress", model, "--weights", "int6", "-o", tmp_path / "small.bytes")
    assert done.code == 0 and done.out.strip() == str(tmp_path / "small.bytes")
    assert "packed; " in done.err and " dB" in done.err
    assert "value ranges are not declared" in done.err


def test_ones_own_pictures_round_and_measure(pipeline, model, tmp_path):
    from PIL import Image

    for name in ("a.png", "b.png"):
        Image.radial_gradient("L").convert("RGB").save(tmp_path / name)
    done = pipeline(
        *("compress", model, "--weights", "int5", *RANGES, "--json"),
        *("--calibrate", tmp_path / "a.png", "--picture", tmp_path / "b.png"),
    )
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert facts["calibration"] == ["a.png"] and "b.png" in facts["measured"]


def test_a_quantised_file_keeps_its_integers(pipeline, model, tmp_path):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from pipeline.graph import valid

    onnx.save(valid(onnx.load(model)), model)
    quantize_dynamic(model, tmp_path / "dynamic.onnx", weight_type=QuantType.QUInt8)
    done = pipeline("compress", tmp_path / "dynamic.onnx", "--weights", "auto", *RANGES, "--json")
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert facts["own_integers"] == 6 and any("keep their integers" in note for note in facts["notes"])
    assert facts["bytes"] < (tmp_path / "dynamic.onnx").stat().st_size
    quantised = onnx.load(tmp_path / "dynamic.onnx")
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in quantised.graph.initializer}
    zero_points = {name: value for name, value in stored.items() if name.endswith("_zero_point")}
    expected = [
        values.astype(int).reshape(-1) - int(zero_points[name.replace("_quantized", "_zero_point")])
        for name, values in stored.items()
        if name.endswith("_quantized")
    ]
    contents = [filling.integers for filling in unpack((tmp_path / "dynamic.bytes").read_bytes()).fillings]
    assert all(any(w.size == h.size and (w == h).all() for h in contents) for w in expected)


def test_another_file_of_that_name_stays_without_force(pipeline, model):
    packed = model.with_suffix(".bytes")
    packed.write_bytes(b"mine")
    arguments = ("compress", model, "--weights", "half")
    done = pipeline(*arguments)
    assert done.code == 2 and "[file-exists]" in done.err and packed.read_bytes() == b"mine"
    assert pipeline(*arguments, "--force").code == 0
    again = pipeline(*arguments)
    assert again.code == 2 and "[file-exists]" in again.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--weights", "int3"], "bad-weights"),
        (["--min-psnr", "1000"], "bad-psnr"),
        (["--calibrate", "missing.png"], "file-not-found"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_nothing_is_written(pipeline, model, words, code):
    done = pipeline("compress", model, *words)
    assert done.code == 2 and f"[{code}]" in done.err and "Traceback" not in done.err
    assert not model.with_suffix(".bytes").exists()


def test_a_file_that_is_no_model_is_refused(pipeline, tmp_path):
    (tmp_path / "page.onnx").write_text("<html><body>Not found</body></html>")
    done = pipeline("compress", tmp_path / "page.onnx")
    assert done.code == 2 and "[html-page]" in done.err
