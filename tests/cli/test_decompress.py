"""pipeline decompress, and inspect of a packed file, from the outside."""

from __future__ import annotations

import json

from tests.compress.packs import mixed


def test_the_model_comes_back_byte_for_byte(pipeline, tmp_path):
    model, packed = mixed()
    (tmp_path / "a.bytes").write_bytes(packed)
    done = pipeline("decompress", tmp_path / "a.bytes")
    assert done.code == 0, done.err
    assert done.out.strip() == str(tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == model
    done = pipeline("decompress", tmp_path / "a.bytes", "-o", tmp_path / "b.onnx", "--json")
    assert json.loads(done.out)["model_bytes"] == len(model)


def test_a_damaged_file_is_refused_and_nothing_is_written(pipeline, tmp_path):
    _, packed = mixed()
    for number, data in enumerate((packed[:-3], packed[:100] + b"\0" + packed[101:], b"not packed", b"")):
        (tmp_path / f"{number}.bytes").write_bytes(data)
        done = pipeline("decompress", tmp_path / f"{number}.bytes")
        assert done.code == 2 and "packed" in done.err and "Traceback" not in done.err
        assert not (tmp_path / f"{number}.onnx").exists()


def test_inspect_shows_what_is_in_a_packed_file(pipeline, tmp_path):
    model, packed = mixed()
    (tmp_path / "a.bytes").write_bytes(packed)
    done = pipeline("inspect", tmp_path / "a.bytes", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["format"] == "packed" and report["format_version"] == 1
    assert report["bytes"] == len(packed) and report["model_bytes"] == len(model)
    assert [tensor["bits"] for tensor in report["tensors"]] == [8, 3, 16, 26, 0]
    assert [tensor["scales"] for tensor in report["tensors"]] == [8, 3, 0, 1, 1]
    spent = report["template_bytes"] + sum(tensor["bytes"] for tensor in report["tensors"])
    assert abs(spent - len(packed)) < 30
    text = pipeline("inspect", tmp_path / "a.bytes").out
    assert "format version 1" in text and report["model_crc32"] in text
